"""The figure of a comparison: errors over the floor, over the norm, in H2; bounds; Hankel values; poles."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ssmreduce.results import Findings
from ssmreduce.view.canvas import SIZE, Paper, figure_of, literal, on
from ssmreduce.view.losses import PANELS, Panel, draw, labelled, lead
from ssmreduce.view.states import state_panels

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.gridspec import SubplotSpec

WITHIN = 0.98
"""Part of the width that the layout fills: letters are up to some percent wider at another resolution."""

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
        small: list[Callable[[Axes], None]] = state_panels(comparison, paper, inks)
        cells = _cells(rows[1], [1.0] * (1 + len(small)))
        drawn.append((PANELS["bound"], figure.add_subplot(cells[0])))
        for panel, axes in drawn:
            draw(comparison, panel, axes, paper, inks)
        for make, cell in zip(small, cells[1:]):
            make(figure.add_subplot(cell))
        name = literal(str(comparison.subject.get("name") or comparison.subject["kind"])[:LONGEST_TITLE])
        channels = f" in each of {comparison.subject['channels']} channels" if comparison.subject.get("batch") else ""
        figure.suptitle(
            f"{name}: {comparison.subject['states']} stored states{channels}, every reduction", fontsize=SIZE + 3
        )
        layout = figure.get_layout_engine()
        assert isinstance(layout, ConstrainedLayoutEngine)
        layout.set(rect=(0.0, 0.0, WITHIN, 1.0))
        if like is None:
            layout.execute(figure)  # the heights of the panels, before their labels are placed
        else:
            _place(figure, like)
        labels = [(axes, labelled(comparison, panel, axes, paper, inks)) for panel, axes in drawn]
        if like is None:
            layout.execute(figure)
        figure.set_layout_engine(None)  # all is in its place
        for axes, told in labels:
            lead(axes, told)
        return figure


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
        draw(comparison, PANELS["over_floor"], axes, "light", inks)
        lead(axes, labelled(comparison, PANELS["over_floor"], axes, "light", inks))
