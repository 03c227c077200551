"""What a sweep looks at: judged examples apart from fitted ones, inputs as batches have them, no training label."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sweep_cases import CHECKPOINT

import lra.sweep.examples
import ssmreduce
from lra.network import LraNetwork
from lra.sweep import OWN, WHOLE_MODEL, sweep
from lra.sweep.examples import Inputs, drawn
from lra.sweep.whole_models import WHOLE_MODELS, WholeModel
from lra.tasks import Split, Task, load_task

pytestmark = pytest.mark.jax


FEW = [(1000, 200, 900), (1000, 200, 10), (40, 200, 900), (2, 5, 9)]


@pytest.mark.parametrize(("total", "recorded", "affordable"), FEW)
def test_errors_are_measured_where_nothing_was_fitted(total: int, recorded: int, affordable: int) -> None:
    sets = [drawn(total, recorded, affordable, seed) for seed in range(3)]
    for judged, fitted in sets:
        np.testing.assert_array_equal(judged, sets[0][0])
        assert not set(judged) & set(fitted)
        assert 1 <= len(set(fitted)) == len(fitted) <= min(recorded, affordable)
        assert 1 <= len(set(judged)) == len(judged) <= affordable
        assert max(*judged, *fitted) < total
    if total == 1000:
        assert set(sets[0][1]) != set(sets[1][1])


@pytest.mark.parametrize("retrieval", [False, True])
def test_inputs_are_those_of_the_batches(retrieval: bool) -> None:
    """As a network indexes them: of pairs the first documents, then the second."""
    rng = np.random.default_rng(0)
    x, lengths = rng.integers(0, 9, (7, 2, 5)), rng.integers(1, 6, (7, 2))
    split = Split(
        x=x if retrieval else x[:, 0], y=np.zeros(7, int), indices=np.array([6, 2, 5, 0]),
        lengths=lengths if retrieval else lengths[:, 0],
    )  # fmt: skip
    task = Task(
        name="toy", train=split, validation=split, test=split, d_input=9, n_classes=2, L=5, retrieval=retrieval,
        prepare=(lambda ids: np.concatenate([ids[:, 0], ids[:, 1]])) if retrieval else (lambda ids: ids),
    )  # fmt: skip
    inputs, rows = Inputs(task, split), np.array([3, 1])
    which = np.concatenate([rows, rows + 4]) if retrieval else rows
    batch = task.batch(split, rows)
    assert len(inputs) == (8 if retrieval else 4)
    np.testing.assert_array_equal(inputs[which], batch["x"])
    assert inputs.lengths is not None
    np.testing.assert_array_equal(inputs.lengths[which], batch["lengths"])


@given(sizes=st.lists(st.integers(1, 30), min_size=1, max_size=8), n=st.integers(1, 60))
def test_of_a_split_sorted_by_class_every_class_has_its_share(sizes: list[int], n: int) -> None:
    y = np.repeat(np.arange(len(sizes)), sizes)
    split = Split(x=y, y=y, indices=np.arange(len(y)))
    few = split.spread(n)
    assert len(few) == min(n, len(y))
    assert len(split.spread(None)) == len(y)
    counts = np.bincount(few.indices, minlength=len(y))
    assert counts.max() == 1
    share = np.bincount(y[few.indices], minlength=len(sizes)) / len(few)
    assert np.all(np.abs(share * len(few) - np.array(sizes) * len(few) / len(y)) < 2)


def test_a_sweep_of_some_examples_sees_every_class(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a test split that is sorted by class, as those of spoken words and reviews are."""

    def load(*arguments: Any) -> Any:
        task = load_task(*arguments)
        order = task.test.indices[np.argsort(task.test.y[task.test.indices], kind="stable")]
        return dataclasses.replace(task, test=dataclasses.replace(task.test, indices=order))

    monkeypatch.setattr(lra.sweep.examples, "load_task", load)
    result = sweep(CHECKPOINT, methods="balanced", ratios="0.5", allocations="uniform", examples=100)
    test = load("digits", None, {}).test
    chosen = test.indices[np.linspace(0, len(test) - 1, 100).round().astype(int)]
    assert len(np.unique(test.y[chosen])) == 10
    task, model = load_task("digits", None, {}), ssmreduce.load(CHECKPOINT)
    network = LraNetwork(model, task.prepare(test.x[chosen]))
    logits = network.run(network.parts, np.arange(100)).logits
    assert result.whole["accuracy"] == pytest.approx(np.mean(logits.argmax(axis=1) == test.y[chosen]))
    assert result.subject["chosen"] == "spread"


class Unread:
    """Labels that nobody may look at."""

    def __getitem__(self, rows: Any) -> Any:
        raise AssertionError("a label of the training split was read")

    def __array__(self, *_: Any, **__: Any) -> Any:
        raise AssertionError("the labels of the training split were read")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Toy(WholeModel):
    """Keeps the states with the largest gain, all in the first layer but one; needs examples, and looks at them."""

    def reducer(self, network: Any, seed: int) -> Any:
        assert network.count == 20
        assert len(network.run(network.parts, np.arange(3)).logits) == 3

        def reduce(budget: int) -> Any:
            orders = (budget - 1, 1)
            layers = tuple(
                ssmreduce.reduce(layer, order, method="modal").layer
                for layer, order in zip(network.parts.layers, orders, strict=True)
            )
            return dataclasses.replace(network.parts, layers=layers), "first"

        return reduce


def test_labels_of_the_training_split_are_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor by a method of whole models, which has its own allocation; other methods' own ones are told, too."""

    def load(*arguments: Any) -> Any:
        task = load_task(*arguments)
        return dataclasses.replace(task, train=dataclasses.replace(task.train, y=Unread()))

    monkeypatch.setattr(lra.sweep.examples, "load_task", load)
    _ = list(WHOLE_MODELS)
    monkeypatch.setitem(WHOLE_MODELS._values, "toy", Toy())
    result = sweep(
        CHECKPOINT,
        methods="toy,empirical(observability='output'),balanced",
        ratios="0.5",
        allocations=f"{OWN},global",
        recorded=20,
        examples=30,
    )
    rows = {(row.method, row.allocation): row for row in result.rows}
    assert all(row.status == "ok" for row in result.rows)
    toy = rows["toy", WHOLE_MODEL]
    assert (toy.rule, toy.orders) == ("first", (15, 1))
    assert rows["balanced", OWN].rule == "time_limited"
    assert rows["empirical(observability='output')", OWN].rule == "uniform"
    assert rows["balanced", "global"].orders == rows["empirical(observability='output')", "global"].orders
    assert {row.examples for row in result.rows} == {30}
    text = str(result)
    for told in ("each method's own allocation", "allocation: global", "toy *", "30 examples of the test split"):
        assert told in text
