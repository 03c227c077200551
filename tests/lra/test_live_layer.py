"""A bound layer goes into ssmreduce as it is: same system as its parameters, same outputs as its scan."""

from __future__ import annotations

import jax
import numpy as np
import pytest

import ssmreduce
from lra.models.s5 import S5SSM
from ssmreduce.layers.params import as_layer_or_system

pytestmark = pytest.mark.jax


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("conj_sym", [True, False])
@pytest.mark.parametrize("C_init", ["lecun_normal", "complex_normal"])
def test_a_live_layer_is_what_its_parameters_say(bidirectional: bool, conj_sym: bool, C_init: str) -> None:
    module = S5SSM(H=3, P=4, C_init=C_init, conj_sym=conj_sym, bidirectional=bidirectional, discretization="bilinear")
    u = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
    live = module.bind(module.init(jax.random.key(0), u))
    layer = as_layer_or_system(live)
    y = np.asarray(live(u))
    assert np.abs(ssmreduce.simulate(layer.system, u) - y).max() <= 1e-4 * np.abs(y).max()
    half = ssmreduce.reduce(live, order=2)
    assert half.layer.order == 2
    assert half.floor <= half.error().upper
