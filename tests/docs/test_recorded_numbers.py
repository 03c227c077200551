"""Numbers that are quoted stand in a record, and the records are what today's code gives where that is quick to see."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from ssmreduce import error_norm, hankel_singular_values, hinf_norm, load, reduce, shipped_checkpoint
from ssmreduce.view.text import outward
from theory.norms.bracket import Bracket

ROOT = Path(__file__).resolve().parents[2]
README, LRA, CHOOSING = (
    (ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "lra/README.md", "docs/choosing.md")
)
WEIGHTS = sorted([*(ROOT / "lra" / "weights").glob("*.json"), *(ROOT / "ssmreduce" / "checkpoints").glob("*.json")])


def flat(text: str) -> str:
    """A text without its line breaks."""
    return " ".join(text.split())


@pytest.fixture(scope="module")
def record() -> ModuleType:
    spec = importlib.util.spec_from_file_location("record", ROOT / "docs" / "record.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def compared(record: ModuleType) -> dict[str, Any]:
    return record.recorded("compare")


@pytest.fixture(scope="module")
def accuracies(record: ModuleType) -> dict[str, Any]:
    return record.recorded("accuracy")


def rows_between(text: str, head: str) -> list[str]:
    """Rows of the table whose heading starts with `head`."""
    lines = text[text.index(head) :].splitlines()[2:]
    return lines[: next(i for i, line in enumerate([*lines, ""]) if not line.startswith("|"))]


def test_the_readme_quotes_the_recorded_comparison(record: ModuleType, compared: dict[str, Any]) -> None:
    assert rows_between(README, "| states kept | floor") == record.error_table(compared)
    assert record.peer_sentence(compared) in flat(README)
    assert compared["machine"]["date"] in README
    low, high = (outward(end, side, 5) for end, side in zip(compared["norm"], (-1, 1)))
    assert f"`||G||` is between {low} and {high}" in README
    assert f"{100 * compared['test_accuracy']:.2f} % test accuracy" in README
    assert compared["violations"] == []


def test_the_figure_is_drawn_from_the_recorded_rows(
    compared: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "docs"))
    made = importlib.import_module("record_figure")
    norm = Bracket(*compared["norm"], 0.0)
    rows = [made._row(entry, norm, 10.0) for entry in compared["rows"]]
    for row, entry in zip(rows, compared["rows"], strict=True):
        assert (row.method, row.order, row.bound) == (entry["method"], entry["order"], entry["bound"])
        assert row.over_floor == entry["error"][1] / entry["floor"]
        assert row.relative_error.upper == pytest.approx(entry["error"][1] / compared["norm"][0])
        assert row.relative_h2 == entry["h2_error"] / 10.0


def test_the_recorded_comparison_keeps_its_laws(compared: dict[str, Any]) -> None:
    for row in compared["rows"]:
        assert row["error"][0] <= row["error"][1] <= row["bound"]
        assert row["floor"] <= row["error"][1]
        if row["verdict"] == "agrees":
            assert row["gap"] == 0
        else:
            assert row["verdict"] == "below"
            assert -1e-10 <= row["gap"] < 0


def test_what_the_readme_reads_off_is_so(record: ModuleType, compared: dict[str, Any]) -> None:
    by = {(row["method"], row["order"]): row for row in compared["rows"]}
    for order in record.ORDERS:
        error = {method: by[method, order]["error"] for method in {row["method"] for row in compared["rows"]}}
        noise = {method: by[method, order]["h2_error"] for method in error}
        assert 1.8 < error["balanced"][1] / by["balanced", order]["floor"] < 2.2
        selections = [row["method"] for row in compared["rows"] if row["family"] in ("selection", "baseline")]
        assert all(error[method][0] > error["balanced"][1] for method in selections)
        assert error["modal"][0] <= error["last"][1]
        assert error["hinf"][1] < error["balanced"][0]
        assert noise["hinf"] > noise["balanced"] >= noise["mixed"] * (1 - 1e-3)  # stored in float32


def test_today_s_code_gives_the_recorded_brackets(compared: dict[str, Any]) -> None:
    layer = load(shipped_checkpoint()).layers[0]
    by = {(row["method"], row["order"]): row for row in compared["rows"]}
    norm = hinf_norm(layer.system, 1e-3)
    assert max(norm.lower, compared["norm"][0]) <= min(norm.upper, compared["norm"][1])
    for method, order in (("balanced", 32), ("last", 16), ("magnitude", 56)):
        reduction = reduce(layer, order=order, method=method)
        error = error_norm(layer.system, reduction.system, rtol=1e-3)
        wanted = by[method, order]
        assert max(error.lower, wanted["error"][0]) <= min(error.upper, wanted["error"][1])
        np.testing.assert_allclose([reduction.floor, reduction.bound], [wanted["floor"], wanted["bound"]], rtol=1e-4)


def test_the_recorded_accuracies_are_quoted(record: ModuleType, accuracies: dict[str, Any]) -> None:
    assert rows_between(LRA, "| states removed | balanced") == record.accuracy_table(accuracies)


def test_whole_models_are_as_accurate_as_their_records_say(record: ModuleType, accuracies: dict[str, Any]) -> None:
    quoted = {row["checkpoint"] for row in accuracies["rows"]}
    for path in WEIGHTS:
        training = json.loads(path.read_text(encoding="utf-8"))["training"]
        test, validation = (f"{100 * training[f'{split}_accuracy']:.2f}" for split in ("test", "validation"))
        assert re.search(rf"\| \**{test} %\** \(validation {validation} %", LRA), path.stem
        assert path.stem in quoted
        assert record.accuracy_of(accuracies, path.stem, None, 0) == test


TWINS = {
    "| S5 |": ("smnist_small_s5", "balanced", (0.5, 0.75, 0.875)),
    "| S5, LAST": ("smnist_small_s5", "last", (0.5, 0.75, 0.875)),
    "| S5, `hankel_penalty=1e-4` |": ("smnist_small_s5_hankel", "balanced", (0.5, 0.75, 0.875)),
    "| the same, LAST |": ("smnist_small_s5_hankel", "last", (0.5, 0.75, 0.875)),
    "| S4D |": ("smnist_small_s4d", "balanced", (0.5, 0.75)),
    "| S4D, `hankel_penalty=2e-5` |": ("smnist_small_s4d_hankel", "balanced", (0.5, 0.75)),
}


@pytest.mark.parametrize("row", TWINS)
def test_twins(row: str, record: ModuleType, accuracies: dict[str, Any]) -> None:
    checkpoint, method, removed = TWINS[row]
    (line,) = [line for line in rows_between(LRA, "| model | sum of the Hankel") if line.startswith(row)]
    found = [cell.strip(" *") for cell in line.split("|")[2:-1]]
    wanted = [record.accuracy_of(accuracies, checkpoint, method, part) for part in removed]
    assert [cell for cell in found[1:] if cell] == [record.accuracy_of(accuracies, checkpoint, None, 0), *wanted]
    layers = load(ROOT / "lra" / "weights" / f"{checkpoint}.safetensors").layers
    assert float(found[0]) == round(sum(float(hankel_singular_values(layer.system).sum()) for layer in layers))


def test_the_other_models_of_lra(record: ModuleType, accuracies: dict[str, Any]) -> None:
    def of(*key: Any) -> str:
        return record.accuracy_of(accuracies, *key)

    listops = (of("listops_small_s5", None, 0), *(of("listops_small_s5", "balanced", part) for part in (0.25, 0.5)))
    assert "{} whole, {} with 25 % and {} with 50 %".format(*listops) in flat(LRA)
    for title, method in (("balanced truncation", "balanced"), ("LAST", "last")):
        (line,) = [line for line in rows_between(LRA, "| method | whole") if line.startswith(f"| {title} |")]
        wanted = [of("speech8_small_s5", method, part, "uniform") for part in (0.25, 0.5, 0.75)]
        assert [cell.strip(" *") for cell in line.split("|")[3:-1]] == wanted
    hsv = of("speech8_small_s5", "balanced", 0.25, "hsv")
    assert f"25 % removed leave {hsv})" in flat(LRA)
    uniform, whole = of("speech8_small_s5", "balanced", 0.25, "uniform"), of("speech8_small_s5", None, 0)
    assert f"and {hsv} % of the test words" in flat(CHOOSING)
    assert f"it is {uniform} %, of {whole} % for the whole model" in flat(CHOOSING)


def test_the_order_of_methods_does_not_carry_over(record: ModuleType, accuracies: dict[str, Any]) -> None:
    rows = {
        row["method"]: row
        for row in accuracies["rows"]
        if row["checkpoint"] == "digits_s5" and row["allocation"] == "uniform"
    }
    balanced, magnitude = rows["balanced"], rows["magnitude"]
    assert balanced["accuracy"] < magnitude["accuracy"]
    assert balanced["certified"] < magnitude["certified"]
    told = f"leaves {balanced['accuracy']:.2f} % of the test images right and `magnitude` {magnitude['accuracy']:.2f} %"
    assert told in flat(CHOOSING)
    assert f"is {balanced['certified']:.2f} % and {magnitude['certified']:.2f} %" in flat(CHOOSING)


def test_the_layer_that_an_allocation_starves() -> None:
    layer = load(ROOT / "lra" / "weights" / "speech8_small_s5.safetensors").layers[2]
    exponent = int(np.floor(np.log10(layer.margin.min())))
    assert rf"$1-|\lambda|={layer.margin.min() / 10.0**exponent:.0f}\cdot10^{{{exponent}}}$" in CHOOSING.replace(
        "(", ""
    )
    hsv = hankel_singular_values(layer.system)
    assert rf"$\sigma_1={hsv[0]:.0f}$, $\sigma_3={hsv[2]:.0f}$" in CHOOSING


def test_the_readme_quotes_the_recorded_benchmarks() -> None:
    recorded = json.loads((ROOT / "docs" / "_static" / "benchmarks.json").read_text(encoding="utf-8"))["rows"]

    def of(case: str, package: str, key: str) -> float:
        return next(row[key] for row in recorded if (row["case"], row["package"]) == (case, package))

    s5, s4d = "norm of an S5 layer", "norm of an S4D layer"
    wall, ratio = of(s5, "ssmreduce", "wall"), of(s5, "python-control", "ratio_wall")
    told = flat(README)
    width, ordinal = "to a proved relative width of 1e-8", "(?:rd|th|st|nd)"
    assert re.search(f"takes {wall:.2f} s {width}, a {ratio:.0f}{ordinal} of python-control's time", told)
    wall, ratio = of(s4d, "ssmreduce", "wall"), of(s4d, "python-control", "ratio_wall")
    assert re.search(rf"an S4D layer of 256 channels {wall:.2f} s, a {ratio:.0f}{ordinal}", told)


PRINTED = json.loads((ROOT / "docs" / "recorded" / "tables.json").read_text(encoding="utf-8"))["tables"]


@pytest.mark.parametrize("table", PRINTED, ids=lambda table: f"{table['file']}: {table['head'][:30]}")
def test_printed_tables_are_those_of_the_record(table: dict[str, Any]) -> None:
    lines = rows_between((ROOT / table["file"]).read_text(encoding="utf-8"), table["head"])
    assert [[cell.strip() for cell in line[1:-1].split("|")] for line in lines] == table["rows"]
    assert table["date"]
    assert table["commit"]


@pytest.mark.parametrize("table", PRINTED[:2], ids=["training", "inference"])
def test_printed_ratios_are_those_of_the_times_beside_them(table: dict[str, Any]) -> None:
    """Ratios are medians of ratios, so they need not be quotients of medians; they are close to them."""
    for row in table["rows"]:
        if row[1]:
            theirs, ours, ratio = (float(cell.strip("*").split(" ")[0]) for cell in row[1:4])
            assert ratio == pytest.approx(theirs / ours, rel=0.2)
