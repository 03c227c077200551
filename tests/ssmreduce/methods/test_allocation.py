"""Budgets are met exactly, every layer keeps a state, and each rule does what it says."""

from __future__ import annotations

import numpy as np
import pytest
from allocation_cases import data_for
from hypothesis import given
from hypothesis import strategies as st
from layer_cases import S4D_OPTIONS, s4d_params, s5_params

from ssmreduce.layers.layer import SSMLayer
from ssmreduce.layers.params import layer_from_params
from ssmreduce.methods.allocation import ALLOCATIONS, allocate, budget_of
from ssmreduce.methods.scores import last_scores
from theory.errors import InputError, OrderError
from theory.gramians.hankel import hankel_singular_values


def layers_of(seed: int, sizes: list[int]) -> list[SSMLayer]:
    rng = np.random.default_rng(seed)
    return [
        layer_from_params(s5_params(rng, P=size, H=2, bidirectional="C1C2"), conj_sym=True, discretization="zoh")
        for size in sizes
    ]


@given(
    st.integers(0, 2**32 - 1),
    st.lists(st.integers(1, 8), min_size=1, max_size=5),
    st.floats(0, 1),
    st.sampled_from(list(ALLOCATIONS)),
)
def test_budgets_are_exact(seed: int, sizes: list[int], part: float, allocation: str) -> None:
    budget = len(sizes) + round(part * (sum(sizes) - len(sizes)))
    layers = layers_of(seed, sizes)
    kept = allocate(layers, budget, allocation, **data_for(allocation, layers))
    assert sum(kept) == budget
    assert all(1 <= count <= size for count, size in zip(kept, sizes, strict=True))


@pytest.mark.parametrize("allocation", ALLOCATIONS)
def test_larger_budgets_take_nothing_away(allocation: str) -> None:
    layers = layers_of(1, [4, 7, 3])
    data = data_for(allocation, layers)
    previous = allocate(layers, 3, allocation, **data)
    assert previous == (1, 1, 1)
    for budget in range(4, 15):
        kept = allocate(layers, budget, allocation, **data)
        if allocation not in ("uniform", "measured"):  # remainders, and best divisions, may move a state
            assert all(a >= b for a, b in zip(kept, previous, strict=True))
        previous = kept
    assert previous == (4, 7, 3)


def test_uniform_keeps_the_same_fraction() -> None:
    assert allocate(layers_of(0, [8, 8, 8]), 12, "uniform") == (4, 4, 4)
    assert allocate(layers_of(0, [8, 4]), 6, "uniform") == (4, 2)
    assert allocate(layers_of(0, [3, 3]), 5, "uniform") == (3, 2)


def test_last_is_its_global_threshold() -> None:
    layers = layers_of(5, [6, 6, 6])
    values = [last_scores(layer) for layer in layers]
    threshold = np.sort(np.concatenate(values))[-9]
    assert allocate(layers, 9, "last") == tuple(int((v >= threshold).sum()) for v in values)


def test_hsv_makes_the_largest_relative_tail_smallest() -> None:
    layers = layers_of(7, [4, 5, 3])
    hsv = [hankel_singular_values(layer.system) for layer in layers]

    def worst(kept: tuple[int, ...]) -> float:
        return max(values[2 * count :].sum() / values.sum() for values, count in zip(hsv, kept, strict=True))

    kept = allocate(layers, 7, "hsv")
    every = [(a, b, c) for a in range(1, 5) for b in range(1, 6) for c in range(1, 4) if a + b + c == 7]
    assert worst(kept) == pytest.approx(min(worst(choice) for choice in every))
    assert allocate(layers, 7, "hsv", hsv=hsv) == kept


@pytest.mark.parametrize("allocation", ALLOCATIONS)
def test_s4d_counts_states_of_a_channel(allocation: str, rng: np.random.Generator) -> None:
    layers = [layer_from_params(s4d_params(rng, "s4d-v4"), **S4D_OPTIONS["s4d-v4"]) for _ in range(2)]
    kept = allocate(layers, 7, allocation, **data_for(allocation, layers))
    assert sum(kept) == 7
    assert max(kept) <= 5


@pytest.mark.parametrize(
    ("budget", "error"), [(1, OrderError), (12, OrderError), (2.5, OrderError), (True, OrderError)]
)
def test_impossible_budgets(budget: object, error: type) -> None:
    with pytest.raises(error, match=r"between 2 .* and 11"):
        allocate(layers_of(0, [5, 6]), budget)  # type: ignore[arg-type]


def test_bad_arguments_are_named() -> None:
    with pytest.raises(InputError, match="unknown allocation"):
        allocate(layers_of(0, [5, 6]), 4, "fair")
    with pytest.raises(InputError, match="at least one state"):
        allocate([], 1)
    assert budget_of(8, 0.3, 2) == 5
    assert budget_of(10, 0.7, 2) == 3
    assert budget_of(10, 0.0, 2) == 10
    assert budget_of(10, 0.99, 2) == 2
    for bad in (1.0, -0.1, 30, "0.3", True, float("nan")):
        with pytest.raises(InputError, match="fraction"):
            budget_of(10, bad, 2)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"for 30 percent pass 0\.3"):
        budget_of(10, 30, 2)
