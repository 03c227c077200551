"""The S5 layer: initial values, recurrent mode, options."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lra.models.s5 import S5SSM, blocked_hippo, hippo_eigensystem

pytestmark = pytest.mark.jax


def layer_and_input(rng, L=11, **options):
    layer = S5SSM(H=3, P=4, blocks=2, **options)
    u = jnp.asarray(rng.normal(size=(L, 2, 3)), jnp.float32)
    return layer, jax.jit(layer.init)(jax.random.key(1), u), u


@pytest.mark.parametrize(
    "options",
    [
        {"discretization": "zoh", "scan": "sequential"},
        {"discretization": "bilinear", "conj_sym": False, "scan": "associative"},
        {"clip_eigs": True, "step_rescale": 2.0, "scan": "chunked", "scan_chunk": 4},
        {"C_init": "complex_normal", "conj_sym": False, "discretization": "zoh"},
    ],
)
def test_one_sample_at_a_time_equals_the_scan(rng, options):
    layer, variables, u = layer_and_input(rng, **options)
    x, outputs = jnp.zeros((2, 4), jnp.complex64), []
    step = jax.jit(lambda x, sample: layer.apply(variables, x, sample, method="step"))
    for sample in u:
        x, y = step(x, sample)
        outputs.append(y)
    np.testing.assert_allclose(jnp.stack(outputs), jax.jit(layer.apply)(variables, u), rtol=0, atol=2e-5)


def test_a_bidirectional_layer_has_no_recurrent_mode(rng):
    layer, variables, u = layer_and_input(rng, bidirectional=True)
    with pytest.raises(ValueError, match="bidirectional"):
        layer.apply(variables, jnp.zeros((2, 4), jnp.complex64), u[0], method="step")


def test_the_reverse_direction_is_the_layer_run_backwards(rng):
    layer, variables, u = layer_and_input(rng, bidirectional=True)
    params = variables["params"]
    swapped = {"params": {**params, "C1": params["C2"], "C2": params["C1"]}}
    np.testing.assert_allclose(
        jax.jit(layer.apply)(variables, u)[::-1], jax.jit(layer.apply)(swapped, u[::-1]), rtol=0, atol=2e-5
    )


@pytest.mark.parametrize(
    ("n", "imag"),
    [
        (2, [-0.866025]),
        (4, [-4.603293, -0.556501]),
        (16, [-80.96608, -25.62923, -13.83434, -8.36211, -5.09002, -2.89967, -1.37199, -0.35202]),
    ],
)
def test_hippo_eigenvalues(n, imag):
    Lambda, V = hippo_eigensystem(n)
    np.testing.assert_allclose(Lambda.real, -0.5, atol=1e-12)
    np.testing.assert_allclose(Lambda.imag[: n // 2], imag, atol=1e-5)
    np.testing.assert_allclose(V.conj().T @ V, np.eye(n), atol=1e-12)


def test_blocks_repeat_the_eigenvalues():
    Lambda, V = blocked_hippo(12, 3, conj_sym=True)
    assert (Lambda.shape, V.shape) == ((6,), (12, 6))
    np.testing.assert_array_equal(Lambda[:2], Lambda[4:])
    with pytest.raises(ValueError, match="5 equal blocks"):
        blocked_hippo(12, 5, conj_sym=True)
    with pytest.raises(ValueError, match="halved"):
        blocked_hippo(12, 4, conj_sym=True)


@pytest.mark.parametrize(
    ("C_init", "std"),
    [
        ("lecun_normal", 1 / np.sqrt(128 * 256)),
        ("trunc_standard_normal", 1 / np.sqrt(256)),
        ("complex_normal", np.sqrt(0.5)),
    ],
)
def test_spread_of_the_initial_output_matrix(C_init, std):
    layer = S5SSM(H=128, P=128, C_init=C_init, bidirectional=True)
    params = jax.jit(layer.init)(jax.random.key(0), jnp.zeros((1, 128)))["params"]
    C = params["C"] if C_init == "complex_normal" else np.concatenate([params["C1"], params["C2"]], axis=1)
    assert C.shape == (128, 256, 2)
    assert np.std(C) == pytest.approx(std, rel=0.03)  # V has orthonormal columns: the spread is that of the real draw
    assert abs(np.mean(C)) < 4 * std / np.sqrt(C.size)
    layer = S5SSM(H=128, P=128, C_init=C_init, conj_sym=False)
    C = jax.jit(layer.init)(jax.random.key(0), jnp.zeros((1, 128)))["params"]["C"]
    wider = 1.0 if C_init == "complex_normal" else np.sqrt(2)  # rows are half as long
    assert np.std(C) == pytest.approx(std * wider, rel=0.03)


def test_initial_steps_and_input_matrix():
    layer = S5SSM(H=64, P=64, dt_min=1e-3, dt_max=1e-1)
    params = jax.jit(layer.init)(jax.random.key(0), jnp.zeros((1, 64)))["params"]
    step = np.exp(params["log_step"])
    assert step.shape == (64, 1)
    assert 1e-3 <= step.min() < 2e-3
    assert 0.06 < step.max() <= 1.00001e-1
    assert np.std(params["D"]) == pytest.approx(1, rel=0.3)
    assert np.std(params["B"]) == pytest.approx(1 / np.sqrt(2 * 64) * np.sqrt(0.5), rel=0.05)


def test_clipping_keeps_an_unstable_pole_inside(rng):
    layer, variables, u = layer_and_input(rng, L=200, clip_eigs=True)
    variables["params"]["Lambda_re"] = jnp.full(4, 5.0)
    assert jnp.isfinite(jax.jit(layer.apply)(variables, u)).all()
    gradient = jax.jit(jax.grad(lambda v: layer.apply(v, u[:20]).sum()))(variables)["params"]["Lambda_re"]
    np.testing.assert_array_equal(gradient, 0)


def test_unknown_options_are_errors(rng):
    for option in ({"C_init": "ones"}, {"discretization": "euler"}):
        with pytest.raises(ValueError, match="is not one of"):
            layer_and_input(rng, **option)
