"""Panels with a curve a method over the order: what each reduction loses, and what its method promised."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ssmreduce.results import Findings, Row
from ssmreduce.view.canvas import SIZE, Paper, literal, logarithmic, order_ticks
from ssmreduce.view.looks import Curve, ceiling, leading, looks, merged

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True, kw_only=True)
class Panel:
    """What a panel shows of a row.

    Attributes
    ----------
    value : callable
        ``value(row)``, or None.
    spread : str
        Key of ``row.channels`` that has the same for the channels of a batch; empty for none: the worst channel's.
    linear : bool
        A linear axis, on which outliers are clipped; else a logarithmic one.
    """

    title: str
    axis: str
    value: Callable[[Row], float | None]
    spread: str = ""
    linear: bool = False


PANELS = {
    "over_floor": Panel(
        title="Certified error as a multiple of the floor",
        axis=r"$\|G-G_r\|_\infty\,/\,$floor",
        value=lambda row: row.over_floor,
        spread="over_floor",
        linear=True,
    ),
    "relative": Panel(
        title=r"Worst case ($H_\infty$)",
        axis=r"$\|G-G_r\|_\infty\,/\,\|G\|_\infty$",
        value=lambda row: None if row.relative_error is None else float(row.relative_error.upper),
        spread="relative",
    ),
    "relative_h2": Panel(
        title=r"White noise ($H_2$)",
        axis=r"$\|G-G_r\|_2\,/\,\|G\|_2$",
        value=lambda row: row.relative_h2,
        spread="relative_h2",
    ),
    "bound": Panel(
        title="A-priori bound",
        axis="bound / floor",
        value=lambda row: None if row.bound is None or not row.floor > 0 else row.bound / row.floor,
    ),
}
"""The panels by name."""


def curves(comparison: Findings, panel: Panel) -> list[Curve]:
    """The curves of a panel that can be told apart; first those that are the lowest somewhere."""
    found = []
    for method in comparison.methods:
        points = [(row.order, *ends) for row in comparison.of(method) if (ends := _ends(row, panel)) is not None]
        if points:
            orders, values, low, high = np.array(points, dtype=float).T
            bands = bool((low < high).any())
            found.append(
                Curve(
                    names=(method,),
                    orders=orders.astype(int),
                    values=values,
                    low=low if bands else None,
                    high=high if bands else None,
                )
            )
    return sorted(leading(merged(found, notes=panel.linear)), key=lambda curve: not curve.first)


def _ends(row: Row, panel: Panel) -> tuple[float, float, float] | None:
    """Value and quartiles: of a batch the median channel's, else the value three times; None if there is none."""
    if not row.delivered:
        return None
    over = row.channels.get(panel.spread, [])
    if over:
        _, low, middle, high, _ = over
    else:
        value = panel.value(row)
        if value is None:
            return None
        low = middle = high = value
    return (middle, low, high) if np.isfinite(middle) and middle > 0 else None


SPREAD = "median over the channels; bands: their middle half, for the best of each kind"
"""What the curves of a batch are."""


def draw(
    comparison: Findings, panel: Panel, axes: Axes, paper: Paper, inks: dict[str, str], *, alone: bool = False
) -> None:
    """Draw the curves, without their labels; `alone` under a title that says what a batch's curves are."""
    found, look = curves(comparison, panel), looks(comparison, paper)
    banded = _foremost(comparison, found)
    for i, curve in enumerate(found):
        style = look[curve.names[0]]
        rank = 1.0 - i / max(len(found) - 1, 1)  # curves may touch: later ones, not the best, are thinner and on top
        axes.plot(
            curve.orders,
            curve.values,
            color=style.colour,
            marker=style.marker,
            markersize=4.0 + 2.5 * rank,
            markeredgecolor=inks["paper"],
            markeredgewidth=0.6,
            linewidth=1.2 + 1.2 * rank,
            label=literal(curve.label),
            zorder=3 + 0.05 * i,
        )
        if curve.low is not None and curve.high is not None and curve.names[0] in banded:
            axes.fill_between(curve.orders, curve.low, curve.high, color=style.colour, alpha=0.16, linewidth=0)
    axes.set_title(f"{panel.title}{_which(comparison, panel, alone)}", fontsize=SIZE)
    orders = sorted({int(order) for curve in found for order in curve.orders})
    if panel.linear:
        _clip(comparison, axes, found, paper, inks)
    else:
        _floor_of_norm(comparison, panel, axes, orders, inks)
        logarithmic(axes)
    order_ticks(axes, orders or comparison.orders)
    axes.tick_params(labelsize=SIZE - 2)
    axes.set_xlabel(f"order (stored states){_exact(comparison)}", fontsize=SIZE - 1)
    axes.set_ylabel(panel.axis, fontsize=SIZE)
    axes.grid(True, which="major", color=inks["grid"], linewidth=0.7)
    axes.set_axisbelow(True)


