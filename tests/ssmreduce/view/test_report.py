"""Table, figure, report and progress: complete, self-contained, and nothing half-written."""

from __future__ import annotations

import base64
import hashlib
import html
import io
import re
from dataclasses import replace
from html.parser import HTMLParser
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from layer_cases import s5_params

from ssmreduce import Comparison, compare, layer_from_params
from ssmreduce.methods.registry import FAMILIES, METHODS
from ssmreduce.progress import progress_bar
from ssmreduce.results import Findings, Row
from ssmreduce.view.canvas import image, on
from ssmreduce.view.columns import columns, folded
from ssmreduce.view.looks import SAME, SHADES, looks
from ssmreduce.view.losses import PANELS, draw
from ssmreduce.view.pages import comparison_sheet
from ssmreduce.view.plot import plot
from ssmreduce.view.states import showcase_order
from ssmreduce.view.table import printed
from ssmreduce.view.text import ends, number, outward
from theory.errors import InputError
from theory.norms.bracket import Bracket


@pytest.fixture(scope="module")
def comparison() -> Comparison:
    raw = s5_params(np.random.default_rng(1), 6, 2)
    return compare(raw, orders=[2, 4], conj_sym=True, discretization="zoh", crosscheck="none")


@pytest.fixture(scope="module")
def report(comparison: Comparison) -> str:
    return comparison.to_html()


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


