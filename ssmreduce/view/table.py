"""The one way to print a table: a few lines, headings over rows, a few lines; as plain text or for a terminal.

Every line and cell is cleaned of characters that a terminal would act on (:func:`ssmreduce.view.text.shown`), and none
is read as markup: names that come out of files are data.
"""

from __future__ import annotations

import io
import textwrap
from dataclasses import dataclass, field
from typing import Literal

from rich import box
from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from ssmreduce.view.text import shown

WIDE = 400
"""Columns of a terminal that nothing has to fit into."""

COLOURS = {"": "", "good": "green", "warn": "yellow", "bad": "bold red", "best": "bold", "dim": "dim"}
"""What the styles of a cell are on a terminal; the report has classes of the same names."""


@dataclass(frozen=True)
class Styled:
    """Text with one of the styles of :data:`COLOURS`."""

    text: str
    style: str = ""


INDENT = 16
"""Characters of a legend's words."""

Cell = str | Styled


@dataclass(frozen=True, kw_only=True)
class Heading:
    """A column: its title, and what happens to it where room is short.

    Attributes
    ----------
    rank : int
        The column of the highest rank is left out first; those of rank 0 always stay.
    widest : int or None
        Characters after which the text of a cell is broken into lines; None for never.
    """

    title: str
    justify: Literal["left", "right"] = "right"
    rank: int = 0
    widest: int | None = None


@dataclass(frozen=True, kw_only=True)
class Sheet:
    """Lines above, a table, lines below; ``str()`` prints it as wide as it needs to be.

    Attributes
    ----------
    legend : dict of int to tuple of str
        Word and meaning of a column, by its number: printed for the columns that are.
    instead : dict of int to tuple of Cell
        Lines that say what a column would, by its number: printed where there is no room for it.
    more : str
        How to see the columns for which a terminal has no room.
    last : tuple of Cell
        Lines below the legend.
    starts : frozenset of int
        Rows that a gap sets apart from the row before.
    """

    head: tuple[Cell, ...] = ()
    headings: tuple[Heading, ...]
    rows: tuple[tuple[Cell, ...], ...]
    starts: frozenset[int] = frozenset()
    tail: tuple[Cell, ...] = ()
    legend: dict[int, tuple[str, str]] = field(default_factory=dict)
    instead: dict[int, tuple[Cell, ...]] = field(default_factory=dict)
    more: str = ""
    last: tuple[Cell, ...] = ()

    def __str__(self) -> str:
        return printed(self)


def printed(sheet: Sheet, width: int | None = None, *, colour: bool = False) -> str:
    """Return a sheet as text, with the control sequences of a terminal for `colour`.

    Without `width` it is as wide as it needs to be; otherwise there are as many columns as fit, those of a low rank
    first, and the others are named below the table.
    """
    console = Console(
        width=width or WIDE,
        file=io.StringIO(),
        force_terminal=colour,
        color_system="standard" if colour else None,
        legacy_windows=False,
        highlight=False,
        emoji=False,
        markup=False,
    )
    with console.capture() as capture:
        kept = _fitting(sheet, width)
        elsewhere = [line for i, lines in sheet.instead.items() if i not in kept for line in lines]
        gone = [heading.title for i, heading in enumerate(sheet.headings) if i not in kept and i not in sheet.instead]
        missing = (f"no room here for: {', '.join(gone)}. {sheet.more}".rstrip(),) if gone else ()
        legend = tuple(Styled(_hanging(*entry, width), "dim") for i, entry in sheet.legend.items() if i in kept)
        below = (*elsewhere, *missing, *sheet.tail, *legend, *sheet.last)
        lines = [[line for cell in cells for line in _lines(cell)] for cells in (sheet.head, below)]
        console.print(Group(*lines[0], _table(sheet, kept), *lines[1]), soft_wrap=width is None)
    return "\n".join(line.rstrip() for line in capture.get().splitlines())


def _text(cell: Cell) -> Text:
    if isinstance(cell, str):
        return Text(shown(cell))
    return Text(shown(cell.text), style=COLOURS[cell.style])


def _hanging(word: str, meaning: str, width: int | None) -> str:
    """An entry of a legend, the meaning in a column of its own."""
    head = f"{word + ':':<{INDENT}}"
    if width is None:
        return head + meaning
    indent = " " * INDENT
    return "\n".join(textwrap.wrap(meaning, max(width, 2 * INDENT), initial_indent=head, subsequent_indent=indent))


def _lines(cell: Cell) -> list[Text]:
    """The text of a line, broken only where this module broke it."""
    styled = cell if isinstance(cell, Styled) else Styled(cell)
    return [_text(Styled(line, styled.style)) for line in styled.text.split("\n")]


def _fitting(sheet: Sheet, width: int | None) -> list[int]:
    """Numbers of the columns that there is room for: none of a rank is left out for one of a higher rank."""
    if width is None:
        return list(range(len(sheet.headings)))
    measure = Console(width=WIDE, file=io.StringIO(), legacy_windows=False)
    kept = [i for i, heading in enumerate(sheet.headings) if heading.rank == 0]
    for i in sorted(set(range(len(sheet.headings))) - set(kept), key=lambda i: sheet.headings[i].rank):
        wider = sorted([*kept, i])
        if measure.measure(_table(sheet, wider)).maximum <= width:
            kept = wider
    return kept


def _table(sheet: Sheet, kept: list[int]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold", show_edge=False)
    for i in kept:
        heading = sheet.headings[i]
        table.add_column(
            Text(heading.title), justify=heading.justify, no_wrap=heading.widest is None, max_width=heading.widest
        )
    for i, row in enumerate(sheet.rows):
        if i in sheet.starts:
            table.add_section()
        table.add_row(*(_text(row[k]) for k in kept))
    return table
