"""Tables of the pages that are made from the registries and from recorded runs: what is new there is in them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

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


RECORDED = Path(__file__).resolve().parent / "recorded"
HALF = 32
"""Of the 64 states of the layer that ``compare.json`` is about."""


def compared() -> str:
    """Of every method in ``compare.json``, half of the states kept: error, H2 error, seconds, and accuracy if recorded.

    Best error first. The accuracy is that of the whole model with half of the states of its layers removed.
    """
    from ssmreduce.view.text import outward

    def recorded(name: str) -> Any:
        return json.loads((RECORDED / f"{name}.json").read_text(encoding="utf-8"))["rows"]

    accuracy = {
        row["method"]: f"{row['accuracy']:.2f}"
        for row in recorded("accuracy")
        if (row["checkpoint"], row["removed"], row["allocation"]) == ("smnist_s5", 0.5, None)
    }
    rows = [row for row in recorded("compare") if row["order"] == HALF and row["error"] is not None]
    rows.sort(key=lambda row: row["error"][1] / row["floor"])
    cells = [
        (
            f"`{row['method']}`", outward(row["error"][1] / row["floor"], 1, 3), f"{row['h2_error']:.3f}",
            f"{row['seconds']:.3g}", accuracy.get(row["method"], "–"),
        )
        for row in rows
    ]  # fmt: skip
    return _table(("measured", "error, floors", "H2 error", "seconds", "accuracy, %"), cells)


MARKS: dict[str, Callable[[], str]] = {
    "<!-- methods -->": methods, "<!-- allocations -->": allocations, "<!-- compared -->": compared,
}  # fmt: skip


def filled(text: str) -> str:
    """Put the tables where a page has their marks."""
    for mark, table in MARKS.items():
        if mark in text:
            text = text.replace(mark, table())
    return text


def _table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [titles, ["---"] * len(titles), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
