"""What a task is: labelled splits of sequences, and how raw samples become model inputs."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np

from ssmreduce.recorded.recording import spread_over


class Rows(Protocol):
    """Raw samples, indexed by an array of row numbers: an array, a memory map, or `lra.tasks.ragged.Ragged`."""

    def __getitem__(self, rows: Any, /) -> Any: ...

    def __len__(self) -> int: ...


@dataclasses.dataclass(frozen=True, kw_only=True)
class Split:
    """Raw samples and labels; nothing is converted before a batch is asked for.

    Attributes
    ----------
    x : ndarray (N, ...) or Rows
        Raw samples in the type they are stored in; may be a memory map.
    y : ndarray (N,) int
        Labels.
    indices : ndarray (M,) int
        The rows that belong to this split.
    lengths : ndarray (N,) or (N, 2) int, optional
        Number of valid samples of each row; of both documents of a pair.
    """

    x: Rows
    y: np.ndarray
    indices: np.ndarray
    lengths: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.indices)

    def limit(self, n: int | None) -> Split:
        """Return the split cut to its first `n` rows."""
        return self if n is None else dataclasses.replace(self, indices=self.indices[:n])

    def spread(self, n: int | None) -> Split:
        """Return at most `n` rows, spread evenly from the first to the last: files may be sorted by class."""
        if n is None or n >= len(self):
            return self
        return dataclasses.replace(self, indices=self.indices[spread_over(len(self), n)])


@dataclasses.dataclass(frozen=True, kw_only=True)
class Task:
    """A data set ready for training.

    Attributes
    ----------
    name : str
        The task's name in configs.
    train, validation, test : Split
        Disjoint; the test split is looked at once, after training.
    d_input, n_classes, L : int
        Input channels (or vocabulary size), classes, length of a sequence.
    prepare : Callable
        Raw rows to model inputs: float32 (batch, L, d_input), or int32 ids (batch, L).
    tokens : bool
        Inputs are ids.
    padded : bool
        Rows have lengths.
    retrieval : bool
        A sample is a pair of documents; a batch holds all first ones, then all second ones.
    vocabulary : tuple of str, optional
        The tokens in the order of their ids.
    options : mapping
        What `lra.tasks.load_task` was asked for besides the name.
    """

    name: str
    train: Split
    validation: Split
    test: Split
    d_input: int
    n_classes: int
    L: int
    prepare: Callable[[np.ndarray], np.ndarray]
    tokens: bool = False
    padded: bool = False
    retrieval: bool = False
    vocabulary: tuple[str, ...] | None = None
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def facts(self) -> dict[str, Any]:
        """Return what a checkpoint must say about the task, JSON-able."""
        return {
            "task": self.name,
            "task_options": dict(self.options),
            **{name: getattr(self, name) for name in ("d_input", "n_classes", "L", "tokens", "padded", "retrieval")},
            **({"vocabulary": list(self.vocabulary)} if self.vocabulary else {}),
        }

    def batch(self, split: Split, rows: np.ndarray) -> dict[str, np.ndarray]:
        """Return the model inputs of some `rows` (positions within the split)."""
        index = split.indices[rows]
        batch = {"x": self.prepare(split.x[index]), "y": split.y[index].astype(np.int32)}
        if split.lengths is not None:
            batch["lengths"] = split.lengths[index].T.reshape(-1).astype(np.int32)
        return batch
