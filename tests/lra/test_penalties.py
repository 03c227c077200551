"""Penalties: values against ssmreduce, gradients against differences, finite on layers that are hardly layers."""

from __future__ import annotations

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tolerance import tol

import ssmreduce
from lra.config import load_config
from lra.errors import ConfigError
from lra.models import S4DSSM, S5SSM
from lra.penalties import Conventions, hankel_sum, layer_sums, modal_gains, penalty
from ssmreduce.layers.params import layer_from_params

pytestmark = pytest.mark.jax

FLOAT32 = tol(dtype=np.float32)  # the values are float64 inside and rounded once

S5_CASES = {
    "pairs": {"blocks": 2, "C_init": "trunc_standard_normal"},
    "bilinear, no pairs": {"discretization": "bilinear", "conj_sym": False},
    "both ways": {"bidirectional": True},
    "both ways, one C": {"bidirectional": True, "C_init": "complex_normal", "step_rescale": 2.0},
}
S4D_CASES = {
    "both ways": {"bidirectional": True, "n_ssm": 2},
    "bilinear, exp": {"bidirectional": False, "n_ssm": 1, "discretization": "bilinear", "dt_transform": "exp"},
}
CASES = [("s5", name) for name in S5_CASES] + [("s4d", name) for name in S4D_CASES]


SUMS = {"hankel": hankel_sum, "modal": lambda tree: modal_gains(tree).sum()}
BOTH = {name: jax.jit(jax.value_and_grad(measure)) for name, measure in SUMS.items()}


def module(kind, name):
    return S5SSM(H=3, P=8, **S5_CASES[name]) if kind == "s5" else S4DSSM(H=4, N=8, **S4D_CASES[name])


@functools.cache
def fresh(kind, name):
    layer = module(kind, name)
    return layer.init(jax.random.key(0), jnp.zeros((1, 1, layer.H)))["params"]


def trained(kind, name):
    """Parameters of a fresh layer, every one moved a little, as floats of 32 bits."""
    seq, rng = fresh(kind, name), np.random.default_rng(0)
    return jax.tree.map(lambda leaf: np.asarray(leaf * (1 + 0.05 * rng.normal(size=leaf.shape)), np.float32), seq)


def conventions(kind, name):
    layer = module(kind, name)
    return Conventions(**{key: getattr(layer, key) for key in Conventions._fields if hasattr(layer, key)})


def control(kind, name, seq):
    """The same layer as ssmreduce reads it."""
    layer = module(kind, name)
    options = {"discretization": layer.discretization, "step_rescale": layer.step_rescale}
    options |= {"conj_sym": layer.conj_sym} if kind == "s5" else {"dt_transform": layer.dt_transform}
    return layer_from_params(seq, **options)


@pytest.mark.parametrize(("kind", "name"), CASES)
def test_modal_gains_bound_every_state_s_gain(kind, name):
    """Against the peak of each state's own frequency response, and attained by a pole on the real axis."""
    seq = trained(kind, name)
    layer = control(kind, name, seq)
    gains = np.asarray(modal_gains(seq, conventions(kind, name)), float)
    assert gains.shape == layer.Lambda.shape
    system, z = layer.system, np.exp(1j * np.linspace(0, np.pi, 400))
    batched = system.poles if kind == "s4d" else system.poles[None]
    B = system.B if kind == "s4d" else system.B[None]
    C = (system.C, system.C_reverse) if system.C_reverse is not None else (system.C,)
    worst = 0.0
    for h, poles in enumerate(batched):
        for i, pole in enumerate(poles):
            total = 0.0
            for matrix in C:
                c, b = (matrix if kind == "s4d" else matrix[None])[h][:, i], B[h][i]
                first = np.outer(c, b)
                response = first / (z - pole)[:, None, None] + first.conj() / (z - pole.conj())[:, None, None]
                total = total + np.linalg.norm(response, ord=2, axis=(1, 2)).max()
            bound = gains[h, i] if kind == "s4d" else gains[i]
            worst = max(worst, total / bound)
    assert 0.4 < worst <= 1 + FLOAT32


def test_a_real_pole_attains_its_modal_gain():
    seq = {key: np.zeros(1, np.float32) for key in ("Lambda_re", "Lambda_im", "D")} | {"log_step": np.zeros((1, 1))}
    seq |= {"B": np.array([[[0.7, 0.0]]]), "C": np.array([[[0.5, 0.0]]]), "Lambda_re": np.array([-0.3])}
    seq = {key: np.float32(value) for key, value in seq.items()}
    layer = layer_from_params(seq, conj_sym=True, discretization="zoh")
    norm = ssmreduce.hinf_norm(layer.system.replace(D=None))
    assert float(modal_gains(seq)[0]) == pytest.approx(norm.upper, rel=FLOAT32)


