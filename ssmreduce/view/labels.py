"""Names at the ends of a panel's curves, none over another, and the lines that lead to them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from ssmreduce.results import Findings
from ssmreduce.view.canvas import SIZE, Paper, literal
from ssmreduce.view.looks import looks, placed, readable
from ssmreduce.view.losses import Panel, curves
from ssmreduce.view.text import outward

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LEADER = 16.0
"""Points between a panel and the labels of its curves, for the lines that lead there."""


@dataclass(frozen=True, kw_only=True)
class Label:
    """A name beside a panel, and the end of its curve (data coordinates); `leads` unless that lies beyond the scale.

    `first` are the names of curves that are the lowest somewhere.
    """

    text: str
    x: float
    y: float
    colour: str
    height: float = 0.0
    leads: bool = True
    first: bool = False


def labelled(comparison: Findings, panel: Panel, axes: Axes, paper: Paper, inks: dict[str, str]) -> list[Label]:
    """Write the names at the ends of the curves, to the right of the panel, and none over another."""
    size = SIZE - 1.5 if panel.linear else SIZE - 2.5
    ends = sorted(_named_ends(comparison, panel, axes, paper, inks), key=lambda end: end.y)
    if not ends:
        return []
    _, top = axes.get_ylim()
    pixels = axes.transData.transform([(end.x, min(end.y, top)) for end in ends])
    heights = axes.transAxes.inverted().transform(pixels)[:, 1].tolist()
    tall = axes.get_window_extent().height * 72.0 / axes.figure.dpi
    labels = []
    for end, height in zip(ends, placed(heights, 1.25 * size / tall, 0.0, 1.0)):
        axes.annotate(
            end.text,
            xy=(1.0, height),
            xycoords="axes fraction",
            xytext=(LEADER, 0.0),
            textcoords="offset points",
            fontsize=size,
            fontweight="bold" if end.first else "normal",
            color=readable(end.colour, inks["ink"], inks["paper"]),
            va="center",
            annotation_clip=False,
        )
        labels.append(replace(end, height=height))
    return labels


def lead(axes: Axes, labels: list[Label]) -> None:
    """Draw the lines from the ends of the curves to their names, once the panel has its size."""
    from matplotlib.lines import Line2D

    wide = axes.get_window_extent().width * 72.0 / axes.figure.dpi
    for label in labels:
        if label.leads:
            start = axes.transAxes.inverted().transform(axes.transData.transform((label.x, label.y)))
            line = Line2D(
                [start[0] + 3.0 / wide, 1.0 + (LEADER - 2.0) / wide],
                [start[1], label.height],
                transform=axes.transAxes,
                color=label.colour,
                linewidth=0.6,
                clip_on=False,
            )
            line.set_in_layout(False)
            axes.add_artist(line)


def _named_ends(comparison: Findings, panel: Panel, axes: Axes, paper: Paper, inks: dict[str, str]) -> list[Label]:
    """Name, last point and colour of every curve, the floor's included."""
    found, look = curves(comparison, panel), looks(comparison, paper)
    _, high = axes.get_ylim()
    ends = []
    for curve in found:
        end = float(curve.values[-1])
        told = f" \u2191 {outward(end, 1, 3)}" if end > high else ""
        ends.append(
            Label(
                text=literal(curve.label + told),
                x=float(curve.orders[-1]),
                y=end,
                colour=look[curve.names[0]].colour,
                leads=end <= high,
                first=curve.first,
            )
        )
    lines = axes.get_lines()
    if panel.linear:
        x = float(max((curve.orders[-1] for curve in found), default=max(comparison.orders, default=0)))
        ends.append(Label(text="floor: no method gets below", x=x, y=1.0, colour=inks["floor"]))
    elif panel.spread == "relative" and len(lines) > len(found):
        at, values = (np.asarray(data, dtype=float) for data in lines[-1].get_data())
        ends.append(Label(text="floor", x=float(at[-1]), y=float(values[-1]), colour=inks["floor"]))
    return ends