def test_the_figure_is_not_empty(comparison: Comparison, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    figure = comparison.plot(tmp_path / "figure.png")
    main, relative, noise, bound, hankel, balanced, modal = figure.axes
    assert main.get_yscale() == "linear"
    assert {axes.get_yscale() for axes in (relative, noise, bound, hankel)} == {"log"}
    assert len(balanced.collections) == len(modal.collections) == 2
    kept = modal.collections[1].get_offsets()
    assert len(kept) == showcase_order(comparison) == 2
    data = (tmp_path / "figure.png").read_bytes()
    assert data.startswith(b"\x89PNG")
    assert len(data) > 20_000
    assert [path.name for path in tmp_path.iterdir()] == ["figure.png"]


@pytest.mark.parametrize("name", PANELS)
def test_every_row_is_on_a_curve_under_its_name(comparison: Comparison, name: str) -> None:
    figure, panel = pytest.importorskip("matplotlib.figure").Figure(), PANELS[name]
    axes = figure.subplots()
    with on("light") as inks:
        draw(comparison, panel, axes, "light", inks)
    lines = {line.get_label(): line for line in axes.get_lines() if " " not in line.get_label()[:1]}
    for row in comparison.rows:
        (label,) = [label for label in lines if row.method in re.split(r" = | \(", label)[: label.count(" = ") + 1]]
        x, y = lines[label].get_data()
        assert y[list(x).index(row.order)] == pytest.approx(panel.value(row), rel=2 * SAME)


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


@pytest.mark.parametrize("paper", ["light", "dark"])
def test_no_label_lies_on_another_or_on_the_curves(
    comparison: Comparison, others: list[Comparison], paper: Any
) -> None:
    pytest.importorskip("matplotlib")
    for one in (comparison, others[0]) if paper == "light" else others[1:]:
        figure = plot(one) if paper == "light" else plot(one, paper, like=plot(one))  # as the report has them
        figure.canvas.draw()
        for first, second in combinations([axes.get_tightbbox() for axes in figure.axes], 2):
            assert not first.padded(-1.0).overlaps(second)
        for axes in figure.axes:
            boxes = [text.get_window_extent() for text in axes.texts if text.get_text() != "rounding"]
            for i, box in enumerate(boxes):
                assert box.x0 >= axes.get_window_extent().x1
                assert box.x1 <= figure.bbox.x1 + 2
                assert not any(box.shrunk(0.98, 0.8).overlaps(other.shrunk(0.98, 0.8)) for other in boxes[:i])
            if axes.get_legend() is not None:
                assert not axes.get_legend().get_window_extent().overlaps(axes.get_window_extent())


def made(rows: dict[str, list[float]], **changed: Any) -> Comparison:
    """A comparison with these errors at orders 1, 2, ... over a floor of 1."""
    listed = tuple(
        Row(
            method=name, order=order, floor=1.0, attained=order, error=Bracket(value, value, 0.1),
            relative_error=Bracket(value / 20, value / 20, 0.1), h2_error=value, relative_h2=value / 30,
            bound=2 * value,
        )
        for name, values in rows.items()
        for order, value in enumerate(values, 1)
    )  # fmt: skip
    subject = {"kind": "S5", "states": 4, "real_states": 4, "dt": 1.0, "real": True, "precision": "float32"}
    subject |= {"channels": 1, "inputs": 1, "outputs": 1}
    empty = np.zeros(0)
    whole = {"subject": subject, "norm": Bracket(20.0, 20.0, 0.0), "rows": listed, "hsv": np.ones(4)}
    return Comparison(**(whole | {"poles": empty, "margin": empty} | changed))


def test_the_best_curve_is_the_thickest_and_its_name_is_bold() -> None:
    """The winner came last in the order of methods, and was drawn thinnest."""
    pytest.importorskip("matplotlib")
    figure = plot(made({"a": [3.0, 2.6, 2.2], "b": [2.9, 2.5, 2.1], "c": [1.5, 1.4, 1.3]}))
    main = figure.axes[0]
    widths = {line.get_label(): line.get_linewidth() for line in main.get_lines()}
    assert widths["c"] > max(widths["a"], widths["b"])
    assert {text.get_text() for text in main.texts if text.get_fontweight() == "bold"} == {"c"}


def test_names_beyond_the_scale_stand_in_the_order_of_their_errors_rounded_up() -> None:
    pytest.importorskip("matplotlib")
    main = plot(made({"x": [20.0, 24.71], "y": [30.0, 7.411], "z": [40.0, 14.21], "best": [1.5, 1.5]})).axes[0]
    told = {text.get_text(): text.xy[1] for text in main.texts if "\u2191" in text.get_text()}
    assert sorted(told, key=told.__getitem__) == ["y \u2191 7.42", "z \u2191 14.3", "x \u2191 24.8"]


def test_orders_at_which_nothing_is_lost_do_not_stretch_the_axes() -> None:
    """They have no place on a logarithmic axis: they are named below it."""
    pytest.importorskip("matplotlib")
    figure = plot(made({"a": [3.0, 2.0, 0.0, 0.0], "b": [4.0, 3.0, 0.0, 0.0]}))
    for axes in figure.axes[:4]:
        assert axes.get_xlim()[1] < 3
        assert list(axes.get_xticks()) == [1, 2]
        assert axes.get_xlabel() == "order (stored states); no error at 3, 4"


@pytest.mark.parametrize("most", [1.05, 1.3, 3.0, 9.0, 50.0, 900.0, 1e5])
def test_a_logarithmic_axis_has_some_numbers_however_short_it_is(most: float) -> None:
    """There were two, or one, where the values lie within a decade."""
    pytest.importorskip("matplotlib")
    figure = plot(made({"a": [2.0, 2.0 / most], "b": [1.9, 1.95 / most]}))
    figure.canvas.draw()
    for axes in figure.axes[1:3]:
        low, high = axes.get_ylim()
        labels = [label.get_text() for label in axes.get_yticklabels() if low <= label.get_position()[1] <= high]
        assert 3 <= len([label for label in labels if label]) <= 10


def test_the_poles_of_two_reductions_have_one_scale(comparison: Comparison) -> None:
    pytest.importorskip("matplotlib")
    one, other = plot(comparison).axes[-2:]
    assert "Poles" in one.get_title()
    assert "Poles" in other.get_title()
    assert (one.get_xlim(), one.get_ylim()) == (other.get_xlim(), other.get_ylim())
    for axes in (one, other):
        for points in axes.collections:
            x, y = points.get_offsets().T
            assert ((axes.get_xlim()[0] <= x) & (x <= axes.get_xlim()[1])).all()
            assert ((axes.get_ylim()[0] <= y) & (y <= axes.get_ylim()[1])).all()


def test_ticks_of_orders_do_not_touch() -> None:
    pytest.importorskip("matplotlib")
    hankel = plot(made({"a": [3.0, 2.0, 1.5, 1.4]}, hsv=np.geomspace(1, 1e-3, 64))).axes[-1]
    ticks = hankel.get_xticks()
    assert min(np.diff(ticks), default=9) >= 0.05 * np.ptp(hankel.get_xlim())
    assert ticks[0] == 1


def test_the_caller_s_style_is_left_alone(comparison: Comparison) -> None:
    matplotlib = pytest.importorskip("matplotlib")
    before = dict(matplotlib.rcParams)
    image(plot(comparison, "dark"), dpi=30)
    assert dict(matplotlib.rcParams) == before


def test_unknown_formats_are_refused_before_drawing(comparison: Comparison, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"\.png, \.svg, \.pdf"):
        comparison.plot(tmp_path / "figure.bmp")
    assert not list(tmp_path.iterdir())


def test_there_is_a_look_for_every_method() -> None:
    """The registry's kinds have colours, no two methods look alike, on either paper."""
    for shades in SHADES.values():
        assert set(shades) == set(FAMILIES)
        assert len({colour for kind in shades.values() for colour in kind}) == sum(map(len, shades.values()))
    rows = tuple(Row(method=name, family=method.family, order=1, floor=1.0) for name, method in METHODS.items())
    every = Comparison(subject={}, norm=Bracket(1.0, 1.0, 0.0), rows=rows, hsv=[], poles=[], margin=[])
    for paper in ("light", "dark"):
        found = looks(every, paper)
        assert set(found) == set(METHODS)
        assert len(set(map(str, found.values()))) == len(found)


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
