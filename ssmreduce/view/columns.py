"""The columns of a comparison: title, meaning and content of each, written once.

The terminal's table, the HTML report and the documentation are made from :data:`COLUMNS`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ssmreduce.results import ABOVE, AGREES, BELOW, DISAGREES, WITNESS, Findings, Opinion, Row
from ssmreduce.view.table import Cell, Heading, Styled
from ssmreduce.view.text import DASH, duration, ends, number, outward, percent


@dataclass(frozen=True, kw_only=True)
class Column:
    """One column.

    Attributes
    ----------
    heading : Heading
    content : callable
        ``content(row, best)`` is the cell, for a row that has the smallest error of its order or has not.
    word, meaning, detail : str
        The entry of the glossary: the word, one line, and what else the report says. An empty meaning has no entry.
    narrowed : callable or None
        ``narrowed(rows)`` is the meaning for a table of these rows, where not all of it concerns them.
    value : callable or None
        ``value(row)`` is what the report sorts by; None for the text of the cell.
    present : callable
        ``present(row)``: whether the row has anything to say here; a column in which no row has is left out.
    """

    heading: Heading
    content: Callable[[Row, bool], Cell]
    word: str = ""
    meaning: str = ""
    detail: str = ""
    value: Callable[[Row], float | None] | None = None
    present: Callable[[Row], bool] = lambda row: True
    narrowed: Callable[[Sequence[Row]], str] | None = None

    def says(self, rows: Sequence[Row]) -> str:
        """The meaning, in a table of these rows."""
        return self.meaning if self.narrowed is None else self.narrowed(rows)


KINDS = {
    "balancing": "balancing (projections from Gramians)",
    "descent": "descent (searches from there)",
    "selection": "selection (of stored poles)",
    "recorded": "recorded (from inputs)",
    "baseline": "baseline",
}
"""What the kinds of methods are."""


def _kinds(rows: Sequence[Row]) -> str:
    """The kinds that are there."""
    there = {row.family for row in rows}
    return ", ".join(told for kind, told in KINDS.items() if kind in there)


def _method(row: Row, best: bool) -> Cell:
    return Styled(f"{row.method} *", "best") if best else row.method


def _status(row: Row, best: bool) -> Cell:
    return Styled(row.status, "" if row.status == "ok" else "warn")


def said(opinion: Opinion | None) -> Cell:
    """What python-control says, in few words and no rounder than it is."""
    if opinion is None:
        return DASH
    if opinion.verdict == AGREES:
        return Styled("inside", "good")
    if opinion.verdict in (BELOW, ABOVE):
        return f"{opinion.verdict} by {outward(abs(opinion.gap), 1, 2)}"
    if opinion.verdict == WITNESS:
        return "witness agrees"
    if opinion.verdict == DISAGREES:
        if opinion.in_conflict:
            return Styled("CONTRADICTS", "bad")
        return Styled(f"wrong: {number(opinion.value)}", "warn")
    return Styled(opinion.verdict, "warn")


COLUMNS = (
    Column(
        heading=Heading(title="order"),
        content=lambda row, best: str(row.order),
        value=lambda row: float(row.order),
        word="order",
        meaning="stored states of the reduced layer: what its scan costs",
        detail="A stored state of a real layer stands for a conjugate pair, two states of the real system.",
    ),
    Column(
        heading=Heading(title="method", justify="left"),
        content=_method,
        word="method",
        meaning="its registered name, with the parameters that were changed; * marks the smallest error of each order",
    ),
    Column(
        heading=Heading(title="kind", justify="left", rank=4),
        content=lambda row, best: row.family,
        word="kind",
        meaning=", ".join(KINDS.values()),
        narrowed=_kinds,
        present=lambda row: bool(row.family),
    ),
    Column(
        heading=Heading(title="error ≥", rank=5),
        content=lambda row, best: ends(row.error)[0],
        value=lambda row: None if row.error is None else float(row.error.lower),
        word="error ≥",
        meaning="the lower end of the bracket: a gain that a frequency attains",
    ),
    Column(
        heading=Heading(title="error ≤"),
        content=lambda row, best: ends(row.error)[1],
        value=lambda row: None if row.error is None else float(row.error.upper),
        word="error ≤",
        meaning="H-infinity norm of layer minus reduced layer, as written, at most; certified",
        detail="The largest factor by which any input can come out wrong, in the root of summed squares. The left end "
        "is a gain that a frequency attains, the right end is proved. It is the error of the system as written, "
        "parameters in the precision in which they are stored.",
    ),
    Column(
        heading=Heading(title="× floor", rank=1),
        content=lambda row, best: DASH if row.over_floor is None else outward(row.over_floor, 1, 3),
        value=lambda row: row.over_floor,
        word="× floor",
        meaning="the error as a multiple of the floor, which no layer with so many states gets below",
    ),
    Column(
        heading=Heading(title="relative", rank=2),
        content=lambda row, best: percent(row.relative_error),
        value=lambda row: None if row.relative_error is None else float(row.relative_error.upper),
        word="relative",
        meaning="the error over the norm of the layer: the largest quotient that both brackets allow, rounded up",
    ),
    Column(
        heading=Heading(title="H2 error"),
        content=lambda row, best: number(row.h2_error),
        value=lambda row: row.h2_error,
        word="H2 error",
        meaning="the same error in H2: root mean square of what white noise makes of it; float64, not certified",
        detail="The worst case is one frequency and direction, this is the mean over all of them. Of a batch all "
        "channels together.",
        present=lambda row: row.delivered,
    ),
    Column(
        heading=Heading(title="relative H2", rank=2),
        content=lambda row, best: DASH if row.relative_h2 is None else f"{number(100 * row.relative_h2)} %",
        value=lambda row: row.relative_h2,
        word="relative H2",
        meaning="the H2 error over the H2 norm of the layer",
        present=lambda row: row.relative_h2 is not None,
    ),
    Column(
        heading=Heading(title="bound", rank=3),
        value=lambda row: row.bound,
        content=lambda row, best: number(row.bound) if row.bound is None else outward(row.bound, 1, 4),
        word="bound",
        meaning="what the method promises before the error is computed",
        detail="Rounding of the stored parameters included. Balanced truncation: twice the sum of the cut Hankel "
        "singular values. Dropping modes: the sum of 2|c||b|/(1-|pole|) over the dropped ones.",
    ),
    Column(
        heading=Heading(title="bound/error", rank=6),
        value=lambda row: row.looseness,
        content=lambda row, best: number(row.looseness, 3),
        word="bound/error",
        meaning="how much the bound overstates; never below 1, since both are proved",
    ),
    Column(
        heading=Heading(title="floor", rank=3),
        value=lambda row: row.floor if row.delivered else None,
        content=lambda row, best: outward(row.floor, -1, 4) if row.delivered else DASH,
        word="floor",
        meaning="Hankel singular value sigma_(r+1): no layer with so many states comes closer, whatever the method",
        detail="By the theorem of Adamyan, Arov and Krein, for reduced systems with the D of the layer.",
    ),
    Column(
        heading=Heading(title="LAST eq. 3", rank=8),
        value=lambda row: row.last_quantity,
        content=lambda row, best: number(row.last_quantity),
        word="LAST eq. 3",
        meaning="root of the sum of LAST's squared scores of the removed states: a score, not a bound",
        detail="LAST (NeurIPS 2024) estimates the error of dropping states by it; it can be smaller than the error.",
        present=lambda row: row.last_quantity is not None,
    ),
    Column(
        heading=Heading(title="time", rank=7),
        value=lambda row: row.seconds if row.delivered else None,
        content=lambda row, best: duration(row.seconds) if row.delivered else DASH,
        word="time",
        meaning="wall time of the reduction itself, without its certificate",
    ),
    Column(
        heading=Heading(title="python-control", justify="left", rank=7),
        content=lambda row, best: said(row.crosscheck),
        word="python-control",
        meaning="where the value of its linfnorm lies: inside the bracket, or outside by this relative distance",
        detail="It is asked for far more digits than the bracket has. “below”, “above”: outside by less than the "
        "tolerance it was asked for. “witness agrees”: only its gain at our peak was asked for, since linfnorm would "
        "have taken too long. “wrong”: its value is below a gain that a frequency attains, by more than its tolerance. "
        "“undecided”: float64 cannot tell.",
        present=lambda row: row.crosscheck is not None,
    ),
    Column(
        heading=Heading(title="status", justify="left", rank=3, widest=60),
        content=_status,
        present=lambda row: row.status != "ok",
        word="status",
        meaning="ok, or what the numbers of the row do not say",
    ),
)
"""All columns, from left to right."""


def columns(findings: Findings, rows: Sequence[Row] | None = None) -> tuple[Column, ...]:
    """The columns in which some row has something to say."""
    listed = findings.rows if rows is None else rows
    return tuple(column for column in COLUMNS if any(column.present(row) for row in listed))


def folded(findings: Findings) -> tuple[Row, ...]:
    """The best row of each kind of method at each order, smallest errors first.

    Of a kind that did not deliver there, one that says why.
    """
    best: dict[tuple[int, str], Row] = {}
    for row in findings.rows:
        key = (row.order, row.family)
        if key not in best or _upper(row) < _upper(best[key]):
            best[key] = row
    return tuple(sorted(best.values(), key=lambda row: (row.order, _upper(row))))


def _upper(row: Row) -> float:
    return float("inf") if row.error is None else float(row.error.upper)


def cells(
    findings: Findings, shown: tuple[Column, ...], rows: Sequence[Row]
) -> tuple[tuple[tuple[Cell, ...], ...], frozenset[int]]:
    """The cells of these columns, row by row, and the rows that start a new order."""
    best = {order: findings.winner(order) for order in findings.orders}
    lines = tuple(tuple(column.content(row, best[row.order] is row) for column in shown) for row in rows)
    starts = (i for i in range(1, len(rows)) if rows[i].order != rows[i - 1].order)
    return lines, frozenset(starts)


def statuses(rows: Sequence[Row]) -> tuple[Cell, ...]:
    """What the rows say besides numbers, a line for each sentence: for tables without that column."""
    said_by: dict[tuple[int, str], list[str]] = {}
    for row in rows:
        if row.status != "ok":
            said_by.setdefault((row.order, row.status), []).append(row.method)
    return tuple(
        Styled(f"order {order}, {', '.join(methods)}: {status}", "warn") for (order, status), methods in said_by.items()
    )


def glossary_in_markdown() -> str:
    """Every column and its meaning as a definition list, for the documentation."""
    entries = (column for column in COLUMNS if column.meaning)
    return "\n".join(f"{c.word}\n: {c.meaning}. {c.detail}".rstrip() + "\n" for c in entries)
