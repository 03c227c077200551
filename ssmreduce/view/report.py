"""The comparison as one HTML file that needs nothing else: no link, figures and one small script inside.

A content security policy lets no other script run, whatever a name may hold; names are escaped besides.
"""

from __future__ import annotations

import base64
import hashlib
import html as markup
import math
from collections.abc import Iterable, Sequence
from importlib import resources
from string import Template
from typing import Any

from ssmreduce.results import Findings, Row
from ssmreduce.view.canvas import image
from ssmreduce.view.columns import Column, cells, columns, folded
from ssmreduce.view.heat import heat_maps
from ssmreduce.view.pages import AS_ASKED, describe, not_run, peer_summary
from ssmreduce.view.plot import plot
from ssmreduce.view.table import Cell, Styled
from ssmreduce.view.text import DASH, ends, number, outward, percent, shown
from ssmreduce.view.verdict import called, verdict
from theory.errors import MissingDependencyError


def html(comparison: Findings) -> str:
    """Return the report; without matplotlib it has no figure, and says so."""
    head, *rest = describe(comparison)
    script = _file("sort.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
    page = Template(_file("report.html")).substitute(
        policy=f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'",
        script=script,
        title=_escaped(f"ssmreduce: {comparison.subject.get('name') or comparison.subject['kind']}"),
        words=_escaped(verdict(comparison)),
        head=_escaped(head),
        description="".join(f"<p>{_escaped(line)}</p>" for line in rest),
        verdict=_verdict(comparison),
        answer=_answer(comparison),
        heat=heat_maps(comparison),
        left="".join(f'<p class="note">{_escaped(line)}</p>' for line in not_run(comparison)),
        figure=_figure(comparison),
        table=_table(comparison),
        peers="".join(f"<p>{_escaped(line)}</p>" for line in peer_summary(comparison)),
        columns=_explanations(comparison),
        provenance=_provenance(comparison),
    )
    return page


def fragment(comparison: Findings) -> str:
    """Return the verdict and the best of each kind at each order, for a notebook: no figure, and no style sheet."""
    head = describe(comparison)[0]
    words = f"<p><strong>{_escaped(verdict(comparison))}</strong></p>"
    every = comparison.provenance.get("methods") == AS_ASKED
    rows = comparison.rows if every else folded(comparison)
    whole = len(comparison.rows)
    told = f"<p>The best of each kind at each order; all {whole} rows: print(comparison.table(every=True))</p>"
    more = told if len(rows) < whole else ""
    return f"<div><p>{_escaped(head)}</p>{words}{_laws(comparison)}{_plain_table(comparison, rows)}{more}</div>"


def _plain_table(comparison: Findings, listed: Sequence[Row]) -> str:
    """The rows as a table that needs no style sheet; those of the smallest errors are bold."""
    kept = columns(comparison, listed)
    rows, starts = cells(comparison, kept, listed)
    side = [f"text-align: {column.heading.justify}" for column in kept]
    head = "".join(f'<th style="{s}">{_escaped(c.heading.title)}</th>' for s, c in zip(side, kept, strict=True))
    body = ""
    for i, (row, line) in enumerate(zip(listed, rows, strict=True)):
        line_above = "; border-top: 1px solid" if i in starts else ""
        bold = "; font-weight: bold" if row is comparison.winner(row.order) else ""
        texts = (cell.text if isinstance(cell, Styled) else cell for cell in line)
        tds = "".join(f'<td style="{s}{line_above}{bold}">{_escaped(t)}</td>' for s, t in zip(side, texts, strict=True))
        body += f"<tr>{tds}</tr>"
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _file(name: str) -> str:
    return (resources.files("ssmreduce") / "templates" / name).read_text(encoding="utf-8")


def _escaped(value: Any) -> str:
    return markup.escape(shown(value))


def _verdict(comparison: Findings) -> str:
    return _interrupted(comparison) + _laws(comparison)


def _interrupted(comparison: Findings) -> str:
    told = comparison.provenance.get("interrupted")
    return f'<p class="verdict bad">Interrupted: {_escaped(told)}</p>' if told else ""


def _laws(comparison: Findings) -> str:
    if not comparison.violations:
        swept = comparison.provenance.get("sweep_points")
        more = " An independent frequency sweep found no gain above any bracket." if swept else ""
        return f'<p class="verdict good">floor ≤ error ≤ bound holds in every row.{more}</p>'
    items = "".join(f"<li>{_escaped(item)}</li>" for item in comparison.violations)
    return f'<div class="verdict bad"><p>A law is violated; do not trust these rows:</p><ul>{items}</ul></div>'


def _answer(comparison: Findings) -> str:
    """The smallest error of each order, in words: what most readers came for."""
    items, kinds = [], ("right wider", "right", "right", "right")
    for order in comparison.orders:
        best = comparison.winner(order)
        if best is None or best.error is None:
            continue
        who = called(best) if best.error.upper > 0 else "every method: nothing is lost"
        numbers = (
            ends(best.error)[1],
            DASH if best.over_floor is None else outward(best.over_floor, 1, 3),
            percent(best.relative_error),
            DASH if best.relative_h2 is None else f"{number(100 * best.relative_h2)} %",
        )
        cells = "".join(f'<td class="{kind}">{_whole(text)}</td>' for kind, text in zip(kinds, numbers, strict=True))
        items.append(f'<tr><td class="right">{order}</td><td>{_escaped(who)}</td>{cells}</tr>')
    titles = ("error ≤", "× floor", "relative", "relative H2")
    head = "".join(f'<th class="{kind}">{title}</th>' for kind, title in zip(kinds, titles, strict=True))
    head = f'<tr><th class="right">order</th><th>smallest error by</th>{head}</tr>'
    return f"<table class='small'><thead>{head}</thead><tbody>{''.join(items)}</tbody></table>" if items else ""


def _whole(text: str) -> str:
    """A number that stays on one line with its unit."""
    return text.replace(" ", "\u00a0")


def _figure(comparison: Findings) -> str:
    """The figure on white paper, and on black for readers whose pages are dark."""
    try:
        white = plot(comparison)
        light, dark = (
            "data:image/png;base64," + base64.b64encode(image(figure, "png", dpi=120)).decode("ascii")
            for figure in (white, plot(comparison, "dark", like=white))
        )
    except MissingDependencyError as error:
        return f'<p class="warn">No figure: {_escaped(error)}</p>'
    alternative = (
        "Errors over the floor, over the norm and in H2, and bounds, over the order; Hankel singular values; poles of "
        "the layer and of two reductions"
    )
    return (
        f'<picture><source srcset="{dark}" media="screen and (prefers-color-scheme: dark)">'
        f'<img alt="{alternative}" src="{light}"></picture>'
    )


def _table(comparison: Findings) -> str:
    kept = columns(comparison)
    rows, starts = cells(comparison, kept, comparison.rows)
    head = "".join(f'<th class="{c.heading.justify}{_stays(c)}">{_escaped(c.heading.title)}</th>' for c in kept)
    body = "".join(
        f"<tr{' class=first' if i in starts else ''}>{''.join(map(_cell, kept, line, [row] * len(kept)))}</tr>"
        for i, (row, line) in enumerate(zip(comparison.rows, rows))
    )
    return f'<table class="rows"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'


def _stays(column: Column) -> str:
    """The class of the column that stays in sight on a narrow screen, and of those that the heat map has there."""
    return {"method": " stay", "kind": " wider", "error ≥": " wider"}.get(column.word, "")


def _cell(column: Column, cell: Cell, row: Row) -> str:
    styled = cell if isinstance(cell, Styled) else Styled(cell)
    value = None if column.value is None else column.value(row)
    known = "" if value is None or not math.isfinite(value) else f' data-v="{value:.12g}"'
    kind = f"{column.heading.justify}{_stays(column)} {styled.style}".strip()
    return f'<td class="{kind}"{known}>{_escaped(styled.text)}</td>'


def _explanations(comparison: Findings) -> str:
    return "".join(
        f"<dt>{_escaped(c.word)}</dt><dd>{_escaped(f'{says[0].upper()}{says[1:]}. {c.detail}'.strip())}</dd>"
        for c in columns(comparison)
        if (says := c.says(comparison.rows))
    )


def _provenance(comparison: Findings) -> str:
    facts = dict(comparison.provenance)
    versions = facts.pop("versions", {})
    facts["versions"] = ", ".join(f"{name} {version}" for name, version in versions.items())
    facts["largest Hankel singular value"] = number(float(comparison.hsv[0])) if comparison.hsv.size else "none"
    return _pairs((key.replace("_", " "), value) for key, value in facts.items())


def _pairs(pairs: Iterable[tuple[str, Any]]) -> str:
    return "".join(f"<tr><th>{_escaped(key)}</th><td>{_escaped(value)}</td></tr>" for key, value in pairs)
