"""A sweep on a screen: accuracy in percent, a line a method, a column a ratio, one table for each allocation."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from lra.sweep.grid import OWN, WHOLE_MODEL
from lra.sweep.result import Row, Sweep

WIDTH = 140
"""Of the text, for grids of about fifteen ratios; a screen that is narrower breaks the lines itself."""


def allocations(sweep: Sweep) -> list[str]:
    """Allocations that rows were asked with; methods that spread the budget themselves are listed with all of them."""
    found = dict.fromkeys(row.allocation for row in sweep.rows if row.allocation != WHOLE_MODEL)
    return list(found) or [WHOLE_MODEL]


def rows_of(sweep: Sweep, allocation: str) -> dict[str, list[Row]]:
    """Rows by method, best mean accuracy first; methods that spread the budget themselves are among them."""
    found: dict[str, list[Row]] = {}
    for row in sweep.rows:
        if row.allocation in (allocation, WHOLE_MODEL):
            found.setdefault(row.method, []).append(row)

    def mean(rows: list[Row]) -> float:
        known = [row.accuracy for row in rows if row.accuracy is not None]
        return float(np.mean(known)) if known else 0.0

    return dict(sorted(found.items(), key=lambda item: -mean(item[1])))


def heading(allocation: str) -> str:
    """How the budget is spread, for people."""
    if allocation == OWN:
        return "each method's own allocation"
    return "whole models" if allocation == WHOLE_MODEL else f"allocation: {allocation}"


def subject(sweep: Sweep) -> str:
    """What was measured, in one phrase."""
    told = sweep.subject
    return f"{told['checkpoint']}, {told['examples']} examples of the {told['split']} split"


def told(sweep: Sweep) -> str:
    """The tables, and what was refused."""
    ratios = sorted({row.ratio for row in sweep.rows})
    text = io.StringIO()
    console = Console(file=text, width=WIDTH, color_system=None)
    whole = f"whole model {100 * sweep.whole['accuracy']:.2f} % with {sweep.whole['states']} states"
    console.print(f"{subject(sweep)}: accuracy in percent; {whole}", markup=False, highlight=False)
    for allocation in allocations(sweep):
        console.print(f"\n{heading(allocation)}", markup=False)
        table = Table(box=SIMPLE_HEAD)
        table.add_column("states removed", no_wrap=True)
        for ratio in ratios:
            table.add_column(f"{100 * ratio:g} %", justify="right", no_wrap=True)
        for method, rows in rows_of(sweep, allocation).items():
            cells = [_cell([row for row in rows if row.ratio == ratio]) for ratio in ratios]
            name = f"{method} *" if rows[0].allocation == WHOLE_MODEL else method
            table.add_row(name, *cells)
        console.print(table)
    if any(row.allocation == WHOLE_MODEL for row in sweep.rows):
        console.print("* reduces the whole model, and spreads the budget itself")
    if any(row.seed for row in sweep.rows):
        console.print("± half the spread from the worst seed to the best", markup=False)
    refusals = {f"{row.method}: {row.status}": None for row in sweep.rows if row.status != "ok"}
    for refusal in refusals:
        console.print(f"- refused: {refusal}", markup=False)
    return text.getvalue()


def _cell(rows: Sequence[Row]) -> str:
    known = [100 * row.accuracy for row in rows if row.accuracy is not None]
    if not known:
        return "-" if rows else ""
    mean = f"{np.mean(known):.1f}"
    return mean if len(known) == 1 else f"{mean} ±{(max(known) - min(known)) / 2:.1f}"
