"""What a terminal shows: the best first, as many columns as fit, and a legend of what is there and of nothing else."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssmreduce import Comparison
from ssmreduce.results import Row
from ssmreduce.view.columns import KINDS, folded
from ssmreduce.view.pages import comparison_sheet
from ssmreduce.view.table import Heading, Sheet, printed
from ssmreduce.view.text import duration, outward, percent
from theory.norms.bracket import Bracket

SUBJECT = {
    "kind": "S5", "states": 8, "real_states": 16, "inputs": 1, "outputs": 1, "dt": 1.0, "real": True,
    "precision": "float32",
}  # fmt: skip


def row(method: str, family: str, order: int, upper: float | None, status: str = "ok") -> Row:
    error = None if upper is None else Bracket(upper, upper, 0.5)
    return Row(method=method, family=family, order=order, floor=1.0, error=error, status=status, relative_error=error)


def made(*rows: Row, **told: str) -> Comparison:
    one = np.ones(1)
    norm = Bracket(9.0, 10.0, 0.0)
    return Comparison(subject=dict(SUBJECT), norm=norm, rows=rows, hsv=one, poles=one, margin=one, provenance=told)


@given(st.lists(st.tuples(st.sampled_from(list(KINDS)), st.integers(1, 3), st.floats(1, 9)), min_size=1, max_size=12))
def test_the_best_of_each_order_stands_first(drawn: list[tuple[str, int, float]]) -> None:
    findings = made(*(row(f"m{i}", kind, order, value) for i, (kind, order, value) in enumerate(drawn)))
    shown = folded(findings)
    assert [(one.order, one.error.upper) for one in shown] == sorted((one.order, one.error.upper) for one in shown)
    for order in findings.orders:
        assert next(one for one in shown if one.order == order) is findings.winner(order)


def test_the_legend_names_the_kinds_that_are_shown_and_no_others() -> None:
    text = str(made(row("a", "balancing", 1, 2.0), row("b", "baseline", 1, 3.0)))
    (line,) = [line for line in text.splitlines() if line.startswith("kind:")]
    assert KINDS["balancing"] in line
    assert "baseline" in line
    assert not any(word in line for word in ("descent", "selection", "recorded"))


def test_no_column_goes_for_one_of_a_higher_rank_and_what_fits_is_there() -> None:
    """A wide column of the same rank took the room of three."""
    ranks = {"order": 0, "wide": 2, "one": 2, "two": 2, "little": 9}
    sheet = Sheet(
        headings=tuple(Heading(title=title, rank=rank) for title, rank in ranks.items()),
        rows=(("1", "w" * 60, "1", "2", "3"),),
    )
    head = printed(sheet, 40).splitlines()[0]
    assert head.split() == ["order", "one", "two", "little"]
    assert "no room here for: wide" in printed(sheet, 40)
    assert printed(sheet, 90).splitlines()[0].split() == list(ranks)


@pytest.mark.parametrize("width", [60, 80])
def test_why_a_method_did_not_deliver_is_said_at_any_width(width: int) -> None:
    why = "not delivered: the matrix of eigenvectors is too ill conditioned for this method to go on with it"
    failed = (row("b", "baseline", 1, None, why), row("c", "descent", 1, None, why))
    findings = made(row("a", "balancing", 1, 2.0), *failed)
    flat = " ".join(printed(comparison_sheet(findings), width).split())
    assert f"order 1, b, c: {why}" in flat
    assert "status" not in flat.partition("no room here for:")[2].partition(".")[0]
    wide = printed(comparison_sheet(findings), 400)
    assert wide.count("not delivered") == 2  # a row each, and nothing below
    assert "order 1, b" not in wide


def test_a_meaning_that_needs_two_lines_stays_in_its_column() -> None:
    text = printed(comparison_sheet(made(row("a", "balancing", 1, 2.0))), 60)
    legend = text.partition("order:")[2].partition("Smallest certified")[0].splitlines()[1:]
    assert all(re.match(r"\S.{15}\S| {16}\S", line) for line in legend if line), legend


@pytest.mark.parametrize(("ports", "told"), [(1, "1 input, 1 output;"), (2, "2 inputs, 2 outputs;")])
def test_one_input_is_no_inputs(ports: int, told: str) -> None:
    findings = made(row("a", "balancing", 1, 2.0))
    findings.subject.update(inputs=ports, outputs=ports)
    assert told in str(findings)


def test_methods_that_were_not_run_are_named() -> None:
    findings = made(row("a", "balancing", 1, 2.0), not_run="h2, hinf")
    assert "not run: h2, hinf (they search" in str(findings)
    assert "not run: h2, hinf (they search" in findings.to_html()
    assert "not run" not in str(made(row("a", "balancing", 1, 2.0)))


@given(st.floats(1e-12, 1e3))
def test_percentages_have_the_digits_of_their_brackets_and_are_never_too_small(value: float) -> None:
    told = percent(Bracket(value, value, 0.0))
    assert told == f"{outward(100 * value, 1, 4)} %"
    assert 100 * value <= float(told[:-2]) * (1 + 1e-15) <= 100 * value * (1 + 1.1e-3)
    assert len(re.sub(r"e.*|[. %]|^0\.0*", "", told)) == 4


def test_times_are_short() -> None:
    told = [duration(seconds) for seconds in (0.00012, 0.00104, 0.0209, 0.2437, 1.777, 12.34, 122.4)]
    assert told == ["0.12 ms", "1.04 ms", "20.9 ms", "244 ms", "1.78 s", "12.3 s", "122 s"]


def test_a_notebook_has_the_best_of_each_kind_and_says_what_it_leaves_out() -> None:
    """All rows of all methods were too long for a cell, and nothing in them stood out."""
    rows = (row("a", "balancing", 1, 2.0), row("b", "balancing", 1, 3.0), row("c", "baseline", 1, 4.0))
    page = made(*rows)._repr_html_()
    assert re.findall(r">(a \*|b|c)</td>", page) == ["a *", "c"]
    assert "all 3 rows: print" in page
    lines = page.split("<tr>")[2:]
    assert ["font-weight: bold" in line for line in lines] == [True, False]
    asked = made(*rows, methods="as asked for")._repr_html_()
    assert re.findall(r">(a \*|b|c)</td>", asked) == ["a *", "b", "c"]
    assert "rows: print" not in asked
