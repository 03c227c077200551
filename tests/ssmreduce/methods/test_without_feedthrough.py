"""Layers whose code base has no D: every method leaves it zero, and one that was told to change it says what to do."""

from __future__ import annotations

import numpy as np
import pytest

from ssmreduce import METHODS, SSMLayer, layer_from_params, reduce
from ssmreduce.methods.registry import Method
from theory.errors import InputError
from theory.norms import error_norm
from theory.systems.system import DiagonalStateSpace


def attenuate() -> SSMLayer:
    rng, n = np.random.default_rng(1), 7
    raw = {
        "A": np.stack([rng.normal(size=n), rng.uniform(0, 8, n)], axis=1),
        "B": rng.normal(size=(n, 2)), "C": rng.normal(size=(2, n)), "log_dt": np.log(rng.uniform(0.02, 0.3, n)),
    }  # fmt: skip
    return layer_from_params({key: value.astype(np.float32) for key, value in raw.items()})


def discretax() -> SSMLayer:
    rng, H, n = np.random.default_rng(2), 3, 6
    return layer_from_params({
        "kernel.C": (rng.normal(size=(H, n)) + 1j * rng.normal(size=(H, n))).astype(np.complex64),
        "kernel.log_dt": np.log(rng.uniform(0.01, 0.1, H)).astype(np.float32),
        "kernel.log_a_real": np.log(rng.uniform(0.2, 0.8, (H, n))).astype(np.float32),
        "kernel.A_imag": np.tile(np.pi * np.arange(n), (H, 1)).astype(np.float32),
    })  # fmt: skip


LAYERS = {"attenuate": attenuate(), "s4d-discretax": discretax()}
NEEDS_NOTHING = [name for name, method in METHODS.items() if not method.requires and name != "irka"]
UNASKED = ("frequency_limited", "weighted")  # have no default: a band, a weight


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("method", [name for name in NEEDS_NOTHING if name not in UNASKED])
def test_nothing_is_fed_through(method: str, name: str) -> None:
    layer = LAYERS[name]
    assert layer.form == name
    assert not layer.format.feeds_through
    reduction = reduce(layer, 3, method=method)
    assert not np.any(reduction.system.D)
    assert isinstance(layer.system, DiagonalStateSpace)
    assert isinstance(reduction.system, DiagonalStateSpace)
    certified = error_norm(layer.system, reduction.system)
    assert np.all(certified.lower <= reduction.bound * (1 + 1e-9))
    if reduction.layer is not None:
        assert not np.any(reduction.layer.D)
        assert reduction.layer.form == name


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize(
    ("method", "instead"),
    [
        ("residualized(feedthrough='diagonal')", "feedthrough='writable'"),
        ("residualized(feedthrough='dense')", "feedthrough='writable'"),
        ("refit(feedthrough=True)", "feedthrough=False"),
        ("refit(norm='hinf', feedthrough=True)", "feedthrough=False"),
    ],
)
def test_a_method_told_to_change_it_says_what_to_take_instead(method: str, instead: str, name: str) -> None:
    with pytest.raises(InputError, match=rf"(?s)changes D, and a layer of .* has none; take {instead}"):
        reduce(LAYERS[name], 3, method=method)
    key, _, _ = instead.partition("=")
    followed = METHODS.find(f"{method.split('(')[0]}({instead})")
    assert isinstance(followed, Method)
    assert key in followed.parameters()
    assert reduce(LAYERS[name], 3, method=followed).order <= 3
    assert reduce(LAYERS[name].system, 3, method=method.replace("diagonal", "dense")).order <= 3
