"""Tables of the pages that are made from the registries: a new method or allocation is in them by being there."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from ssmreduce import ALLOCATIONS, METHODS
from ssmreduce.methods.named import literal


def methods() -> str:
    """Names of the methods, what they do, what is known before, their parameters, their allocation."""
    rows = []
    for name, method in METHODS.items():
        rule = method.allocation if isinstance(method.allocation, str) else method.allocation.name
        defaults = ", ".join(f"`{key}={literal(getattr(method, key))}`" for key in method.parameters())
        rows.append((f"`{name}`", method.summary, method.guarantee or "nothing", defaults or "–", f"`{rule}`"))
    return _table(("`method`", "what it does", "known before", "parameters", "`allocation`"), rows)


def allocations() -> str:
    """Names of the allocations, and what they do."""
    rows = [(f"`{name}`", allocation.summary) for name, allocation in ALLOCATIONS.items()]
    return _table(("`allocation`", "a layer gets"), rows)


MARKS: dict[str, Callable[[], str]] = {"<!-- methods -->": methods, "<!-- allocations -->": allocations}


def filled(text: str) -> str:
    """Put the tables where a page has their marks."""
    for mark, table in MARKS.items():
        if mark in text:
            text = text.replace(mark, table())
    return text


def _table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [titles, ["---"] * len(titles), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
