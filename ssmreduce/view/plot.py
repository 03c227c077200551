"""The figure of a comparison: errors over the floor, over the norm, in H2; bounds; Hankel values; poles."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ssmreduce.results import Findings
from ssmreduce.view.canvas import SIZE, Paper, figure_of, literal, on
from ssmreduce.view.labels import labelled, lead
from ssmreduce.view.losses import PANELS, SPREAD, Panel, draw
from ssmreduce.view.states import alike, hankel_panels, pole_panels

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.gridspec import SubplotSpec

WITHIN = 0.98
"""Part of the width that the layout fills: letters are up to some percent wider at another resolution."""

EDGE = 0.005
"""Part of width and height that stays free at the edges of the page."""

PAD = 0.08
"""Inches around each panel: names at the ends of curves must not touch the next panel's axis."""

LONGEST_TITLE = 80
"""Letters of a layer's name above the figure."""


def plot(comparison: Findings, paper: Paper = "light", like: Figure | None = None) -> Figure:
    """Draw all panels on one page, on white or black paper; those of `like`, on the other paper, are in their places.

    Raises
    ------
    MissingDependencyError
        Matplotlib is not installed.
    """
    with on(paper) as inks:
        figure = figure_of(14.5, 9.2)
        from matplotlib.layout_engine import ConstrainedLayoutEngine

        rows = figure.add_gridspec(2, 1, height_ratios=[1.45, 1.0])
        drawn: list[tuple[Panel, Axes]] = []
        main = [PANELS[key] for key in ("over_floor", "relative", "relative_h2")]
        for panel, cell in zip(main, _cells(rows[0], [1.5, 1.0, 1.0])):
            drawn.append((panel, figure.add_subplot(cell)))
        hankel, poles = hankel_panels(comparison, inks), pole_panels(comparison, paper, inks)
        small: list[Callable[[Axes], None]] = [*hankel, *poles]
        cells = _cells(rows[1], [1.0] * (1 + len(small)))
        drawn.append((PANELS["bound"], figure.add_subplot(cells[0])))
        for panel, axes in drawn:
            draw(comparison, panel, axes, paper, inks)
        made = [figure.add_subplot(cell) for cell in cells[1:]]
        for make, axes in zip(small, made):
            make(axes)
        alike(made[len(hankel) :])
        figure.suptitle(_title(comparison), fontsize=SIZE + 2)
        layout = figure.get_layout_engine()
        assert isinstance(layout, ConstrainedLayoutEngine)
        layout.set(rect=(EDGE, EDGE, WITHIN - EDGE, 1.0 - 2 * EDGE), w_pad=PAD, h_pad=PAD)
        if like is None:
            layout.execute(figure)  # the heights of the panels, before their labels are placed
        else:
            _place(figure, like)
        labels = [(axes, labelled(comparison, panel, axes, paper, inks)) for panel, axes in drawn]
        if like is None:
            layout.execute(figure)
        figure.set_layout_engine(None)  # all is in its place
        for axes in figure.axes:  # the layout's last digits change from one run to the next
            left, bottom, width, height = (round(float(value), 6) for value in axes.get_position().bounds)
            axes.set_position((left, bottom, width, height))
        for axes, told in labels:
            lead(axes, told)
        return figure


def _title(comparison: Findings) -> str:
    """What was reduced; and of a batch, what the curves are."""
    subject = comparison.subject
    name = literal(str(subject.get("name") or subject["kind"])[:LONGEST_TITLE])
    title = f"{name}: {subject['states']} stored states"
    return f"{title} in each of {subject['channels']} channels ({SPREAD})" if subject.get("batch") else title


def _cells(row: SubplotSpec, widths: list[float]) -> list[SubplotSpec]:
    """The cells of one row of panels."""
    inner = row.subgridspec(1, len(widths), width_ratios=widths)
    return [inner[0, i] for i in range(len(widths))]


def _place(figure: Figure, like: Figure) -> None:
    """Put panels and title where they are in a figure of the same comparison: a layout takes longer than all else."""
    for axes, twin in zip(figure.axes, like.axes, strict=True):
        axes.set_position(twin.get_position())
    for text, twin_text in zip(figure.texts, like.texts, strict=True):
        text.set_position(twin_text.get_position())


def draw_errors(comparison: Findings, axes: Axes) -> None:
    """Draw the main panel alone, into axes of the caller's."""
    with on("light") as inks:
        draw(comparison, PANELS["over_floor"], axes, "light", inks, alone=True)
        lead(axes, labelled(comparison, PANELS["over_floor"], axes, "light", inks))
