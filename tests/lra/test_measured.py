"""The allocation "measured" where lra runs the network: rows of a sweep, and ``python -m lra reduce --method``."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lra.unlabelled
import ssmreduce
from lra.__main__ import main
from lra.evaluate import evaluate
from lra.network import LraNetwork
from lra.sweep import Sweep, sweep
from lra.sweep.examples import drawn
from lra.tasks import load_task
from lra.unlabelled import network_of
from ssmreduce import shipped_checkpoint
from ssmreduce.network import divergence

pytestmark = pytest.mark.jax

DIGITS = shipped_checkpoint("digits_s5")


@pytest.fixture(scope="module")
def found() -> Sweep:
    return sweep(
        DIGITS, ratios=(0.5, 0.75), methods=("balanced", "magnitude", "empirical"), seeds=2,
        allocations=("measured", "uniform"), recorded=40, examples=100,
    )  # fmt: skip


def test_rows_meet_their_budgets_each_method_in_its_own_way(found: Sweep) -> None:
    for row in found.rows:
        assert row.status == "ok"
        assert sum(row.orders) == row.budget
        assert row.rule == row.allocation
    measured = {(row.method, row.orders) for row in found.rows if row.allocation == "measured" and row.ratio == 0.75}
    assert len({orders for _, orders in measured}) > 1
    assert {row.orders for row in found.rows if row.allocation == "uniform"} == {(8, 8), (4, 4)}
    assert "allocation: measured" in str(found)


@pytest.mark.parametrize(("method", "seed"), [("magnitude", 0), ("empirical", 1)])
def test_a_row_divides_as_reduce_model_does(found: Sweep, method: str, seed: int) -> None:
    """The same training examples, by the API: the same orders, and effects that the network confirms."""
    model, task = ssmreduce.load(DIGITS), load_task("digits")
    rows = drawn(len(task.train), 40, 1000, seed)[1]
    batch = task.batch(task.train, rows)
    network = LraNetwork(model, batch["x"])
    for row in found.rows:
        if (row.method, row.allocation, row.seed) != (method, "measured", seed):
            continue
        smaller = ssmreduce.reduce_model(model, budget=row.budget, method=method, network=network, seed=seed)
        record = smaller.training["reduction"]
        assert tuple(record["orders"]) == row.orders
    whole = network.run(network.parts, np.arange(40)).logits.astype(float)
    data = {}
    if method == "empirical":
        data = {"inputs": network.run(network.parts, np.arange(40), record=(1,)).inputs[1]}
    layer = ssmreduce.reduce(model.layers[1], 4, method=method, **data).layer
    logits = network.run(network.parts.with_layer(1, layer), np.arange(40)).logits.astype(float)
    assert record["effects"]["1/4"] == pytest.approx(divergence(whole, logits, 4.0), rel=1e-6)


class Poison:
    """Labels that come with a batch, and that nobody may believe."""

    def __getitem__(self, rows: Any) -> Any:
        return np.full(len(rows), -(10**6))


@pytest.mark.parametrize("method", ["balanced", "empirical"])
def test_the_command_divides_by_what_the_network_says(
    method: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same file as by the API, bit for bit, with poisoned labels and no other split."""
    model = ssmreduce.load(DIGITS)
    wanted = ssmreduce.reduce_model(model, 0.75, method, network=network_of(model, None, 30, 0, 3)[0], seed=3)
    real = lra.unlabelled.load_task

    def load(*arguments: Any) -> Any:
        task = real(*arguments)
        return dataclasses.replace(task, train=dataclasses.replace(task.train, y=Poison()), validation=None, test=None)

    monkeypatch.setattr(lra.unlabelled, "load_task", load)
    path = tmp_path / "small.safetensors"
    words = ["reduce", str(DIGITS), "--ratio", "0.75", "--method", method, "--allocation", "measured", "--seed", "3"]
    assert main([*words, "--examples", "30", "--quiet", "-o", str(path)]) == 0
    assert "allocation measured" in capsys.readouterr().out
    small = ssmreduce.load(path)
    assert all(np.array_equal(small.tree[key], np.asarray(value)) for key, value in wanted.tree.items())
    record = small.training["reduction"]
    assert record["data"]["examples"] == 30
    assert (record["data"]["split"], record["data"]["seed"], record["data"]["labels"]) == ("train", 3, False)
    assert record["effects"] == wanted.training["reduction"]["effects"]
    monkeypatch.undo()
    assert evaluate(path)["states"] == record["orders"]


def test_without_data_a_method_has_its_own_allocation(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "small.safetensors"
    assert main(["reduce", str(DIGITS), "--budget", "8", "--method", "last", "--quiet", "-o", str(path)]) == 0
    record = ssmreduce.load(path).training["reduction"]
    assert (record["allocation"], record.get("data")) == ("last", None)
    words = ["reduce", str(DIGITS), "--budget", "8", "--quiet", "-o", str(path)]
    assert main([*words, "--method", "last", "--examples", "12", "--data", str(tmp_path)]) == 0
    record = ssmreduce.load(path).training["reduction"]
    assert (record["allocation"], record["data"]["examples"]) == ("measured", 12)
    for wrong in (["--allocation", "measured"], ["--method", "last", "--max-change", "0.1"]):
        given = [word for word in words if "--max-change" not in wrong or word not in ("--budget", "8")]
        assert main([*given, *wrong]) == 2
    assert main([*words, "--method", "best"]) == 2
    assert "unknown method" in capsys.readouterr().err
