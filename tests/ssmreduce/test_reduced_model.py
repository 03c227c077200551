"""reduce_model: one budget for all layers; everything else stays; what is saved is what runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from allocation_cases import network_for
from contract_cases import FOR_LAYERS, briefly
from layer_cases import GOLDEN, S4D_OPTIONS, TINY, s4d_params, s5_params

from ssmreduce.files.loading import load
from ssmreduce.files.model import Model
from ssmreduce.methods.allocation import ALLOCATIONS
from ssmreduce.methods.balanced import Balanced
from ssmreduce.methods.registry import METHODS
from ssmreduce.reduced_model import reduce_model
from ssmreduce.reduction import reduce
from theory.errors import InputError, OrderError, StabilityError


def model_of(rng: np.random.Generator, sizes: tuple[int, ...] = (6, 4, 8)) -> Model:
    tree = {
        f"layers_{i}": {"seq": s5_params(rng, P=size), "norm": {"scale": np.ones(3)}} for i, size in enumerate(sizes)
    }
    return Model(tree={"params": tree}, options={"conj_sym": True, "discretization": "zoh"})


@pytest.mark.parametrize("method", FOR_LAYERS)
@pytest.mark.parametrize("allocation", ALLOCATIONS)
def test_budgets_are_met(method: str, allocation: str, rng: np.random.Generator) -> None:
    model = model_of(rng)
    given = network_for(allocation, model.layers)
    smaller = reduce_model(model, ratio=0.5, method=briefly(method), allocation=allocation, **given)
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
        ("balanced", "time_limited"),
        ("last", "last"),
        ("last_released", "last_released"),
        ("modal", "time_limited"),
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


@pytest.mark.parametrize("method", ["balanced", "modal"])
@pytest.mark.parametrize("form", ["s4d-v3", "s4d-v4", "s4d-v4-exp"])
def test_shared_copies_become_one_a_channel_whatever_their_numbers(
    form: str, method: str, rng: np.random.Generator, tmp_path: Path
) -> None:
    """2 copies of 6 states hold as many numbers as 4 channels of 3: of equal size, and of another shape."""
    raw = {f"layer.{key}": value for key, value in s4d_params(rng, form, H=4, N=6).items()}
    model = Model(tree=raw, options=S4D_OPTIONS[form])
    for order in range(1, 6):
        smaller = reduce_model(model, orders=order, method=method)
        alone = reduce(model.layers[0], order, method=method).layer
        again = load(smaller.save(tmp_path / "small.npz"), **S4D_OPTIONS[form]).layers[0]
        assert again.order == order
        assert all(np.array_equal(value, again.to_params()[key]) for key, value in alone.to_params().items())


def test_random_draws_differ_between_layers(rng: np.random.Generator) -> None:
    raw = s5_params(rng, P=20)
    model = Model(tree={"layers_0": raw, "layers_1": raw}, options={"conj_sym": True, "discretization": "zoh"})
    first, second = reduce_model(model, ratio=0.5, method="random", seed=1).layers
    assert not np.array_equal(first.Lambda, second.Lambda)
    again = reduce_model(model, ratio=0.5, method="random", seed=1).layers
    assert np.array_equal(first.Lambda, again[0].Lambda)


def test_states_that_are_not_there_are_not_asked_for(rng: np.random.Generator) -> None:
    """A layer of minimal order 2 gets 2 states, though its share is 4; the budget is not exceeded."""
    raw = s5_params(rng, P=6)
    raw["C"][:, 2:] = 0
    model = Model(
        tree={"layers_0": raw, "layers_1": s5_params(rng, P=6)}, options={"conj_sym": True, "discretization": "zoh"}
    )
    smaller = reduce_model(model, ratio=0.3)
    assert smaller.layers[0].order == 2
    assert smaller.n_states <= 8


def test_a_dead_layer_keeps_one_state(rng: np.random.Generator) -> None:
    raw = s5_params(rng, P=6)
    raw["C"][:] = 0
    model = Model(
        tree={"layers_0": raw, "layers_1": s5_params(rng, P=6)}, options={"conj_sym": True, "discretization": "zoh"}
    )
    for allocation in ALLOCATIONS:
        given = network_for(allocation, model.layers)
        smaller = reduce_model(model, ratio=0.3, method="balanced", allocation=allocation, **given)
        assert smaller.layers[0].order == 1
        assert smaller.training["reduction"]["bounds"][0] == 0


@pytest.mark.parametrize("orders", [3, (3, 4, 8), [0, 1, 2], np.int64(4)])
def test_orders_are_met(orders: Any, rng: np.random.Generator) -> None:
    model = model_of(rng)
    smaller = reduce_model(model, orders=orders, method="modal")
    asked = [int(orders)] * 3 if isinstance(orders, (int, np.integer)) else list(orders)
    assert [layer.order for layer in smaller.layers] == asked
    record = smaller.training["reduction"]
    assert record["orders"] == record["orders_asked"] == asked
    assert (record["allocation"], record["ratio"], record["budget"]) == (None, None, None)
    for layer, order, small in zip(model.layers, asked, smaller.layers, strict=True):
        one = reduce(layer, order, method="modal").layer
        assert all(np.array_equal(value, small.to_params()[key]) for key, value in one.to_params().items())


def test_orders_that_cannot_be_met_name_the_layer(rng: np.random.Generator) -> None:
    model = model_of(rng)
    with pytest.raises(OrderError, match=r"layers_1/seq.*between 0 and 4"):
        reduce_model(model, orders=5)
    with pytest.raises(InputError, match="3 layers, 2 orders"):
        reduce_model(model, orders=[2, 2])
    with pytest.raises(InputError, match="whole number"):
        reduce_model(model, orders=[2, 2.5, 2])  # type: ignore[list-item]
    with pytest.raises(InputError, match="allocation spreads"):
        reduce_model(model, orders=2, allocation="hsv")
    with pytest.raises(InputError, match="either ratio"):
        reduce_model(model, ratio=0.5, orders=2)
    raw = s5_params(rng, P=6)
    raw["C"][:, 2:] = 0  # two states are there
    with pytest.raises(OrderError, match=r"layers_0.*at most 2") as caught:
        reduce_model(Model(tree={"layers_0": raw}, options={"conj_sym": True, "discretization": "zoh"}), orders=4)
    assert caught.value.attainable == 2


@pytest.mark.parametrize("suffix", [".safetensors", ".npz", ".msgpack"])
def test_layers_without_states_are_written_and_read(suffix: str, tmp_path: Path, rng: np.random.Generator) -> None:
    smaller = reduce_model(model_of(rng), orders=[0, 2, 0])
    again = load(smaller.save(tmp_path / f"static{suffix}"), conj_sym=True)
    assert [layer.order for layer in again.layers] == [0, 2, 0]
    assert np.array_equal(again.layers[0].D, smaller.layers[0].D)


def test_the_record_is_that_of_the_last_reduction_and_keeps_the_others(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    fresh = model_of(rng, (6, 6)).with_training({"task": "digits", "test_accuracy": 0.97})
    once = reduce_model(fresh, ratio=0.25, method="last")
    assert once.training.keys() == {"reduction", "unreduced"}
    assert once.training["unreduced"] == fresh.training
    measured = once.with_training({**once.training, "test_accuracy": 0.9})
    twice = load(reduce_model(measured, orders=3).save(tmp_path / "twice.safetensors"))
    record = twice.training
    assert (record["reduction"]["method"], record["reduction"]["orders"]) == ("balanced", [3, 3])
    assert record["reduction"]["orders_before"] == once.training["reduction"]["orders"]
    assert record["unreduced"] == fresh.training
    (earlier,) = record["earlier_reductions"]
    assert earlier == {**once.training["reduction"], "recorded_after": {"test_accuracy": 0.9}}
    assert "test_accuracy" not in record
    thrice = reduce_model(twice, orders=2, method=Balanced(condition_limit=1e12)).training
    assert [entry["method"] for entry in thrice["earlier_reductions"]] == ["last", "balanced"]
    assert METHODS.find(thrice["reduction"]["method"]) == Balanced(condition_limit=1e12)


def test_a_record_of_an_older_version_is_sorted_out(rng: np.random.Generator) -> None:
    """Version 0.1.0 left the accuracy of the unreduced model beside the reduction."""
    old = {"test_accuracy": 0.97, "reduction": {"method": "last", "orders": [6, 4, 8]}}
    record = reduce_model(model_of(rng).with_training(old), orders=2).training
    assert record["unreduced"] == {"test_accuracy": 0.97}
    assert record["earlier_reductions"] == [old["reduction"]]


def test_what_is_not_as_asked_is_a_value_in_the_record(rng: np.random.Generator) -> None:
    raw = s5_params(rng, P=6)
    raw["C"][:] = 0
    dead = reduce_model(
        Model(tree={"layers_0": raw}, options={"conj_sym": True, "discretization": "zoh"}), ratio=0.5
    ).training["reduction"]
    assert (dead["orders_asked"], dead["orders"], dead["methods"]) == ([3], [1], ["modal"])


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
    model = Model(tree={"layers_0": {"seq": raw}}, options={"conj_sym": True, "discretization": "zoh"})
    with pytest.raises(StabilityError, match="layers_0/seq"):
        reduce_model(model, ratio=0.5)
