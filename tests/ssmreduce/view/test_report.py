"""Table, report and progress: complete, self-contained, and nothing half-written."""

from __future__ import annotations

import base64
import hashlib
import html
import io
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from findings_cases import made

from ssmreduce import Comparison
from ssmreduce.progress import progress_bar
from ssmreduce.results import Findings, Row
from ssmreduce.view.columns import columns, folded
from ssmreduce.view.pages import comparison_sheet
from ssmreduce.view.table import printed
from ssmreduce.view.text import ends, number, outward
from theory.norms.bracket import Bracket


def test_the_table_has_every_row(comparison: Comparison) -> None:
    text = comparison.table(every=True)
    for row in comparison.rows:
        ours = r"\s+".join(map(re.escape, (row.family, *ends(row.error))))
        pattern = rf"^\s*{row.order}\s+{row.method}[ *]+{ours}"
        assert re.search(pattern, text, re.MULTILINE), row
    assert "6 stored states (12 real)" in text
    assert "not a bound" in text
    assert text.count("*") >= 2
    assert not re.search(r"[ \t]$", text, re.MULTILINE)


@pytest.mark.parametrize("width", [50, 80, 110])
def test_a_narrow_table_drops_columns_and_keeps_the_errors(comparison: Comparison, width: int) -> None:
    """What is left out is named, what is shown is explained, and nothing else is."""
    text = printed(comparison_sheet(comparison, every=True), width)
    head = next(line for line in text.splitlines() if "method" in line)
    assert "error ≤" in head
    assert max(map(len, text.splitlines())) <= width
    for row in comparison.rows:
        assert ends(row.error)[1] in text
        assert number(row.h2_error) in text
    flat = " ".join(text.split())
    named = flat.partition("no room here for: ")[2].partition(". The report")[0].split(", ")
    titles = re.split(r" {2,}", head.strip())
    for column in columns(comparison):
        here = column.heading.title in titles
        assert here != (column.heading.title in named), column.heading.title
        if column.meaning:
            assert (f"{column.word}: {' '.join(column.says(comparison.rows).split())}" in flat) == here


def test_the_table_folds_to_the_best_of_each_kind(comparison: Comparison) -> None:
    shown = folded(comparison)
    kinds = {(row.order, row.family) for row in comparison.rows}
    assert {(row.order, row.family) for row in shown} == kinds
    assert len(shown) == len(kinds) < len(comparison.rows)
    for row in shown:
        rivals = [one for one in comparison.rows if (one.order, one.family) == (row.order, row.family)]
        assert row.error.upper == min(one.error.upper for one in rivals)
        assert comparison.winner(row.order) in shown
    text = str(comparison)
    assert f"{len(comparison.rows) - len(shown)} rows of other methods are left out: print" in text
    assert "every=True" in text
    assert "rows of other methods" not in comparison.table(every=True)
    asked = Comparison(**{**vars(comparison), "provenance": comparison.provenance | {"methods": "as asked for"}})
    assert str(asked) == comparison.table(every=True)


def test_a_kind_that_did_not_deliver_says_why(comparison: Comparison) -> None:
    odd = Row(method="x", family="descent", order=2, floor=0.0, status="not delivered: no way")
    changed = Comparison(**{**vars(comparison), "rows": (*comparison.rows, odd)})
    assert odd in folded(changed)
    assert "no way" in str(changed)


def test_statuses_with_brackets_are_printed_as_they_are(comparison: Comparison) -> None:
    row = comparison.rows[0]
    odd = type(row)(method="x", order=2, floor=0.0, status="run pip install 'ssmreduce[plot]'")
    changed = Comparison(**{**vars(comparison), "rows": (odd,)})
    assert "ssmreduce[plot]" in str(changed)
    assert "ssmreduce[plot]" in changed.to_html()


@pytest.mark.parametrize("value", [0.0, 1e-300, 1.23456789e-5, 0.0123456, 0.99999999, 1.0, 9999.99, 12345.678, 7e222])
def test_printed_brackets_hold_what_they_print(value: float) -> None:
    assert float(outward(value, -1)) <= value <= float(outward(value, 1))
    assert float(outward(value, 1)) <= value * (1 + 2e-4)
    low, high = ends(Bracket(value, value, 0.0))
    assert float(low) <= value <= float(high)


