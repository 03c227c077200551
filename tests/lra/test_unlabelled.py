"""What reductions record: so many examples of the training split, and no others."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import lra.unlabelled as module
import ssmreduce
from ssmreduce import shipped_checkpoint

pytestmark = pytest.mark.jax
DIGITS = shipped_checkpoint("digits_s5")


def test_further_examples_are_of_the_training_split_and_no_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawn without repetition, after the others, which stay the same; fewer where the split ends."""
    asked: list[np.ndarray] = []
    real = module.load_task

    def load(*arguments: Any) -> Any:
        task = real(*arguments)

        def batch(split: Any, rows: np.ndarray) -> Any:
            assert split is task.train
            asked.append(rows)
            return task.batch(split, rows)

        return _Watched(task, batch)

    monkeypatch.setattr(module, "load_task", load)
    model = ssmreduce.load(DIGITS)
    for further in (0, 100, 10**6):
        network, told = module.network_of(model, None, 60, further, 0)
        assert network.count == 60 + told["further"] == len(set(asked[-1].tolist()))
    assert told["further"] == len(real("digits", None, {}).train) - 60
    assert all(np.array_equal(rows[:60], asked[0]) for rows in asked)


def test_short_sequences_are_seen_more_often() -> None:
    """As many samples as 400 images have, or all that there are; never fewer than 400 sequences."""
    assert module.usual_examples(784) == module.usual_examples(16_000) == 400
    assert all(module.usual_examples(length) * length > 400 * 784 - length for length in range(196, 784))
    assert module.usual_examples(1) == 1600
    network, told = module.network_of(ssmreduce.load(DIGITS), None, None, 0, 0)
    assert network.count == told["examples"] == len(module.load_task("digits", None, {}).train) == 1257


def test_further_examples_are_as_many_as_four_steps_can_take() -> None:
    """Within limits: of long sequences a thousand, of short ones four."""
    assert module.usual_further(784) == module.usual_further(100) == 4000
    assert module.usual_further(1024) == 3906
    assert module.usual_further(16_000) == 1000
    _, told = module.network_of(ssmreduce.load(DIGITS), None, 60, None, 0)
    assert told["further"] == 1257 - 60


class _Watched:
    """A task whose batches are watched."""

    def __init__(self, task: Any, batch: Any) -> None:
        self._task, self.batch = task, batch

    def __getattr__(self, name: str) -> Any:
        return getattr(self._task, name)
