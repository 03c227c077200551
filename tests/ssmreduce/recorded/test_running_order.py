"""A network may run the layers in another order than the file lists them: every reduced layer lands in its place."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from toy_network import ToyNetwork, layer

from ssmreduce.files.model import Model
from ssmreduce.network import Parts
from ssmreduce.recorded.recipe import Recipe
from ssmreduce.recorded.search import Search
from ssmreduce.reduced_model import reduce_model
from ssmreduce.reduction import reduce
from theory.errors import InputError

PLACES = (2, 0, 1)
"""The file's number of the layer that runs first, second, third."""

FAST = Recipe(observability=("exact",), polish=0, together=0, norms=False, decoder=False)


@pytest.fixture(scope="module")
def model() -> Model:
    layers = [layer(seed) for seed in (1, 2, 3)]
    tree = {f"layers_{i}": {"seq": one.to_params()} for i, one in enumerate(layers)}
    return Model(tree={"params": tree}, options=layers[0].options())


@pytest.fixture(scope="module")
def network(model: Model) -> ToyNetwork:
    return ToyNetwork([model.layers[place] for place in PLACES], count=12, L=8)


@pytest.mark.parametrize("method", ["balanced", "last", "aire", "random", "modal", "hankel_norm", "empirical"])
def test_methods_write_each_layer_where_it_lies(method: str, model: Model, network: ToyNetwork) -> None:
    smaller = reduce_model(model, orders=(2, 3, 4), method=method, network=network)
    assert [one.order for one in smaller.layers] == smaller.training["reduction"]["orders"]
    assert smaller.training["reduction"]["orders_asked"] == [2, 3, 4]
    seen = network.run(network.parts, np.arange(network.count), record=(0, 1, 2)).inputs
    for place, (whole, small) in enumerate(zip(model.layers, smaller.layers, strict=True)):
        runs = PLACES.index(place)
        data = {"inputs": seen[runs]} if method == "empirical" else {}
        alone = reduce(whole, small.order, method=method, seed=runs, **data)
        np.testing.assert_allclose(small.system.poles, alone.layer.system.poles, rtol=1e-6)


def test_the_recipe_writes_each_layer_where_it_lies(model: Model, network: ToyNetwork) -> None:
    smaller = reduce_model(model, ratio=0.4, network=network, recipe=FAST)
    record, search = smaller.training["reduction"], Search(network, FAST)
    assert [one.order for one in smaller.layers] == record["orders"]
    (best,) = (one for one in record["candidates"] if one["divergence"] == record["divergence"])
    assert best["orders"] == record["orders"]
    assert len(set(best["orders"])) > 1  # as the file lists them, not as they run
    assert record["running_order"] == list(PLACES)
    ran = Parts(
        layers=tuple(smaller.layers[place] for place in PLACES),
        norms=network.parts.norms,
        decoder=network.parts.decoder,
    )
    assert search.judge(ran) == pytest.approx(record["divergence"], rel=1e-3)
    filed = replace(ran, layers=smaller.layers)
    assert search.judge(filed) != pytest.approx(record["divergence"], rel=1e-3)


def test_layers_written_anew_are_known_by_their_arrays(model: Model) -> None:
    again = ToyNetwork([model.layers[place].replace(name="x") for place in PLACES])
    smaller = reduce_model(model, orders=(2, 3, 4), method="balanced", network=again)
    assert [one.order for one in smaller.layers] == [2, 3, 4]


@pytest.mark.parametrize("wrong", ["another", "twice", "fewer"])
def test_another_networks_layers_are_refused(wrong: str, model: Model) -> None:
    first, second, third = model.layers
    layers: dict[str, list[Any]] = {
        "another": [first, second, layer(9)],
        "twice": [first, first, third],
        "fewer": [first, second],
    }
    with pytest.raises(InputError, match="none of the model's: make the network of this model"):
        reduce_model(model, ratio=0.5, method="balanced", network=ToyNetwork(layers[wrong]))
