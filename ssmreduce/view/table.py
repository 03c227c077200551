"""Comparisons and second opinions as readable text."""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from ssmreduce.results import AGREES, DISAGREES, FAILED, NOT_AVAILABLE, WITNESS, Comparison, Opinion, Row
from theory.norms.bracket import Bracket

if TYPE_CHECKING:
    from ssmreduce.comparison.second_opinions import SecondOpinions

WIDE = 400

LEGEND = (
    (
        "error",
        "H-infinity norm of layer minus reduced layer, as written: at least / at most; certified",
    ),
    ("relative", "the same over the norm of the layer (upper end)"),
    ("bound", "what the method promises before the error is computed"),
    ("floor", "sigma_(r+1): no layer with so many states comes closer, whatever the method"),
    ("LAST eq. 3", "root of the sum of LAST's squared scores of the removed states: a score, not a bound"),
    ("time", "wall time of the reduction, without the certificate"),
    (
        "python-control",
        "agrees: its linfnorm lies in the bracket; witness: only its gain at the peak was asked for",
    ),
    ("status", "ok, or what the numbers of the row do not say; * marks the smallest error of each order"),
)


def number(value: float | None, digits: int = 4) -> str:
    """A number in few characters; a dash for none."""
    if value is None:
        return "–"
    if math.isinf(value) or math.isnan(value):
        return str(value)
    return f"{value:.{digits - 1}e}" if value and not 1e-2 <= abs(value) < 1e4 else f"{value:#.{digits}g}".rstrip(".")


def ends(bracket: Bracket | None, digits: int = 5) -> tuple[str, str]:
    """The two ends, rounded outwards so that the printed bracket still holds the norm."""
    if bracket is None:
        return "–", "–"
    return outward(float(bracket.lower), -1, digits), outward(float(bracket.upper), 1, digits)


def outward(value: float, direction: int, digits: int = 5) -> str:
    """Round to `digits` significant digits, down for direction -1 and up for +1."""
    if value == 0 or not math.isfinite(value):
        return number(value, digits)
    unit = 10.0 ** (math.floor(math.log10(abs(value))) - digits + 1)
    steps = value / unit
    rounded = math.floor(steps) if direction < 0 else math.ceil(steps)
    shown = rounded * unit
    decimals = digits - 1 - math.floor(math.log10(abs(value)))
    return f"{shown:.{max(decimals, 0)}f}" if 1e-2 <= abs(value) < 1e4 else f"{shown:.{digits - 1}e}"


def percent(bracket: Bracket | None) -> str:
    """Upper end of a relative error, in percent, rounded up."""
    if bracket is None:
        return "–"
    value = 100.0 * float(bracket.upper)
    if not math.isfinite(value) or value >= 1e4 or 0 < value < 1e-3:
        return f"{value:.1e} %"
    return f"{math.ceil(value * 1000 - 1e-9) / 1000:.3f} %"


def duration(seconds: float) -> str:
    """Seconds with a fitting unit."""
    return f"{seconds * 1e3:.1f} ms" if seconds < 1 else f"{seconds:.2f} s"


def said(opinion: Opinion | None) -> Text:
    """What python-control says, in few words."""
    if opinion is None:
        return Text("–")
    if opinion.verdict == AGREES:
        return Text("agrees", style="green")
    if opinion.verdict == WITNESS:
        return Text("witness agrees", style="green")
    if opinion.verdict == DISAGREES:
        if opinion.in_conflict:
            return Text("CONTRADICTS", style="bold red")
        return Text(f"wrong: {number(opinion.value)}", style="yellow")
    return Text(opinion.verdict, style="yellow")


Column = tuple[str, str, int, Callable[[Row], Any]]


