"""Rows of a sweep mean what they say, by routes that the sweep does not take."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sweep_cases import CHECKPOINT, METHODS

import ssmreduce
from lra.evaluate import evaluate
from lra.network import LraNetwork
from lra.sweep import Grid, Sweep
from lra.sweep.examples import drawn
from lra.tasks import load_task

pytestmark = pytest.mark.jax


def measured(model: Any, path: Path) -> float:
    """Accuracy of the really smaller model, as `lra evaluate` finds it."""
    return float(evaluate(model.save(path / "smaller.safetensors"))["accuracy"])


def test_without_removal_a_row_is_the_whole_model(swept: Sweep) -> None:
    whole = evaluate(CHECKPOINT)["accuracy"]
    assert swept.whole["accuracy"] == whole
    rows = [row for row in swept.rows if row.ratio == 0]
    assert len(rows) == 5
    for row in rows:
        assert (row.accuracy, row.changed, row.divergence) == (whole, 0.0, 0.0)
        assert (row.error_upper, row.recorded_error) == (0.0, 0.0)
        assert row.states == row.budget == 32
        assert row.bytes == swept.whole["bytes"]


def test_there_is_a_row_for_every_point_and_seeds_where_something_is_drawn(swept: Sweep) -> None:
    assert [row.point for row in swept.rows] == list(Grid.of((0.0, 0.5), METHODS, seeds=2).points)
    assert [row.seed for row in swept.rows if row.method == "last"] == [0, 0]
    assert [row.seed for row in swept.rows if row.method == "random"] == [0, 1, 0, 1]
    by_seed = {row.seed: row.accuracy for row in swept.rows if row.method == "random" and row.ratio == 0.5}
    assert by_seed[0] != by_seed[1]


def test_rows_of_one_budget_and_allocation_have_the_same_orders(swept: Sweep) -> None:
    for row in swept.rows:
        assert row.states == row.budget == sum(row.orders) == (32 if row.ratio == 0 else 16)
        assert row.rule == row.allocation == "uniform"
    assert len({row.orders for row in swept.rows}) == 2
    assert len({(row.parameters, row.bytes) for row in swept.rows}) == 2


@pytest.mark.parametrize(("method", "seed"), [("last", 0), ("random", 1)])
def test_a_row_is_what_the_smaller_model_does(swept: Sweep, method: str, seed: int, tmp_path: Path) -> None:
    """Padded in one compilation, as here, or alone at its own size, as `lra evaluate` runs it: the same answers."""
    smaller = ssmreduce.reduce_model(ssmreduce.load(CHECKPOINT), 0.5, method, "uniform", seed=seed)
    (row,) = [row for row in swept.rows if row.point == (method, "uniform", 0.5, seed)]
    assert row.accuracy == measured(smaller, tmp_path)
    assert row.orders == tuple(layer.order for layer in smaller.layers)
    arrays = [np.asarray(leaf) for leaf in smaller.tree.values()]
    assert row.parameters == sum(leaf.size for leaf in arrays)
    assert row.bytes == sum(leaf.nbytes for leaf in arrays)


def gain(layer: Any, z: np.ndarray) -> np.ndarray:
    """Responses of a layer with conjugate pairs and delay 0, summed mode by mode."""
    system = layer.system
    modes = 1 / (1 - system.poles / z[:, None])
    conjugate = 1 / (1 - system.poles.conj() / z[:, None])
    return np.einsum("pn,fn,nm->fpm", system.C, modes, system.B) + np.einsum(
        "pn,fn,nm->fpm", system.C.conj(), conjugate, system.B.conj()
    )


def test_certified_errors_hold_what_a_sweep_over_frequencies_finds(swept: Sweep) -> None:
    model = ssmreduce.load(CHECKPOINT)
    smaller = ssmreduce.reduce_model(model, 0.5, "last", "uniform")
    z = np.exp(1j * np.concatenate([np.linspace(0, np.pi, 800), np.geomspace(1e-4, 0.1, 200)]))
    shares = []
    (row,) = [row for row in swept.rows if row.method == "last" and row.ratio == 0.5]
    for whole, reduced, told in zip(model.layers, smaller.layers, row.layers, strict=True):
        size = np.linalg.norm(gain(whole, z) + np.diag(whole.D), 2, axis=(1, 2)).max()
        sampled = np.linalg.norm(gain(whole, z) - gain(reduced, z), 2, axis=(1, 2)).max()
        assert 0.98 * told["error"]["lower"] <= sampled <= told["error"]["upper"]
        shares.append(sampled / size)
    assert row.error_lower is not None
    assert row.error_upper is not None
    assert 0.97 * row.error_lower <= max(shares) <= 1.03 * row.error_upper


def test_changed_predictions_are_at_least_the_accuracy_lost(swept: Sweep) -> None:
    for row in swept.rows:
        assert row.changed is not None
        assert row.divergence is not None
        assert abs(row.accuracy - swept.whole["accuracy"]) <= row.changed + 1e-12 <= 1
        assert (row.divergence > 0) == (row.ratio > 0)


def outputs(layer: Any, inputs: np.ndarray) -> np.ndarray:
    """Sample by sample: x = A x + B u, y = 2 Re(C x) + D u, all sequences at once."""
    system = layer.system
    state, found = np.zeros((len(inputs), system.n), complex), []
    for u in inputs.astype(float).swapaxes(0, 1):
        state = system.poles * state + u @ system.B.T
        found.append(2 * (state @ system.C.T).real + u @ system.D.T)
    return np.stack(found, axis=1)


def test_recorded_errors_are_those_of_the_recurrence_on_the_judged_examples(swept: Sweep) -> None:
    model, task = ssmreduce.load(CHECKPOINT), load_task("digits")
    rows = drawn(len(task.train), 20, 1000, 0)[0]
    x = task.batch(task.train, rows)["x"]
    network = LraNetwork(model, x)
    inputs = network.run(network.parts, np.arange(len(x)), record=(0, 1)).inputs
    smaller = ssmreduce.reduce_model(model, 0.5, "last", "uniform")
    (row,) = [row for row in swept.rows if row.method == "last" and row.ratio == 0.5]
    for index, (whole, reduced) in enumerate(zip(model.layers, smaller.layers, strict=True)):
        wanted = outputs(whole, inputs[index])
        error = np.linalg.norm(outputs(reduced, inputs[index]) - wanted) / np.linalg.norm(wanted)
        assert row.layers[index]["recorded_error"] == pytest.approx(error, rel=1e-4)
    assert row.recorded_error == max(layer["recorded_error"] for layer in row.layers)


def test_fitting_to_recorded_inputs_makes_the_error_on_other_recorded_inputs_smaller(swept: Sweep) -> None:
    errors = {row.method: row.recorded_error for row in swept.rows if row.ratio == 0.5}
    assert 0 < errors["empirical"] < 0.5 * errors["last"]