def directional(both, seq, rng, h=1e-5):
    """Derivative of the value along a random direction by its gradient, and by central differences."""
    along = jax.tree.map(lambda leaf: rng.normal(size=leaf.shape), seq)
    ahead, back = (both(jax.tree.map(lambda leaf, d, s=s: leaf + s * d, seq, along))[0] for s in (h, -h))
    gradient = both(seq)[1]
    product = sum(float((g * d).sum()) for g, d in zip(jax.tree.leaves(gradient), jax.tree.leaves(along)))
    return product, float(ahead - back) / (2 * h)


@pytest.mark.parametrize(("kind", "name"), CASES)
def test_the_hankel_sum_and_its_gradient(kind, name):
    """The sum of the Hankel singular values that ssmreduce finds; in float64, where differences mean something."""
    rng, rules = np.random.default_rng(3), conventions(kind, name)
    seq = trained(kind, name)
    if kind == "s4d":  # away from the kink that two equal real poles make
        seq["kernel"]["A_imag"] = seq["kernel"]["A_imag"] + 0.5
    hsv = ssmreduce.hankel_singular_values(control(kind, name, seq).system)
    with jax.enable_x64(True):
        seq = jax.tree.map(np.float64, seq)
        both = jax.jit(jax.value_and_grad(lambda tree: hankel_sum(tree, rules)))
        # factors of a Gramian carry half its digits in directions in which it is nearly singular
        assert abs(float(both(seq)[0]) - hsv.sum()) <= hsv.size * np.sqrt(np.finfo(float).eps) * hsv.max()
        for _ in range(3):
            product, slope = directional(both, seq, rng)
            assert abs(product - slope) <= 1e-5 * hsv.sum()  # rounding of values / h, and h**2 of a third derivative
            assert abs(slope) > 1e-3 * hsv.sum()


@pytest.mark.parametrize(("kind", "name"), [("s5", "bilinear, no pairs"), ("s4d", "both ways")])
def test_the_gradient_of_the_modal_sum(kind, name):
    rng, rules = np.random.default_rng(3), conventions(kind, name)
    with jax.enable_x64(True):
        seq = jax.tree.map(np.float64, trained(kind, name))
        both = jax.jit(jax.value_and_grad(lambda tree: modal_gains(tree, rules).sum()))
        for _ in range(3):
            product, slope = directional(both, seq, rng)
            assert abs(product - slope) <= 1e-5 * float(both(seq)[0])
            assert abs(slope) > 1e-3 * float(both(seq)[0])


def test_the_gradient_of_float32_parameters_is_that_of_float64():
    seq = trained("s5", "pairs")
    seq["Lambda_re"] = np.full(8, -1e-2, np.float32)  # with steps of 1e-2: poles 1e-4 from the circle
    seq["log_step"] = np.full((8, 1), np.log(1e-2), np.float32)
    value, narrow = BOTH["hankel"](seq)
    assert value.dtype == np.float32
    with jax.enable_x64(True):
        wide = jax.jit(jax.grad(hankel_sum))(jax.tree.map(np.float64, seq))
    for a, b in zip(jax.tree.leaves(narrow), jax.tree.leaves(wide)):
        a, b = np.asarray(a), np.asarray(b)
        assert a.dtype == np.float32
        assert np.abs(a - b).max() <= FLOAT32 * np.abs(b).max()
    wanted = ssmreduce.hankel_singular_values(control("s5", "pairs", seq).system).sum()
    assert float(BOTH["hankel"](seq)[0]) == pytest.approx(wanted, rel=FLOAT32)


