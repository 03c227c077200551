"""The answer of a comparison: the best row by hand, and words that say no number that the rows do not have."""

from __future__ import annotations

import csv
import io
import re
import sys
import types
from dataclasses import replace

import numpy as np
import pytest
from contract_cases import KINDS

from ssmreduce import Comparison, compare
from ssmreduce.results import Row
from ssmreduce.view.losses import PANELS, curves
from theory.errors import InputError, MissingDependencyError, ToleranceError
from theory.norms.bracket import Bracket

METHODS = ["balanced", "modal", "last", "random"]
ORDERS = [1, 2, 3]


@pytest.fixture(scope="module", params=["S5 layer", "S4D layer", "continuous", "clustered"])
def comparison(request: pytest.FixtureRequest) -> Comparison:
    return compare(KINDS[request.param], METHODS, ORDERS, crosscheck="none", sweep_points=0)


def row(method: str, order: int, upper: float | None, floor: float = 1.0, lower: float | None = None) -> Row:
    error = None if upper is None else Bracket(upper if lower is None else lower, upper, 0.5)
    return Row(method=method, order=order, floor=floor, error=error)


def made(*rows: Row, violations: tuple[str, ...] = (), batch: bool = False) -> Comparison:
    one = np.ones(1)
    subject = {
        "kind": "S5", "states": 8, "real_states": 16, "inputs": 1, "outputs": 1, "dt": 1.0, "real": True,
        "precision": "float32", "batch": batch,
    }  # fmt: skip
    return Comparison(
        subject=subject, norm=Bracket(9.0, 10.0, 0.0), rows=rows, hsv=one, poles=one, margin=one, violations=violations
    )


def numbers(words: str) -> list[float]:
    return [float(x) for x in re.findall(r"\d+(?:\.\d+)?(?:e[+-]\d+)?", words)]


def test_the_best_of_an_order_is_the_smallest_upper_end(comparison: Comparison) -> None:
    for order in ORDERS:
        uppers = {one.method: one.error.upper for one in comparison.rows if one.order == order and one.error}
        chosen = comparison.best(order)
        assert chosen.error.upper == min(uppers.values())
        assert uppers[chosen.method] == min(uppers.values())
        assert chosen.order == order
        assert any(chosen.row is one for one in comparison.rows)
        assert str(chosen) == chosen.reason
        assert chosen.row.title in chosen.reason
        second = sorted(uppers.values())[1]
        assert any(second <= x <= second * 1.001 for x in numbers(chosen.reason))


def test_the_best_within_a_tolerance_has_the_smallest_order(comparison: Comparison) -> None:
    every = [one for one in comparison.rows if one.error]
    for goal in [one.error.upper for one in every if one.error]:
        order = min(one.order for one in every if one.error and one.error.upper <= goal)
        chosen = comparison.best(error=goal)
        assert chosen.order == order
        assert chosen.error.upper == min(one.error.upper for one in every if one.order == order and one.error)
        assert f"order {order}" in chosen.reason
    least = min(one.error.upper for one in every if one.error)
    with pytest.raises(ToleranceError) as refused:
        comparison.best(error=np.nextafter(least, 0))
    assert refused.value.best == least


def test_the_verdict_says_the_numbers_of_the_rows(comparison: Comparison) -> None:
    words = comparison.verdict
    assert str(comparison).splitlines()[-1] == words
    assert words.startswith("Smallest certified error")
    assert ("median channel" in words) == bool(comparison.subject["batch"])
    best = {
        order: min(one.error.upper for one in comparison.rows if one.order == order and one.error) for order in ORDERS
    }
    far = [best[one.order] / one.floor for one in comparison.rows if one.error and one.error.upper == best[one.order]]
    for end in (min(far), max(far)):
        assert any(end <= x <= end * 1.02 for x in numbers(words)), (end, words)
    lost = [
        one.error.lower / best[one.order]
        for one in comparison.of("last")
        if one.error and comparison.best(one.order).method != "last"
    ]
    assert ("times the smallest" in words) == bool(lost)
    for end in {min(lost), max(lost)} if lost else ():
        assert any(end * 0.98 <= x <= end for x in numbers(words.partition("LAST")[2])), (end, words)


@pytest.mark.parametrize("comparison", ["S4D layer"], indirect=True)
def test_the_report_has_the_verdict_before_its_table(comparison: Comparison) -> None:
    page = comparison.to_html()
    assert page.index(comparison.verdict.replace("'", "&#x27;")) < page.index("<table")


def test_words_of_made_up_rows() -> None:
    plain = made(
        row("a", 2, 4.0, 2.0), row("last", 2, 8.5, 2.0, 8.0), row("b", 4, 3.0, 1.0), row("last", 4, 3.75, 1.0),
        row("last", 6, 1.0), row("a", 6, 2.0),
    )  # fmt: skip
    assert plain.verdict == (
        "Smallest certified error: a at order 2 (at most 2.00 times the floor); b at order 4 (at most 3.00 times the "
        "floor); last at order 6 (at most 1.00 times the floor). LAST's error is at least 1.25 to 2.00 times the "
        "smallest; LAST is itself the best at order 6."
    )
    exact = made(row("a", 2, 4.0, 2.0), row("b", 2, 5.0, 2.0), row("a", 8, 0.0, 0.0), row("b", 8, 0.0, 0.0))
    assert exact.verdict == (
        "Smallest certified error: a at order 2 (at most 2.00 times the floor). At order 8 nothing is lost."
    )
    assert made(row("a", 8, 0.0, 0.0)).verdict == "At order 8 nothing is lost."
    assert "floor" not in made(row("a", 2, 4.0, 0.0)).verdict
    assert "LAST" not in made(row("a", 2, 4.0)).verdict
    assert "LAST" not in made(row("a", 2, 4.0), row("last", 2, None), row("last_released", 2, 9.0)).verdict
    assert made(row("a", 2, None)).verdict.startswith("No verdict: no method delivered")
    assert made().verdict.startswith("No verdict: no method delivered")
    assert made(row("a", 2, 4.0), violations=("floor",)).verdict.startswith("No verdict: a law")


