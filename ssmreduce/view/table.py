"""The one way to print a table: a few lines, headings over rows, a few lines; as plain text or for a terminal.

Every line and cell is cleaned of characters that a terminal would act on (:func:`ssmreduce.view.text.shown`), and none
is read as markup: names that come out of files are data.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
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
    starts : frozenset of int
        Rows that a gap sets apart from the row before.
    """

    head: tuple[Cell, ...] = ()
    headings: tuple[Heading, ...]
    rows: tuple[tuple[Cell, ...], ...]
    starts: frozenset[int] = frozenset()
    tail: tuple[Cell, ...] = ()

    def __str__(self) -> str:
        return printed(self)


def printed(sheet: Sheet, width: int | None = None, *, colour: bool = False) -> str:
    """Return a sheet as text, with the control sequences of a terminal for `colour`.

    Without `width` it is as wide as it needs to be; otherwise columns are left out by their rank until it fits.
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
        head, tail = ([_text(cell) for cell in cells] for cells in (sheet.head, sheet.tail))
        console.print(Group(*head, _fitting(sheet, width, console), *tail), soft_wrap=width is None)
    return "\n".join(line.rstrip() for line in capture.get().splitlines())


def _text(cell: Cell) -> Text:
    if isinstance(cell, str):
        return Text(shown(cell))
    return Text(shown(cell.text), style=COLOURS[cell.style])


def _fitting(sheet: Sheet, width: int | None, console: Console) -> Table:
    kept = list(range(len(sheet.headings)))
    measure = Console(width=WIDE, file=io.StringIO(), legacy_windows=False)
    while True:
        table = _table(sheet, kept)
        worst = max(kept, key=lambda i: sheet.headings[i].rank)
        if width is None or measure.measure(table).maximum <= width or sheet.headings[worst].rank == 0:
            return table
        kept.remove(worst)


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
