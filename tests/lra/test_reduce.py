"""``python -m lra reduce``: budgets, records, what stays, what is never looked at, interruption and resumption."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lra.unlabelled as module
import ssmreduce
from lra.__main__ import main
from lra.errors import CheckpointError, ConfigError
from lra.evaluate import evaluate
from lra.reduce import Request, reduce_checkpoint
from ssmreduce import shipped_checkpoint
from ssmreduce.recorded.recipe import Recipe
from ssmreduce.recorded.search import Search

pytestmark = pytest.mark.jax

DIGITS = shipped_checkpoint("digits_s5")
FAST = Recipe(observability=("exact",), polish=0, together=0)


class Unreadable:
    """Stands for labels, or a split, that nothing may read."""

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"looked at: {name}")

    def __getitem__(self, rows: Any) -> Any:
        raise AssertionError("looked at")


class Labels:
    """Labels that can be asked for (a batch brings them) and whose values are poison."""

    def __getitem__(self, rows: Any) -> np.ndarray:
        return np.full(len(rows), -(10**6))


@pytest.fixture
def blind(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test split, no validation split, no labels."""
    real = module.load_task

    def load(*arguments: Any) -> Any:
        task = real(*arguments)
        train = dataclasses.replace(task.train, y=Labels())
        return dataclasses.replace(task, train=train, validation=Unreadable(), test=Unreadable())

    monkeypatch.setattr(module, "load_task", load)


@pytest.fixture(scope="module")
def half(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("half") / "half.safetensors"
    reduce_checkpoint(DIGITS, path, Request(ratio=0.5, examples=60, recipe=FAST))
    return path


def test_the_file_is_a_smaller_model_that_can_be_measured(half: Path) -> None:
    model = ssmreduce.load(half)
    assert model.n_states == ssmreduce.load(DIGITS).n_states // 2
    result = evaluate(half)
    assert result["states"] == [layer.order for layer in model.layers]
    assert result["accuracy"] > 0.9  # the whole model has 0.97; balanced truncation of this size 0.78


def test_the_record_names_every_step_and_its_data(half: Path) -> None:
    training = json.loads(half.with_suffix(".json").read_text())["training"]
    record = training["reduction"]
    assert record["method"] == "recorded"
    further = len(module.load_task("digits", None, {}).train) - 60  # all that are left
    examples = {"examples": 60, "further": further, "seed": 0, "labels": False}
    assert record["data"] == {"task": "digits", "split": "train"} | examples
    assert record["orders"] == [layer.order for layer in ssmreduce.load(half).layers]
    assert {"refit", "decoder"} & {stage["name"] for stage in record["stages"]}
    assert training["unreduced"]["test_accuracy"] > 0.9
    for whole, small, (lower, upper) in zip(
        ssmreduce.load(DIGITS).layers, ssmreduce.load(half).layers, record["certified_errors"], strict=True
    ):
        bracket = ssmreduce.error_norm(whole.system, small.system, rtol=1e-6)
        assert lower <= bracket.upper
        assert bracket.lower <= upper


def test_neither_labels_nor_other_splits_are_looked_at(blind: None, half: Path, tmp_path: Path) -> None:
    """With poisoned labels and no other split the file is the same, bit for bit."""
    path = tmp_path / "blind.safetensors"
    reduce_checkpoint(DIGITS, path, Request(ratio=0.5, examples=60, recipe=FAST))
    assert path.read_bytes() == half.read_bytes()


def test_layers_only_changes_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "layers.safetensors"
    recipe = dataclasses.replace(FAST, norms=False, decoder=False)
    reduce_checkpoint(DIGITS, path, Request(budget=20, examples=40, recipe=recipe))
    before, after = ssmreduce.load(DIGITS).tree, ssmreduce.load(path).tree
    outside = [key for key in before if "/seq/" not in key]
    assert len(outside) > 5
    for key in outside:
        assert np.array_equal(before[key], after[key])


def test_an_interrupted_search_keeps_the_best_so_far_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, half: Path
) -> None:
    path, real = tmp_path / "stopped.safetensors", Search._refitted
    monkeypatch.setattr(Search, "_refitted", _interrupts_at(real, 2))
    outcome, _ = reduce_checkpoint(DIGITS, path, Request(ratio=0.5, examples=60, recipe=FAST))
    assert outcome.interrupted
    assert ssmreduce.load(path).n_states == 16
    partial = path.with_name("stopped.partial.json")
    assert partial.exists()
    monkeypatch.undo()
    measured: list[str] = []
    from ssmreduce.recorded import budget

    def never(network: Any, cut: Any, index: int, order: int, *_: Any) -> float:
        measured.append(f"{index}/{order}")
        return 0.0

    monkeypatch.setattr(budget, "_effect", never)
    reduce_checkpoint(DIGITS, path, Request(ratio=0.5, examples=60, recipe=FAST))
    assert measured == []
    assert not partial.exists()
    assert path.read_bytes() == half.read_bytes()
    assert Search._refitted is real


