"""The figure of a sweep: the rows, and what papers report of the same task."""

from __future__ import annotations

import dataclasses
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from sweep_cases import METHODS

from lra.sweep import Sweep
from lra.sweep.published import LAST_CURVES, S5_TABLE, published

pytestmark = pytest.mark.jax


def test_the_figure_shows_the_rows(swept: Sweep) -> None:
    figure = swept.plot()
    accuracy, certified, recorded = figure.axes
    lines = {line.get_label(): line for line in accuracy.get_lines()}
    for method in METHODS:
        x, y = lines[method].get_data()
        np.testing.assert_allclose(x, [0, 50])
        rows = [row for row in swept.rows if row.method == method and row.ratio == 0.5]
        assert y[1] == pytest.approx(100 * np.mean([row.accuracy for row in rows]))
    assert len(accuracy.collections) == 2  # bands of the two methods that draw
    for axes, field in ((certified, "error_upper"), (recorded, "recorded_error")):
        drawn = {float(y) for line in axes.get_lines() if len(line.get_xdata()) == 1 for y in line.get_ydata()}
        for row in swept.rows:
            if row.method == "last" and row.ratio == 0.5:
                assert any(y == pytest.approx(100 * getattr(row, field)) for y in drawn)


def test_methods_that_lie_on_one_another_have_one_entry_and_all_curves_are_seen(swept: Sweep) -> None:
    """The legend named a method that nobody could find in the figure."""
    ours = [row for row in swept.rows if row.method == "last"]
    twins = [dataclasses.replace(row, method="modal") for row in ours]
    other = [dataclasses.replace(row, method="refit", recorded_error=(row.recorded_error or 0.1) * 1.5) for row in ours]
    figure = dataclasses.replace(swept, rows=[*swept.rows, *twins, *other]).plot()
    told = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert sum("last" in label or "modal" in label for label in told) == 1
    assert {"last = modal", "modal = last"} & set(told)
    colours = {line.get_label(): line.get_color() for line in figure.axes[0].get_lines()}
    entry = next(i for i, label in enumerate(told) if " = " in label)
    assert figure.axes[0].get_legend().get_lines()[entry].get_color() == colours[told[entry].split(" = ")[-1]]  # on top
    assert "refit" in told  # the same accuracy, but not the same error
    lines = [line for line in figure.axes[0].get_lines() if line.get_label() in (*METHODS, "modal", "refit")]
    lines.sort(key=lambda line: line.get_zorder())
    widths = [line.get_linewidth() for line in lines]
    assert all(lower > upper for lower, upper in pairwise(widths))
    assert figure.axes[-1].get_xticks().tolist() == sorted({100 * row.ratio for row in swept.rows})


def drawn_points(figure: Any) -> dict[str, list[tuple[float, float]]]:
    """Hollow markers of the first panel, by what the legend says."""
    lines = [line for line in figure.axes[0].get_lines() if line.get_markerfacecolor() == "none"]
    assert all(line.get_linestyle() == "None" for line in lines)
    return {str(line.get_label()): list(zip(*line.get_data(), strict=True)) for line in lines}


def test_papers_points_stand_where_the_task_and_the_architecture_are_theirs(swept: Sweep) -> None:
    assert drawn_points(swept.plot()) == {}  # nobody published digits

    def of(task: str, architecture: str = "s5") -> Sweep:
        subject, whole = swept.subject | {"task": task}, swept.whole | {"architecture": architecture}
        return dataclasses.replace(swept, subject=subject, whole=whole)

    figure = of("image").plot()
    points = drawn_points(figure)
    assert points["AIRE, published (another model)"] == [(65.0, 87.3)]
    assert points["LAST, published (another model)"][0] == (30.0, 86.34)
    assert len(points["LAST, published (another model)"]) == 5
    told = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert set(points) <= set(told)
    assert told[-2:] == list(points)  # ours come first
    last = next(line for line in figure.axes[0].get_lines() if line.get_label() == "last")
    theirs = next(line for line in figure.axes[0].get_lines() if str(line.get_label()).startswith("LAST"))
    assert theirs.get_markeredgecolor() == last.get_color()
    assert drawn_points(of("image", "s4d").plot()) == {}
    older = dataclasses.replace(swept, whole={k: v for k, v in swept.whole.items() if k != "architecture"})
    assert drawn_points(older.plot()) == {}


def test_aires_tasks_have_the_mean_of_its_abstract() -> None:
    """60.8 % of the states at 0.29 points, over the six tasks of the Long Range Arena."""
    six = [S5_TABLE[task] for task in ("listops", "text", "retrieval", "image", "pathfinder", "pathx")]
    assert np.mean([aire[0] for _, _, aire in six]) == pytest.approx(60.8, abs=0.05)
    assert np.mean([full - aire[1] for full, _, aire in six]) == pytest.approx(0.29, abs=0.005)


def test_no_point_is_given_twice_and_the_paper_itself_goes_first() -> None:
    for task in {*S5_TABLE, *LAST_CURVES}:
        found = published(task, "s5")
        assert len({(item.method, item.removed) for item in found}) == len(found)
        assert all(item.accuracy <= (item.full or 100.0) for item in found)
    (both,) = [item for item in published("text", "s5") if (item.method, item.removed) == ("last", 60.0)]
    assert (both.key, both.accuracy) == ("GMKP24", 88.52)
    assert {item.key for item in published("smnist", "s5")} == {"SBP25"}
    assert published("text", "s4d") == published("digits", "s5") == ()
