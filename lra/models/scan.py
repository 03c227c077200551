r"""The linear recurrence under every diagonal state space layer.

.. math:: x_t = \bar\Lambda \odot x_{t-1} + v_t, \qquad x_{-1} = 0

Three implementations compute it, equal up to rounding; which one is fastest depends on the device:

``sequential``
    One `jax.lax.scan` step per sample. Least arithmetic and least memory traffic: the fastest on a CPU.
``associative``
    Logarithmic depth, as `jax.lax.associative_scan` that the reference S5 uses, but with one factor a level instead
    of one a sample. For accelerators.
``chunked``
    Doubling steps inside chunks of a fixed length, a sequential carry from chunk to chunk.

Complex numbers travel as pairs of real arrays packed along the last axis, ``[real | imaginary]``: XLA's complex
arithmetic is slow on CPUs, and packed states turn the products with ``B`` and ``C`` into single real matrix products.
All implementations share one hand-written derivative: the adjoint is the same recurrence with
:math:`\bar\Lambda^*`, run backwards, so that only the states are kept for the backward pass.
"""

from __future__ import annotations

import functools
from typing import Literal

import jax
import jax.numpy as jnp

ScanImplementation = Literal["auto", "sequential", "associative", "chunked"]
IMPLEMENTATIONS: tuple[str, ...] = ("auto", "sequential", "associative", "chunked")

Array = jax.Array


def default_implementation() -> str:
    """Return ``"sequential"`` on a CPU and ``"associative"`` on any other device."""
    return "sequential" if jax.default_backend() == "cpu" else "associative"


def pack(z: Array) -> Array:
    """Return a complex array (..., P) as a real one (..., 2P): real parts, then imaginary parts."""
    return jnp.concatenate([z.real, z.imag], axis=-1)


def unpack(packed: Array) -> Array:
    """Return a packed real array (..., 2P) as a complex one (..., P)."""
    real, imag = jnp.split(packed, 2, axis=-1)
    return jax.lax.complex(real, imag)


def multiply(a: Array, b: Array) -> Array:
    """Return the complex product of two packed arrays, broadcast against each other."""
    a_re, a_im = jnp.split(a, 2, axis=-1)
    b_re, b_im = jnp.split(b, 2, axis=-1)
    return jnp.concatenate([a_re * b_re - a_im * b_im, a_re * b_im + a_im * b_re], axis=-1)


def conjugate(a: Array) -> Array:
    """Return the complex conjugate of a packed array."""
    a_re, a_im = jnp.split(a, 2, axis=-1)
    return jnp.concatenate([a_re, -a_im], axis=-1)


def diagonal_scan(
    Lambda_bar: Array, drive: Array, *, reverse: bool = False, implementation: str = "auto", chunk: int = 64
) -> Array:
    r"""Return the states :math:`x_t = \bar\Lambda x_{t-1} + v_t` of all samples, :math:`x_{-1} = 0`.

    Parameters
    ----------
    Lambda_bar : Array (2P,)
        Discrete eigenvalues, packed.
    drive : Array (L, ..., 2P)
        The inputs of the states :math:`v_t = \bar B u_t`, packed, time first.
    reverse : bool
        Run from the last sample to the first: :math:`x_t = \bar\Lambda x_{t+1} + v_t`.
    implementation : {"auto", "sequential", "associative", "chunked"}
        ``auto`` picks by device, see `default_implementation`.
    chunk : int
        Samples per chunk of the ``chunked`` implementation.

    Returns
    -------
    Array (L, ..., 2P)
        The states, packed, in the order of the samples.

    Raises
    ------
    ValueError
        Unknown `implementation`.
    """
    if implementation == "auto":
        implementation = default_implementation()
    if implementation not in _RUN:
        raise ValueError(f"scan implementation {implementation!r} is not one of {', '.join(IMPLEMENTATIONS)}")
    return _scan(implementation, chunk, reverse, Lambda_bar, drive)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1, 2))
def _scan(implementation: str, chunk: int, reverse: bool, Lambda_bar: Array, drive: Array) -> Array:
    return _RUN[implementation](Lambda_bar, drive, reverse, chunk)


def _scan_forward(
    implementation: str, chunk: int, reverse: bool, Lambda_bar: Array, drive: Array
) -> tuple[Array, tuple[Array, Array]]:
    states = _RUN[implementation](Lambda_bar, drive, reverse, chunk)
    return states, (Lambda_bar, states)


def _scan_backward(
    implementation: str, chunk: int, reverse: bool, saved: tuple[Array, Array], cotangent: Array
) -> tuple[Array, Array]:
    Lambda_bar, states = saved
    if implementation == "sequential":
        return _sequential_adjoint(Lambda_bar, states, cotangent, not reverse)
    adjoint = _RUN[implementation](conjugate(Lambda_bar), cotangent, not reverse, chunk)
    earlier, later = (states[1:], adjoint[:-1]) if reverse else (states[:-1], adjoint[1:])
    axes = tuple(range(states.ndim - 1))
    return _correlation((later * earlier).sum(axes), (later * _turn(earlier)).sum(axes)), adjoint


