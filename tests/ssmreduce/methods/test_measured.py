"""The allocation "measured": effects are what they are said to be, and their sum is the least of all divisions."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from toy_enhancer import ToyEnhancer
from toy_enhancer import layer as wave_layer
from toy_network import ToyNetwork, layer

from ssmreduce.command_line.parser import main
from ssmreduce.files.model import Model
from ssmreduce.layers.layer import SSMLayer
from ssmreduce.methods.allocation import ALLOCATIONS, allocate
from ssmreduce.methods.allocations.measured import Measured
from ssmreduce.methods.modal import Modal
from ssmreduce.methods.registry import METHODS
from ssmreduce.reduced_model import reduce_model
from ssmreduce.reduction import reduce
from theory.errors import AccuracyError, InputError, OrderError

PLAIN = [name for name, method in METHODS.items() if not method.requires and not method.searches]
TEMPERATURE = 4.0


def model_of(layers: Any) -> Model:
    tree = {f"layers_{i}/{key}": value for i, one in enumerate(layers) for key, value in one.to_params().items()}
    return Model(tree=tree, options=layers[0].options())


def network_of(seed: int, sizes: tuple[int, ...] = (4, 3), **options: Any) -> ToyNetwork:
    return ToyNetwork([layer(seed + i, P=size) for i, size in enumerate(sizes)], **({"count": 8, "L": 12} | options))


def kl(whole: np.ndarray, other: np.ndarray) -> float:
    """T^2 times the mean divergence of the softened predictions, by its definition."""
    P, Q = (np.exp(x / TEMPERATURE) / np.exp(x / TEMPERATURE).sum(axis=1, keepdims=True) for x in (whole, other))
    return float(TEMPERATURE**2 * np.mean([(p * np.log(p / q)).sum() for p, q in zip(P, Q)]))


def effect(network: ToyNetwork, index: int, smaller: SSMLayer) -> float:
    rows = np.arange(network.count)
    whole = network.run(network.parts, rows).logits
    return kl(whole, network.run(network.parts.with_layer(index, smaller), rows).logits)


@pytest.mark.parametrize(("method", "seed"), [*((method, 0) for method in PLAIN), ("balanced", 10)])
def test_the_sum_of_the_effects_is_the_least_of_all_divisions(method: str, seed: int) -> None:
    """Every order of small layers is measured, so nothing is interpolated; each method is judged by its own cuts."""
    network = network_of(seed)
    whole = model_of(network.parts.layers)
    effects = []
    for index, one in enumerate(whole.layers):
        own = [effect(network, index, reduce(one, r, method=method, seed=5 + index).layer) for r in range(1, one.order)]
        effects.append([np.inf, *own, 0.0])
    for budget in (2, 3, 4, 5, 6):
        smaller = reduce_model(whole, budget=budget, method=method, network=network, seed=5)
        record = smaller.training["reduction"]
        assert record["allocation"] == "measured"
        assert record["method"] == method
        best = [np.minimum.accumulate(own) for own in effects]  # more states are never counted as a loss
        ways = [way for way in product(range(1, 5), range(1, 4)) if sum(way) == budget]

        def total(way: Any, best: Any = best) -> float:
            return sum(own[r] for own, r in zip(best, way))

        assert total(record["orders_asked"]) <= min(map(total, ways)) * (1 + 1e-6) + 1e-11
        for key, value in record["effects"].items():
            index, order = map(int, key.split("/"))
            assert value == pytest.approx(effects[index][order], rel=1e-6, abs=1e-12)
        assert set(record["effects"]) == {"0/1", "0/2", "0/3", "1/1", "1/2"}
        for index, (one, small) in enumerate(zip(whole.layers, smaller.layers)):
            alone = reduce(one, record["orders_asked"][index], method=method, seed=5 + index).layer
            assert all(np.array_equal(value, small.to_params()[key]) for key, value in alone.to_params().items())


def test_what_the_network_does_not_hear_gives_its_states_away() -> None:
    """Two equal layers; the norm behind the second turns its output down by 10^6: no rule on the layers can know."""
    network = ToyNetwork([layer(3), layer(3)], count=8, L=12)
    loud, (mean, var) = network.parts.norms
    object.__setattr__(network.parts, "norms", (loud, (mean, 1e12 * var)))
    whole = model_of(network.parts.layers)
    orders = reduce_model(whole, budget=7, method="last", network=network).training["reduction"]["orders"]
    assert orders == [6, 1]
    assert ALLOCATIONS["hsv"].spread(whole.layers, (6, 6), 7) != (6, 1)
    other = reduce_model(whole, budget=7, method="last", network=network, allocation="uniform")
    assert [one.order for one in other.layers] == [4, 3]


@pytest.mark.parametrize("method", [name for name, one in METHODS.items() if one.requires == ("inputs",)])
def test_methods_from_recorded_inputs_get_the_networks(method: str) -> None:
    network = network_of(1)
    whole = model_of(network.parts.layers)
    smaller = reduce_model(whole, budget=4, method=method, network=network)
    record = smaller.training["reduction"]
    assert record["allocation"] == "measured"
    inputs = network.run(network.parts, np.arange(network.count), record=(0, 1)).inputs
    for index, (one, small) in enumerate(zip(whole.layers, smaller.layers)):
        alone = reduce(one, record["orders_asked"][index], method=method, inputs=inputs[index]).layer
        assert all(np.array_equal(value, small.to_params()[key]) for key, value in alone.to_params().items())
    exact = reduce_model(whole, orders=[2, 1], method=method, network=network)
    assert [one.order for one in exact.layers] == [2, 1]
    assert exact.training["reduction"]["allocation"] is None


def test_gradients_come_where_they_are_looked_at() -> None:
    network = network_of(2, (3, 2), count=4, L=5)
    whole = model_of(network.parts.layers)
    by_output = reduce_model(whole, budget=3, method="empirical(observability='output')", network=network)
    by_exact = reduce_model(
        whole, orders=by_output.training["reduction"]["orders"], method="empirical", network=network
    )
    assert not np.allclose(by_output.layers[0].Lambda, by_exact.layers[0].Lambda)


def test_signals_are_judged_by_their_squared_error() -> None:
    network = ToyEnhancer([wave_layer(1, 1, 4), wave_layer(2, 4, 4)])
    whole, known = network.run(network.parts, np.arange(network.count)).logits, {}
    cut = [[reduce(one, r).layer if r else None for r in range(6)] for one in network.parts.layers]
    layers = network.parts.layers
    orders = allocate(layers, 6, "measured", network=network, cut=lambda i, r: cut[i][r], known=known)
    assert sum(orders) == 6
    for index, order in ((0, 2), (1, 3)):
        found = network.run(network.parts.with_layer(index, cut[index][order]), np.arange(network.count)).logits
        assert known[f"/{index}/{order}"] == pytest.approx(((whole - found) ** 2).sum() / (whole**2).sum())


def test_what_was_measured_is_not_measured_again() -> None:
    network, known = network_of(4), {}
    layers = network.parts.layers
    given = {"network": network, "cut": lambda i, r: layers[i].keep(range(r)), "known": known}
    first = allocate(layers, 4, "measured", **given)
    runs = network.runs
    assert runs == 1 + len(known) == 6
    assert allocate(layers, 4, "measured", **given) == first
    assert sum(allocate(layers, 6, "measured", **given)) == 6
    assert network.runs == runs


def test_points_and_examples() -> None:
    """Fewer orders, fewer examples, spread over all of them."""
    network, seen, known = network_of(5, (6, 6), count=30), [], {}
    run = network.run
    network.run = lambda parts, rows, record=(): seen.append(rows) or run(parts, rows, record)
    rule = ALLOCATIONS.find("measured(points=3, examples=4)")
    layers = network.parts.layers
    allocate(layers, 5, rule, network=network, cut=lambda i, r: layers[i].keep(range(r)), known=known)
    assert set(known) == {f"/{i}/{r}" for i in (0, 1) for r in (1, 2, 5)}
    assert all(list(rows) == [0, 10, 19, 29] for rows in seen)
    for wrong in ({"points": 0}, {"examples": 0}, {"temperature": 0.0}, {"temperature": float("inf")}):
        with pytest.raises(InputError):
            Measured(**wrong)


@dataclass(frozen=True, kw_only=True)
class Picky(Modal):
    """Gives up on few states."""

    least: int = 3
    error: str = "accuracy"

    def truncate(self, source: Any, order: int, **data: Any) -> Any:
        if order < self.least:
            raise InputError("a mistake") if self.error == "input" else AccuracyError("not so few", 1.0)
        return super().truncate(source, order, **data)


def test_orders_that_a_method_does_not_deliver_are_not_given() -> None:
    network = network_of(6, (5, 5))
    whole = model_of(network.parts.layers)
    record = reduce_model(whole, budget=7, method=Picky(), network=network).training["reduction"]
    assert sorted(record["orders"]) == [3, 4]
    assert record["effects"]["0/1"] is None
    assert record["effects"]["0/3"] > 0
    with pytest.raises(OrderError, match=r"no division.*layer 0 with 1 of 5 states: not so few"):
        reduce_model(whole, budget=5, method=Picky(), network=network)
    with pytest.raises(InputError, match="a mistake"):
        reduce_model(whole, budget=7, method=Picky(error="input"), network=network)


def test_without_a_network_it_says_what_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    network = network_of(7)
    whole = model_of(network.parts.layers)
    with pytest.raises(InputError, match=r"needs network.*reduce_model.*lra.*uniform"):
        reduce_model(whole, ratio=0.5, allocation="measured")
    with pytest.raises(InputError, match="needs cut"):
        allocate(whole.layers, 4, "measured", network=network)
    with pytest.raises(InputError, match="takes no network"):
        allocate(whole.layers, 4, "hsv", network=network)
    file = whole.save(tmp_path / "model.npz")
    words = ["reduce", str(file), "--ratio", "0.5", "--allocation", "measured", "-o", str(tmp_path / "small.npz")]
    assert main(words) == 2
    assert "needs network" in capsys.readouterr().err
    assert not (tmp_path / "small.npz").exists()


def test_another_models_network_is_refused() -> None:
    whole = model_of(network_of(8).parts.layers)
    other = network_of(8, (3, 4))
    with pytest.raises(InputError, match="network of this model"):
        reduce_model(whole, ratio=0.5, method="last", network=other)
    with pytest.raises(InputError, match="runs layers of"):
        allocate(whole.layers, 4, "measured", network=other, cut=lambda i, r: whole.layers[i])


def test_outputs_that_are_not_finite_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    network = network_of(9)
    kernel, bias = network.parts.decoder
    object.__setattr__(network.parts, "decoder", (kernel, bias * np.nan))
    with pytest.raises(InputError, match="not finite"):
        reduce_model(model_of(network.parts.layers), ratio=0.5, method="last", network=network)
