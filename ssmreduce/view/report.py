"""The comparison as one HTML file that needs nothing else: no script, no link, figures inside."""

from __future__ import annotations

import base64
import html as markup
from collections.abc import Iterable
from importlib import resources
from string import Template
from typing import Any

from ssmreduce.results import Findings
from ssmreduce.view.columns import cells, columns
from ssmreduce.view.pages import describe, peer_summary
from ssmreduce.view.plot import image, plot
from ssmreduce.view.table import Cell, Styled
from ssmreduce.view.text import number, percent, shown
from ssmreduce.view.verdict import verdict
from theory.errors import MissingDependencyError


def html(comparison: Findings) -> str:
    """Return the report; without matplotlib it has no figure, and says so."""
    head, *rest = describe(comparison)
    page = Template(_page()).substitute(
        title=_escaped(f"ssmreduce: {comparison.subject.get('name') or comparison.subject['kind']}"),
        words=_escaped(verdict(comparison)),
        head=_escaped(head),
        description="".join(f"<p>{_escaped(line)}</p>" for line in rest),
        verdict=_verdict(comparison),
        answer=_answer(comparison),
        figure=_figure(comparison),
        table=_table(comparison),
        peers="".join(f"<p>{_escaped(line)}</p>" for line in peer_summary(comparison)),
        columns=_explanations(comparison),
        provenance=_provenance(comparison),
    )
    return page


def fragment(comparison: Findings) -> str:
    """Return the verdict and the table alone, for a notebook: no style, no figure."""
    head = describe(comparison)[0]
    words = f"<p><strong>{_escaped(verdict(comparison))}</strong></p>"
    return f"<div><p>{_escaped(head)}</p>{words}{_laws(comparison)}{_table(comparison)}</div>"


def _page() -> str:
    return (resources.files("ssmreduce") / "templates" / "report.html").read_text(encoding="utf-8")


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
    items = []
    for order in comparison.orders:
        best = comparison.winner(order)
        if best is not None and best.error is not None and best.relative_error is not None:
            ratio = f"{best.error.upper / best.floor:.2f} times the floor" if best.floor > 0 else "floor 0"
            items.append(
                f"<tr><td>{order}</td><td>{_escaped(best.title or best.method)}</td>"
                f"<td>{percent(best.relative_error)}</td><td>{ratio}</td></tr>"
            )
    head = "<tr><th>order</th><th>smallest error by</th><th>relative</th><th>against the floor</th></tr>"
    return f"<table class='small'><thead>{head}</thead><tbody>{''.join(items)}</tbody></table>" if items else ""


def _figure(comparison: Findings) -> str:
    try:
        data = base64.b64encode(image(plot(comparison), "png", dpi=130)).decode("ascii")
    except MissingDependencyError as error:
        return f'<p class="warn">No figure: {_escaped(error)}</p>'
    alternative = (
        "Errors, bounds and floor over the order; Hankel singular values; poles of the layer and of two reductions"
    )
    return f'<img alt="{alternative}" src="data:image/png;base64,{data}">'


def _table(comparison: Findings) -> str:
    kept = columns(comparison)
    rows, starts = cells(comparison, kept)
    sides = [column.heading.justify for column in kept]
    head = "".join(f'<th class="{c.heading.justify}">{_escaped(c.heading.title)}</th>' for c in kept)
    body = "".join(
        f"<tr{' class=first' if i in starts else ''}>{''.join(map(_cell, sides, row))}</tr>"
        for i, row in enumerate(rows)
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _cell(side: str, cell: Cell) -> str:
    styled = cell if isinstance(cell, Styled) else Styled(cell)
    return f'<td class="{f"{side} {styled.style}".strip()}">{_escaped(styled.text)}</td>'


def _explanations(comparison: Findings) -> str:
    return "".join(
        f"<dt>{_escaped(c.word)}</dt><dd>{_escaped(f'{c.meaning[0].upper()}{c.meaning[1:]}. {c.detail}'.strip())}</dd>"
        for c in columns(comparison)
        if c.meaning
    )


def _provenance(comparison: Findings) -> str:
    facts = dict(comparison.provenance)
    versions = facts.pop("versions", {})
    facts["versions"] = ", ".join(f"{name} {version}" for name, version in versions.items())
    facts["largest Hankel singular value"] = number(float(comparison.hsv[0])) if comparison.hsv.size else "none"
    return _pairs((key.replace("_", " "), value) for key, value in facts.items())


def _pairs(pairs: Iterable[tuple[str, Any]]) -> str:
    return "".join(f"<tr><th>{_escaped(key)}</th><td>{_escaped(value)}</td></tr>" for key, value in pairs)
