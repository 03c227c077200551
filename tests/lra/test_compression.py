"""In-training compression: the fewest states that a tolerance allows, errors within the bound, nothing else touched."""

from __future__ import annotations

import jax
import numpy as np
import optax
import pytest
from hypothesis import given
from hypothesis import strategies as st

import ssmreduce
from lra.checkpoint import flatten
from lra.compression import compress_params, compression_steps, order_kept, restart_moments
from lra.config import load_config
from lra.errors import ConfigError
from lra.models import stored_states
from lra.optimizer import optimizer
from lra.step import build_optimizer, initial_state
from lra.tasks import load_task
from ssmreduce.layers.params import layer_from_params

pytestmark = pytest.mark.jax

SMALL = {"n_layers": 2, "d_model": 3, "ssm_size": 24, "compressions": 1, "compression_tolerance": 0.05}


@pytest.fixture(scope="module")
def live():
    config = load_config("digits", SMALL)
    params = initial_state(config, load_task("digits"), build_optimizer(config, 10)).params
    return config, jax.device_get(params)


@given(
    hsv=st.lists(st.lists(st.floats(0, 1e3), min_size=8, max_size=8), min_size=1, max_size=3),
    tolerance=st.floats(1e-6, 0.9),
)
def test_the_order_is_the_smallest_whose_tail_is_small_enough(hsv, tolerance):
    values = -np.sort(-np.array(hsv), axis=-1)
    order = order_kept(values, 4, tolerance)
    slack = 64 * np.finfo(float).eps * values.sum()  # two orders of summation
    assert 1 <= order <= 4
    assert values[:, 2 * order :].sum() <= tolerance * values.sum() + slack
    assert order == 1 or values[:, 2 * order - 2 :].sum() >= tolerance * values.sum() - slack


def test_layers_shrink_within_their_bounds_and_nothing_else_changes(live):
    config, params = live
    before = {key: value.tobytes() for key, value in flatten(params).items()}
    smaller, record = compress_params(params, config)
    assert {key: value.tobytes() for key, value in flatten(params).items()} == before
    assert record["states_before"] == [12, 12]
    assert tuple(record["states"]) == stored_states(smaller)
    assert record["skipped"] == {}
    for i, bound in enumerate(record["bounds"]):
        old, new = (
            layer_from_params(tree["encoder"][f"layers_{i}"]["seq"], conj_sym=True, discretization="zoh")
            for tree in (params, smaller)
        )
        assert new.order < 0.95 * 12
        assert new.dtype == np.float32
        total = ssmreduce.hankel_singular_values(old.system).sum()
        assert ssmreduce.error_norm(old.system, new.system).lower <= bound
        assert 0 < bound <= 2 * 0.05 * total * 1.01  # and some rounding
    for key, value in flatten(smaller).items():
        if "/seq/" not in key or key.endswith("/D"):
            np.testing.assert_array_equal(value, flatten(params)[key])


def test_a_layer_that_would_keep_almost_all_is_left_alone(live):
    config, params = live
    same, record = compress_params(params, config.replace(compression_tolerance=1e-12))
    assert record["states"] == record["states_before"]
    assert record["bounds"] == [0.0, 0.0]
    for a, b in zip(jax.tree.leaves(same), jax.tree.leaves(params)):
        assert a is b


def test_an_unstable_layer_is_left_alone_and_named(live):
    config, params = live
    seq = {key: np.array(value) for key, value in params["encoder"]["layers_1"]["seq"].items()}
    seq["Lambda_re"][3] = 0.1
    sick = {**params, "encoder": {**params["encoder"], "layers_1": {**params["encoder"]["layers_1"], "seq": seq}}}
    _, record = compress_params(sick, config)
    assert record["states"][0] < 12 == record["states"][1]
    assert "state 3" in record["skipped"]["layers_1"]
    healed, record = compress_params(sick, config.replace(clip_eigs=True))
    assert record["skipped"] == {}
    assert stored_states(healed)[1] < 12


def test_moments_restart_and_the_schedule_goes_on():
    tx = optimizer(lambda k: 0.1 * k, lambda k: 0.2 * k, 0.01)
    params = {"encoder": {"Lambda_re": np.ones(4, np.float32), "kernel": np.ones((2, 2), np.float32)}}
    state = tx.init(params)
    for _ in range(3):
        _, state = tx.update(params, state, params)
    cut = {"encoder": {**params["encoder"], "Lambda_re": np.ones(2, np.float32)}}
    new = restart_moments(tx, cut, state)
    leaves = {jax.tree_util.keystr(path): leaf for path, leaf in jax.tree_util.tree_flatten_with_path(new)[0]}
    assert jax.tree.structure(new) == jax.tree.structure(tx.init(cut))
    moments = [leaf for name, leaf in leaves.items() if ".mu" in name or ".nu" in name]
    assert {leaf.shape for leaf in moments} == {(2,), (2, 2)}
    assert not any(np.any(leaf) for leaf in moments)

    def is_counter(node):
        return isinstance(node, (optax.ScaleByScheduleState, optax.ScaleByAdamState))

    for node in jax.tree.leaves(new, is_leaf=is_counter):
        assert node.count == (3 if isinstance(node, optax.ScaleByScheduleState) else 0)


def test_steps_lie_inside_the_warm_up():
    config = load_config("digits", {"warmup_epochs": 2, "compressions": 3})
    assert compression_steps(config, 10) == {5, 10, 15}
    assert compression_steps(config.replace(compressions=0), 10) == frozenset()
    assert compression_steps(config.replace(warmup_steps=8), 10) == {2, 4, 6}
    for warmup in (0, 0.2):
        with pytest.raises(ConfigError, match="warmup_epochs"):
            compression_steps(config.replace(warmup_epochs=warmup), 10)


@pytest.mark.parametrize("bad", [{"compressions": -1}, {"compression_tolerance": 0.0}, {"compression_tolerance": 1.0}])
def test_impossible_values_are_typed_errors(bad):
    with pytest.raises(ConfigError, match="compression"):
        load_config("digits", bad)
