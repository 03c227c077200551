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
from theory.norm_batch_scalars import Scalars, axis_frequency, exponents, is_silent, scalars_of, unscaled
from theory.norm_batch_taylor import ANGLE_SLACK, attained_gain, local_models
from theory.system import DiagonalStateSpace, require_stable

Array = NDArray[Any]

PARABOLAS = 5
"""Rounds with parabolas, which settle most intervals; the flat or cancelling rest gets six coefficients."""


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
    exponent = exponents(system)
    scalars = scalars_of(system, exponent)
    lower, upper, theta, cost = _cover(scalars, _first_intervals(scalars, system), rtol, max_rounds, max_intervals)
    frequency = theta if scalars.scale is None else axis_frequency(scalars.scale, theta)
    lower, upper = unscaled(lower, upper, exponent)
    upper = np.where(is_silent(system), 0.0, upper)
    shape = system.batch_shape
    is_open = upper - lower > rtol * upper
    diagnostics = {"method": "Taylor models, branch and bound", "open": np.flatnonzero(is_open), **cost}
    status: Literal["closed", "open"] = "open" if is_open.any() else "closed"
    if not shape:
        return Bracket(float(lower[0]), float(upper[0]), float(frequency[0]), status, diagnostics)
    return Bracket(lower.reshape(shape), upper.reshape(shape), frequency.reshape(shape), status, diagnostics)


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
        model = local_models(scalars, channel, theta, half, 3 if rounds <= PARABOLAS else 6)
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
