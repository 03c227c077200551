"""Draw docs/_static/compare.png again from docs/recorded/compare.json, where only the look of figures has changed.

    python docs/record.py figure

Hankel values are computed anew, and the two reductions whose poles are shown: their errors must be those of the record.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import record

from ssmreduce import Comparison, analyze, load, reduce, shipped_checkpoint
from ssmreduce.results import Row, relative
from ssmreduce.view.states import showcase_order
from theory.gramians.h2 import h2_norm
from theory.norms.bracket import Bracket


def recorded_comparison() -> Comparison:
    """The comparison of the record, with the poles of the best reductions of half the states."""
    told = record.recorded("compare")
    layer = load(shipped_checkpoint()).layers[0]
    norm, whole = Bracket(*told["norm"], 0.0), float(h2_norm(layer.system))
    rows = tuple(_row(entry, norm, whole) for entry in told["rows"])
    found = Comparison(
        subject=told["subject"],
        norm=norm,
        h2_norm=whole,
        rows=rows,
        hsv=np.sort(analyze(layer).hsv.ravel())[::-1],
        poles=layer.system.poles,
        margin=layer.margin,
    )
    half = showcase_order(replace(found, rows=tuple(replace(row, poles=np.ones(row.order)) for row in rows)))
    here = sorted((row for row in rows if row.order == half and row.error), key=lambda row: row.error.upper)
    made = {}
    for selection in (False, True):
        row = next(row for row in here if (row.family in ("selection", "baseline")) == selection)
        reduction = reduce(layer, row.order, method=row.method)
        error = reduction.error(told["rtol"])
        if not (error.lower <= row.error.upper and row.error.lower <= error.upper):
            raise SystemExit(f"{row.method}, order {row.order}: the error is {error}, not {row.error}: record it again")
        kept = reduction.diagnostics.get("kept")
        poles = np.asarray(reduction.system.poles)
        made[row.method, row.order] = replace(row, poles=poles, kept=None if kept is None else np.asarray(kept))
    return replace(found, rows=tuple(made.get((row.method, row.order), row) for row in rows))


def _row(entry: dict[str, Any], norm: Bracket, whole: float) -> Row:
    names = ("method", "order", "family", "bound", "floor", "status", "seconds", "h2_error")
    ends = entry["error"]
    error = None if ends is None else Bracket(*ends, 0.0)
    return Row(
        **{name: entry[name] for name in names},
        attained=None if error is None else entry["order"],
        error=error,
        relative_error=None if error is None else relative(error, norm),
        relative_h2=None if entry["h2_error"] is None else entry["h2_error"] / whole,
    )


def draw() -> None:
    """Write the figure."""
    recorded_comparison().plot(record.HERE / "_static" / "compare.png")
