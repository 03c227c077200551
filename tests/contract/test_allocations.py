"""Allocations through ``reduce_model``: budgets met, and the default of balanced truncation is optimal."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from contract_cases import hankel_values
from layer_cases import s5_params

from ssmreduce.files.model import Model
from ssmreduce.methods.allocation import ALLOCATIONS
from ssmreduce.methods.registry import METHODS
from ssmreduce.reduced_model import reduce_model

SIZES = (3, 2, 4)


def model(seed, spread=2.0):
    """Three layers; the larger `spread`, the more one of them lives from its first states."""
    rng = np.random.default_rng(seed)
    raw = [s5_params(rng, P=size, H=2, decay=(0.1, spread * (i + 1)), dtype=np.float64) for i, size in enumerate(SIZES)]
    return Model(tree={f"layers_{i}": layer for i, layer in enumerate(raw)}, options={"conj_sym": True})


@pytest.mark.parametrize("allocation", ALLOCATIONS)
@pytest.mark.parametrize("budget", range(3, 10))
def test_budgets_are_met(allocation, budget):
    kept = [layer.order for layer in reduce_model(model(0), budget=budget, method="last", allocation=allocation).layers]
    assert sum(kept) == budget
    assert all(1 <= count <= size for count, size in zip(kept, SIZES, strict=True))


@pytest.mark.parametrize("seed", range(6))
def test_balanced_by_default_leaves_the_smallest_largest_tail(seed):
    """Of all ways to spread the budget none has a smaller max over layers of sum_(i > 2k) sigma_i / sum sigma_i."""
    whole = model(seed)
    values = [hankel_values(layer.system, layer.system.C) for layer in whole.layers]

    def worst(kept):
        return max(own[2 * count :].sum() / own.sum() for own, count in zip(values, kept, strict=True))

    for budget in (4, 5, 6, 7):
        record = reduce_model(whole, budget=budget).training["reduction"]
        ways = [way for way in product(*(range(1, size + 1) for size in SIZES)) if sum(way) == budget]
        assert worst(record["orders_asked"]) <= min(map(worst, ways)) * (1 + 1e-9)


@pytest.mark.parametrize("name", [name for name, method in METHODS.items() if not method.requires])
def test_every_method_reduces_a_model_by_its_own_allocation(name):
    record = reduce_model(model(1), ratio=0.4, method=name).training["reduction"]
    assert ALLOCATIONS.find(record["allocation"]) == ALLOCATIONS.find(METHODS[name].allocation)
    assert record["method"] == name
    assert sum(record["orders"]) <= 5