def test_numbers_are_short() -> None:
    assert [number(x) for x in (None, 0.0, 1.0, 1e-9, 123456.0, np.inf)] == [
        "–",
        "0",
        "1.000",
        "1.000e-09",
        "1.235e+05",
        "inf",
    ]


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.links: list[str] = []
        self.cells = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.cells += tag == "td"
        self.links += [value or "" for name, value in attrs if name in ("src", "href", "srcset")]
        if tag not in ("img", "meta", "link", "br", "source"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_report_is_written_as_it_is(comparison: Comparison, tmp_path: Path) -> None:
    one = Comparison(**{**vars(comparison), "rows": comparison.rows[:1]})
    text = one.to_html(tmp_path / "report.html")
    assert (tmp_path / "report.html").read_text(encoding="utf-8") == text


def test_the_report_is_one_well_formed_file(comparison: Comparison, report: str) -> None:
    pytest.importorskip("matplotlib")
    text = report
    page = _Page()
    page.feed(text)
    assert page.open == []
    assert page.cells > 10 * len(comparison.rows)
    assert len(page.links) == 2  # one on white paper, one on black
    assert all(link.startswith("data:image/png;base64,") for link in page.links)
    assert "http" not in text.replace("http-equiv", "")
    for word in ("seed", "numpy", "date", "rtol", "Adamyan"):
        assert word in text
    assert "$" not in text


def test_a_violation_is_shouted(comparison: Comparison) -> None:
    broken = Comparison(**{**vars(comparison), "violations": ("modal, order 2: <broken>",)})
    assert "A LAW IS VIOLATED" in str(broken)
    assert "&lt;broken&gt;" in broken._repr_html_()


def test_progress_goes_to_the_stream_that_it_is_given() -> None:
    stream = io.StringIO()
    with progress_bar(stream=stream, every=0.0) as report:
        report(1, 2, "one")
    assert stream.getvalue() == "1/2 one\n"
    quiet = io.StringIO()
    with progress_bar(stream=quiet, quiet=True) as report:
        report(1, 2, "one")
    assert quiet.getvalue() == ""


def test_progress_draws_a_bar_on_a_terminal() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    stream: Any = Terminal()
    with progress_bar(stream=stream) as report:
        report(1, 2, "reduce: modal, order 2")
    assert "reduce: modal" in stream.getvalue()


def test_no_script_but_the_report_s_own_may_run(comparison: Comparison) -> None:
    """The policy has the digest of the one script; a name that is markup stays text."""
    evil = "</script><script>alert(1)</script>"
    subject = comparison.subject | {"name": evil}
    rows = tuple(replace(row, method=f"{row.method}{evil}") for row in comparison.rows[:3])
    text = Comparison(**{**vars(comparison), "subject": subject, "rows": rows}).to_html()
    (script,) = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in text
    assert "default-src 'none'" in text
    assert "alert(1)</script>" not in text


def test_the_report_sorts_by_numbers(comparison: Comparison, report: str) -> None:
    for row in comparison.rows:
        assert f'data-v="{row.error.upper:.12g}"' in report
        assert f'data-v="{row.h2_error:.12g}"' in report


def test_the_heat_maps_have_every_row_over_its_floor_and_in_h2_side_by_side(
    comparison: Comparison, report: str
) -> None:
    floor, noise = re.findall(r'<table class="heat">.*?</table>', report, re.DOTALL)
    least = {order: min(row.relative_h2 for row in comparison.rows if row.order == order) for order in (2, 4)}
    for heat, value, told in (
        (floor, lambda row: row.over_floor, lambda row: outward(row.over_floor, 1, 3)),
        (noise, lambda row: row.relative_h2 / least[row.order], lambda row: number(100 * row.relative_h2, 3)),
    ):
        lines = heat.split("<tr")[2:]
        assert len(lines) == len(comparison.methods)
        for line in lines:
            rows = comparison.of(re.search(r'class="stay">([^<]+)<', line).group(1))
            found = re.findall(r'class="(right|right best)" style="--heat:(\d+)%">([^<]+)<', line)
            assert [cell for *_, cell in found] == [told(row) for row in rows]
            for (kind, dark, _), row in zip(found, rows, strict=True):
                assert int(dark) == round(100 * min(np.log10(max(value(row), 1.0)), 1.0))
                if kind == "right best":
                    assert value(row) == min(value(one) for one in comparison.rows if one.order == row.order)
        assert heat.count("right best") == len(comparison.orders)


def test_the_answer_has_both_norms_of_the_best(comparison: Comparison, report: str) -> None:
    page = html.unescape(re.search(r"<table class='small'>.*?</table>", report, re.DOTALL).group())
    for order in comparison.orders:
        row = comparison.winner(order)
        line = next(line for line in page.split("<tr>") if f">{order}<" in line)
        for told in (row.title, ends(row.error)[1], outward(row.over_floor, 1, 3), number(100 * row.relative_h2)):
            assert told in line
    exact = made({"a": [3.0, 0.0], "b": [4.0, 0.0]}).to_html()
    assert "every method: nothing is lost" in exact


def test_titles_contents_and_meanings_are_the_same_everywhere(comparison: Comparison, report: str) -> None:
    text, page = comparison.table(every=True), html.unescape(report)
    shown = columns(comparison)
    assert [column.heading.title for column in shown if column.heading.title not in text] == []
    for column in shown:
        assert f">{column.heading.title}</th>" in page
        assert column.says(comparison.rows) in text
        assert column.says(comparison.rows)[1:] in page
        assert column.detail in page
        for row in comparison.rows:
            cell = column.content(row, False)
            content = cell if isinstance(cell, str) else cell.text
            assert content in text
            assert f">{content}" in page
    assert "python-control" not in {column.heading.title for column in shown}  # nobody was asked


def test_views_of_the_data_alone(comparison: Comparison) -> None:
    """A view needs the data, not the comparison: what came back from JSON looks the same."""
    data = Findings.from_json(comparison.to_json())
    assert str(comparison_sheet(data, every=True)) == comparison.table(every=True)
    assert type(data) is Findings
