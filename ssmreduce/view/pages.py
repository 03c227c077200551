"""What the tables say of a comparison and of second opinions on one norm."""

from __future__ import annotations

from collections.abc import Sequence

from ssmreduce.results import (
    ABOVE,
    AGREES,
    BELOW,
    DISAGREES,
    FAILED,
    NOT_AVAILABLE,
    UNDECIDED,
    WITNESS,
    Findings,
    Opinion,
)
from ssmreduce.view import verdict as words
from ssmreduce.view.columns import cells, columns, folded, statuses
from ssmreduce.view.table import Cell, Heading, Sheet, Styled
from ssmreduce.view.text import duration, ends, number, outward
from theory.norms.bracket import Bracket

MOST_OPINIONS = 8
"""Lines on what python-control says otherwise; the report has the rest in its rows."""


# --- a comparison ----------------------------------------------------------------------------------------------------


AS_ASKED = "as asked for"
"""What the provenance says of methods that somebody named: all of their rows are shown."""


def comparison_sheet(findings: Findings, written: Sequence[str] = (), *, every: bool = False, how: str = "") -> Sheet:
    """Lay out the best method of each kind at every order, or every row.

    Parameters
    ----------
    written : sequence of str
        Lines about files, below everything.
    every : bool, keyword only
        All rows; so it is, too, where methods were asked for by name.
    how : str, keyword only
        How to see what is left out.
    """
    everything = every or findings.provenance.get("methods") == AS_ASKED
    listed = findings.rows if everything else folded(findings)
    kept = columns(findings, listed)
    rows, starts = cells(findings, kept, listed)
    first, *rest = describe(findings)
    hidden = len(findings.rows) - len(listed)
    told = f"the best of each kind at each order; {hidden} rows of other methods are left out"
    folding = (f"{told}: {how}" if how else told,) if hidden else ()
    return Sheet(
        head=(Styled(first, "best"), *rest, ""),
        headings=tuple(column.heading for column in kept),
        rows=rows,
        starts=starts,
        tail=(*folding, *not_run(findings), "", *_closing(findings)),
        legend={i: (column.word, column.says(listed)) for i, column in enumerate(kept) if column.meaning},
        instead={i: statuses(listed) for i, column in enumerate(kept) if column.word == "status"},
        more="The report (to_html, --html FILE) and a wider terminal have them.",
        last=("", Styled(words.verdict(findings), "best"), *written),
    )


def not_run(findings: Findings) -> list[str]:
    """A line about the methods that may come closer than any that is shown."""
    names = findings.provenance.get("not_run")
    return [f"not run: {names} (they search for seconds to minutes); ask for them by name"] if names else []


def describe(findings: Findings) -> list[str]:
    """The layer and its norm, in a few lines."""
    s = findings.subject
    what = f"{s['kind']} layer" if s["kind"] in ("S5", "S4D") else s["kind"]
    name = f" {s['name']}" if s.get("name") else ""
    sizes = f"{s['states']} stored states"
    sizes += f" ({s['real_states']} real)" if s["real_states"] != s["states"] else ""
    sizes += (
        f" in each of {s['channels']} channels"
        if s.get("batch")
        else f", {_counted(s['inputs'], 'input')}, {_counted(s['outputs'], 'output')}"
    )
    traits = ["bidirectional"] if s.get("bidirectional") else []
    traits += ["continuous time" if s["dt"] is None else f"discrete time (dt = {s['dt']:g})"]
    traits += [] if s["real"] else ["complex"]
    traits += [f"{s['discretization']}"] if s.get("discretization") else []
    traits += [f"parameters in {s['precision']}"]
    low, high = ends(findings.norm, 6)
    unit = "rad/s" if s["dt"] is None else "rad/sample"
    lines = [
        f"{what}{name}: {sizes}; {', '.join(traits)}",
        f"norm of the layer: {low} to {high}, attained at {number(float(findings.norm.frequency))} {unit}",
    ]
    if s.get("smallest_margin") is not None:
        which = "-Re(pole)" if s["dt"] is None else "1 - |pole|"
        lines[1] += f"; smallest {which}: {number(s['smallest_margin'], 3)}"
    return lines


def _counted(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def peer_summary(findings: Findings) -> list[str]:
    """Where python-control's values lie, counted and measured, and what it got wrong."""
    opinions = [row.crosscheck for row in findings.rows if row.crosscheck is not None]
    if not opinions:
        return []

    def count(verdict: str) -> int:
        return sum(opinion.verdict == verdict for opinion in opinions)

    words = [f"linfnorm lies inside the bracket in {count(AGREES)} of {len(opinions)} rows"]
    for verdict in (BELOW, ABOVE):
        if count(verdict):
            most = max(abs(opinion.gap) for opinion in opinions if opinion.verdict == verdict)
            words.append(f"{verdict} it in {count(verdict)} (by at most {outward(most, 1, 2)})")
    for verdict, told in (
        (WITNESS, "only its gain at the witness was asked for, and agrees, in"),
        (DISAGREES, "it disagrees in"),
        (UNDECIDED, "float64 cannot tell in"),
        (FAILED, "it failed in"),
        (NOT_AVAILABLE, "it was not available in"),
    ):
        words += [f"{told} {count(verdict)}"] if count(verdict) else []
    lines = [f"python-control: {'; '.join(words)}; {duration(sum(o.seconds for o in opinions))}"]
    seen: set[str] = set()
    for row in findings.rows:
        o = row.crosscheck
        if o is not None and o.verdict in (DISAGREES, UNDECIDED, FAILED, NOT_AVAILABLE) and o.detail not in seen:
            seen.add(o.detail)
            lines.append(f"  {row.method}, order {row.order}: {o}" if o.verdict != NOT_AVAILABLE else f"  {o}")
    return lines[: 1 + MOST_OPINIONS]


def _closing(findings: Findings) -> list[Cell]:
    """Laws, the other program, the legend."""
    lines: list[Cell] = []
    if findings.provenance.get("interrupted"):
        lines.append(Styled(f"INTERRUPTED: {findings.provenance['interrupted']}", "warn"))
    if findings.violations:
        lines.append(Styled("A LAW IS VIOLATED; do not trust these rows:", "bad"))
        lines += [Styled(f"  {violation}", "bad") for violation in findings.violations]
    else:
        lines.append(Styled(f"floor <= error <= bound holds in every row{_swept(findings)}", "good"))
    return [*lines, *peer_summary(findings), ""]


def _swept(findings: Findings) -> str:
    if not findings.provenance.get("sweep_points") or findings.provenance.get("interrupted"):
        return ""
    return "; no error found above its bracket by an independent frequency sweep"


# --- one norm --------------------------------------------------------------------------------------------------------


def opinions_sheet(subject: str, bracket: Bracket, opinions: Sequence[Opinion]) -> Sheet:
    """Lay out second opinions on one norm."""
    low, high = ends(bracket, 9)
    ours = ("ssmreduce", f"{low} to {high}", number(float(bracket.frequency), 6), "", f"bracket {bracket.status}")
    rows = [
        (o.source, number(o.value, 9), number(o.frequency, 6), duration(o.seconds) if o.seconds else "", str(o))
        for o in opinions
    ]
    titles = ("source", "value", "at frequency", "time", "verdict")
    headings = tuple(Heading(title=t, justify="left" if t in ("source", "verdict") else "right") for t in titles)
    return Sheet(head=(subject, ""), headings=headings, rows=(ours, *rows))
