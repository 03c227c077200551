"""Panels about states: Hankel singular values, poles of the layer and of two reductions; of a batch their spread."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ssmreduce.results import Findings, Row
from ssmreduce.view.canvas import SIZE, Paper, literal, logarithmic, order_ticks
from ssmreduce.view.looks import LONGEST, looks
from theory.arithmetic.rounding import EPS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Array = NDArray[Any]
Inks = dict[str, str]


def hankel_panels(comparison: Findings, inks: Inks) -> list[Callable[[Axes], None]]:
    """The panel of Hankel singular values as a function of its axes; none where there are no values."""
    there = comparison.hsv.size and comparison.hsv[0] > 0
    return [lambda axes: draw_hankel(comparison, axes, inks)] if there else []


def pole_panels(comparison: Findings, paper: Paper, inks: Inks) -> list[Callable[[Axes], None]]:
    """The panels of poles that this comparison has something for, each a function of its axes."""
    panels: list[Callable[[Axes], None]] = []
    order = showcase_order(comparison)
    here = [row for row in comparison.rows if row.order == order and row.delivered and row.poles is not None]
    for row in (_best(row for row in here if row.kept is None), _best(row for row in here if row.kept is not None)):
        if row is not None and row.poles is not None and comparison.poles.size and row.poles.size:
            panels.append(lambda axes, row=row: draw_poles(comparison, row, axes, paper, inks))  # type: ignore[misc]
    return panels


def alike(panels: Sequence[Axes]) -> None:
    """Give panels of poles one scale: they are there to be compared."""
    for name in ("x", "y"):
        limits = [limit for axes in panels for limit in getattr(axes, f"get_{name}lim")()]
        for axes in panels:
            getattr(axes, f"set_{name}lim")(min(limits), max(limits))
    for axes in panels:
        logarithmic(axes)


def showcase_order(comparison: Findings) -> int | None:
    """Order whose poles are drawn: the one closest to half the states."""
    half = comparison.subject["states"] / 2
    drawable = [row.order for row in comparison.rows if row.poles is not None and row.order]
    return min(drawable, key=lambda order: (abs(order - half), order), default=None)


def _best(rows: Iterable[Row]) -> Row | None:
    return min(rows, key=lambda row: float(row.error.upper) if row.error else np.inf, default=None)


def _plain(axes: Axes, inks: Inks, title: str) -> None:
    axes.set_title(title, fontsize=SIZE)
    axes.tick_params(labelsize=SIZE - 2)
    axes.grid(True, color=inks["grid"], linewidth=0.7)
    axes.set_axisbelow(True)


def draw_hankel(comparison: Findings, axes: Axes, inks: Inks) -> None:
    """Hankel singular values over the order that they cut at; of a batch the median channel and the spread."""
    per_order = comparison.subject["real_states"] / max(comparison.subject["states"], 1)
    colour = "#2F8FD0"
    if comparison.hsv_channels.shape[1]:
        least, low, middle, high, most = (np.where(row > 0, row, np.nan) for row in comparison.hsv_channels)
        place = (np.arange(middle.size) + 0.5) / per_order
        axes.fill_between(place, least, most, color=colour, alpha=0.12, linewidth=0)
        axes.fill_between(place, low, high, color=colour, alpha=0.25, linewidth=0)
        axes.plot(place, middle, color=colour, linewidth=1.8)
        top, bottom = np.nanmax(most), np.nanmin(np.where(np.isfinite(least), least, np.nan))
        _plain(axes, inks, "Hankel singular values\n(median channel; middle half; all)")
        axes.set_ylabel(r"$\sigma_i$", fontsize=SIZE)
    else:
        values = np.asarray(comparison.hsv) / comparison.hsv[0]
        place = (np.arange(values.size) + 0.5) / per_order
        axes.plot(place[values > 0], values[values > 0], ".", color=colour, markersize=4)
        top, bottom = 1.0, float(values[values > 0].min())
        rounding = values.size * EPS
        if values.min() < 10 * rounding:
            axes.axhspan(0.0, rounding, color=inks["soft"], alpha=0.25, linewidth=0)
            axes.annotate("rounding", (place[0], rounding), fontsize=SIZE - 2, color=inks["soft"], va="bottom")
        _plain(axes, inks, "Hankel singular values")
        axes.set_ylabel(r"$\sigma_i/\sigma_1$", fontsize=SIZE)
    axes.set_yscale("log")
    axes.set_ylim(max(0.5 * bottom, 1e-18 * top), 2.0 * top)
    order_ticks(axes, comparison.orders)
    axes.set_xlabel("order (stored states)", fontsize=SIZE - 1)


def draw_poles(comparison: Findings, row: Row, axes: Axes, paper: Paper, inks: Inks) -> None:
    """Poles of the layer, and what became of them.

    All poles sit next to the circle, so the radius is shown as the margin ``1 - |pole|`` on a logarithmic axis,
    against the angle: slow modes lie low, fast-decaying ones high.
    """
    batch = bool(comparison.subject.get("batch"))
    discrete = comparison.subject["dt"] is not None
    colour = looks(comparison, paper)[row.method].colour
    name = literal(row.method[:LONGEST])
    if batch and row.attained:
        _spread_of_poles(comparison, row, axes, colour, inks)
        _plain(axes, inks, f"Margins of the poles: {name}, order {row.order}\n(median channel, middle half)")
    else:
        _scattered(comparison, row, axes, colour, inks)
        _plain(axes, inks, f"Poles: {name}, order {row.order}")
        axes.set_xlabel(
            "angle of the pole (rad/sample)" if discrete else "imaginary part of the pole (rad/s)", fontsize=SIZE - 1
        )
    logarithmic(axes)
    axes.set_ylabel(r"$1-|\lambda|$" if discrete else r"$-\mathrm{Re}\,\lambda$", fontsize=SIZE)
    axes.legend(fontsize=SIZE - 2, loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=2, frameon=False)


def _margin(poles: Array, discrete: bool) -> Array:
    if not discrete:
        return np.asarray(-poles.real)
    return np.asarray(-np.expm1(np.log(np.abs(np.where(poles == 0, 1e-300, poles)))))


def _scattered(comparison: Findings, row: Row, axes: Axes, colour: str, inks: Inks) -> None:
    poles, margin = np.asarray(comparison.poles).ravel(), np.asarray(comparison.margin).ravel()
    discrete = comparison.subject["dt"] is not None

    def where(values: Any) -> Any:
        angle = np.angle(values) if discrete else np.asarray(values).imag
        return np.abs(angle) if comparison.subject["real"] else angle

    hollow: dict[str, Any] = {"s": 22, "facecolors": "none", "edgecolors": inks["soft"], "linewidths": 0.9}
    if row.kept is not None and row.kept.ndim == 1:
        kept = np.zeros(poles.size, dtype=bool)
        kept[row.kept] = True
        axes.scatter(where(poles[~kept]), margin[~kept], label=f"dropped ({int((~kept).sum())})", **hollow)
        axes.scatter(where(poles[kept]), margin[kept], s=24, color=colour, label=f"kept ({int(kept.sum())})")
    else:
        made = np.asarray(row.poles).ravel()
        axes.scatter(where(poles), margin, label=f"layer ({poles.size})", **hollow)
        axes.scatter(
            where(made), _margin(made, discrete), s=28, color=colour, marker="x", label=f"reduced ({made.size})"
        )


def _spread_of_poles(comparison: Findings, row: Row, axes: Axes, colour: str, inks: Inks) -> None:
    """Sorted margins within a channel: the median over the channels, and the middle half."""
    from matplotlib.ticker import MaxNLocator

    made = np.asarray(row.poles)
    discrete = comparison.subject["dt"] is not None
    whole = np.asarray(comparison.margin).reshape(-1, comparison.subject["states"])
    groups = (
        ("layer", whole, inks["soft"]),
        ("reduced", _margin(made.reshape(-1, row.attained or 1), discrete), colour),
    )
    for label, margins, ink in groups:
        ranked = np.sort(np.where(margins > 0, margins, np.nan), axis=-1)
        low, middle, high = np.nanquantile(ranked, (0.25, 0.5, 0.75), axis=0)
        place = np.arange(1, middle.size + 1)
        axes.fill_between(place, low, high, color=ink, alpha=0.25, linewidth=0)
        axes.plot(place, middle, ".-", color=ink, linewidth=1.5, markersize=5, label=label)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("rank within the channel, slowest first", fontsize=SIZE - 1)
