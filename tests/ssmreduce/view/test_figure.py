"""The figure of a comparison: every row is there, and what stands beside it can be read."""

from __future__ import annotations

import re
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from findings_cases import made

from ssmreduce import Comparison
from ssmreduce.methods.registry import FAMILIES, METHODS
from ssmreduce.results import Row
from ssmreduce.view.canvas import image, on
from ssmreduce.view.looks import SAME, SHADES, looks
from ssmreduce.view.losses import PANELS, draw
from ssmreduce.view.plot import plot
from ssmreduce.view.states import showcase_order
from theory.errors import InputError
from theory.norms.bracket import Bracket


def test_the_figure_is_not_empty(comparison: Comparison, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    figure = comparison.plot(tmp_path / "figure.png")
    main, relative, noise, bound, hankel, balanced, modal = figure.axes
    assert main.get_yscale() == "linear"
    assert {axes.get_yscale() for axes in (relative, noise, bound, hankel)} == {"log"}
    assert len(balanced.collections) == len(modal.collections) == 2
    kept = modal.collections[1].get_offsets()
    assert len(kept) == showcase_order(comparison) == 2
    data = (tmp_path / "figure.png").read_bytes()
    assert data.startswith(b"\x89PNG")
    assert len(data) > 20_000
    assert [path.name for path in tmp_path.iterdir()] == ["figure.png"]


@pytest.mark.parametrize("name", PANELS)
def test_every_row_is_on_a_curve_under_its_name(comparison: Comparison, name: str) -> None:
    figure, panel = pytest.importorskip("matplotlib.figure").Figure(), PANELS[name]
    axes = figure.subplots()
    with on("light") as inks:
        draw(comparison, panel, axes, "light", inks)
    lines = {line.get_label(): line for line in axes.get_lines() if " " not in line.get_label()[:1]}
    for row in comparison.rows:
        (label,) = [label for label in lines if row.method in re.split(r" = | \(", label)[: label.count(" = ") + 1]]
        x, y = lines[label].get_data()
        assert y[list(x).index(row.order)] == pytest.approx(panel.value(row), rel=2 * SAME)


@pytest.mark.parametrize("suffix", ["svg", "pdf"])
def test_other_formats(others: list[Comparison], tmp_path: Path, suffix: str) -> None:
    pytest.importorskip("matplotlib")
    path = tmp_path / f"figure.{suffix}"
    others[0].plot(path)
    assert path.stat().st_size > 5_000


def test_one_state_and_continuous_time_can_be_drawn(others: list[Comparison]) -> None:
    pytest.importorskip("matplotlib")
    for comparison in others[1:]:
        assert len(image(plot(comparison), dpi=40)) > 5_000


def test_figures_are_reproducible(comparison: Comparison) -> None:
    pytest.importorskip("matplotlib")
    assert image(plot(comparison), "svg") == image(plot(comparison), "svg")


@pytest.mark.parametrize("paper", ["light", "dark"])
def test_no_label_lies_on_another_or_on_the_curves(
    comparison: Comparison, others: list[Comparison], paper: Any
) -> None:
    pytest.importorskip("matplotlib")
    for one in (comparison, others[0]) if paper == "light" else others[1:]:
        figure = plot(one) if paper == "light" else plot(one, paper, like=plot(one))  # as the report has them
        figure.canvas.draw()
        for first, second in combinations([axes.get_tightbbox() for axes in figure.axes], 2):
            assert not first.padded(-1.0).overlaps(second)
        for axes in figure.axes:
            boxes = [text.get_window_extent() for text in axes.texts if text.get_text() != "rounding"]
            for i, box in enumerate(boxes):
                assert box.x0 >= axes.get_window_extent().x1
                assert box.x1 <= figure.bbox.x1 + 2
                assert not any(box.shrunk(0.98, 0.8).overlaps(other.shrunk(0.98, 0.8)) for other in boxes[:i])
            if axes.get_legend() is not None:
                assert not axes.get_legend().get_window_extent().overlaps(axes.get_window_extent())


def test_the_best_curve_is_the_thickest_and_its_name_is_bold() -> None:
    """The winner came last in the order of methods, and was drawn thinnest."""
    pytest.importorskip("matplotlib")
    figure = plot(made({"a": [3.0, 2.6, 2.2], "b": [2.9, 2.5, 2.1], "c": [1.5, 1.4, 1.3]}))
    main = figure.axes[0]
    widths = {line.get_label(): line.get_linewidth() for line in main.get_lines()}
    assert widths["c"] > max(widths["a"], widths["b"])
    assert {text.get_text() for text in main.texts if text.get_fontweight() == "bold"} == {"c"}


def test_names_beyond_the_scale_stand_in_the_order_of_their_errors_rounded_up() -> None:
    pytest.importorskip("matplotlib")
    main = plot(made({"x": [20.0, 24.71], "y": [30.0, 7.411], "z": [40.0, 14.21], "best": [1.5, 1.5]})).axes[0]
    told = {text.get_text(): text.xy[1] for text in main.texts if "\u2191" in text.get_text()}
    assert sorted(told, key=told.__getitem__) == ["y \u2191 7.42", "z \u2191 14.3", "x \u2191 24.8"]


def test_orders_at_which_nothing_is_lost_do_not_stretch_the_axes() -> None:
    """They have no place on a logarithmic axis: they are named below it."""
    pytest.importorskip("matplotlib")
    figure = plot(made({"a": [3.0, 2.0, 0.0, 0.0], "b": [4.0, 3.0, 0.0, 0.0]}))
    for axes in figure.axes[:4]:
        assert axes.get_xlim()[1] < 3
        assert list(axes.get_xticks()) == [1, 2]
        assert axes.get_xlabel() == "order (stored states); no error at 3, 4"


@pytest.mark.parametrize("most", [1.05, 1.3, 3.0, 9.0, 50.0, 900.0, 1e5])
def test_a_logarithmic_axis_has_some_numbers_however_short_it_is(most: float) -> None:
    """There were two, or one, where the values lie within a decade."""
    pytest.importorskip("matplotlib")
    figure = plot(made({"a": [2.0, 2.0 / most], "b": [1.9, 1.95 / most]}))
    figure.canvas.draw()
    for axes in figure.axes[1:3]:
        low, high = axes.get_ylim()
        labels = [label.get_text() for label in axes.get_yticklabels() if low <= label.get_position()[1] <= high]
        assert 3 <= len([label for label in labels if label]) <= 10


def test_the_poles_of_two_reductions_have_one_scale(comparison: Comparison) -> None:
    pytest.importorskip("matplotlib")
    one, other = plot(comparison).axes[-2:]
    assert "Poles" in one.get_title()
    assert "Poles" in other.get_title()
    assert (one.get_xlim(), one.get_ylim()) == (other.get_xlim(), other.get_ylim())
    for axes in (one, other):
        for points in axes.collections:
            x, y = points.get_offsets().T
            assert ((axes.get_xlim()[0] <= x) & (x <= axes.get_xlim()[1])).all()
            assert ((axes.get_ylim()[0] <= y) & (y <= axes.get_ylim()[1])).all()


def test_ticks_of_orders_do_not_touch() -> None:
    pytest.importorskip("matplotlib")
    hankel = plot(made({"a": [3.0, 2.0, 1.5, 1.4]}, hsv=np.geomspace(1, 1e-3, 64))).axes[-1]
    ticks = hankel.get_xticks()
    assert min(np.diff(ticks), default=9) >= 0.05 * np.ptp(hankel.get_xlim())
    assert ticks[0] == 1


def test_the_caller_s_style_is_left_alone(comparison: Comparison) -> None:
    matplotlib = pytest.importorskip("matplotlib")
    before = dict(matplotlib.rcParams)
    image(plot(comparison, "dark"), dpi=30)
    assert dict(matplotlib.rcParams) == before


def test_unknown_formats_are_refused_before_drawing(comparison: Comparison, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"\.png, \.svg, \.pdf"):
        comparison.plot(tmp_path / "figure.bmp")
    assert not list(tmp_path.iterdir())


def test_there_is_a_look_for_every_method() -> None:
    """The registry's kinds have colours, no two methods look alike, on either paper."""
    for shades in SHADES.values():
        assert set(shades) == set(FAMILIES)
        assert len({colour for kind in shades.values() for colour in kind}) == sum(map(len, shades.values()))
    rows = tuple(Row(method=name, family=method.family, order=1, floor=1.0) for name, method in METHODS.items())
    every = Comparison(subject={}, norm=Bracket(1.0, 1.0, 0.0), rows=rows, hsv=[], poles=[], margin=[])
    for paper in ("light", "dark"):
        found = looks(every, paper)
        assert set(found) == set(METHODS)
        assert len(set(map(str, found.values()))) == len(found)
