"""A file that holds the network several times: which is meant, what follows it, what goes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checkpoint_cases import small
from layer_cases import s5_params

from ssmreduce.command_line.parser import main
from ssmreduce.files.loading import load
from ssmreduce.files.model import Model
from ssmreduce.files.trees import flat
from ssmreduce.layers.location import find_layers
from ssmreduce.layers.params import read_layers
from ssmreduce.reduced_model import reduce_model
from theory.errors import InputError

NETWORK = {key.removeprefix("params/"): value for key, value in flat(small(np.random.default_rng(3)).tree).items()}


def network(prefix: str, joint: str, change: float = 1.0) -> dict[str, np.ndarray]:
    """The arrays of two layers under a prefix, keys joined by `/` or `.`."""
    return {f"{prefix}/{key}".replace("/", joint): (change * value).astype("f4") for key, value in NETWORK.items()}


def sizes(tree: Any) -> dict[str, int]:
    return {key: array.shape[0] for key, array in flat(tree).items() if key.endswith("Lambda_re")}


@pytest.mark.parametrize("joint", ["/", "."])
@pytest.mark.parametrize("copy", ["ema_params", "after_step/params", "state/averaged"])
@pytest.mark.parametrize("method", ["balanced", "last"])
def test_an_average_is_cut_alike(copy: str, joint: str, method: str) -> None:
    tree = network("params", joint) | network(copy, joint, 1.03125) | {"step": np.int64(7)}
    model = Model(tree=tree, options={"conj_sym": True, "discretization": "zoh"})
    assert len(model.layers) == 2
    assert list(model.copies) == [copy]
    smaller = reduce_model(model, budget=5, method=method)
    orders = [layer.order for layer in smaller.layers]
    assert sum(orders) <= 5
    assert list(sizes(smaller.tree).values()) == [*orders, *orders]
    mean = [layer.order for layer in smaller.copies[copy]]
    assert mean == orders
    assert smaller.tree.keys() == tree.keys()
    before, after = model.copies[copy][0], smaller.copies[copy][0]
    if method == "last":  # the copy is a selection of its own states, not of the weights'
        assert set(after.Lambda) <= set(before.Lambda)
    else:
        alone = reduce_model(
            Model(tree=network("params", joint, 1.03125), options={"conj_sym": True, "discretization": "zoh"}),
            orders=orders,
        )
        assert np.array_equal(alone.layers[0].C, after.C)


MOMENTS = {
    "optax": "opt_state/0/mu",
    "wrapped": "opt_state/0/inner/mu/params",
    "lightning": "optimizer_states/0",
    "torch": "optimizer/state",
    "bare": "exp_avg_sq",
    "gradients": "grads/params",
}


@pytest.mark.parametrize("joint", ["/", "."])
@pytest.mark.parametrize("place", MOMENTS.values(), ids=list(MOMENTS))
def test_moments_go_in_any_spelling(place: str, joint: str) -> None:
    head = {"params/head/mu/kernel".replace("/", joint): np.ones(3, np.float32)}
    model = Model(
        tree=network("params", joint) | network(place, joint) | head,
        options={"conj_sym": True, "discretization": "zoh"},
    )
    assert not model.copies
    smaller = reduce_model(model, orders=2)
    assert smaller.tree.keys() == network("params", joint).keys() | head.keys()


def test_moments_in_nested_trees_go_whole() -> None:
    tree = small(np.random.default_rng(0)).tree
    state = {**tree, "opt_state": {"0": {"mu": tree["params"], "count": np.int32(3)}, "1": {}}}
    assert reduce_model(
        Model(tree=state, options={"conj_sym": True, "discretization": "zoh"}), orders=2
    ).tree.keys() == {"params"}


def test_moments_of_a_tuple_without_names_are_no_layers() -> None:
    """A model and the state of Optax's Adam as one tree, as a file of Equinox or a list in Orbax has them."""
    tree = network("0", "/") | network("1/0/mu", "/", 0.5) | network("1/0/nu", "/", 0.25) | {"1/0/count": np.int32(3)}
    options = {"conj_sym": True, "discretization": "zoh"}
    model = Model(tree=tree, options=options)
    assert {layer.name.split("/")[0] for layer in model.layers} == {"0"}
    assert model.moments == ("1/0/mu", "1/0/nu")
    assert reduce_model(model, orders=2).tree.keys() == network("0", "/").keys() | {"1/0/count"}
    alone = network("mu", "/") | network("logvar", "/")  # heads of a network: nothing says that one is a moment
    assert len(Model(tree=alone, options=options, prefix="").layers) == 4
    assert len(Model(tree=alone, options=options, prefix="mu").layers) == 2