def columns(comparison: Comparison) -> list[Column]:
    """Title, justification, rank (lower survives longer when the screen is narrow), content."""
    best = {order: comparison.best(order) for order in comparison.orders}

    def mark(row: Row) -> Text:
        winner = best[row.order] is row
        return Text(f"{row.method}{' *' if winner else ''}", style="bold" if winner else "")

    found: list[Column] = [
        ("order", "right", 0, lambda row: str(row.order)),
        ("method", "left", 0, mark),
        ("error ≥", "right", 2, lambda row: ends(row.error)[0]),
        ("error ≤", "right", 0, lambda row: ends(row.error)[1]),
        ("relative", "right", 1, lambda row: percent(row.relative_error)),
        ("bound", "right", 1, lambda row: number(row.bound)),
        ("bound/error", "right", 3, lambda row: "–" if row.looseness is None else f"{row.looseness:.3g}"),
        ("floor", "right", 1, lambda row: number(row.floor)),
        ("LAST eq. 3", "right", 6, lambda row: number(row.last_quantity)),
        ("time", "right", 5, lambda row: duration(row.seconds) if row.delivered else "–"),
        ("python-control", "left", 4, lambda row: said(row.crosscheck)),
        ("status", "left", 2, lambda row: Text(row.status, style="" if row.status == "ok" else "yellow")),
    ]
    if all(row.last_quantity is None for row in comparison.rows):
        found = [column for column in found if column[0] != "LAST eq. 3"]
    if all(row.crosscheck is None for row in comparison.rows):
        found = [column for column in found if column[0] != "python-control"]
    return found


def describe(comparison: Comparison) -> list[str]:
    """The layer and its norm, in a few lines."""
    s = comparison.subject
    what = f"{s['kind']} layer" if s["kind"] in ("S5", "S4D") else s["kind"]
    name = f" {s['name']}" if s.get("name") else ""
    sizes = f"{s['states']} stored states"
    sizes += f" ({s['real_states']} real)" if s["real_states"] != s["states"] else ""
    sizes += (
        f" in each of {s['channels']} channels" if s.get("batch") else f", {s['inputs']} inputs, {s['outputs']} outputs"
    )
    traits = ["bidirectional"] if s.get("bidirectional") else []
    traits += ["continuous time" if s["dt"] is None else f"discrete time (dt = {s['dt']:g})"]
    traits += [] if s["real"] else ["complex"]
    traits += [f"{s['discretization']}"] if s.get("discretization") else []
    traits += [f"parameters in {s['precision']}"]
    low, high = ends(comparison.norm, 6)
    unit = "rad/s" if s["dt"] is None else "rad/sample"
    lines = [
        f"{what}{name}: {sizes}; {', '.join(traits)}",
        f"norm of the layer: {low} to {high}, attained at {number(float(comparison.norm.frequency))} {unit}",
    ]
    if s.get("smallest_margin") is not None:
        which = "-Re(pole)" if s["dt"] is None else "1 - |pole|"
        lines[1] += f"; smallest {which}: {number(s['smallest_margin'], 3)}"
    return lines


def rich_table(comparison: Comparison, width: int | None = None) -> Table:
    """Build the table; the least important columns go first when `width` is too narrow."""
    kept = columns(comparison)
    console = Console(width=WIDE, file=io.StringIO(), legacy_windows=False)
    while True:
        table = _table(comparison, kept)
        needed = console.measure(table).maximum
        worst = max(kept, key=lambda column: column[2])
        if width is None or needed <= width or worst[2] == 0:
            return table
        kept = [column for column in kept if column is not worst]


