r"""Reduction in H-infinity: descent on a smooth stand-in for the largest gain, certified afterwards.

The stand-in is the Schatten norm of the error over the frequencies where it is large and its leading singular values,

.. math:: \Bigl(\sum_\omega\sum_i\sigma_i(E(\omega))^p\Bigr)^{1/p},\qquad p=10,\,20,\,40,\dots,\,640,

which tends to the maximum from above. After every block of steps the frequencies are chosen anew, always with those of
the reduced poles; poles move little in a block, so that peaks do not run off the grid. Nothing of this is trusted: the
norms of what comes out and of the start are certified, and what is not certainly better is not taken.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from theory.arithmetic.threads import few_threads
from theory.gramians.h2 import h2_norm
from theory.reduction.descent import Point, descend
from theory.reduction.frame import Factors, Frame, Sampled
from theory.reduction.h2_descent import Energy, channels, joined
from theory.reduction.improvement import chosen
from theory.systems.difference import difference
from theory.systems.margin import discrete_margin
from theory.systems.system import DiagonalStateSpace

Array = NDArray[Any]

POWERS = 10.0, 20.0, 40.0, 80.0, 160.0, 320.0, 640.0
"""Of the Schatten norm, one block of steps each: late ones see the peak alone."""

LEADING = 2
"""Singular values that count at a frequency: descended errors of trained layers are flat along the circle, with one
singular value above 0.9 of the peak at most frequencies."""

FIRST = 10
"""Subspace iterations before the first value of a block; every further value adds one."""

ROUGH, EXACT = 5, 100
"""Subspace iterations that say where an error is large, and at how many of these frequencies it is computed in full."""

ACTIVE = 0.5, 1000
"""Frequencies that count: those with a gain above this part of the largest, and at most so many. Where 100 counted, the
error rose in between."""

APART = 0.45
"""Least distance of two frequencies, in distances to the nearest pole: between them the error can do little."""

MOVES = 0.5, 0.7
"""How far a block may move the logarithm of a margin, and an angle in margins."""

YIELDS = 0.6
"""What the weight of a norm that gains alone is multiplied by, before the next block."""

CERTIFIED = 1e-3
"""Relative width of the brackets that decide whether a result is better than its start."""


Certify = Callable[[DiagonalStateSpace, DiagonalStateSpace, float], Any]


class Peaks:
    """Logarithm of the Schatten norm of ``F - F_r`` over given frequencies, with its gradient."""

    def __init__(self, frame: Frame, own: Point, omega: Array, power: float = 1.0) -> None:
        self.frame, self.own, self.omega, self.power = frame, own, omega, power
        p, m = own.C.shape[0] // len(frame.ways), own.B.shape[1]
        self.few, self.m = min(p, m) <= LEADING, m
        # products of full matrices with two vectors each run at a fifth of the speed
        factored = not self.few and 5 * p * m > own.poles.size * (p + m)
        self.whole: Factors | Sampled = Factors(frame, own, omega) if factored else Sampled(frame.response(own, omega))
        self.basis: Array | None = None

    def gains(self, point: Point) -> Array:
        """Largest singular values, (w,): where there are many ports exact at the largest, estimates elsewhere."""
        if not isinstance(self.whole, Factors):
            return _largest(self.whole.value - self.frame.response(point, self.omega))
        gains = self._leading(point, Factors(self.frame, point, self.omega), ROUGH)[1].max(axis=0)
        top = np.argsort(gains)[-EXACT:]
        E = self.frame.response(self.own, self.omega[top]) - self.frame.response(point, self.omega[top])
        gains[top] = _largest(E)
        return np.asarray(gains)

    def _leading(self, point: Point, factors: Factors, first: int = FIRST) -> tuple[Array, Array, Array]:
        """Leading singular triples, U (p, q, w), (q, w), V (m, q, w); the right vectors warm from the last call."""
        if self.few:
            assert isinstance(self.whole, Sampled)
            E = self.whole.value - self.frame.response(point, self.omega)
            U, sigma, Vh = np.linalg.svd(E, full_matrices=False)
            return U.transpose(1, 2, 0), sigma.T, Vh.conj().transpose(2, 1, 0)
        rounds = 1
        if self.basis is None:
            rounds = first
            self.basis = np.random.default_rng(0).standard_normal((self.m, LEADING, self.omega.size)) + 0j
        for _ in range(rounds):
            Y = self.whole.times(self.basis) - factors.times(self.basis)
            Z = self.whole.adjoint_times(Y) - factors.adjoint_times(Y)
            self.basis = _orthonormal(Z)[0]
        U, sigma, W = _orthonormal(self.whole.times(self.basis) - factors.times(self.basis))
        return U, sigma, _turned(self.basis, W)

    def __call__(self, point: Point) -> tuple[float, Array, Array, Array]:
        """Value and gradients."""
        factors = Factors(self.frame, point, self.omega)
        U, sigma, V = self._leading(point, factors)
        top = float(sigma.max())
        if not top > 0:
            return -700.0, 0.0 * point.poles, 0.0 * point.B, 0.0 * point.C
        scaled = (sigma / top) ** (self.power - 1.0)
        total = float((scaled * sigma / top).sum())
        poles, B, C = factors.gradients(U * (scaled / (total * top)), V)
        return float(np.log(top) + np.log(total) / self.power), poles, B, C


def orthonormal(Y: Array) -> tuple[Array, Array, Array]:
    """``Y = U diag(sigma) W^*`` of thin matrices, by the eigenvalues of ``Y^* Y``: half the digits for small values."""
    values, W = np.linalg.eigh(Y.conj().swapaxes(1, 2) @ Y)
    sigma = np.sqrt(np.maximum(values, 1e-14 * values[:, -1:] + np.finfo(float).tiny))
    return (Y @ W) / sigma[:, None, :], sigma, W


def _orthonormal(Y: Array) -> tuple[Array, Array, Array]:
    """The same for vectors (k, q, w) with the frequencies last: sigma (q, w), W (w, q, q)."""
    columns = range(Y.shape[1])
    gram = np.empty((Y.shape[2], Y.shape[1], Y.shape[1]), complex)
    for a in columns:
        adjoint = Y[:, a].conj()
        for b in columns[a:]:  # of the upper triangle
            gram[:, a, b] = (adjoint * Y[:, b]).sum(axis=0)
    values, W = np.linalg.eigh(gram, UPLO="U")
    sigma = np.sqrt(np.maximum(values, 1e-14 * values[:, -1:] + np.finfo(float).tiny))
    return _turned(Y, W / sigma[:, None, :]), sigma.T, W


def _turned(Y: Array, W: Array) -> Array:
    """Vectors (k, q, w) times a small matrix at each frequency, (w, q, q)."""
    turned = np.empty_like(Y)
    for b in range(Y.shape[1]):
        np.multiply(Y[:, 0], W[:, 0, b], out=turned[:, b])
        for a in range(1, Y.shape[1]):
            turned[:, b] += Y[:, a] * W[:, a, b]
    return turned


def candidates(poles: Array, discrete: bool, paired: bool) -> Array:
    """Frequencies around the poles, and some between them."""
    centre = np.angle(poles) if discrete else poles.imag
    margin = np.maximum(discrete_margin(poles) if discrete else -poles.real, 1e-300)
    offsets = np.array([0.0, 0.25, -0.25, 0.5, -0.5, 1.0, -1.0, 2.0, -2.0, 4.0, -4.0])
    omega = (centre[:, None] + margin[:, None] * offsets).ravel()
    if discrete:
        omega = np.concatenate([(omega + np.pi) % (2 * np.pi) - np.pi, np.linspace(-np.pi, np.pi, 65)])
    else:
        omega = np.concatenate([omega, [0.0]])
    return _thinned(np.unique(np.abs(omega)) if paired else np.unique(omega), poles, discrete, paired)


def _thinned(omega: Array, poles: Array, discrete: bool, paired: bool) -> Array:
    """Leave out frequencies whose left neighbour is nearer than :data:`APART`."""
    every = np.concatenate([poles, poles.conj()]) if paired else poles
    zeta = np.exp(1j * omega) if discrete else 1j * omega
    reach = APART * np.abs(zeta[:, None] - every).min(axis=1)
    kept = [0]
    for i in range(1, omega.size):
        if omega[i] - omega[kept[-1]] >= min(reach[i], reach[kept[-1]]):
            kept.append(i)
    return omega[kept]


def _largest(E: Array) -> Array:
    """Largest singular values, (w,)."""
    tall = E if E.shape[1] >= E.shape[2] else E.swapaxes(1, 2)
    gram = tall.conj().swapaxes(1, 2) @ tall
    return np.sqrt(np.maximum(np.linalg.eigvalsh(gram)[:, -1], 0.0))


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