def _interrupts_at(function: Any, count: int) -> Any:
    calls = []

    def wrapped(*arguments: Any, **options: Any) -> Any:
        calls.append(1)
        if len(calls) == count:
            raise KeyboardInterrupt
        return function(*arguments, **options)

    return wrapped


def test_a_partial_file_of_another_request_or_a_damaged_one_is_not_believed(tmp_path: Path, half: Path) -> None:
    path = tmp_path / "again.safetensors"
    for text in ('{"key": "other", "effects": {"exact/0/1": 0.0}}', "{", "[]", '{"key": 1}'):
        path.with_name("again.partial.json").write_text(text)
    reduce_checkpoint(DIGITS, path, Request(ratio=0.5, examples=60, recipe=FAST))
    assert path.read_bytes() == half.read_bytes()


def test_the_smallest_model_changes_no_more_than_it_may(tmp_path: Path) -> None:
    path = tmp_path / "smallest.safetensors"
    outcome, record = reduce_checkpoint(DIGITS, path, Request(max_change=0.1, examples=60, recipe=FAST))
    assert outcome.changed <= 0.1
    assert record["changed_predictions"] == outcome.changed
    assert sum(outcome.orders) < 24


def test_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "small.safetensors"
    words = ["reduce", str(DIGITS), "--budget", "6", "--polish", "0", "--quiet", "-o", str(path)]
    assert main([*words, "--examples", "200"]) == 0  # a decoder of a hundred examples can gain
    out = capsys.readouterr().out
    assert "6 of 32 states (81.2% removed)" in out
    assert "certified error of each layer, for all inputs" in out
    assert re.search(r"further .* -> .* (exact|output|mixture), .*; (norms|decoder)", out)
    assert main(["reduce", str(DIGITS), "--ratio", "0.5", "--method", "balanced", "-o", str(path)]) == 0
    assert ssmreduce.load(path).n_states == 16


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"ratio": 0.5, "budget": 3},
        {"ratio": 1.0},
        {"ratio": -0.1},
        {"ratio": 0.5, "examples": 3},
        {"ratio": 0.5, "decoder_examples": -1},
    ],
)
def test_requests_that_make_no_sense_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        Request(**options)


def test_what_cannot_be_reduced_is_refused(tmp_path: Path) -> None:
    request = Request(ratio=0.5, examples=8, recipe=FAST)
    with pytest.raises(ConfigError, match="folder"):
        reduce_checkpoint(DIGITS, tmp_path / "none" / "x.safetensors", request)
    model = ssmreduce.load(DIGITS)
    stripped = dataclasses.replace(model, options={k: v for k, v in model.options.items() if k != "task"})
    ssmreduce.save(stripped, tmp_path / "taskless.safetensors")
    with pytest.raises(CheckpointError, match="task"):
        reduce_checkpoint(tmp_path / "taskless.safetensors", tmp_path / "x.safetensors", request)
