"""The ``training`` record of a checkpoint through reductions: what holds now, what was done before, what is past.

A fresh record is whatever the training code wrote: task, seed, accuracy. None of it holds for a reduced model, so it
moves under ``"unreduced"``; ``"reduction"`` is the last reduction and ``"earlier_reductions"`` those before it, oldest
first, each with what was recorded after it (``"recorded_after"``: an accuracy, say) and was overtaken by the next.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

REDUCTION, EARLIER, UNREDUCED, AFTER = "reduction", "earlier_reductions", "unreduced", "recorded_after"


def after_reduction(training: Mapping[str, Any], reduction: Mapping[str, Any]) -> dict[str, Any]:
    """Return the record of a model that was just reduced."""
    current = {key: value for key, value in training.items() if key not in (REDUCTION, EARLIER, UNREDUCED)}
    earlier = [dict(entry) for entry in training.get(EARLIER, ())]
    unreduced = training.get(UNREDUCED, current)  # no such key: the first reduction, or a file of an older version
    if REDUCTION in training:
        overtaken = {AFTER: current} if current and UNREDUCED in training else {}
        earlier.append({**training[REDUCTION], **overtaken})
    record: dict[str, Any] = {REDUCTION: dict(reduction)}
    if earlier:
        record[EARLIER] = earlier
    if unreduced:
        record[UNREDUCED] = dict(unreduced)
    return record


def one_line(training: Mapping[str, Any], facts: Sequence[str]) -> str:
    """Say in one line what a record says about the model as it is, and what about the model before its reduction.

    Parameters
    ----------
    training : mapping
        The record.
    facts : sequence of str
        Which keys of it are worth a place.
    """
    parts = [_listed(training, facts)]
    if REDUCTION in training:
        reduction = training[REDUCTION]
        orders = ", ".join(map(str, reduction.get("orders", ())))
        times = 1 + len(training.get(EARLIER, ()))
        again = f" (reduction {times})" if times > 1 else ""
        parts = [f"reduced by {reduction.get('method')} to {orders} states{again}", *parts]
    before = _listed(training.get(UNREDUCED, {}), facts)
    if before:
        parts.append(f"before it was reduced: {before}")
    return "; ".join(part for part in parts if part)


def _listed(record: Mapping[str, Any], facts: Sequence[str]) -> str:
    return ", ".join(f"{key} {record[key]}" for key in facts if key in record)
