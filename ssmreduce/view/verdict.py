"""A comparison in words: which method is best at which order, how far from the floor, and what LAST loses against it.

Every number is computed from the rows, and rounded so that the sentence stays true.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from ssmreduce.results import Findings, Row
from ssmreduce.view.text import outward

CRITERION = "last"
"""Registered name of LAST's criterion, whose loss is told: what layers are pruned by otherwise."""

DIGITS = 3


def verdict(findings: Findings) -> str:
    """One line: the best method of every order, its distance from the floor, and LAST's."""
    if findings.violations:
        return "No verdict: a law is violated, and rows cannot be trusted."
    winners = {order: row for order in findings.orders if (row := findings.winner(order)) is not None}
    if not winners:
        return "No verdict: no method delivered a reduction whose error is certified."
    exact = [order for order, row in winners.items() if row.error is not None and row.error.upper == 0]
    lossy = [row for order, row in winners.items() if order not in exact]
    whose = ", of the worst channel" if findings.subject.get("batch") else ""
    parts = _by_method(lossy, over_floor, "the floor")
    words = [f"Smallest certified error{whose}: {parts}."] if parts else []
    parts = _by_method(_in_the_median(findings), _median, "its own floor")
    words += [f"In the median channel: {parts}."] if parts else []
    words += [_last(findings, winners)]
    words += [f"At {_orders(exact)} nothing is lost."] if exact else []
    return " ".join(filter(None, words))


def _by_method(rows: Sequence[Row], times: Callable[[Row], float | None], floor: str) -> str:
    """Who is best at which orders, and how far from the floor."""
    parts = []
    for method in dict.fromkeys(row.method for row in rows):
        mine = [row for row in rows if row.method == method]
        far = [value for row in mine if (value := times(row)) is not None]
        distance = f" (at most {_range(far, 1)} times {floor})" if far else ""
        parts.append(f"{called(mine[0])} at {_orders([row.order for row in mine])}{distance}")
    return "; ".join(parts)


def _in_the_median(findings: Findings) -> list[Row]:
    """Of a batch the row of each order whose median channel has the smallest error over its floor, as figures show."""
    rows = [row for row in findings.rows if _median(row) is not None]
    orders = dict.fromkeys(row.order for row in rows)
    return [min((row for row in rows if row.order == order), key=lambda row: _median(row) or 0.0) for order in orders]


def _median(row: Row) -> float | None:
    """Error over the floor in the median channel; None where there is no such number, or nothing is lost."""
    middle = row.channels["over_floor"][2] if row.delivered and row.channels.get("over_floor") else math.nan
    return middle if math.isfinite(middle) and middle > 0 else None


def called(row: Row) -> str:
    """A method for people, with the parameters that were changed."""
    _, bracket, changed = row.method.partition("(")
    return f"{row.title} {bracket}{changed}".strip() if row.title else row.method


def over_floor(row: Row) -> float | None:
    """The error as a multiple of the floor, at most; None where the floor is 0."""
    return float(row.error.upper) / row.floor if row.error is not None and row.floor > 0 else None


def why(findings: Findings, row: Row) -> str:
    """Why a row is the best of its order: its error, the floor, and who comes next."""
    others = [one for one in findings.rows if one.order == row.order and one is not row]
    rivals = [one for one in others if one.error is not None]
    if row.error is not None and row.error.upper == 0:
        too = " nor does any other method" if all(one.error and one.error.upper == 0 for one in rivals) else ""
        return f"{called(row)} loses nothing at order {row.order}{',' if too else ''}{too}"
    words = f"{called(row)} has the smallest of {1 + len(rivals)} certified errors at order {row.order}{_size(row)}"
    following = min(rivals, key=lambda one: float(one.error.upper) if one.error else 0.0, default=None)
    if following is None or following.error is None or row.error is None:
        return words
    words += f"; next is {called(following)}, at most {outward(float(following.error.upper), 1, DIGITS + 1)}"
    return words if following.error.lower > row.error.upper else f"{words} (the brackets overlap)"


def why_order(findings: Findings, row: Row, error: float) -> str:
    """Why a row is the first to meet a tolerance: its error, and the smallest one at the order before."""
    words = (
        f"order {row.order} is the smallest compared at which a certified error is at most {error:g}: "
        f"{called(row)}{_size(row)}"
    )
    before = [one for order in findings.orders if order < row.order and (one := findings.winner(order)) is not None]
    if not before or before[-1].error is None:
        return words
    smallest = outward(float(before[-1].error.upper), 1, DIGITS + 1)
    return f"{words}; at order {before[-1].order} the smallest is {smallest}, by {called(before[-1])}"


def _size(row: Row) -> str:
    if row.error is None:
        return ""
    times = over_floor(row)
    far = "" if times is None else f", {outward(times, 1, DIGITS)} times the floor"
    return f", at most {outward(float(row.error.upper), 1, DIGITS + 1)}{far}"


def _last(findings: Findings, winners: dict[int, Row]) -> str:
    """What LAST loses against the best: certified, its lower end over the upper end of the best."""
    ratios: list[float] = []
    own: list[int] = []
    for row in findings.rows:
        best = winners.get(row.order)
        if row.method.partition("(")[0] != CRITERION or row.error is None or best is None or best.error is None:
            continue
        if best.method.partition("(")[0] == CRITERION:
            own.append(row.order)
        elif best.error.upper > 0:
            ratios.append(float(row.error.lower / best.error.upper))
    words = [f"LAST's error is at least {_range(ratios, -1)} times the smallest"] if ratios else []
    words += [f"LAST is itself the best at {_orders(own)}"] if own else []
    return f"{'; '.join(words)}." if words else ""


def _range(values: Sequence[float], direction: int) -> str:
    low, high = (outward(value, direction, DIGITS) for value in (min(values), max(values)))
    return low if low == high else f"{low} to {high}"


def _orders(orders: Sequence[int]) -> str:
    listed = sorted(set(orders))
    return f"{'order' if len(listed) == 1 else 'orders'} {', '.join(map(str, listed))}"