def _which(comparison: Findings, panel: Panel, alone: bool) -> str:
    """Whose curves these are, of a batch."""
    if not comparison.subject.get("batch"):
        return ""
    if not panel.spread:
        return " (worst channel)"
    return f"\n({SPREAD})" if alone and any(row.channels.get(panel.spread) for row in comparison.rows) else ""


def _exact(comparison: Findings) -> str:
    """Orders that no panel of errors can show: nothing is lost there."""
    lost = {row.order for row in comparison.rows if row.error is None or row.error.upper > 0}
    exact = [str(order) for order in comparison.orders if order not in lost]
    return f"; no error at {', '.join(exact)}" if exact else ""


def _foremost(comparison: Findings, found: list[Curve]) -> set[str]:
    """The lowest curve of each kind: more bands than these would hide each other."""
    families = {row.method: row.family for row in comparison.rows}
    best: dict[str, Curve] = {}
    for curve in found:
        kind = families[curve.names[0]]
        if kind not in best or curve.values.mean() < best[kind].values.mean():
            best[kind] = curve
    return {curve.names[0] for curve in best.values()}


def _clip(comparison: Findings, axes: Axes, found: list[Curve], paper: Paper, inks: dict[str, str]) -> None:
    """The floor at 1, and a scale for what matters: what lies beyond it leaves through the top at an arrow."""
    families = {row.method: row.family for row in comparison.rows}
    points = {curve.names[0]: list(zip(curve.orders.tolist(), curve.values.tolist())) for curve in found}
    top = max(ceiling(points, families), 1.2)
    axes.set_ylim(0.85, top)
    axes.axhspan(0.0, 1.0, color=inks["floor"], alpha=0.13, linewidth=0)
    axes.axhline(1.0, color=inks["floor"], linewidth=2.0, zorder=2.5)
    for curve in found:
        colour, x, y = looks(comparison, paper)[curve.names[0]].colour, curve.orders, curve.values
        leaves = np.flatnonzero((y[:-1] <= top) & (y[1:] > top))
        across = x[leaves] + (top - y[leaves]) / (y[leaves + 1] - y[leaves]) * (x[leaves + 1] - x[leaves])
        at = [*across.tolist(), *x[:1][y[:1] > top].tolist()]
        if at:
            axes.plot(at, [top] * len(at), "^", markersize=7, color=colour, clip_on=False, zorder=6)


def _floor_of_norm(comparison: Findings, panel: Panel, axes: Axes, orders: list[int], inks: dict[str, str]) -> None:
    """The floor over the norm, where the panel has that scale."""
    upper = float(comparison.norm.upper)
    if panel.spread != "relative" or not upper > 0 or comparison.subject.get("batch"):
        return
    lowest: dict[int, float] = {}
    for row in comparison.rows:
        if row.delivered and row.floor > 0 and row.order in orders:
            lowest[row.order] = min(row.floor / upper, lowest.get(row.order, np.inf))
    if lowest:
        at = sorted(lowest)
        axes.plot(at, [lowest[order] for order in at], "-|", color=inks["floor"], linewidth=2.0, zorder=2.5)
