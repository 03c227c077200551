r"""Reduction in H-infinity: descent on a smooth stand-in for the largest gain, certified afterwards.

The stand-in is the Schatten norm of the error over the frequencies where it is large
(:mod:`theory.reduction.schatten`), of powers :math:`p=10,\,20,\,40,\dots,\,640`. After every block of steps the
frequencies are chosen anew, always with those of the reduced poles; poles move little in a block, so that peaks do not
run off the grid. Nothing of this is trusted: the norms of what comes out and of the start are certified, and what is
not certainly better is not taken.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from theory.arithmetic.threads import few_threads
from theory.gramians.h2 import h2_norm
from theory.reduction.descent import Point, descend
from theory.reduction.frame import Frame
from theory.reduction.frequencies import candidates
from theory.reduction.h2_descent import Energy, channels, joined
from theory.reduction.improvement import chosen
from theory.reduction.schatten import Peaks
from theory.systems.difference import difference
from theory.systems.system import DiagonalStateSpace

Array = NDArray[Any]

POWERS = 10.0, 20.0, 40.0, 80.0, 160.0, 320.0, 640.0
"""Of the Schatten norm, one block of steps each: late ones see the peak alone."""

ACTIVE = 0.5, 1000
"""Frequencies that count: those with a gain above this part of the largest, and at most so many. Where 100 counted, the
error rose in between."""

MOVES = 0.5, 0.7
"""How far a block may move the logarithm of a margin, and an angle in margins."""

YIELDS = 0.6
"""What the weight of a norm that gains alone is multiplied by, before the next block."""

CERTIFIED = 1e-3
"""Relative width of the brackets that decide whether a result is better than its start."""

Certify = Callable[[DiagonalStateSpace, DiagonalStateSpace, float], Any]


@few_threads
def hinf_descent(
    system: DiagonalStateSpace,
    start: DiagonalStateSpace,
    certify: Certify,
    *,
    steps: int = 40,
    energy: float = 0.0,
    origin: DiagonalStateSpace | None = None,
    stay_real: bool = False,
) -> tuple[DiagonalStateSpace, Any]:
    r"""Return a system of the order of `start` that is certainly better in H-infinity, or `start`.

    Parameters
    ----------
    system, start : DiagonalStateSpace
        Stable, of one form; one system or a batch, one or two directions.
    certify : callable
        ``certify(system, reduced, rtol)``: a bracket around the H-infinity norm of the error, as
        :func:`theory.norms.error_norm` gives it. A reduction is certified from outside.
    steps : int, keyword only
        At most, in each of the seven blocks.
    energy : float, keyword only
        Weight of the logarithm of the H2 error, from 0 to 1, against that of the H-infinity error; shifted from block
        to block while only one of the two falls. Above 0 the result is better in both norms, or the start.
    origin : DiagonalStateSpace, optional, keyword only
        Where the descent begins, of the form and order of `start`; `start` when left out. What the result is compared
        with is `start` all the same.
    stay_real : bool, keyword only
        Whether real poles of pairs stay real: of a dense system, where a pair takes two states.

    Returns
    -------
    reduced : DiagonalStateSpace
    bound : float or ndarray
        Upper end of the certified error of `reduced`, one for each channel.

    Notes
    -----
    Not certified: that nothing better is near. A descent finds a local minimum of a stand-in.
    """
    if not start.n or not system.n:
        return start, certify(system, start, CERTIFIED).upper
    first = start if origin is None else origin
    found = joined(first, [_descended(one, other, steps, energy, stay_real) for one, other in channels(system, first)])
    before, after = certify(system, start, CERTIFIED), certify(system, found, CERTIFIED)
    better = np.asarray(after.upper) <= np.asarray(before.lower)
    if energy > 0:
        own, others = (np.asarray(h2_norm(difference(system, one))) for one in (found, start))
        better = better & (own <= others)
    bound = np.where(better, after.upper, before.upper)
    return chosen(better, found, start), bound if bound.ndim else float(bound)


def _descended(
    system: DiagonalStateSpace, start: DiagonalStateSpace, steps: int, weight: float, stay_real: bool
) -> DiagonalStateSpace:
    frame = Frame.of(system)
    whole = Point.of(system)
    own, point = frame.inside(whole), frame.inside(Point.of(start))
    kinetic = Energy(system) if weight > 0 else None
    if kinetic is not None and not kinetic.whole > 0:
        return start

    def measured(at: Point) -> tuple[float, Array, Array]:
        poles = frame.facing(np.concatenate([system.poles, at.poles]))
        omega = candidates(poles, frame.discrete, frame.paired)
        gains = Peaks(frame, own, omega).gains(at)
        return float(gains.max()), omega, gains

    def energy_at(at: Point) -> tuple[float, Array, Array, Array]:
        assert kinetic is not None
        value, poles, B, C = kinetic(frame.outside(at))
        inner = frame.inside(Point(poles=poles, B=B, C=C))  # orthonormal maps: gradients go the way of points
        return 0.5 * value, 0.5 * poles, 0.5 * inner.B, 0.5 * inner.C

    def merit(peak: float, at: Point) -> tuple[float, float]:
        """The peak relative to the first; the energy, too: the larger decides where both must be better."""
        return peak / max(first, 1e-300), 0.0 if kinetic is None else energy_at(at)[0] - first_energy

    peak, omega, gains = measured(point)
    first, first_energy = peak, 0.0 if kinetic is None else energy_at(point)[0]
    best, best_value, origin, share = point, 0.0, point, weight
    if not first > 0:
        return start
    for power in POWERS:
        level = np.sort(gains)[-min(ACTIVE[1], gains.size)]
        facing = frame.facing(point.poles)
        angles = np.angle(facing) if frame.discrete else facing.imag
        angles = np.abs(angles) if frame.paired else angles
        active = np.unique(np.concatenate([omega[gains >= max(ACTIVE[0] * peak, level)], angles]))
        peaks = Peaks(frame, own, active, power)

        def objective(at: Point, peaks: Peaks = peaks, share: float = share) -> tuple[float, Array, Array, Array]:
            value, *gradients = peaks(at)
            if kinetic is None:
                return value, gradients[0], gradients[1], gradients[2]
            other, *others = energy_at(at)
            mixed = [(1.0 - share) * one + share * two for one, two in zip(gradients, others, strict=True)]
            return (1.0 - share) * value + share * other, mixed[0], mixed[1], mixed[2]

        point = descend(
            objective, point, discrete=frame.discrete, paired=frame.paired, steps=steps, moves=MOVES,
            stay_real=stay_real,
        )  # fmt: skip
        peak, omega, gains = measured(point)
        relative, gained = merit(peak, point)
        value = float(np.log(max(relative, 1e-300)))
        if kinetic is not None:
            if value >= 0 > gained:
                share *= YIELDS
            elif gained >= 0 > value:
                share = 1.0 - (1.0 - share) * YIELDS
            value = max(value, gained) if max(value, gained) >= 0 else (1.0 - weight) * value + weight * gained
        if value < best_value:
            best, best_value = point, value
    if best is origin:
        return start
    found = frame.outside(best).written(start)
    return found if (found.margin > 0).all() else start
