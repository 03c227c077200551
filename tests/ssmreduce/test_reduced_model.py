"""reduce_model: one budget for all layers; everything else stays; what is saved is what runs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from layer_cases import GOLDEN, S4D_OPTIONS, TINY, s5_params

from ssmreduce.files.model import Model, load
from ssmreduce.methods.allocation import ALLOCATIONS
from ssmreduce.methods.registry import METHODS
from ssmreduce.reduced_model import reduce_model
from theory.errors import InputError, OrderError, StabilityError


def model_of(rng: np.random.Generator, sizes: tuple[int, ...] = (6, 4, 8)) -> Model:
    tree = {
        f"layers_{i}": {"seq": s5_params(rng, P=size), "norm": {"scale": np.ones(3)}} for i, size in enumerate(sizes)
    }
    return Model(tree={"params": tree}, options={"conj_sym": True})


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("allocation", ALLOCATIONS)
def test_budgets_are_met(method: str, allocation: str, rng: np.random.Generator) -> None:
    model = model_of(rng)
    smaller = reduce_model(model, ratio=0.5, method=method, allocation=allocation)
    assert smaller.n_states <= 9
    if method != "balanced":
        assert smaller.n_states == 9
    record = smaller.training["reduction"]
    assert record["orders"] == [layer.order for layer in smaller.layers]
    assert record["orders_before"] == [6, 4, 8]
    assert len(record["bounds"]) == 3
    assert np.array_equal(smaller.params["layers_0"]["norm"]["scale"], np.ones(3))
    assert model.n_states == 18


@pytest.mark.parametrize("suffix", [".safetensors", ".npz", ".msgpack"])
@pytest.mark.parametrize("name", TINY)
def test_saved_and_loaded_again(name: str, suffix: str, tmp_path: Path) -> None:
    model = load(GOLDEN / name, **TINY[name])
    smaller = reduce_model(model, ratio=0.4, allocation="last", method="balanced")
    again = load(smaller.save(tmp_path / f"small{suffix}"), **TINY[name])
    for a, b in zip(smaller.layers, again.layers, strict=True):
        for x, y in (
            (a.system.poles, b.system.poles),
            (a.system.B, b.system.B),
            (a.system.C, b.system.C),
            (a.system.D, b.system.D),
        ):
            assert np.array_equal(x, y)
    padded = again.padded()
    assert len({layer.order for layer in padded.layers}) == 1


@pytest.mark.parametrize(
    ("method", "allocation"),
    [
        ("balanced", "hsv"),
        ("last", "last"),
        ("last_released", "last_released"),
        ("modal", "hinf"),
        ("random", "uniform"),
    ],
)
def test_the_allocation_goes_with_the_method(method: str, allocation: str, rng: np.random.Generator) -> None:
    model = model_of(rng)
    assert reduce_model(model, ratio=0.5, method=method).training["reduction"]["allocation"] == allocation


def test_noted_sizes_follow(rng: np.random.Generator) -> None:
    model = model_of(rng, (6, 6))
    model = Model(tree=model.tree, options={**model.options, "P": 6})
    one, two = model.layers
    assert model.replace_layers([one.keep([0]), two.keep([1, 2])]).options["P"] == [1, 2]
    assert model.replace_layers([one.keep([0]), two.keep([1])]).options["P"] == 1


def test_keeping_everything_changes_nothing(rng: np.random.Generator) -> None:
    model = model_of(rng)
    same = reduce_model(model, ratio=0.0)
    for a, b in zip(model.layers, same.layers, strict=True):
        assert all(np.array_equal(v, b.to_params()[k]) for k, v in a.to_params().items())


def test_s4d_models(tmp_path: Path) -> None:
    options = S4D_OPTIONS["s4d-v4"]
    model = load(GOLDEN / "s4d_v4_lin_zoh_softplus_bi_bn_prenorm.npz", **options)
    for method in ("balanced", "last"):
        smaller = reduce_model(model, budget=2, method=method)
        again = load(smaller.save(tmp_path / "small.npz"), **options)
        assert [layer.order for layer in again.layers] == [1, 1]
        assert np.array_equal(again.layers[0].system.B, smaller.layers[0].system.B)


def test_random_draws_differ_between_layers(rng: np.random.Generator) -> None:
    raw = s5_params(rng, P=20)
    model = Model(tree={"layers_0": raw, "layers_1": raw}, options={"conj_sym": True})
    first, second = reduce_model(model, ratio=0.5, method="random", seed=1).layers
    assert not np.array_equal(first.Lambda, second.Lambda)
    again = reduce_model(model, ratio=0.5, method="random", seed=1).layers
    assert np.array_equal(first.Lambda, again[0].Lambda)


def test_states_that_are_not_there_are_not_asked_for(rng: np.random.Generator) -> None:
    """A layer of minimal order 2 gets 2 states, though its share is 4; the budget is not exceeded."""
    raw = s5_params(rng, P=6)
    raw["C"][:, 2:] = 0
    model = Model(tree={"layers_0": raw, "layers_1": s5_params(rng, P=6)}, options={"conj_sym": True})
    smaller = reduce_model(model, ratio=0.3)
    assert smaller.layers[0].order == 2
    assert smaller.n_states <= 8


def test_a_dead_layer_keeps_one_state(rng: np.random.Generator) -> None:
    raw = s5_params(rng, P=6)
    raw["C"][:] = 0
    model = Model(tree={"layers_0": raw, "layers_1": s5_params(rng, P=6)}, options={"conj_sym": True})
    for allocation in ALLOCATIONS:
        smaller = reduce_model(model, ratio=0.3, allocation=allocation)
        assert smaller.layers[0].order == 1
        assert smaller.training["reduction"]["bounds"][0] == 0


def test_progress_is_reported(rng: np.random.Generator) -> None:
    seen: list[tuple[int, int, str]] = []
    reduce_model(model_of(rng), ratio=0.5, method="last", progress=lambda *step: seen.append(step))
    assert seen[0][:2] == (0, 3)
    assert seen[-1] == (3, 3, "done")


def test_bad_arguments_are_named(rng: np.random.Generator) -> None:
    model = model_of(rng)
    with pytest.raises(InputError, match="either ratio"):
        reduce_model(model)
    with pytest.raises(InputError, match="either ratio"):
        reduce_model(model, ratio=0.5, budget=3)
    with pytest.raises(InputError, match="fraction"):
        reduce_model(model, ratio=30)
    with pytest.raises(InputError, match="unknown method"):
        reduce_model(model, ratio=0.5, method="best")
    with pytest.raises(InputError, match="unknown allocation"):
        reduce_model(model, ratio=0.5, allocation="best")
    with pytest.raises(InputError, match="load"):
        reduce_model("model.npz", ratio=0.5)  # type: ignore[arg-type]
    with pytest.raises(OrderError):
        reduce_model(model, budget=2)


def test_unstable_layers_are_named(rng: np.random.Generator) -> None:
    raw = s5_params(rng)
    raw["Lambda_re"][0] = 0.5
    model = Model(tree={"layers_0": {"seq": raw}}, options={"conj_sym": True})
    with pytest.raises(StabilityError, match="layers_0/seq"):
        reduce_model(model, ratio=0.5)