def test_words_of_a_batch_name_the_worst_channel_and_the_median_one() -> None:
    """In the median as the main panel of the figure shows it; there another method may be the best."""
    spread = {"a": [1.0, 1.2, 1.5, 1.9, 2.5], "b": [1.1, 1.5, 1.75, 1.8, 2.0]}
    rows = [
        replace(row(name, order, 2 * values[4] * order, 2.0), channels={"over_floor": [order * x for x in values]})
        for order in (1, 2)
        for name, values in spread.items()
    ]
    exact = replace(row("a", 4, 0.0, 0.0), channels={"over_floor": [np.nan] * 5})
    found = made(*rows, exact, batch=True)
    assert found.verdict == (
        "Smallest certified error, of the worst channel: b at orders 1, 2 (at most 2.00 to 4.00 times the floor). In "
        "the median channel: a at orders 1, 2 (at most 1.50 to 3.00 times its own floor). At order 4 nothing is lost."
    )
    drawn = curves(found, PANELS["over_floor"])
    shown = {curve.names[0]: dict(zip(curve.orders, curve.values, strict=True)) for curve in drawn}
    assert all(shown["a"][order] == 1.5 * order < shown["b"][order] for order in (1, 2))


def test_a_choice_says_whether_the_next_one_may_be_better() -> None:
    assert "overlap" in made(row("a", 2, 4.0), row("b", 2, 5.0, lower=3.9)).best(2).reason
    assert "overlap" not in made(row("a", 2, 4.0), row("b", 2, 5.0, lower=4.1)).best(2).reason
    both = made(row("a", 8, 0.0, 0.0), row("b", 8, 0.0, 0.0))
    assert both.best(8).reason == "a loses nothing at order 8, nor does any other method"
    assert made(row("a", 8, 0.0, 0.0), row("b", 8, 1.0, 0.0)).best(8).reason == "a loses nothing at order 8"
    assert "error is at most 0.25:" in both.best(error=0.25).reason
    found = made(row("a", 2, 4.0, 2.0), row("b", 2, None), row("a", 4, 1.0))
    assert "of 1 certified errors at order 2" in found.best(2).reason
    assert "at order 2 the smallest is 4.000, by a" in found.best(error=1.0).reason


@pytest.mark.parametrize("wrong", [{}, {"order": 1, "error": 1.0}, {"order": 7}, {"error": np.nan}], ids=str)
def test_what_cannot_be_chosen_is_refused(wrong) -> None:
    with pytest.raises(InputError):
        made(row("a", 1, 2.0), row("a", 2, None)).best(**wrong)
    with pytest.raises(InputError, match="1"):
        made(row("a", 1, 2.0), row("a", 2, None)).best(2)


def test_csv_holds_every_row_to_the_bit(comparison: Comparison, tmp_path) -> None:
    text = comparison.to_csv(tmp_path / "rows.csv")
    assert (tmp_path / "rows.csv").read_text() == text
    read = list(csv.DictReader(io.StringIO(text)))
    assert len(read) == len(comparison.rows)
    for line, one in zip(read, comparison.rows, strict=True):
        assert (line["method"], int(line["order"]), line["status"]) == (one.method, one.order, one.status)
        assert one.error is not None
        assert (float(line["error_lower"]), float(line["error_upper"])) == (one.error.lower, one.error.upper)
        assert float(line["bound"]) == one.bound
    missing = next(csv.DictReader(io.StringIO(made(row("a", 1, None)).to_csv())))
    assert missing["error_upper"] == missing["floor"] == missing["seconds"] == ""


def test_a_frame_is_pandas_work(comparison: Comparison, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", types.SimpleNamespace(DataFrame=lambda records: ("frame", records)))
    kind, records = comparison.to_frame()
    assert kind == "frame"
    assert [one["error_upper"] for one in records] == [one.error.upper for one in comparison.rows if one.error]
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(MissingDependencyError, match="frame"):
        comparison.to_frame()


def test_a_notebook_sees_the_verdict_and_the_table(comparison: Comparison) -> None:
    shown = comparison._repr_html_()
    assert shown.count("<tr") == 1 + len(comparison.rows)
    assert "Smallest certified error" in shown
    assert "\n" not in repr(comparison)
    assert "4 methods at orders 1, 2, 3" in repr(comparison)
    hostile = made(replace(row("a", 1, 2.0), title="<script>"))
    assert "<script>" not in hostile._repr_html_()


def test_the_errors_go_into_axes_of_the_caller(comparison: Comparison) -> None:
    pytest.importorskip("matplotlib")
    from matplotlib.figure import Figure

    figure = Figure()
    axes = figure.subplots()
    assert comparison.plot(ax=axes) is figure
    assert len(axes.lines) > len(METHODS)
