"""The figure: accuracy over the states removed, one line a method; certified and measured errors below."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from lra.sweep.grid import WHOLE_MODEL
from lra.sweep.published import published
from lra.sweep.result import Row, Sweep
from lra.sweep.table import allocations, heading, rows_of, subject
from ssmreduce.view.canvas import COLOURS, MARKERS, literal
from theory.errors import MissingDependencyError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

PANEL, NARROW, LEGEND, HEIGHT = 5.2, 3.4, 2.4, 9.0
"""Inches: width of one panel, of one of several, and of the legend; height of the page."""
SEEN = 2
"""Decimals of a percentage that a figure shows."""
MOST_TICKS = 9
"""Ratios that have a tick each; of more there are some."""
GREY = "0.35"
HEADROOM = 0.12
"""Of the axis of errors, above 100 percent, for the text there."""


def draw(sweep: Sweep) -> Figure:
    """Draw one column of panels for each allocation; bands go from the worst seed to the best.

    Raises
    ------
    MissingDependencyError
        Matplotlib is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingDependencyError("matplotlib", "plot") from None
    rules = allocations(sweep)
    figure = Figure(figsize=((NARROW * len(rules) if len(rules) > 1 else PANEL) + LEGEND, HEIGHT), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(
        3, len(rules), squeeze=False, sharex=True, sharey="row", gridspec_kw={"height_ratios": [1.9, 1.0, 1.0]}
    )
    methods = list(dict.fromkeys(row.method for row in sweep.rows))
    for column, rule in enumerate(rules):
        rows = rows_of(sweep, rule)
        _accuracy(sweep, rows, methods, grid[0, column])
        _published(sweep, methods, grid[0, column])
        _errors(rows, methods, grid[1, column], lambda row: row.error_upper)
        _errors(rows, methods, grid[2, column], lambda row: row.recorded_error)
        grid[0, column].set_title(heading(rule), loc="left", fontsize=10, color=GREY)
        grid[2, column].set_xlabel("states removed (%)")
    ratios = sorted({row.ratio for row in sweep.rows})
    if len(ratios) <= MOST_TICKS:
        grid[0, 0].set_xticks([100 * ratio for ratio in ratios])
    for axes in grid[1:, 0]:  # the row's other panels follow
        bottom, top = axes.get_ylim()
        axes.set_ylim(bottom, max(top, 100.0 * (100.0 / min(bottom, 50.0)) ** HEADROOM))
    grid[0, 0].set_ylabel("accuracy (%)")
    grid[1, 0].set_ylabel("error for all inputs (%)\ncertified, worst layer")
    grid[2, 0].set_ylabel("error on recorded inputs (%)\nmeasured, worst layer")
    lines = grid[0, -1].get_lines()
    ranked = sorted(lines, key=lambda line: (line.get_markerfacecolor() == "none", line.get_zorder()))  # ours first
    named = _together([line for line in ranked if not line.get_label().startswith("_")], list(grid.flat))
    lines = [line for line, _ in named]
    grid[0, -1].legend(
        lines, [told for _, told in named], loc="upper left", bbox_to_anchor=(1.02, 1.0), frameon=False,
        title="best mean accuracy first" + (" (last panel)" if len(rules) > 1 else ""), alignment="left",
    )  # fmt: skip
    figure.suptitle(f"{literal(subject(sweep))}: accuracy after states are removed", fontsize=12, x=0.01, ha="left")
    return figure


def _together(lines: Sequence[Line2D], panels: Sequence[Axes]) -> list[tuple[Line2D, str]]:
    """Lines for the legend and their names: those that lie on one another in every panel have one entry."""
    found: dict[bytes, tuple[Line2D, str]] = {}
    for line in lines:
        label = str(line.get_label())
        where = b"".join(
            np.round(np.array(other.get_data(), dtype=float), SEEN).tobytes()
            for axes in panels
            for other in axes.get_lines()
            if str(other.get_label()) == label or other.get_gid() == label
        )
        _, told = found.get(where, (line, ""))
        found[where] = (line, f"{told} = {label}" if told else label)  # the last one lies on top
    return list(found.values())


def _style(method: str, methods: Sequence[str], under: float = 0.0) -> dict[str, Any]:
    """Colour and marker of a method; wider for what lies `under` others (0 to 1), so that all can be seen."""
    i = methods.index(method)
    return {
        "color": COLOURS[i % len(COLOURS)],
        "marker": MARKERS[(i + i // len(COLOURS)) % len(MARKERS)],
        "markersize": 5.0 + 3.0 * under,
        "linewidth": 1.5 + 2.0 * under,
        "markeredgecolor": "white",
        "markeredgewidth": 0.6,
    }


def _accuracy(sweep: Sweep, rows: dict[str, list[Row]], methods: Sequence[str], axes: Axes) -> None:
    whole, chance = 100 * sweep.whole["accuracy"], 100 / sweep.subject["classes"]
    axes.axhline(whole, color=GREY, linewidth=1.0, linestyle=(0, (4, 2)), zorder=1)
    axes.axhline(chance, color="0.6", linewidth=1.0, linestyle=(0, (1, 2)), zorder=1)
    for rank, (method, own) in enumerate(rows.items()):
        x, low, mean, high = _band(own, lambda row: None if row.accuracy is None else 100 * row.accuracy)
        label = literal(f"{method} (whole model)" if own[0].allocation == WHOLE_MODEL else method)
        style = _style(method, methods, 1 - rank / len(rows))  # the best is the widest, and below the others
        axes.plot(x, mean, **style, label=label, zorder=3 + rank / 100)
        if np.any(high > low):
            axes.fill_between(x, low, high, color=style["color"], alpha=0.18, linewidth=0, zorder=2)
    axes.set_ylim(0, max(103.0, whole + 5))
    axes.annotate(
        f"whole model {whole:.1f} %", (0.99, whole), xycoords=("axes fraction", "data"), xytext=(0, 2),
        textcoords="offset points", fontsize=8, color=GREY, va="bottom", ha="right",
    )  # fmt: skip
    axes.annotate(
        f"chance {chance:.0f} %", (0.01, chance), xycoords=("axes fraction", "data"), xytext=(0, -2),
        textcoords="offset points", fontsize=8, color=GREY, va="top",
    )  # fmt: skip
    axes.grid(True, color="0.92", linewidth=0.7)
    axes.set_axisbelow(True)


def _published(sweep: Sweep, methods: Sequence[str], axes: Axes) -> None:
    """Hollow diamonds: what papers report of other models of this task; dotted from their whole model, if they say."""
    found = published(sweep.subject["task"], sweep.whole.get("architecture", ""))
    for method in dict.fromkeys(item.method for item in found):
        ours = [item for item in found if item.method == method]
        colour = _style(method, methods)["color"] if method in methods else GREY
        label = f"{ours[0].title}, published (another model)"
        axes.plot(
            [item.removed for item in ours], [item.accuracy for item in ours], linestyle="", marker="D", markersize=7,
            markerfacecolor="none", markeredgecolor=colour, markeredgewidth=1.4, label=label, zorder=2.9, clip_on=False,
        )  # fmt: skip
        for item in ours:
            if item.full is not None:
                ends = [0, item.removed], [item.full, item.accuracy]
                axes.plot(*ends, color=colour, linewidth=0.9, linestyle=":", zorder=2)


def _errors(
    rows: dict[str, list[Row]], methods: Sequence[str], axes: Axes, error: Callable[[Row], float | None]
) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    for rank, (method, own) in enumerate(rows.items()):
        x, low, mean, high = _band(own, lambda row: 100 * found if (found := error(row)) else None)
        label = literal(f"{method} (whole model)" if own[0].allocation == WHOLE_MODEL else method)
        style = _style(method, methods, 1 - rank / len(rows))
        (line,) = axes.plot(x, mean, **style, zorder=3 + rank / 100)
        line.set_gid(label)
        if np.any(high > low):
            axes.fill_between(x, low, high, color=style["color"], alpha=0.18, linewidth=0, zorder=2)
    axes.axhline(100, color=GREY, linewidth=1.0, linestyle=(0, (1, 2)), zorder=1)
    axes.annotate(
        "100 %: as large as the layer itself", (0.01, 100), xycoords=("axes fraction", "data"), xytext=(0, 3),
        textcoords="offset points", fontsize=8, color=GREY, va="bottom",
    )  # fmt: skip
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.grid(True, color="0.92", linewidth=0.7)
    axes.set_axisbelow(True)


def _band(rows: Sequence[Row], value: Callable[[Row], float | None]) -> tuple[np.ndarray, ...]:
    """Percent removed; the smallest, mean and largest value over the seeds; None and infinity are left out."""
    by_ratio: dict[float, list[float]] = {}
    for row in rows:
        found = value(row)
        if found is not None and np.isfinite(found):
            by_ratio.setdefault(row.ratio, []).append(found)
    ratios = sorted(by_ratio)
    low, mean, high = (
        np.array([float(take(by_ratio[ratio])) for ratio in ratios]) for take in (np.min, np.mean, np.max)
    )
    return 100 * np.array(ratios), low, mean, high
