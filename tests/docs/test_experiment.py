"""The tables and the sentences of docs/experiment.md and docs/choosing.md say what their records hold."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from scipy.stats import rankdata

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGES = {name: (DOCS / f"{name}.md").read_text(encoding="utf-8") for name in ("experiment", "choosing")}
DATA_FREE = ("balanced", "last", "aire", "lamp", "magnitude", "random")


@pytest.fixture(scope="module")
def experiment() -> ModuleType:
    sys.path.insert(0, str(DOCS))
    try:
        spec = importlib.util.spec_from_file_location("experiment", DOCS / "experiment.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(DOCS))
    return module


@pytest.fixture(scope="module")
def record(experiment: ModuleType) -> dict[str, Any]:
    return experiment.recorded("experiment")


@pytest.fixture(scope="module")
def correlations(experiment: ModuleType, record: dict[str, Any]) -> dict[str, dict[str, float]]:
    """With their intervals, which take seconds to draw."""
    return experiment.correlations(record)


def test_every_table_has_its_place_and_is_filled(experiment: ModuleType) -> None:
    text = "".join(PAGES.values())
    assert all(text.count(mark) == 1 for mark in experiment.MARKS)
    filled = experiment.filled(text)
    assert "<!-- experiment" not in filled
    assert "nan" not in filled


def test_every_model_has_every_point(experiment: ModuleType, record: dict[str, Any]) -> None:
    seeds = {"random": experiment.SEEDS, "empirical": experiment.SEEDS}
    for name in record["wholes"]:
        rows = [row for row in record["rows"] if row["checkpoint"] == name]
        for rule, methods, ratios in (
            ("uniform", experiment.MATCHED, experiment.RATIOS),
            ("own", experiment.OWN, experiment.OWN_RATIOS),
        ):
            for method in map(experiment.family, methods):
                for ratio in ratios:
                    asked = [
                        row
                        for row in rows
                        if (experiment.family(row["method"]), row["allocation"], row["ratio"]) == (method, rule, ratio)
                    ]
                    assert len(asked) == seeds.get(method, 1)
                    assert all(row["accuracy"] is not None for row in asked)


def test_every_model_that_ships_is_in_both(experiment: ModuleType) -> None:
    shipped = {path.stem for path in experiment.CHECKPOINTS}
    assert (
        set(experiment.recorded("experiment")["wholes"]) == set(experiment.recorded("allocations")["wholes"]) == shipped
    )


def test_the_readme_has_the_means(experiment: ModuleType, record: dict[str, Any]) -> None:
    lines = experiment.lost_table(record)
    assert "\n\n" + "\n".join(lines) + "\n\n" in (DOCS.parent / "README.md").read_text(encoding="utf-8")
    assert len({experiment.model_of(name) for name in record["wholes"]}) == 14  # "fourteen trained models"
    for line in lines[2:]:  # each cell from the rows: draws first, then seeds of training, then models
        removed, *cells = (cell.strip(" *%") for cell in line.strip("|").split("|"))
        for method, cell in zip(lines[0].replace("`", "").strip("| ").split(" | ")[1:], cells, strict=True):
            of_model: dict[str, dict[str, list[float]]] = {}
            for row in record["rows"]:
                if (row["allocation"], 100 * row["ratio"]) == ("uniform", float(removed)) and (
                    row["method"].startswith(method)
                ):
                    whole, name = record["wholes"][row["checkpoint"]], row["checkpoint"].split("_seed")[0]
                    lost = (whole["accuracy"] - row["accuracy"]) / (whole["accuracy"] - 1 / whole["classes"])
                    of_model.setdefault(name, {}).setdefault(row["checkpoint"], []).append(100 * lost)
            means = [np.mean([np.mean(draws) for draws in seeds.values()]) for seeds in of_model.values()]
            assert len(means) == 14
            assert abs(float(np.mean(means)) - float(cell)) < 0.0501


@pytest.mark.parametrize("name", ["experiment", "allocations"])
def test_of_splits_that_are_sorted_by_class_the_examples_are_spread(experiment: ModuleType, name: str) -> None:
    """The first 500 spoken words are two of the eight, the first 500 reviews are all negative."""
    wholes = experiment.recorded(name)["wholes"]
    of_sorted = [whole for checkpoint, whole in wholes.items() if checkpoint.startswith(("speech", "text"))]
    assert of_sorted
    assert all(whole.get("chosen") == "spread" for whole in of_sorted)
    spread = {checkpoint for checkpoint, whole in wholes.items() if whole.get("chosen") == "spread"}
    others = {"pathfinder_small_s5", "smnist_small_s4d_hankel", "smnist_small_s5_seed2027", "smnist_small_s5_seed2028"}
    assert others == {checkpoint for checkpoint in spread if not checkpoint.startswith(("speech", "text"))}


def test_correlations_are_those_of_ranks(
    experiment: ModuleType, record: dict[str, Any], correlations: dict[str, dict[str, float]]
) -> None:
    rows = experiment.measured(record)
    losses = [experiment.loss(record, row) for row in rows]
    for key, told in correlations.items():
        ranks = np.corrcoef(rankdata([row[key] for row in rows]), rankdata(losses))[0, 1]
        assert told["pooled"] == pytest.approx(ranks, abs=1e-9)
        assert told["low"] <= told["pooled"] <= told["high"]


def test_weights_are_repetitions(experiment: ModuleType, rng: np.random.Generator) -> None:
    x, y = rng.integers(0, 6, (2, 20)).astype(float)
    weights = rng.integers(0, 4, (5, 20))
    for told, times in zip(experiment.weighted_spearman(x, y, weights.astype(float)), weights, strict=True):
        ranks = rankdata(np.repeat(x, times)), rankdata(np.repeat(y, times))
        assert told == pytest.approx(np.corrcoef(*ranks)[0, 1], abs=1e-12)


def test_what_is_read_off_is_there(
    experiment: ModuleType, record: dict[str, Any], correlations: dict[str, dict[str, float]]
) -> None:
    def means(ratio: float) -> dict[str, dict[str, float]]:
        return {
            method: experiment.by_model(record, method, "uniform", ratio)
            for method in map(experiment.family, experiment.MATCHED)
        }

    models = list(record["wholes"])
    for ratio in experiment.RATIOS:
        found = means(ratio)
        assert found["lamp"] == pytest.approx(found["magnitude"])
        informed = [max(found["empirical"][name], found["time_limited"][name]) for name in models]
        others = [max(found[method][name] for method in DATA_FREE) for name in models]
        assert sum(a >= b for a, b in zip(informed, others, strict=True)) > len(models) / 2
        if ratio > 0.6:
            data_free = np.mean([[found[method][name] for name in models] for method in DATA_FREE], axis=1).max()
            assert np.mean(list(found["empirical"].values())) > data_free + 10
        if ratio <= 0.75:
            ahead = {
                name for name in models if found["balanced"][name] >= max(found[m][name] for m in ("last", "aire"))
            }
            assert (len(models), len(ahead) in (10, 11, 12)) == (18, True)
            assert len([name for name in ahead if name.startswith("digits")]) < 2
            assert not ahead & {"text_small_s5", "psmnist_small_s5", "pathfinder_small_s5"}
        if ratio in (0.6, 0.75):
            digits = [name for name in models if name.startswith("digits")]
            best = [found["magnitude"][name] == max(found[method][name] for method in DATA_FREE) for name in digits]
            assert (sum(best), len(best)) == (3 if ratio == 0.6 else 1, 3)
        if ratio in (0.6, 0.75):
            permuted = {method: found[method]["psmnist_small_s5"] for method in ("aire", "magnitude", "empirical")}
            assert max(permuted["aire"], permuted["magnitude"]) > permuted["empirical"] + 15
        if ratio == 0.5:
            others = [name for name in models if not name.startswith("digits")]
            rows = [{"checkpoint": name, "accuracy": found["magnitude"][name] / 100} for name in others]
            assert (sum(experiment.loss(record, row) > 0.5 for row in rows), len(rows)) == (8, 15)
        pathfinder = {method: values["pathfinder_small_s5"] for method, values in found.items()}
        if ratio == 0.5:
            assert pathfinder["empirical"] > max(pathfinder[method] for method in found if method != "empirical") + 10
        if ratio >= 0.75:
            assert max(pathfinder.values()) < 60
        for name in ("smnist_small_s5", "smnist_small_s4d"):
            gained = {method: values[f"{name}_hankel"] - values[name] for method, values in found.items()}
            if ratio <= 0.5:
                assert min(gained.values()) < 0
            if ratio >= 0.75:
                assert -2 < gained.pop("empirical") < 6
                assert -5 < gained.pop("random") < 4
                assert 6 < min(gained.values()) <= max(gained.values()) < 57
    lost = {key: value["pooled"] for key, value in correlations.items()}
    assert lost["changed"] > lost["recorded_error"] > max(lost["error_upper"], lost["h2_error"])


def test_the_default_allocation_is_the_best_that_no_scale_moves(experiment: ModuleType) -> None:
    """Ahead of the next by more than the standard error of their difference, and by less than two."""
    lines = experiment.rules(experiment.recorded("allocations")).splitlines()[2:]
    ranked = [line.split("|")[1].strip(" `") for line in lines]
    unmoved = [rule for rule in ranked if rule not in ("global", "global_magnitude", "abs2")]
    assert unmoved[:2] == ["time_limited", "uniform"]
    assert ranked[:2] == unmoved[:2]
    losses = experiment.rule_losses(experiment.recorded("allocations"))
    gaps = [losses["uniform"][point] - losses["time_limited"][point] for point in losses["uniform"]]
    assert 1 < np.mean(gaps) / (np.std(gaps, ddof=1) / np.sqrt(len(gaps))) < 2
    assert len({model for model, _ in losses["uniform"]}) == 14  # "fourteen trained models"
    assert set(ranked[-2:]) == {"global", "abs2"}
    from ssmreduce.methods.registry import METHODS

    assert METHODS["balanced"].allocation == METHODS["modal"].allocation == "time_limited"