def degenerate(how):
    seq = {key: np.array(value) for key, value in trained("s5", "pairs").items()}
    if how == "repeated poles":
        for key in ("Lambda_re", "Lambda_im", "log_step"):
            seq[key][:] = seq[key][0]
    elif how == "twins":  # the same state twice
        for key, value in seq.items():
            axis = 1 if key == "C" else 0
            if key != "D":
                seq[key] = np.take(value, [0, 0, 1, 1, 2, 2, 3, 3], axis=axis)
    elif how == "no input":
        seq["B"][2:5] = 0
    elif how == "no output":
        seq["C"][:, 2:5] = 0
    elif how == "nothing":
        seq["B"][:], seq["C"][:] = 0, 0
    elif how == "real poles":
        seq["Lambda_im"][:] = 0
    elif how == "unstable":
        seq["Lambda_re"][:3] = [0.0, 0.5, -1e-6]
    elif how == "slow":
        seq["Lambda_re"][:], seq["log_step"][:] = -1e-4, np.log(1e-3)
    elif how == "equal singular values":  # the same pole in every channel, and channels that do not mix
        seq["Lambda_re"][:], seq["Lambda_im"][:], seq["log_step"][:] = -0.5, 2.0, -2.0
        seq["B"][:], seq["C"][:] = 0, 0
        for i in range(3):
            seq["B"][i, i, 0] = seq["C"][i, i, 0] = 1
    return seq


HOW = ["repeated poles", "twins", "no input", "no output", "nothing", "real poles", "unstable", "slow"]


@pytest.mark.parametrize("how", [*HOW, "equal singular values"])
def test_degenerate_layers_have_finite_values_and_gradients(how):
    seq = degenerate(how)
    for both in BOTH.values():
        value, gradient = both(seq)
        assert np.isfinite(value)
        for leaf in jax.tree.leaves(gradient):
            assert np.isfinite(leaf).all()
    layer = layer_from_params(seq, conj_sym=True, discretization="zoh", clip_eigs=how in ("unstable", "slow"))
    wanted = ssmreduce.hankel_singular_values(layer.system)
    # each factor of a Gramian is off by sqrt(eps) where the Gramian is singular
    slack = wanted.size * np.sqrt(np.finfo(float).eps) * wanted[0] + FLOAT32 * wanted.sum()
    assert abs(float(BOTH["hankel"](seq)[0]) - wanted.sum()) <= slack


def test_an_unstable_eigenvalue_is_drawn_back():
    seq = degenerate("unstable")
    for both in BOTH.values():
        assert (np.asarray(both(seq)[1]["Lambda_re"])[:3] > 0).all()


def test_a_step_along_the_gradient_lowers_the_sum_by_its_square():
    seq = trained("s5", "pairs")
    value, gradient = BOTH["hankel"](seq)
    square = sum(float((g**2).sum()) for g in jax.tree.leaves(gradient))
    rate = 1e-3 * float(value) / square
    stepped = jax.tree.map(lambda leaf, g: leaf - rate * g, seq, gradient)
    assert float(BOTH["hankel"](stepped)[0]) == pytest.approx(float(value) * (1 - 1e-3), rel=1e-4)


def test_weights_and_periods():
    config = load_config("digits", {"hankel_penalty": 0.5, "modal_penalty": 0.25, "penalty_every": 3})
    seq = trained("s5", "pairs")
    params = {"encoder": {"encoder": {"kernel": np.zeros(3)}, "layers_0": {"seq": seq}, "layers_1": {"seq": seq}}}
    found = jax.jit(layer_sums(config))(params)
    wanted = 2 * (0.5 * float(BOTH["hankel"](seq)[0]) + 0.25 * float(BOTH["modal"](seq)[0]))
    assert 0.5 * float(found["hankel_sum"]) + 0.25 * float(found["modal_sum"]) == pytest.approx(wanted, rel=FLOAT32)
    added = jax.jit(penalty(config))
    values = [float(added(params, step)) for step in range(6)]
    np.testing.assert_allclose(values, [3 * wanted, 0, 0, 3 * wanted, 0, 0], rtol=FLOAT32)
    assert penalty(load_config("digits")) is None
    assert layer_sums(load_config("digits"))(params) == {}


@pytest.mark.parametrize("bad", [{"hankel_penalty": -1.0}, {"modal_penalty": float("nan")}, {"penalty_every": 0}])
def test_impossible_weights_are_typed_errors(bad):
    with pytest.raises(ConfigError, match=next(iter(bad))):
        load_config("digits", bad)


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="about LAPACK in XLA's thread pool")
def test_no_lapack_call_gets_a_batch():
    """Several that do, in a step with as many layers as threads, have been seen to wait for each other for ever."""
    text = BOTH["hankel"].lower(trained("s4d", "both ways")).as_text()
    calls = re.findall(r"custom_call @(lapack\w*(?:syevd|gesdd|gesvd)\w*)\(.*?: \((.*?)\)", text)
    assert {name for name, _ in calls}
    for name, operands in calls:
        assert all(kind.count("x") <= 2 for kind in re.findall(r"tensor<([\dx]+f64)>", operands)), (name, operands)
