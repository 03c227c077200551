"""The input pipeline: batches in a reproducible order, prepared ahead of the training step by grain.

Only row numbers travel through grain, which shuffles, batches and repeats them by arithmetic on the index: the batch
of any step is found without replaying the steps before it. The rows of a batch are then read at once, by threads.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import grain
import numpy as np

from lra.tasks.task import Split, Task

Batch = dict[str, np.ndarray]

READING = grain.ReadOptions(num_threads=2, prefetch_buffer_size=4)  # batches being prepared, batches held ready


def training_rows(n: int, batch_size: int, seed: int) -> grain.MapDataset[np.ndarray]:
    """Return the row numbers of every step's batch: a new order of the `n` rows in each epoch, without end.

    The rows left over at the end of an epoch are dropped, as the reference does.
    """
    # grain adds the epoch to its seed; drawing it here keeps the epochs of neighbouring seeds apart
    shuffle_seed = int(np.random.SeedSequence(seed).generate_state(1)[0])
    rows = grain.MapDataset.range(n).shuffle(seed=shuffle_seed)
    return rows.batch(batch_size, drop_remainder=True, batch_fn=np.asarray).repeat()


def training_batches(
    task: Task, batch_size: int, seed: int, first_step: int, last_step: int, part: slice = slice(None)
) -> Iterator[tuple[int, Batch]]:
    """Yield (step, batch) from `first_step` up to but not including `last_step`.

    Parameters
    ----------
    part : slice
        The examples of each batch that this process reads; the order is the same in all processes.
    """
    rows = training_rows(len(task.train), batch_size, seed)[first_step:last_step]
    yield from enumerate(_read_ahead(rows.map(lambda chosen: task.batch(task.train, chosen[part]))), first_step)


def evaluation_batches(task: Task, split: Split, batch_size: int, part: slice = slice(None)) -> Iterator[Batch]:
    """Yield all rows of a split in order; the last batch is filled up with row 0 and the key ``weight`` is 0 there."""

    def read(start: int) -> Batch:
        rows = np.arange(start, start + batch_size)[part]
        valid = rows < len(split)
        return {**task.batch(split, np.where(valid, rows, 0)), "weight": valid.astype(np.float32)}

    return _read_ahead(grain.MapDataset.range(0, len(split), batch_size).map(read))


def _read_ahead(batches: grain.MapDataset[Batch]) -> Iterator[Batch]:
    iterator: Any = iter(batches.to_iter_dataset(READING))
    try:
        yield from iterator
    finally:
        iterator.close()
