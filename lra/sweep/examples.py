"""Examples of a task for networks: inputs prepared when they are asked for, and never a label of the training split."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lra.errors import CheckpointError
from lra.tasks import load_task
from lra.tasks.task import Split, Task
from ssmreduce.network import Network, Parts, Pass

JUDGED = 32
"""Training examples on which errors are measured, kept apart from those that methods are fitted to."""
RECORDED_BYTES = 1_000_000_000
"""Recorded inputs of all layers that are held at a time, at most; longer sequences mean fewer examples."""


def task_of(options: Mapping[str, Any], data: str | None, path: str) -> Task:
    """Return the task that a model was trained on.

    Raises
    ------
    CheckpointError
        It names none, or its tokens are numbered in another order than those of the data.
    DataError, ConfigError
    """
    if "task" not in options:
        raise CheckpointError("it does not name its task (options.task): export it with `python -m lra export`", path)
    task = load_task(options["task"], data, options.get("task_options", {}))
    if task.vocabulary and list(options.get("vocabulary", task.vocabulary)) != list(task.vocabulary):
        raise CheckpointError("it was trained on tokens numbered in another order than those of the data given", path)
    return task


class Inputs:
    """Prepared inputs of a split, by row number, as `lra.network.LraNetwork` indexes them.

    Of a retrieval task the first documents of all pairs come first, then the second ones.
    """

    def __init__(self, task: Task, split: Split) -> None:
        self.task, self.split = task, split

    def __len__(self) -> int:
        return len(self.split) * (2 if self.task.retrieval else 1)

    def __getitem__(self, which: np.ndarray) -> np.ndarray:
        which = np.asarray(which)
        rows = which[: len(which) // 2] if self.task.retrieval else which  # the second half are their partners
        return self.task.prepare(self.split.x[self.split.indices[rows]])

    @property
    def lengths(self) -> np.ndarray | None:
        """Valid samples of every sequence."""
        held = self.split.lengths
        return None if held is None else held[self.split.indices].T.reshape(-1).astype(np.int32)


class Part:
    """A network on some of its examples; nothing is compiled anew."""

    def __init__(self, network: Network, rows: np.ndarray) -> None:
        self.network, self.rows = network, rows

    @property
    def parts(self) -> Parts:
        """The whole model's parts."""
        return self.network.parts

    @property
    def count(self) -> int:
        """Number of examples."""
        return len(self.rows)

    def run(self, parts: Parts, rows: np.ndarray, record: Sequence[int] = ()) -> Pass:
        """Run on some of these examples."""
        return self.network.run(parts, self.rows[rows], record)

    def gradients(self, parts: Parts, rows: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, ...]:
        """Gradients on some of these examples."""
        return self.network.gradients(parts, self.rows[rows], v)


def drawn(total: int, recorded: int, affordable: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows of the training split that errors are measured on, the same for all seeds, and rows to be fitted to.

    Both are fewer where there are not as many examples, or not as much memory.
    """
    order = np.random.default_rng(0).permutation(total)
    judged, rest = np.split(order, [max(1, min(JUDGED, affordable, total // 2))])
    chosen = np.random.default_rng(seed).choice(rest, min(recorded, affordable, len(rest)), replace=False)
    return np.sort(judged), np.sort(chosen)


def affordable(task: Task, channels: int) -> int:
    """Examples whose recorded inputs fit into `RECORDED_BYTES`; `channels` of all layers together."""
    each = 4 * task.L * channels * (2 if task.retrieval else 1)
    return max(4, RECORDED_BYTES // max(1, each))
