r"""Certified H-infinity norms of many scalar systems at once: branch and bound on Taylor models.

An S4D layer is a batch of scalar systems. The frequency axis of every channel is cut into intervals that meet
at the mid-angles between its poles. On each interval :mod:`theory.norms.proofs.scalar_taylor` proves an upper bound of
the gain. An interval whose bound is at most ``(1 + rtol)`` times the largest gain seen at any centre is done, the
others are cut again (around the vertex of the local parabola when there is one). The work list of all channels
is one array.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from theory.arithmetic.rounding import EPS
from theory.norms.peaks.peak import SHARE, Peak
from theory.norms.proofs.proof import ByShape, Proved
from theory.norms.proofs.scalar_taylor import attained_gains, local_models
from theory.norms.responses.response import Response
from theory.norms.responses.scalars import ANGLE_SLACK, Scalars, centred, moved

Array = NDArray[Any]

PARABOLAS = 4
"""Rounds with parabolas, which settle most intervals; the flat or cancelling rest gets six coefficients."""

VERTICES = 30
"""Rounds that cut around the vertex of the local parabola; what is left then is at rounding level and halved."""


DROWNED = 8.0
"""Gains below this many times their rounding need no proof relative to themselves: half of it is left when cut."""

VERTEX_WIDTH, VERTEX_REACH, FAR_ABOVE = 0.6, 1.1, 1.5
"""Cutting: half width of the piece around a vertex and how far out one counts, in half widths of the interval; and the
share of the goal above which an interval is cut in three."""

MAX_ROUNDS = 100
"""Rounds of cutting: a hundred halvings are beyond float64."""

MAX_INTERVALS = 20_000
"""Intervals a channel may cost, as the arcs of a modal sum. What is left then keeps its proved bound."""


@dataclass(frozen=True)
class TaylorModels(ByShape):
    """A short Taylor polynomial with a proved remainder on every interval, all channels as one array.

    Applies: a batch of stable scalar systems.
    Cost: some ten intervals a pole, O(n) each.
    """

    max_rounds: int = MAX_ROUNDS
    max_intervals: int = MAX_INTERVALS
    name = "taylor"
    shape = "scalars"

    def prove(self, response: Response, peak: Peak, rtol: float) -> Proved:
        """Cover the boundary of every channel; the peak becomes an array, one entry a channel."""
        scalars: Scalars = response.form
        first = _first_intervals(scalars)
        lower, upper, where, cost = _cover(scalars, first, rtol, self.max_rounds, self.max_intervals)
        if scalars.paired:
            where = np.abs(np.where(where > np.pi, 2.0 * np.pi - where, where) if scalars.scale is None else where)
        peak.best, peak.where = lower, where
        return Proved(upper, cost)


def _first_intervals(scalars: Scalars) -> tuple[Array, Array, Array]:
    """Channel, lower and upper end of the first intervals: cells of the poles, none longer than a quarter circle."""
    count, n = scalars.real.shape
    real, imag = (part[:, : n // 2] if scalars.paired else part for part in (scalars.real, scalars.imag))
    corners = np.linspace(0.0 if scalars.paired else -np.pi, np.pi, 3 if scalars.paired else 5)
    angle = np.arctan2(imag, real) if scalars.scale is None else 2.0 * np.arctan(imag / scalars.scale[:, None])
    angle = np.sort(np.abs(angle) if scalars.paired else angle, axis=1)
    ends = np.hstack([0.5 * (angle[:, 1:] + angle[:, :-1]), np.tile(corners, (count, 1))])
    if scalars.scale is not None:
        outer = np.abs(ends) == np.pi
        ends = scalars.scale[:, None] * np.tan(0.5 * ends)
        ends[outer] = np.copysign(np.inf, ends[outer])
    ends = np.sort(ends, axis=1)
    channel = np.repeat(np.arange(count), ends.shape[1] - 1)
    low, high = ends[:, :-1].ravel(), ends[:, 1:].ravel()
    wide = high > low
    return channel[wide], low[wide], high[wide]


def _cover(
    scalars: Scalars, intervals: tuple[Array, Array, Array], rtol: float, max_rounds: int, max_intervals: int
) -> tuple[Array, Array, Array, dict[str, Any]]:
    """Cut until every interval is proved; returns lower, upper, witness and the cost."""
    channel, low, high = intervals
    count = len(scalars.constant)
    lower, upper, witness = np.zeros(count), np.zeros(count), np.zeros(count)
    spent = np.zeros(count, dtype=int)
    rounds = 0
    while len(channel):
        rounds += 1
        spent += np.bincount(channel, minlength=count)
        centre, T = centred(scalars.scale, channel, low, high)
        model = local_models(scalars, channel, centre, T, 3 if rounds <= PARABOLAS else 6)
        best = np.lexsort((model.gain, channel))
        best = best[np.flatnonzero(np.diff(channel[best], append=-1))]  # the largest gain of every channel
        attained = attained_gains(scalars, channel[best], centre[best])
        better = attained > lower[channel[best]]
        best, attained = best[better], attained[better]
        lower[channel[best]], witness[channel[best]] = attained, centre[best]
        goal = np.maximum(lower[channel] * (1.0 + SHARE * rtol), DROWNED * model.noise)
        finest = 8 * ANGLE_SLACK if scalars.scale is None else 2 * EPS * np.abs(centre)
        stuck = high - low <= finest
        stuck |= model.ceiling <= model.gain + 0.5 * DROWNED * model.noise  # only rounding is left
        stuck |= (spent[channel] > max_intervals) | (rounds >= max_rounds)
        done = (model.ceiling <= goal) | stuck
        np.maximum.at(upper, channel[done], model.ceiling[done])
        keep = ~done
        channel, low, high, centre, T = (array[keep] for array in (channel, low, high, centre, T))
        with np.errstate(divide="ignore", invalid="ignore"):
            vertex = -0.5 * model.slope[keep] / model.curvature[keep]
        peaked = (
            (rounds <= VERTICES) & (model.curvature[keep] < 0) & ~model.near[keep] & (np.abs(vertex) < VERTEX_REACH * T)
        )
        three = model.near[keep] | (model.ceiling[keep] > FAR_ABOVE * goal[keep])
        middle = np.where(peaked, vertex, 0.0)
        width = np.where(peaked, VERTEX_WIDTH * T, np.where(three, T / 3.0, 0.0))
        inner = [moved(scalars.scale, channel, centre, t) for t in (middle - width, middle + width)]
        channel, low, high = _pieces(channel, low, inner[0], inner[1], high)
    return lower, np.maximum(upper, lower), witness, {"intervals": int(spent.sum()), "rounds": rounds}


def _pieces(channel: Array, low: Array, first: Array, second: Array, high: Array) -> tuple[Array, Array, Array]:
    """Cut ``[low, high]`` at `first` and `second`, sorted by channel, empty pieces dropped.

    The middle piece may reach past the interval: a maximum at an end (of the axis, too) then gets a piece around it.
    """
    lows = np.concatenate([low, first, np.clip(second, low, high)])
    highs = np.concatenate([np.clip(first, low, high), second, high])
    real = highs > lows
    channels = np.tile(channel, 3)[real]
    order = np.argsort(channels, kind="stable")
    return channels[order], lows[real][order], highs[real][order]