def _table(comparison: Comparison, kept: list[Column]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold", show_edge=False)
    for title, justify, _, _ in kept:
        table.add_column(title, justify=justify, no_wrap=title != "status", max_width=60 if title == "status" else None)  # type: ignore[arg-type]
    previous: int | None = None
    for row in comparison.rows:
        if previous is not None and row.order != previous:
            table.add_section()
        previous = row.order
        table.add_row(*(content(row) for _, _, _, content in kept))
    return table


def peer_summary(comparison: Comparison) -> list[str]:
    """How many rows python-control has seen, and what it got wrong."""
    opinions = [row.crosscheck for row in comparison.rows if row.crosscheck is not None]
    if not opinions:
        return []
    counts = {
        verdict: sum(o.verdict == verdict for o in opinions)
        for verdict in (AGREES, WITNESS, DISAGREES, NOT_AVAILABLE, FAILED)
    }
    words = [f"linfnorm agrees on {counts[AGREES]} of {len(opinions)} rows"]
    words += (
        [f"the gain at the witness frequency agrees on {counts[WITNESS]} more (linfnorm too slow there)"]
        if counts[WITNESS]
        else []
    )
    words += [f"{counts[DISAGREES]} disagree"] if counts[DISAGREES] else []
    words += [f"{counts[FAILED]} failed"] if counts[FAILED] else []
    words += [f"{counts[NOT_AVAILABLE]} not available"] if counts[NOT_AVAILABLE] else []
    seconds = sum(o.seconds for o in opinions)
    lines = [f"python-control: {', '.join(words)}; {duration(seconds)}"]
    seen: set[str] = set()
    for row in comparison.rows:
        o = row.crosscheck
        if o is not None and o.verdict in (DISAGREES, FAILED, NOT_AVAILABLE) and o.detail not in seen:
            seen.add(o.detail)
            lines.append(f"  {row.method}, order {row.order}: {o}" if o.verdict != NOT_AVAILABLE else f"  {o}")
    return lines[:9]


def closing(comparison: Comparison) -> list[Text]:
    """Laws, the other program, the legend."""
    lines = []
    if comparison.violations:
        lines.append(Text("A LAW IS VIOLATED; do not trust these rows:", style="bold red"))
        lines += [Text(f"  {violation}", style="red") for violation in comparison.violations]
    else:
        swept = comparison.provenance.get("sweep_points")
        how = "; no error found above its bracket by an independent frequency sweep" if swept else ""
        lines.append(Text(f"floor <= error <= bound holds in every row{how}", style="green"))
    lines += [Text(line) for line in peer_summary(comparison)]
    titles = {title for title, *_ in columns(comparison)} | {"error"}
    lines.append(Text(""))
    lines += [Text(f"{word + ':':<16}{meaning}", style="dim") for word, meaning in LEGEND if word in titles]
    return lines


def renderable(comparison: Comparison, width: int | None = None) -> RenderableType:
    """Everything, for a rich console."""
    head = [Text(line, style="bold" if i == 0 else "") for i, line in enumerate(describe(comparison))]
    return Group(*head, Text(""), rich_table(comparison, width), Text(""), *closing(comparison))


def render(comparison: Comparison, width: int | None = None) -> str:
    """Everything, as plain text; as wide as it needs to be unless `width` says otherwise."""
    console = Console(width=width or WIDE, file=io.StringIO(), color_system=None, legacy_windows=False, highlight=False)
    with console.capture() as capture:
        console.print(renderable(comparison, width), soft_wrap=width is None)
    return "\n".join(line.rstrip() for line in capture.get().splitlines())


def render_opinions(opinions: SecondOpinions) -> str:
    """Second opinions on one norm, as plain text."""
    low, high = ends(opinions.bracket, 9)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold", show_edge=False)
    for title in ("source", "value", "at frequency", "time", "verdict"):
        table.add_column(title, justify="left" if title in ("source", "verdict") else "right")
    table.add_row(
        "ssmreduce",
        f"{low} to {high}",
        number(float(opinions.bracket.frequency), 6),
        "",
        f"bracket {opinions.bracket.status}",
    )
    for row in opinions.rows:
        table.add_row(
            row.source,
            number(row.value, 9),
            number(row.frequency, 6),
            duration(row.seconds) if row.seconds else "",
            Text(str(row)),
        )
    console = Console(width=WIDE, file=io.StringIO(), color_system=None, legacy_windows=False, highlight=False)
    with console.capture() as capture:
        console.print(Group(Text(opinions.subject), Text(""), table), soft_wrap=True)
    return "\n".join(line.rstrip() for line in capture.get().splitlines())
