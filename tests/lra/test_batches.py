"""The input pipeline: every row once an epoch, any step at once, errors passed on, the same order in all processes."""

from __future__ import annotations

import dataclasses
import threading
import time

import numpy as np
import pytest

from lra.errors import DataError
from lra.tasks import load_task
from lra.tasks.batches import evaluation_batches, training_batches, training_rows

pytestmark = pytest.mark.jax  # grain comes with the lra extra


def test_training_batches_can_start_anywhere():
    task = load_task("digits")
    whole = dict(training_batches(task, 50, 3, 0, 60))
    resumed = dict(training_batches(task, 50, 3, 31, 60))
    assert list(whole) == list(range(60))
    assert list(resumed) == list(range(31, 60))
    for step, batch in resumed.items():
        np.testing.assert_array_equal(batch["x"], whole[step]["x"])
        np.testing.assert_array_equal(batch["y"], whole[step]["y"])


def test_an_epoch_holds_every_row_once_in_an_order_of_its_own():
    rows = training_rows(103, 10, 7)
    epochs = [np.concatenate([rows[10 * epoch + i] for i in range(10)]) for epoch in range(3)]
    for order in epochs:
        assert len(set(order.tolist())) == 100
        assert set(order.tolist()) <= set(range(103))
    assert not np.array_equal(epochs[0], epochs[1])
    assert not np.array_equal(epochs[1], epochs[2])
    # grain's seed of an epoch is the seed plus its number; neighbouring seeds must not share epochs
    assert not np.array_equal(training_rows(103, 10, 8)[0], rows[10])


def test_rows_are_mixed_evenly():
    """Over 400 epochs each of 20 rows comes up in the first batch of 5 about 100 times (within five deviations)."""
    rows = training_rows(20, 5, 1)
    counts = np.bincount(np.concatenate([rows[4 * epoch] for epoch in range(400)]), minlength=20)
    assert np.abs(counts - 100).max() < 5 * np.sqrt(400 * 0.25 * 0.75)


def test_the_parts_of_two_processes_are_the_whole_batch():
    task = load_task("digits")
    whole = dict(training_batches(task, 50, 3, 24, 27))
    halves = [dict(training_batches(task, 50, 3, 24, 27, part)) for part in (slice(0, 25), slice(25, 50))]
    for step, batch in whole.items():
        for name, value in batch.items():
            np.testing.assert_array_equal(np.concatenate([half[step][name] for half in halves]), value)
    parts = [list(evaluation_batches(task, task.test, 100, part)) for part in (slice(0, 50), slice(50, 100))]
    weights = np.concatenate([half["weight"] for batches in zip(*parts) for half in batches])
    np.testing.assert_array_equal(weights, np.arange(400) < 360)


def test_evaluation_batches_hold_every_example_once():
    task = load_task("digits")
    batches = list(evaluation_batches(task, task.test, 100))
    assert {len(batch["y"]) for batch in batches} == {100}
    weights = np.concatenate([batch["weight"] for batch in batches])
    labels = np.concatenate([batch["y"] for batch in batches])[weights > 0]
    np.testing.assert_array_equal(labels, task.test.y[task.test.indices])


def test_an_error_of_a_reader_reaches_the_training_loop():
    def broken(raw):
        raise DataError("unreadable")

    task = dataclasses.replace(load_task("digits"), prepare=broken)
    with pytest.raises(DataError, match="unreadable"):
        next(training_batches(task, 50, 0, 0, 5))


def test_batches_are_prepared_ahead_and_threads_end_with_the_reader():
    read = []

    def slow(raw):
        read.append(threading.current_thread().name)
        return raw[..., None].astype(np.float32)

    batches = training_batches(dataclasses.replace(load_task("digits"), prepare=slow), 50, 0, 0, 10**9)
    next(batches)
    deadline = time.monotonic() + 20
    while len(read) < 3 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert len(read) >= 3  # one was asked for
    assert threading.main_thread().name not in read
    batches.close()
    while any(thread.name in read for thread in threading.enumerate()) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not any(thread.name in read for thread in threading.enumerate())