@pytest.mark.parametrize("name", ["opt", "g_optimizer", "adam", "optimizer1"])
@pytest.mark.parametrize("several", [False, True])
def test_states_of_pytorchs_optimizers_are_known_by_what_they_hold(name: str, several: bool) -> None:
    tree = network("model", ".")
    state = {"state": {0: {"exp_avg": np.ones((5, 3, 2))}}, "param_groups": [{"lr": 1e-3, "params": [0]}]}
    whole = {"model": tree, "more": {name: [state, state] if several else state}, "scheduler": {"state": 3}}
    model = Model(tree=whole, options={"conj_sym": True, "discretization": "zoh"})
    assert model.moments == (f"more/{name}",)
    smaller = reduce_model(model, orders=2)
    assert smaller.tree.keys() == whole.keys()
    assert smaller.tree["more"] == {}
    assert smaller.tree["scheduler"] == {"state": 3}
    assert smaller.moments == ()


def test_an_average_in_a_list_goes_and_other_lists_stay() -> None:
    """As torch_ema and callbacks of Lightning keep it: without names, so that it cannot be cut."""
    tree = network("model", ".")
    lists = {"shadow_params": [*tree.values()], "some": [*tree.values()][:-1], "numbers": [1.0, "x"], "none": []}
    model = Model(tree={"model": tree, "ema": lists}, options={"conj_sym": True, "discretization": "zoh"})
    assert model.moments == ("ema/shadow_params",)
    smaller = reduce_model(model, orders=2)
    assert smaller.tree["ema"].keys() == lists.keys() - {"shadow_params"}


def test_a_module_named_mu_is_no_moment() -> None:
    tree = network("params/mu", "/") | {"params/nu/kernel": np.ones(2, np.float32)}
    model = Model(tree=tree, options={"conj_sym": True, "discretization": "zoh"})
    assert reduce_model(model, orders=2).tree.keys() == tree.keys()


@pytest.mark.parametrize("names", [("model", "ema"), ("module", "module_ema"), ("net", "target_net")])
def test_twins_are_asked_about(names: tuple[str, str], tmp_path: Path) -> None:
    path = tmp_path / "twins.npz"
    np.savez(path, **network(names[0], "."), **network(names[1], ".", 1.03125))
    with pytest.raises(InputError, match=rf"prefix='{names[0]}'.*--prefix"):
        load(path, conj_sym=True)
    for one, other in (names, names[::-1]):
        model = load(path, conj_sym=True, prefix=one)
        assert [layer.name.split("/")[0] for layer in model.layers] == [one] * 2
        assert list(model.copies) == [other]
        assert set(sizes(reduce_model(model, orders=2).tree).values()) == {2}
    assert len(load(path, conj_sym=True, prefix="").layers) == 4
    with pytest.raises(InputError, match="no layer lies under prefix='nowhere'"):
        load(path, conj_sym=True, prefix="nowhere")
    arguments = ["--conj-sym", "--prefix", names[0], "--order", "2", "-o", str(tmp_path / "small.npz")]
    assert main(["reduce", str(path), *arguments]) == 0
    assert set(sizes(load(tmp_path / "small.npz", prefix=names[1]).tree).values()) == {2}


@pytest.mark.parametrize(
    "names",
    [("layers_0", "layers_1"), ("blocks.3", "blocks.11"), ("first", "second"), ("encoder", "decoder.inner")],
)
def test_parts_of_one_network_are_no_twins(names: tuple[str, str]) -> None:
    one, two = (s5_params(np.random.default_rng(i)) for i in (0, 1))
    tree = {f"{names[0]}.{key}": value for key, value in one.items()}
    tree |= {f"{names[1]}.{key}": value for key, value in two.items()}
    assert len(read_layers(tree, conj_sym=True, discretization="zoh")) == 2


def test_unlike_networks_are_no_twins() -> None:
    tree = network("model", ".") | {k: v for k, v in network("ema", ".").items() if "layers_0" in k}
    assert len(find_layers(tree)) == 3


def test_replacing_layers_alone_would_leave_a_copy_behind() -> None:
    model = Model(
        tree=network("params", "/") | network("ema_params", "/"), options={"conj_sym": True, "discretization": "zoh"}
    )
    halves = [layer.keep([0, 1]) for layer in model.layers]
    with pytest.raises(InputError, match=r"copies=\{'ema_params'"):
        model.replace_layers(halves)
    assert not model.without("ema_params").replace_layers(halves).copies
    assert model.replace_layers(model.layers).copies  # nothing changed its size
    assert [layer.order for layer in model.padded(9).copies["ema_params"]] == [9, 9]
