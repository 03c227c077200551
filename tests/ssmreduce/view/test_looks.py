"""Curves that coincide are one, labels keep their distance, and outliers do not ruin the scale."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ssmreduce.view.canvas import INKS
from ssmreduce.view.looks import CONTRAST, SAME, SHADES, Curve, ceiling, contrast, leading, merged, placed, readable

heights = st.lists(st.floats(0, 1), min_size=1, max_size=12)


def curve(name: str, values: list[float]) -> Curve:
    return Curve(names=(name,), orders=np.arange(1, len(values) + 1), values=np.array(values))


@given(heights, st.floats(0.01, 0.08))
def test_labels_keep_their_distance_and_their_order(wanted: list[float], gap: float) -> None:
    found = placed(wanted, gap, 0.0, 1.0)
    assert all(-1e-9 <= height <= 1 + 1e-9 for height in found)
    order = sorted(range(len(wanted)), key=lambda i: wanted[i])
    steps = np.diff([found[i] for i in order])
    assert (steps >= gap - 1e-9).all()


@given(heights)
def test_labels_that_are_far_apart_stay_where_they_are(wanted: list[float]) -> None:
    spread = [0.1 * i for i in range(len(wanted[:10]))]
    np.testing.assert_allclose(placed(spread, 0.05, 0.0, 1.0), spread, atol=1e-12)


@given(st.lists(st.floats(1, 100), min_size=3, max_size=8), st.integers(0, 7))
def test_equal_curves_are_one_and_others_are_not(values: list[float], at: int) -> None:
    at %= len(values)
    other = [value * (1 + 3 * SAME * (i == at)) for i, value in enumerate(values)]
    (one,) = merged([curve("last", values), curve("modal", values)])
    assert one.label == "last = modal"
    two = merged([curve("last", values), curve("modal", other)], notes=True)
    assert [curve.names for curve in two] == [("last",), ("modal",)]
    assert two[1].label == f"modal (= last but at {at + 1})"


@given(st.lists(st.floats(1.1, 3.0), min_size=2, max_size=6), st.floats(2, 1e4))
def test_a_baseline_does_not_ruin_the_scale(values: list[float], factor: float) -> None:
    """Whatever a baseline loses: the axis is that of the others, which are all on it within three of the winner."""
    points = {"balanced": list(enumerate(values)), "last": [(i, 1.5 * value) for i, value in enumerate(values)]}
    families = {"balanced": "balancing", "last": "selection", "random": "baseline"}
    far = points | {"random": [(i, factor * value) for i, value in enumerate(values)]}
    top = ceiling(far, families)
    assert 1.5 * max(values) <= top <= 3.2 * max(values)


def test_a_scale_without_outliers_shows_everything() -> None:
    points = {"a": [(1, 1.2), (2, 2.0)], "b": [(1, 1.3), (2, 2.1)]}
    assert 2.1 < ceiling(points, {"a": "balancing", "b": "baseline"}) < 2.6


@given(st.lists(st.lists(st.floats(1.0, 9.0), min_size=4, max_size=4), min_size=1, max_size=5))
def test_who_is_lowest_somewhere_is_first_and_nobody_else(values: list[list[float]]) -> None:
    found = leading([curve(str(i), own) for i, own in enumerate(values)])
    lowest = np.min(values, axis=0)
    assert [one.first for one in found] == [any(a <= b * (1 + SAME) for a, b in zip(own, lowest)) for own in values]


def test_names_can_be_read_in_every_colour_on_both_papers() -> None:
    """Letters need more contrast than lines: yellow names on white were hardly seen."""
    assert contrast("#000000", "#ffffff") == 21
    assert round(contrast("#777777", "#ffffff"), 2) == 4.48  # the grey that is known for just failing
    for paper, kinds in SHADES.items():
        inks = INKS[paper]
        for colour in (colour for shades in kinds.values() for colour in shades):
            told = readable(colour, inks["ink"], inks["paper"])
            assert contrast(told, inks["paper"]) >= CONTRAST
            assert contrast(colour, inks["paper"]) < CONTRAST or told == colour.lower()
