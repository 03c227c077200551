"""Where a comparison is computed does not change it: threads, processes, a cluster by joblib's context manager."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import joblib
import numpy as np
import pytest
from layer_cases import s5_params

from ssmreduce import Comparison, compare, layer_from_params
from ssmreduce.parallel import Once, spread, workers

METHODS = ["balanced", "hankel_norm", "last", "random"]


@pytest.fixture(scope="module")
def layer() -> Any:
    raw = s5_params(np.random.default_rng(5), 6, 2)
    return layer_from_params(raw, conj_sym=True, discretization="zoh")


@pytest.fixture(scope="module")
def alone(layer: Any) -> Comparison:
    return compare(layer, METHODS, [1, 2, 4], crosscheck="none", threads=1)


def same(one: Comparison, other: Comparison) -> None:
    assert [(row.method, row.order) for row in one.rows] == [(row.method, row.order) for row in other.rows]
    for row, twin in zip(one.rows, other.rows):
        for name in ("bound", "floor", "h2_error", "relative_h2"):
            assert getattr(row, name) == pytest.approx(getattr(twin, name), rel=1e-9)
        assert row.error.upper == pytest.approx(twin.error.upper, rel=1e-9)
        assert row.status == twin.status
    assert one.violations == other.violations == ()


class Elsewhere(joblib.parallel.ThreadingBackend):
    """A backend that counts what it is given, as a cluster's is given it."""

    given = 0

    def submit(self, *arguments: Any, **options: Any) -> Any:
        type(self).given += 1
        return super().submit(*arguments, **options)


def test_joblib_s_context_manager_says_where(layer: Any, alone: Comparison) -> None:
    joblib.register_parallel_backend("elsewhere here", Elsewhere)
    with joblib.parallel_config(backend="elsewhere here", n_jobs=2):
        same(compare(layer, METHODS, [1, 2, 4], crosscheck="none"), alone)
    assert Elsewhere.given == 3 * len(alone.rows)  # reductions, certificates, sweeps: no two of these keep the same


def test_threads_are_the_default_and_give_way() -> None:
    assert workers(3) == 3
    assert workers() >= 1
    with joblib.parallel_config(backend="threading", n_jobs=2):
        assert workers() is None


def count(once: Once[list[int]], piece: int) -> tuple[int, int]:
    once.value.append(piece)
    return os.getpid(), len(once.value)


def test_a_process_has_one_value_however_many_pieces_bring_it() -> None:
    """Each process counts on from its own last count: the value did not arrive anew."""
    once: Once[list[int]] = Once([])
    with joblib.parallel_config(backend="loky", n_jobs=2):
        found = [result for _, result in spread(count, [(once, i) for i in range(8)], None)]
    for process in {process for process, _ in found}:
        counts = sorted(number for which, number in found if which == process)
        assert counts == list(range(1, len(counts) + 1))
    assert once.value == []


@pytest.fixture
def cluster() -> Iterator[Any]:
    distributed = pytest.importorskip("distributed")
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, host="127.0.0.1", dashboard_address=None
        ) as made,
        distributed.Client(made) as client,
    ):
        yield client


def held(dask_worker: Any) -> int:
    from ssmreduce.parallel import _held

    return len(_held)


@pytest.mark.filterwarnings("ignore")  # dask's own
def test_dask_on_two_workers_of_this_machine(cluster: Any, layer: Any, alone: Comparison) -> None:
    with joblib.parallel_config(backend="dask"):
        same(compare(layer, METHODS, [1, 2, 4], crosscheck="none"), alone)
    counts = cluster.run(held)
    assert len(counts) == 2
    assert all(0 < number <= 3 for number in counts.values())  # the analysis, the system, its samples: each once
