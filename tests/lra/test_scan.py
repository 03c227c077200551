"""The scans under the layers: all equal a loop, and the hand-written derivative equals the automatic one."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lra.models.scan import diagonal_scan, pack, unpack

pytestmark = pytest.mark.jax

METHODS = ["sequential", "associative", "chunked"]


def draw(rng: np.random.Generator, L: int, shape: tuple[int, ...], P: int) -> tuple[jax.Array, jax.Array]:
    poles = rng.uniform(0.5, 1.0, P) * np.exp(1j * rng.uniform(-np.pi, np.pi, P))
    drive = rng.normal(size=(L, *shape, P)) + 1j * rng.normal(size=(L, *shape, P))
    return pack(jnp.asarray(poles, jnp.complex64)), pack(jnp.asarray(drive, jnp.complex64))


def plain(Lambda_bar: jax.Array, drive: jax.Array, reverse: bool = False) -> jax.Array:
    """The recurrence as the formula says it, in complex numbers, for automatic differentiation."""
    poles, v = unpack(Lambda_bar), unpack(drive)
    x, states = jnp.zeros_like(v[0]), []
    for t in reversed(range(len(v))) if reverse else range(len(v)):
        x = poles * x + v[t]
        states.append(x)
    return pack(jnp.stack(states[::-1] if reverse else states))


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("shape", [(), (3,), (2, 2)])
@pytest.mark.parametrize("L", [1, 2, 13])
def test_states_equal_a_loop(rng, L, shape, reverse):
    Lambda_bar, drive = draw(rng, L, shape, P=4)
    expected = jax.jit(plain, static_argnums=2)(Lambda_bar, drive, reverse)
    for method in METHODS:
        scan = functools.partial(diagonal_scan, reverse=reverse, implementation=method, chunk=4)
        states = jax.jit(scan)(Lambda_bar, drive)
        np.testing.assert_allclose(states, expected, rtol=0, atol=1e-5, err_msg=method)


@pytest.mark.parametrize("reverse", [False, True])
def test_derivative_equals_automatic_differentiation(rng, reverse):
    Lambda_bar, drive = draw(rng, 9, (3,), P=4)
    weights = jnp.asarray(rng.normal(size=drive.shape), jnp.float32)

    def gradients(scan):
        return jax.jit(jax.grad(lambda a, v: (weights * jnp.tanh(scan(a, v))).sum(), (0, 1)))(Lambda_bar, drive)

    expected = gradients(lambda a, v: plain(a, v, reverse))
    for method in METHODS:
        actual = gradients(lambda a, v, m=method: diagonal_scan(a, v, reverse=reverse, implementation=m, chunk=4))
        for got, wanted in zip(actual, expected):
            np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-4, err_msg=method)


def test_unknown_implementation_is_an_error(rng):
    with pytest.raises(ValueError, match="sequential"):
        diagonal_scan(*draw(rng, 3, (), 2), implementation="fastest")
