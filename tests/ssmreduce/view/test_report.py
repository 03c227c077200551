"""Table, figure, report and progress: complete, self-contained, and nothing half-written."""

from __future__ import annotations

import html
import io
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from layer_cases import s5_params

from ssmreduce import Comparison, compare, layer_from_params
from ssmreduce.progress import progress_bar
from ssmreduce.results import Findings
from ssmreduce.view.columns import columns
from ssmreduce.view.pages import comparison_sheet
from ssmreduce.view.plot import COLOURS, MARKERS, image, plot, showcase_order
from ssmreduce.view.table import printed
from ssmreduce.view.text import ends, number, outward
from theory.errors import InputError
from theory.norms.bracket import Bracket


@pytest.fixture(scope="module")
def comparison() -> Comparison:
    raw = s5_params(np.random.default_rng(1), 6, 2)
    return compare(raw, orders=[2, 4], conj_sym=True, discretization="zoh", crosscheck="none")


@pytest.fixture(scope="module")
def others() -> list[Comparison]:
    raw = s5_params(np.random.default_rng(2), 4, 2, bidirectional="C1C2")
    layer = layer_from_params(raw, conj_sym=True, discretization="zoh", name="enc")
    one = layer.system.keep([0]).replace(C_reverse=None)
    continuous = one.replace(poles=np.array([-1.0 + 2.0j]), dt=None, delay=1)
    return [
        compare(layer, ["modal"], [2], crosscheck="none"),
        compare(one, crosscheck="none"),
        compare(continuous, ["balanced"], crosscheck="none"),
    ]


def test_the_table_has_every_row(comparison: Comparison) -> None:
    text = str(comparison)
    for row in comparison.rows:
        pattern = (
            rf"^\s*{row.order}\s+{row.method}[ *]+{re.escape(ends(row.error)[0])}\s+{re.escape(ends(row.error)[1])}"
        )
        assert re.search(pattern, text, re.MULTILINE), row
    assert "6 stored states (12 real)" in text
    assert "not a bound" in text
    assert text.count("*") >= 2
    assert not re.search(r"[ \t]$", text, re.MULTILINE)


@pytest.mark.parametrize("width", [50, 80, 110])
def test_a_narrow_table_drops_columns_and_keeps_the_errors(comparison: Comparison, width: int) -> None:
    text = printed(comparison_sheet(comparison), width)
    head = next(line for line in text.splitlines() if "method" in line)
    assert "error ≤" in head
    assert max(map(len, text.splitlines())) <= width
    for row in comparison.rows:
        assert ends(row.error)[1] in text


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
        "0.000",
        "1.000",
        "1.000e-09",
        "1.235e+05",
        "inf",
    ]


def test_the_figure_is_not_empty(comparison: Comparison, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    figure = comparison.plot(tmp_path / "figure.png")
    errors, hankel, balanced, modal = figure.axes[:4]
    assert len(errors.get_lines()) >= 2 * len(comparison.methods) + 1
    assert errors.get_yscale() == hankel.get_yscale() == "log"
    assert len(balanced.collections) == len(modal.collections) == 2
    kept = modal.collections[1].get_offsets()
    assert len(kept) == showcase_order(comparison) == 2
    data = (tmp_path / "figure.png").read_bytes()
    assert data.startswith(b"\x89PNG")
    assert len(data) > 20_000
    assert [path.name for path in tmp_path.iterdir()] == ["figure.png"]


@pytest.mark.parametrize("suffix", ["svg", "pdf"])
def test_other_formats(others: list[Comparison], tmp_path: Path, suffix: str) -> None:
    pytest.importorskip("matplotlib")
    path = tmp_path / f"figure.{suffix}"
    others[0].plot(path)
    assert path.stat().st_size > 5_000


def test_one_state_and_continuous_time_can_be_drawn(others: list[Comparison]) -> None:
    pytest.importorskip("matplotlib")
    for comparison in others[1:]:
        assert len(image(plot(comparison), dpi=40)) > 5_000


def test_figures_are_reproducible(comparison: Comparison) -> None:
    pytest.importorskip("matplotlib")
    assert image(plot(comparison), "svg") == image(plot(comparison), "svg")


def test_legends_do_not_cover_the_curves(comparison: Comparison) -> None:
    pytest.importorskip("matplotlib")
    figure = plot(comparison)
    figure.canvas.draw()
    for axes in figure.axes:
        if axes.get_legend() is not None:
            assert not axes.get_legend().get_window_extent().overlaps(axes.get_window_extent())


def test_unknown_formats_are_refused_before_drawing(comparison: Comparison, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"\.png, \.svg, \.pdf"):
        comparison.plot(tmp_path / "figure.bmp")
    assert not list(tmp_path.iterdir())


def test_there_is_a_look_for_every_method() -> None:
    assert len(set(COLOURS)) == len(COLOURS) >= 8
    assert len(set(MARKERS)) == len(MARKERS) >= 8


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.links: list[str] = []
        self.cells = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.cells += tag == "td"
        self.links += [value or "" for name, value in attrs if name in ("src", "href")]
        if tag not in ("img", "meta", "link", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_report_is_one_well_formed_file(comparison: Comparison, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    text = comparison.to_html(tmp_path / "report.html")
    assert (tmp_path / "report.html").read_text(encoding="utf-8") == text
    page = _Page()
    page.feed(text)
    assert page.open == []
    assert page.cells > 10 * len(comparison.rows)
    assert len(page.links) == 1
    assert page.links[0].startswith("data:image/png;base64,")
    assert "http" not in text.replace("http-equiv", "")
    for word in ("seed", "numpy", "date", "rtol", "Adamyan"):
        assert word in text
    assert "$" not in text


def test_a_violation_is_shouted(comparison: Comparison) -> None:
    broken = Comparison(**{**vars(comparison), "violations": ("modal, order 2: <broken>",)})
    assert "A LAW IS VIOLATED" in str(broken)
    assert "&lt;broken&gt;" in broken.to_html()


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


def test_titles_contents_and_meanings_are_the_same_everywhere(comparison: Comparison) -> None:
    text, page = str(comparison), html.unescape(comparison.to_html())
    shown = columns(comparison)
    assert [column.heading.title for column in shown if column.heading.title not in text] == []
    for column in shown:
        assert f">{column.heading.title}</th>" in page
        assert column.meaning in text
        assert column.meaning[1:] in page
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
    assert str(comparison_sheet(data)) == str(comparison)
    assert type(data) is Findings
