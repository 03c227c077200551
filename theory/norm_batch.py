r"""Certified H-infinity norms of many scalar systems at once: branch and bound on Taylor models.

An S4D layer is a batch of scalar systems. The frequency axis of every channel is cut into intervals that meet
at the mid-angles between its poles. On each interval :mod:`theory.norm_batch_taylor` proves an upper bound of
the gain. An interval whose bound is at most ``(1 + rtol)`` times the largest gain seen at any centre is done, the
others are cut again (around the vertex of the local parabola when there is one). The work list of all channels
is one array.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from theory.bracket import Bracket
from theory.errors import DimensionError, InputError
from theory.norm_batch_taylor import ANGLE_SLACK, Scalars, attained_gain, axis_frequency, local_models
from theory.system import DiagonalStateSpace, require_stable

Array = NDArray[Any]


def batch_hinf_norm(
    system: DiagonalStateSpace, rtol: float = 1e-8, *, max_rounds: int = 100, max_intervals: int = 20000
) -> Bracket:
    r"""Bracket the H-infinity norms (bidirectional: L-infinity norms) of a batch of scalar diagonal systems.

    ``lower <= sup |G(e^{j theta})| <= upper`` for every system of the batch, rounding errors included;
    ``upper - lower <= rtol * upper`` when the status is "closed".

    Parameters
    ----------
    system : DiagonalStateSpace
        Batch (...,) of systems with one input and one output; any `delay`, with or without `D` and `C_reverse`,
        real (conjugate pairs) or complex, discrete or continuous.
    rtol : float
        Relative width that is asked for.
    max_rounds, max_intervals : int, keyword only
        Limits of the search: rounds of cutting, and intervals per channel. What is left then keeps its proved bound.

    Returns
    -------
    Bracket
        Arrays of shape (...,). ``diagnostics`` holds the number of intervals and rounds, and which channels are open.

    Raises
    ------
    DimensionError
        A system has more than one input or output.
    StabilityError
        A pole lies on or outside the stability boundary.
    """
    if system.m != 1 or system.p != 1:
        raise DimensionError(
            "batch_hinf_norm takes systems with one input and one output", B=system.B.shape, C=system.C.shape
        )
    if not rtol > 0:
        raise InputError(f"rtol must be positive, got {rtol!r}")
    require_stable(system)
    exponent = _exponent(system)
    scalars = _scalars(system, exponent)
    lower, upper, theta, cost = _cover(scalars, _first_intervals(scalars, system), rtol, max_rounds, max_intervals)
    frequency = theta if scalars.scale is None else axis_frequency(scalars.scale, theta)
    lower, upper = _unscaled(lower, upper, exponent)
    upper = np.where(_is_silent(system), 0.0, upper)
    shape = system.batch_shape
    is_open = upper - lower > rtol * upper
    diagnostics = {"method": "Taylor models, branch and bound", "open": np.flatnonzero(is_open), **cost}
    status: Literal["closed", "open"] = "open" if is_open.any() else "closed"
    if not shape:
        return Bracket(float(lower[0]), float(upper[0]), float(frequency[0]), status, diagnostics)
    return Bracket(lower.reshape(shape), upper.reshape(shape), frequency.reshape(shape), status, diagnostics)


def _exponent(system: DiagonalStateSpace) -> Array:
    """Power of two of the largest residue or of `D`, whichever is larger, (N,): squares must not under- or overflow."""
    count, n = system.D.size, system.n

    def power(array: Array) -> Array:  # of the largest entry; that of a zero row does not matter
        size = np.abs(array).reshape(count, -1 if count else n).max(axis=1, initial=0.0)
        return np.where(size > 0, np.frexp(size)[1], -10000)

    outputs = power(system.C) if system.C_reverse is None else np.maximum(power(system.C), power(system.C_reverse))
    return np.asarray(np.maximum(np.maximum(power(system.B) + outputs, power(system.D)), -2000))


def _is_silent(system: DiagonalStateSpace) -> Array:
    """Whether a channel is zero because every product of its entries is, (N,)."""
    outputs = system.C if system.C_reverse is None else np.abs(system.C) + np.abs(system.C_reverse)
    alive = ((system.B[..., 0] != 0) & (outputs[..., 0, :] != 0)).any(axis=-1)
    return np.asarray(~(alive | (system.D[..., 0, 0] != 0)).ravel())


def _unscaled(lower: Array, upper: Array, exponent: Array) -> tuple[Array, Array]:
    """Multiply by ``2**exponent``, outwards where that is not exact."""
    low, high = np.ldexp(lower, exponent), np.ldexp(upper, exponent)
    low = np.where(np.ldexp(low, -exponent) == lower, low, np.nextafter(low, 0.0))
    return low, np.where(np.ldexp(high, -exponent) == upper, high, np.nextafter(high, np.inf))


def _scaled(values: Array, exponent: Array) -> Array:
    """``values * 2**exponent`` row by row."""
    power = exponent if values.ndim == 1 else exponent[:, None]
    real: Array = np.ldexp(values.real, power)
    return real + 1j * np.ldexp(values.imag, power) if values.dtype.kind == "c" else real


def _scalars(system: DiagonalStateSpace, exponent: Array) -> Scalars:
    """Write the batch as sums over poles; ``delay=0`` becomes ``z/(z-l) = 1 + l/(z-l)`` where the one matters."""
    n, count = system.n, system.D.size
    pole = system.poles.reshape(count, n)
    margin = system.margin.reshape(count, n)
    b = _scaled(system.B.reshape(count, n), -(exponent // 2))
    constant = _scaled(system.D.reshape(count), -exponent).astype(complex)
    uncertainty = np.abs(constant)
    paired = system.conjugate_pairs
    lone = system.C_reverse is None and not constant.any()  # then |z| = 1 drops out

    def residues(C: Array, delay: int) -> Array:
        nonlocal constant, uncertainty
        residue = _scaled(C.reshape(count, n), exponent // 2 - exponent) * b
        if delay == 1 or lone:
            return residue
        total = residue.sum(axis=1)
        constant = constant + (2.0 * total.real if paired else total)
        uncertainty = uncertainty + (2.0 if paired else 1.0) * np.abs(residue).sum(axis=1)
        return residue * pole

    forward = residues(system.C, system.delay)
    reverse = None if system.C_reverse is None else residues(system.C_reverse, system.delay_reverse).conj()
    if paired:
        pole, margin = np.hstack([pole, pole.conj()]), np.hstack([margin, margin])
        forward = np.hstack([forward, forward.conj()])
        # s/(conj z - l) + conj(s)/(conj z - conj l) = conj(conj(s)/(z - conj l) + s/(z - l))
        reverse = None if reverse is None else np.hstack([reverse.conj(), reverse])
    elif reverse is not None:
        pole, margin = np.hstack([pole, pole.conj()]), np.hstack([margin, margin])
        zero = np.zeros_like(forward)
        forward, reverse = np.hstack([forward, zero]), np.hstack([zero, reverse])
    scale = None
    if not system.is_discrete:
        size = np.abs(pole)
        scale = np.exp(np.log(size).mean(axis=1)) if n else np.ones(count)
    return Scalars(
        real=pole.real.copy(),
        imag=pole.imag.copy(),
        margin=margin,
        forward=forward,
        reverse=reverse,
        constant=constant,
        uncertainty=uncertainty,
        scale=scale,
    )


def _first_intervals(scalars: Scalars, system: DiagonalStateSpace) -> tuple[Array, Array, Array]:
    """Channel, lower and upper end of the first intervals: the cells of the pole angles, [0, pi] for real systems."""
    count, n = scalars.real.shape
    real, imag = (part[:, : n // 2] if system.conjugate_pairs else part for part in (scalars.real, scalars.imag))
    angle = np.arctan2(imag, real) if scalars.scale is None else 2.0 * np.arctan(imag / scalars.scale[:, None])
    quarters = np.linspace(0.0 if system.conjugate_pairs else -np.pi, np.pi, 3 if system.conjugate_pairs else 5)
    angle = np.sort(np.abs(angle) if system.conjugate_pairs else angle, axis=1)
    cut = 0.5 * (angle[:, 1:] + angle[:, :-1])
    ends = np.sort(np.hstack([cut, np.tile(quarters, (count, 1))]), axis=1)  # no interval is longer than pi / 2
    channel = np.repeat(np.arange(count), ends.shape[1] - 1)
    low, high = ends[:, :-1].ravel(), ends[:, 1:].ravel()
    wide = high > low
    return channel[wide], low[wide], high[wide]


def _cover(
    scalars: Scalars, intervals: tuple[Array, Array, Array], rtol: float, max_rounds: int, max_intervals: int
) -> tuple[Array, Array, Array, dict[str, Any]]:
    """Cut until every interval is proved; returns lower, upper, witness angle and the cost."""
    channel, low, high = intervals
    count = len(scalars.constant)
    lower, upper, witness = np.zeros(count), np.zeros(count), np.full(count, low.min(initial=0.0))
    spent = np.zeros(count, dtype=int)
    rounds = 0
    while len(channel):
        rounds += 1
        spent += np.bincount(channel, minlength=count)
        theta, half = 0.5 * (low + high), 0.5 * (high - low)
        model = local_models(scalars, channel, theta, half)
        best = np.lexsort((model.gain, channel))
        best = best[np.flatnonzero(np.diff(channel[best], append=-1))]  # the largest gain of every channel
        attained = attained_gain(scalars, channel[best], theta[best])
        better = attained > lower[channel[best]]
        best, attained = best[better], attained[better]
        lower[channel[best]], witness[channel[best]] = attained, theta[best]
        goal = np.maximum(lower[channel] * (1.0 + 0.9 * rtol), 8.0 * model.noise)
        stuck = (half < 4 * ANGLE_SLACK) | (spent[channel] > max_intervals) | (rounds >= max_rounds)
        done = (model.ceiling <= goal) | stuck
        np.maximum.at(upper, channel[done], model.ceiling[done])
        keep = ~done
        excess = model.ceiling[keep] / np.maximum(goal[keep], np.finfo(float).tiny)
        channel, low, high = _cut(
            channel[keep], low[keep], high[keep], model.slope[keep], model.curvature[keep], model.near[keep], excess
        )
    return lower, np.maximum(upper, lower), witness, {"intervals": int(spent.sum()), "rounds": rounds}


def _cut(
    channel: Array, low: Array, high: Array, slope: Array, curvature: Array, near: Array, excess: Array
) -> tuple[Array, Array, Array]:
    """Cut each interval in two, or in three with the middle one around the vertex of a local maximum."""
    theta, half = 0.5 * (low + high), 0.5 * (high - low)
    with np.errstate(divide="ignore", invalid="ignore"):
        shift = -slope / curvature  # of t = tan(delta/2): delta = 2 atan(t)
        vertex = theta + 2.0 * np.arctan(0.5 * shift)
    peaked = (curvature < 0) & ~near & (np.abs(vertex - theta) < 0.8 * half)
    width = np.where(peaked, np.minimum(0.25 * half, np.minimum(vertex - low, high - vertex)), half / 3.0)
    middle = np.where(peaked, vertex, theta)
    three = peaked | near | (excess > 1.5)
    inner_low = np.where(three, middle - width, theta)
    inner_high = np.where(three, middle + width, theta)
    ends = np.stack([low, inner_low, inner_high, high])
    pieces_low, pieces_high = ends[:-1].ravel(), ends[1:].ravel()
    real = pieces_high > pieces_low
    channels = np.tile(channel, 3)[real]
    order = np.argsort(channels, kind="stable")
    return channels[order], pieces_low[real][order], pieces_high[real][order]
