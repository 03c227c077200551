"""Methods by orders as tables that are read by their colour: the darker, the farther from the best that there can be.

The worst case and white noise stand side by side: what is best in one is often not in the other.
"""

from __future__ import annotations

import html as markup
import math
from collections.abc import Callable

from ssmreduce.results import Findings, Row
from ssmreduce.view.text import DASH, number, outward, shown

HOTTEST = 10.0
"""Multiple of the floor, or of the smallest, from which on a cell is as dark as cells get."""

Value = Callable[[Row], float | None]


def heat_maps(findings: Findings) -> str:
    """The error over the floor; and the H2 error over the layer's H2 norm, dark by multiples of the smallest."""
    floor = _map(
        findings,
        "Worst case: certified error as a multiple of the floor, which no method gets below.",
        lambda row: row.over_floor,
        lambda value: outward(value, 1, 3),
        from_floor=True,
    )
    noise = _map(
        findings,
        "White noise: H2 error in percent of the H2 norm of the layer (float64, not certified).",
        lambda row: None if row.relative_h2 is None else 100.0 * row.relative_h2,
        lambda value: number(value, 3),
        from_floor=False,
    )
    return f'<div class="maps">{floor}{noise}</div>'


def _map(findings: Findings, title: str, value: Value, told: Callable[[float], str], *, from_floor: bool) -> str:
    """One table; `from_floor`: the values are multiples of the least that there can be, else the least that is."""
    if not any(value(row) is not None for row in findings.rows):
        return ""
    best = {order: _best([row for row in findings.rows if row.order == order], value) for order in findings.orders}
    if from_floor:
        best = {order: findings.winner(order) for order in findings.orders}
    at = {(row.method, row.order): row for row in findings.rows}
    head = "".join(f'<th class="right">{order}</th>' for order in findings.orders)
    lines, before = [], None
    for method in sorted(findings.methods, key=lambda name: findings.families.index(findings.of(name)[0].family)):
        family = findings.of(method)[0].family
        cells = ""
        for order in findings.orders:
            row, first = at.get((method, order)), best[order]
            unit = 1.0 if from_floor else (0.0 if first is None else value(first) or 0.0)
            cells += _cell(row, None if row is None else value(row), told, unit, row is not None and row is first)
        line = ' class="first"' if before not in (None, family) else ""
        lines.append(
            f'<tr{line}><th class="stay">{_escaped(method)}</th>{cells}<td class="kind">{_escaped(family)}</td></tr>'
        )
        before = family
    return (
        f'<div class="wide"><p class="note">{_escaped(title)}</p><table class="heat"><thead><tr>'
        f'<th class="stay">method</th>{head}<th>kind</th></tr></thead><tbody>{"".join(lines)}</tbody></table></div>'
    )


def _best(rows: list[Row], value: Value) -> Row | None:
    """The row whose value is the smallest."""
    return min(
        (row for row in rows if value(row) is not None),
        key=lambda row: math.inf if (own := value(row)) is None else own,
        default=None,
    )


def _cell(row: Row | None, value: float | None, told: Callable[[float], str], unit: float, best: bool) -> str:
    if row is None:
        return "<td></td>"
    if value is None:
        why = "nothing is lost" if row.error is not None and row.error.upper == 0 else row.status
        return f'<td class="right" title="{_escaped(why)}">{DASH}</td>'
    far = value / unit if unit > 0 else 1.0
    heat = min(max(math.log(far) / math.log(HOTTEST), 0.0), 1.0) if far > 0 else 0.0
    kind = "right best" if best else "right"
    return f'<td class="{kind}" style="--heat:{100 * heat:.0f}%">{told(value)}</td>'


def _escaped(value: object) -> str:
    return markup.escape(shown(value))