def _turn(x: Array) -> Array:
    """Return the packed array with real and imaginary halves exchanged."""
    x_re, x_im = jnp.split(x, 2, axis=-1)
    return jnp.concatenate([x_im, x_re], axis=-1)


def _correlation(direct: Array, turned: Array) -> Array:
    """Return sum conj(x) a, packed, from the sums of a * x and of a * _turn(x)."""
    (rr, ii), (ri, ir) = jnp.split(direct, 2), jnp.split(turned, 2)
    return jnp.concatenate([rr + ii, ir - ri])


def _sequential_adjoint(Lambda_bar: Array, states: Array, cotangent: Array, reverse: bool) -> tuple[Array, Array]:
    """Return the gradients by `Lambda_bar` and by the drive in one pass (column sums are slow in XLA on a CPU)."""
    l_re, l_im = jnp.split(Lambda_bar, 2)

    def advance(carry: tuple[Array, ...], at: tuple[Array, Array]) -> tuple[tuple[Array, ...], Array]:
        a_re, a_im, direct, turned = carry
        g, x = at
        g_re, g_im = jnp.split(g, 2, axis=-1)
        direct = direct + jnp.concatenate([a_re, a_im], axis=-1) * x
        turned = turned + jnp.concatenate([a_im, a_re], axis=-1) * x
        new = (l_re * a_re + l_im * a_im + g_re, l_re * a_im - l_im * a_re + g_im)
        return (*new, direct, turned), jnp.concatenate(new, axis=-1)

    zero, zeros = jnp.zeros(states.shape[1:-1] + l_re.shape, states.dtype), jnp.zeros_like(states[0])
    (_, _, direct, turned), adjoint = jax.lax.scan(
        advance, (zero, zero, zeros, zeros), (cotangent, states), reverse=reverse
    )
    axes = tuple(range(direct.ndim - 1))
    # `turned` here exchanges the halves of the adjoint, not of the state: the halves of the sum are exchanged too
    return _correlation(direct.sum(axes), _turn(turned.sum(axes))), adjoint


_scan.defvjp(_scan_forward, _scan_backward)


def _sequential(Lambda_bar: Array, drive: Array, reverse: bool, chunk: int) -> Array:
    del chunk
    l_re, l_im = jnp.split(Lambda_bar, 2)

    def advance(carry: tuple[Array, Array], v: Array) -> tuple[tuple[Array, Array], Array]:
        x_re, x_im = carry
        v_re, v_im = jnp.split(v, 2, axis=-1)
        new = (l_re * x_re - l_im * x_im + v_re, l_re * x_im + l_im * x_re + v_im)
        return new, jnp.concatenate(new, axis=-1)

    zero = jnp.zeros(drive.shape[1:-1] + l_re.shape, drive.dtype)
    return jax.lax.scan(advance, (zero, zero), drive, reverse=reverse)[1]


def _associative(Lambda_bar: Array, drive: Array, reverse: bool, chunk: int) -> Array:
    """Odd samples by the recurrence of two steps at once, then even ones from them; the factors are one vector a level.

    `jax.lax.associative_scan` does the same with a factor for every sample, which is more to compute and to compile.
    """
    if reverse:
        return _associative(Lambda_bar, drive[::-1], False, chunk)[::-1]
    length = drive.shape[0]
    if length == 1:
        return drive
    first, second = drive[: length - 1 : 2], drive[1::2]
    odd = _associative(multiply(Lambda_bar, Lambda_bar), multiply(Lambda_bar, first) + second, False, chunk)
    later = drive[2::2]
    even = jnp.concatenate([drive[:1], multiply(Lambda_bar, odd[: len(later)]) + later])
    pairs = jnp.stack([even[: len(odd)], odd], axis=1).reshape(-1, *drive.shape[1:])
    return jnp.concatenate([pairs, even[len(odd) :]]) if length % 2 else pairs


def _chunked(Lambda_bar: Array, drive: Array, reverse: bool, chunk: int) -> Array:
    if reverse:
        return _chunked(Lambda_bar, drive[::-1], False, chunk)[::-1]
    length = drive.shape[0]
    chunk = min(chunk, length)
    padding = -length % chunk
    x = jnp.pad(drive, ((0, padding),) + ((0, 0),) * (drive.ndim - 1))
    x = x.reshape(-1, chunk, *drive.shape[1:])
    power, powers, shift = Lambda_bar, Lambda_bar[None], 1
    while shift < chunk:  # after the step with shift s every sample holds the last 2s drives; powers: 1 to 2s
        x = x + jnp.pad(multiply(power, x[:, :-shift]), ((0, 0), (shift, 0)) + ((0, 0),) * (drive.ndim - 1))
        powers = jnp.concatenate([powers, multiply(power, powers)])
        power, shift = multiply(power, power), 2 * shift
    decay = powers[:chunk].reshape((chunk,) + (1,) * (drive.ndim - 2) + Lambda_bar.shape)
    carried = _sequential(powers[chunk - 1], x[:, -1], False, 0)
    start = jnp.concatenate([jnp.zeros_like(carried[:1]), carried[:-1]])
    x = x + multiply(decay, start[:, None])
    return x.reshape(-1, *drive.shape[1:])[:length]


_RUN = {"sequential": _sequential, "associative": _associative, "chunked": _chunked}
