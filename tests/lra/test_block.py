"""Blocks against their formulas, written a second time in float64 NumPy: what the golden numbers leave out."""

from __future__ import annotations

import functools
from typing import Any

import jax
import numpy as np
import pytest
from scipy.special import erf, expit

from lra.models import S4DSSM, S5SSM, Block, S4Block

pytestmark = pytest.mark.jax

L, BATCH, H = 8, 2, 4
TOLERANCE = 1e-5


def tanh_gelu(x: np.ndarray) -> np.ndarray:
    return x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))) / 2


def erf_gelu(x: np.ndarray) -> np.ndarray:
    return x * (1 + erf(x / np.sqrt(2))) / 2


def dense(p: Any, x: np.ndarray) -> np.ndarray:
    return x @ p["kernel"] + p["bias"]


def normalized(block: Any, x: np.ndarray, batchnorm: bool, epsilon: float) -> np.ndarray:
    """Norm of the block in training: over batch and time, or over channels."""
    axes = (0, 1) if batchnorm else (2,)
    scale = 1 / np.sqrt(x.var(axes, keepdims=True) + epsilon)
    return (x - x.mean(axes, keepdims=True)) * scale * block["norm"]["scale"] + block["norm"]["bias"]


def around(block: Any, x: np.ndarray, inner: Any, batchnorm: bool, prenorm: bool, epsilon: float) -> np.ndarray:
    norm = functools.partial(normalized, block, batchnorm=batchnorm, epsilon=epsilon)
    return x + inner(norm(x)) if prenorm else norm(x + inner(x))


def drawn(module: Any, rng: np.random.Generator) -> tuple[Any, Any, np.ndarray]:
    """Variables with every parameter drawn anew (biases and scales start at 0 and 1), and an input."""
    x = rng.normal(size=(L, BATCH, H))
    variables = jax.jit(module.init)(jax.random.key(0), x.astype(np.float32))
    params = jax.tree.map(lambda a: np.asarray(a + 0.3 * rng.normal(size=a.shape), np.float32), variables["params"])
    return params, {key: value for key, value in variables.items() if key != "params"}, x


def applied(module: Any, params: Any, rest: Any, x: np.ndarray) -> np.ndarray:
    run = jax.jit(lambda p, x: module.apply({"params": p, **rest}, x, True, mutable=["batch_stats"])[0])
    return np.asarray(run(params, x.astype(np.float32)))


def ssm_of(params: Any, options: dict[str, Any]) -> Any:
    """The state space layer alone, in float32: it has its own tests."""
    layer = options.pop("layer")(**options)
    return lambda u: np.asarray(layer.apply({"params": params["seq"]}, np.asarray(u, np.float32)), np.float64)


@pytest.mark.parametrize(
    ("activation", "prenorm", "batchnorm"),
    [
        ("full_glu", True, False),
        ("half_glu1", False, True),
        ("half_glu2", True, True),
        ("half_glu2", False, False),
        ("gelu", True, True),
    ],
)
def test_s5_block(rng, activation, prenorm, batchnorm):
    options = {"H": H, "P": 2, "bidirectional": True}
    make = functools.partial(S5SSM, **options)
    block = Block(ssm=make, H=H, activation=activation, prenorm=prenorm, batchnorm=batchnorm)
    params, rest, x = drawn(block, rng)
    ssm = ssm_of(params, {**options, "layer": S5SSM})

    def inner(u: np.ndarray) -> np.ndarray:
        y = ssm(u)
        g = tanh_gelu(y)
        if activation == "full_glu":
            return dense(params["out1"], g) * expit(dense(params["out2"], g))
        if activation == "half_glu1":
            return g * expit(dense(params["out2"], g))
        return y * expit(dense(params["out2"], g)) if activation == "half_glu2" else g

    expected = around(params, x, inner, batchnorm, prenorm, 1e-5 if batchnorm else 1e-6)
    np.testing.assert_allclose(applied(block, params, rest, x), expected, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize(("prenorm", "batchnorm"), [(True, False), (False, True), (False, False)])
def test_s4_block(rng, prenorm, batchnorm):
    options = {"H": H, "N": 4, "n_ssm": 2, "bidirectional": True}
    block = S4Block(ssm=functools.partial(S4DSSM, **options), H=H, prenorm=prenorm, batchnorm=batchnorm)
    params, rest, x = drawn(block, rng)
    ssm = ssm_of(params, {**options, "layer": S4DSSM})

    def inner(u: np.ndarray) -> np.ndarray:
        value, gate = np.split(dense(params["output_linear"], erf_gelu(ssm(u))), 2, axis=-1)
        return value * expit(gate)

    expected = around(params, x, inner, batchnorm, prenorm, 1e-5)
    np.testing.assert_allclose(applied(block, params, rest, x), expected, rtol=0, atol=TOLERANCE)
