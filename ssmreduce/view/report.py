"""The comparison as one HTML file that needs nothing else: no script, no link, figures inside."""

from __future__ import annotations

import base64
import html as markup
from collections.abc import Iterable
from importlib import resources
from pathlib import Path
from string import Template
from typing import Any

from rich.text import Text

from ssmreduce.files.storage import write_files
from ssmreduce.results import Comparison, Row
from ssmreduce.view.table import columns, describe, number, peer_summary
from theory.errors import MissingDependencyError

EXPLAINED = (
    (
        "order",
        "Stored complex states of the reduced layer: what its scan costs. A stored state of a real layer stands for a "
        "conjugate pair, two states of the real system.",
    ),
    (
        "error",
        "The H-infinity norm of the layer minus the reduced layer: the largest factor by which any input can come out "
        "wrong, in the root of summed squares. A certified bracket: the left end is a gain that a frequency attains, "
        "the right end is proved. It is the error of the system as written, parameters in the precision in which they "
        "are stored.",
    ),
    ("relative", "The same divided by the norm of the layer (the upper end, rounded up)."),
    (
        "bound",
        "What the method promises before the error is known, rounding of the stored parameters included. Balanced "
        "truncation: twice the sum of the cut Hankel singular values. Dropping modes: the sum of "
        "2|c||b|/(1-|pole|) over the dropped ones. bound/error tells how much it overstates.",
    ),
    (
        "floor",
        "sigma_(r+1): by the theorem of Adamyan, Arov and Krein no system of this order (with the D of the layer) "
        "comes closer, whatever the method.",
    ),
    (
        "LAST eq. 3",
        "The quantity by which LAST (NeurIPS 2024) estimates the error of dropping states. It is a score, not a "
        "bound: it can be smaller than the error.",
    ),
    ("time", "Wall time of the reduction itself, without its certificate."),
    (
        "python-control",
        "A second opinion. “agrees”: python-control's linfnorm of the error system lies in the bracket. “witness "
        "agrees”: its frequency response at the peak was compared instead, since linfnorm would have taken too long. "
        "“wrong”: its value is below a gain that a frequency attains.",
    ),
    ("status", "“ok”, or what the numbers of the row do not say. * marks the smallest error of each order."),
)

CELLS = {"green": "good", "yellow": "warn", "red": "bad"}


def html(comparison: Comparison, path: str | Path | None = None) -> str:
    """Return the report; write it to `path` if given, whole or not at all.

    Without matplotlib the report has no figure, and says so.

    Raises
    ------
    OSError
        The folder of `path` is missing or cannot be written to (:class:`CheckpointIOError`).
    """
    head, *rest = describe(comparison)
    page = Template(_page()).substitute(
        title=_escaped(f"ssmreduce: {comparison.subject.get('name') or comparison.subject['kind']}"),
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
    if path is not None:
        write_files({Path(path): page.encode()})
    return page


def _page() -> str:
    return (resources.files("ssmreduce") / "templates" / "report.html").read_text(encoding="utf-8")


def _escaped(value: Any) -> str:
    return markup.escape(str(value))


def _verdict(comparison: Comparison) -> str:
    if not comparison.violations:
        swept = comparison.provenance.get("sweep_points")
        more = " An independent frequency sweep found no gain above any bracket." if swept else ""
        return f'<p class="verdict good">floor ≤ error ≤ bound holds in every row.{more}</p>'
    items = "".join(f"<li>{_escaped(item)}</li>" for item in comparison.violations)
    return f'<div class="verdict bad"><p>A law is violated; do not trust these rows:</p><ul>{items}</ul></div>'


def _answer(comparison: Comparison) -> str:
    """The smallest error of each order, in words: what most readers came for."""
    items = []
    for order in comparison.orders:
        best = comparison.best(order)
        if best is not None and best.error is not None and best.relative_error is not None:
            ratio = f"{best.error.upper / best.floor:.2f} times the floor" if best.floor > 0 else "floor 0"
            items.append(
                f"<tr><td>{order}</td><td>{_escaped(best.title or best.method)}</td>"
                f"<td>{100 * best.relative_error.upper:.3g} %</td><td>{ratio}</td></tr>"
            )
    head = "<tr><th>order</th><th>smallest error by</th><th>relative</th><th>against the floor</th></tr>"
    return f"<table class='small'><thead>{head}</thead><tbody>{''.join(items)}</tbody></table>" if items else ""


def _figure(comparison: Comparison) -> str:
    from ssmreduce.view.plot import image, plot

    try:
        data = base64.b64encode(image(plot(comparison), "png", dpi=130)).decode("ascii")
    except MissingDependencyError as error:
        return f'<p class="warn">No figure: {_escaped(error)}</p>'
    alternative = (
        "Errors, bounds and floor over the order; Hankel singular values; poles of the layer and of two reductions"
    )
    return f'<img alt="{alternative}" src="data:image/png;base64,{data}">'


def _table(comparison: Comparison) -> str:
    shown = columns(comparison)
    head = "".join(f'<th class="{justify}">{_escaped(title)}</th>' for title, justify, _, _ in shown)
    body, previous = [], None
    for row in comparison.rows:
        first = " class='first'" if previous is not None and row.order != previous else ""
        previous = row.order
        body.append(f"<tr{first}>{''.join(_cell(row, justify, content(row)) for _, justify, _, content in shown)}</tr>")
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(body)}</tbody></table>"


def _cell(row: Row, justify: str, content: Any) -> str:
    style = str(content.style) if isinstance(content, Text) else ""
    classes = (
        [justify] + [name for colour, name in CELLS.items() if colour in style] + (["best"] if "bold" in style else [])
    )
    text = content.plain if isinstance(content, Text) else str(content)
    return f'<td class="{" ".join(classes)}">{_escaped(text)}</td>'


def _explanations(comparison: Comparison) -> str:
    titles = {title for title, *_ in columns(comparison)} | {"error"}
    return "".join(f"<dt>{_escaped(word)}</dt><dd>{_escaped(text)}</dd>" for word, text in EXPLAINED if word in titles)


def _provenance(comparison: Comparison) -> str:
    facts = dict(comparison.provenance)
    versions = facts.pop("versions", {})
    facts["versions"] = ", ".join(f"{name} {version}" for name, version in versions.items())
    facts["largest Hankel singular value"] = number(float(comparison.hsv[0])) if comparison.hsv.size else "none"
    return _pairs((key.replace("_", " "), value) for key, value in facts.items())


def _pairs(pairs: Iterable[tuple[str, Any]]) -> str:
    return "".join(f"<tr><th>{_escaped(key)}</th><td>{_escaped(value)}</td></tr>" for key, value in pairs)
