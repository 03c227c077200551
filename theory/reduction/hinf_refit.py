r"""The output matrix that is best in H-infinity, poles and input matrix kept: a convex problem, with its gap.

The error :math:`E(\omega)=E_0(\omega)-X\Psi(\omega)` is affine in what changes, so :math:`\max_\omega\sigma_1(E)` is
convex in X. It is minimised through the Schatten norms :math:`F_p` of :mod:`theory.reduction.schatten`, here with
poles and B at rest. Duality tells how far that is from the least value: for matrices :math:`Z_\omega` with
:math:`\mathrm{Re}\sum_\omega Z_\omega\Psi(\omega)^*=0` at finitely many frequencies, and every X,

.. math:: \max_\omega\sigma_1(E)\;\ge\;\frac{\mathrm{Re}\sum_\omega\langle Z_\omega,E_0(\omega)\rangle}
          {\sum_\omega\|Z_\omega\|_*},

because X drops out of the numerator of :math:`\sum\langle Z,E\rangle\le\sigma_1(E)\sum\|Z\|_*`. Gradients of
:math:`F_p` at its minimum are such matrices: :math:`\sum_i(\sigma_i/F_p)^{p-1}u_iv_i^*` gives
:math:`F_p/\sum(\sigma_i/F_p)^{p-1}`, at least :math:`F_pN^{-1/p}` for N singular values. Away from the minimum they
are first moved by the least change that meets the condition, so the bound holds for every X that was reached
:cite:p:`BV04`.

A diagonal of D that may change, too, is one more real unknown for each row of the error, and one more condition on Z:
:math:`\mathrm{Re}\sum_\omega(Z_\omega)_{ii}=0`. What the responses of the row can do of it already is taken off first.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import scipy.optimize
from numpy.typing import NDArray

from theory.arithmetic.threads import few_threads
from theory.errors import DimensionError, InputError
from theory.reduction.descent import Point
from theory.reduction.frame import Frame
from theory.reduction.frequencies import candidates
from theory.reduction.h2_descent import channels
from theory.reduction.hinf_descent import CERTIFIED, Certify
from theory.reduction.improvement import chosen
from theory.reduction.schatten import FIRST, orthonormal
from theory.systems.system import DiagonalStateSpace, System, require_stable

Array = NDArray[Any]

POWERS = 16.0, 64.0, 256.0
"""Of the Schatten norm, one block of steps each."""

DUAL_POWERS = 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 2048.0
"""Whose gradients are tried for the lower bound; the largest bound counts."""

LEADING = 3, 2
"""Singular values that count at a frequency, and steps of subspace iteration towards them, always from the same
vectors: the stand-in is then a function of X alone, which a line search needs."""

ACTIVE = 600
"""Frequencies that count in a block, at most: those with the largest gains. What is left out may rise."""

VALUE = 10.0
"""What the logarithm is multiplied by, so that the minimizer's own tolerances do not end it."""

ROUNDS = 4
"""Certificates, at most; after each the frequency that it attains is added, and the last block repeated."""

THERE = 1e-10
"""Size of a combination of responses, in sizes of the single ones, up to which it is not reached: only outputs so much
larger could use it, and float64 has few of its digits."""

CLEAR = 1e-4
"""The same relative to the largest of what is left, from which the Gram matrix knows it to half of its digits."""

FREE = 1e-13
"""Mean square of what an entry of D can do and the responses of its row cannot, up to which it is not free."""

LEFT = 1e-6
"""Of a gradient, at least, after the condition is met: of less, rounding is too large a part."""


@dataclass(frozen=True, eq=False, kw_only=True)
class HinfRefit:
    """A refitted system and where the least error with its poles and B lies.

    Attributes
    ----------
    system : DiagonalStateSpace or StateSpace
    upper : float or ndarray
        Certified upper end of its error, one for each channel of a batch.
    lower : float or ndarray
        No output matrix gives a smaller error: by duality, in float64, its rounding not proved; but for outputs some
        1e10 times as large as usual, where neighbouring poles nearly cancel (:data:`THERE`).
    """

    system: System
    upper: Any
    lower: Any

    @property
    def gap(self) -> Any:
        """``upper / lower - 1``, at most how much the best output matrix would gain; 0 where both are 0."""
        upper, lower = np.asarray(self.upper, dtype=float), np.asarray(self.lower, dtype=float)
        with np.errstate(divide="ignore", invalid="ignore"):
            gap = np.where(upper > 0, upper / lower - 1.0, 0.0)
        return gap if gap.ndim else float(gap)


@few_threads
def hinf_refit(
    system: DiagonalStateSpace,
    reduced: DiagonalStateSpace,
    certify: Certify,
    *,
    steps: int = 50,
    feedthrough: bool = False,
) -> HinfRefit:
    r"""Return `reduced` with an output matrix for which :math:`\|G-G_r\|_\infty` is nearly least, and how nearly.

    Parameters
    ----------
    system, reduced : DiagonalStateSpace
        Stable, of one form, with one feedthrough; one system or a batch, one or two directions.
    certify : callable
        ``certify(system, reduced, rtol)``, as :func:`theory.norms.error_norm`: what decides, and where the error peaks.
    steps : int, keyword only
        At most, in each of the three blocks.
    feedthrough : bool, keyword only
        Whether the diagonal of ``D`` is fitted with the output matrix, in real numbers; as many outputs as inputs.

    Returns
    -------
    HinfRefit
        Poles, ``B`` and what is not fitted of ``D`` of `reduced`, bit for bit; `reduced` itself, or its channels, where
        nothing certainly better was found.

    Raises
    ------
    StabilityError, DimensionError, InputError

    Notes
    -----
    Cost: about 200 evaluations of the error at some hundred frequencies, and full singular value decompositions there
    after each block, for each channel. Combinations of the responses that are too small (:data:`THERE`) stay as they
    are.
    """
    if system.D.shape != reduced.D.shape:
        raise DimensionError("the systems differ in ports or batch", first=system.D.shape, second=reduced.D.shape)
    if not np.array_equal(system.D, reduced.D):
        raise InputError("the systems differ in D: give the reduced one that of the whole")
    if system.conjugate_pairs != reduced.conjugate_pairs or system.is_discrete != reduced.is_discrete:
        raise InputError("both systems must be paired, or neither, and of one kind of time")
    if feedthrough and system.p != system.m:
        raise InputError(f"D has no diagonal to fit: {system.p} outputs of {system.m} inputs")
    require_stable(system)
    require_stable(reduced)
    before = certify(system, reduced, CERTIFIED)
    if not reduced.n and not feedthrough:
        return HinfRefit(system=reduced, upper=before.upper, lower=before.lower)
    if not system.n:  # no output at all is the best one
        reverse = None if reduced.C_reverse is None else 0 * reduced.C_reverse
        silent = reduced.replace(C=0 * reduced.C, C_reverse=reverse)
        return HinfRefit(system=silent, upper=0.0 * before.upper, lower=0.0 * before.upper)
    pairs = channels(system, reduced)
    problems = [_Problem(one, other, feedthrough) for one, other in pairs]
    for problem in problems:
        problem.minimise(steps)
    found, after = reduced, before
    for left in reversed(range(ROUNDS)):
        found = _joined(reduced, [problem.system for problem in problems])
        after = certify(system, found, CERTIFIED)
        lower, peaks = (np.atleast_1d(np.asarray(end, dtype=float)).ravel() for end in (after.lower, after.frequency))
        missed = [i for i, problem in enumerate(problems) if lower[i] > problem.peak * (1.0 + CERTIFIED)]
        if not left or not missed:
            break
        for i in missed:
            problems[i].add(peaks[i])
            problems[i].minimise(steps, POWERS[-1:])
    bounds = np.reshape([problem.lower for problem in problems], np.shape(before.upper))
    better = np.asarray(after.upper) < np.asarray(before.lower)
    upper = np.where(better, after.upper, before.upper)
    shape = (lambda values: values) if upper.ndim else float
    return HinfRefit(system=chosen(better, found, reduced), upper=shape(upper), lower=shape(bounds))


def _joined(form: DiagonalStateSpace, pieces: list[DiagonalStateSpace]) -> DiagonalStateSpace:
    """`form` with the output matrices and feedthroughs of the channels."""

    def gathered(name: str) -> Array | None:
        own = getattr(form, name)
        return None if own is None else np.reshape([getattr(piece, name) for piece in pieces], own.shape)

    return form.replace(C=gathered("C"), C_reverse=gathered("C_reverse"), D=gathered("D"))


class _Problem:
    """One channel: the error as it starts and the responses that may be subtracted, at many frequencies."""

    def __init__(self, system: DiagonalStateSpace, reduced: DiagonalStateSpace, feedthrough: bool) -> None:
        # not that of their difference: states that cancel there are seen as soon as their outputs move
        self.reduced, self.frame, self.feedthrough = reduced, Frame.of(system, reduced), feedthrough
        if feedthrough:  # D reaches all ports
            self.frame = replace(self.frame, rows=np.eye(system.m), columns=np.eye(system.p))
        self.D = np.zeros(self.frame.columns.shape[1])  # what the diagonal is changed by
        C = reduced.C if reduced.C_reverse is None else np.concatenate([reduced.C, reduced.C_reverse], axis=0)
        both = system.C if system.C_reverse is None else np.concatenate([system.C, system.C_reverse], axis=0)
        self.whole = self.frame.inside(Point(poles=system.poles, B=system.B, C=both))
        self.point = self.frame.inside(Point(poles=reduced.poles, B=reduced.B, C=C))
        self.start, self.lower = self.point, 0.0
        poles = self.frame.facing(np.concatenate([system.poles, reduced.poles]))
        self._sample(candidates(poles, self.frame.discrete, self.frame.paired))

    def _sample(self, omega: Array) -> None:
        self.omega, self.target = omega, self.frame.response(self.whole, omega)
        Psi = np.concatenate([self._basis(k, omega) for k in range(len(self.frame.ways))], axis=1)
        self.white, self.Psi = _whitened(Psi, self.point.poles.size)
        if self.feedthrough:
            self._free_diagonal()
        self.peak = float(self._gains(self.point, self.D).max())

    def _free_diagonal(self) -> None:
        """Of each row what its entry of D can do and its responses cannot: `Phi` (w, p, m), orthonormal to these.

        A step t along it changes D by ``t * gain`` and X by ``-t * shift``.
        """
        along = self.Psi.real.sum(axis=0).T
        Phi, shift = np.eye(len(along)) - along @ self.Psi, along @ self.white
        size = np.linalg.norm(Phi, axis=(0, 2))
        free = size > np.sqrt(FREE * len(self.Psi))
        self.gain = np.where(free, 1.0 / np.where(free, size, 1.0), 0.0)
        self.Phi, self.shift = Phi * self.gain[:, None], shift * self.gain[:, None]

    def _basis(self, way: int, omega: Array) -> Array:
        """What real coefficients of a direction multiply: those of Re C, then those of Im C, (w, 2 r, m)."""
        p = self.point.C.shape[0] // len(self.frame.ways)
        plain: Any = 0.0
        turned: Any = 0.0
        for rows, mirrored, weight, _ in self.frame.terms(self.point, omega):
            if rows.start == way * p:
                part = weight[:, :, None] * (self.point.B.conj() if mirrored else self.point.B)
                plain, turned = plain + part, turned + (-1j if mirrored else 1j) * part
        return np.concatenate([plain, turned], axis=1)

    def add(self, frequency: float) -> None:
        """One more frequency."""
        omega = abs(frequency) if self.frame.paired else frequency
        self._sample(np.unique(np.append(self.omega, omega)))

    # ------------------------------------------------------------------------------------------ primal
    def _error(self, point: Point, D: Array, which: Any = slice(None)) -> Array:
        E = np.asarray(self.target[which] - self.frame.response(point, self.omega[which]))
        return E - np.diag(D) if self.feedthrough else E

    def _gains(self, point: Point, D: Array) -> Array:
        return np.asarray(np.linalg.norm(self._error(point, D), ord=2, axis=(-2, -1)))

    def _moved(self, origin: Point, X: Array, t: Array) -> Point:
        """The point whose outputs are those of `origin` and X, less what steps t of D take over."""
        X = X - t[:, None] * self.shift if self.feedthrough else X
        r, found = origin.poles.size, []
        for k in range(len(self.frame.ways)):
            part = X[:, 2 * k * r : 2 * (k + 1) * r]
            found.append(part[:, :r] + 1j * part[:, r:])
        return replace(origin, C=origin.C + np.concatenate(found, axis=0))

    def minimise(self, steps: int, powers: tuple[float, ...] = POWERS) -> None:
        """Blocks of L-BFGS steps; the best point at all frequencies is kept, and the largest lower bound."""
        point, D, rows = self.point, self.D, self.point.C.shape[0] // len(self.frame.ways)
        size = rows * self.white.shape[0]
        for power in powers:
            gains = self._gains(point, D)
            which = np.sort(np.argsort(gains)[-ACTIVE:])
            scale = float(gains.max()) * np.sqrt(which.size)  # a step of one changes the error by its own size
            if not scale > 0 or not (size or self.feedthrough):
                return
            Phi = self.Phi[which] if self.feedthrough else None
            stand_in = _StandIn(self._error(point, D, which), self.Psi[which], Phi, power)

            def split(y: Array, scale: float = scale) -> tuple[Array, Array]:
                return scale * y[:size].reshape(rows, -1), scale * y[size:]

            def objective(y: Array, stand_in: _StandIn = stand_in, scale: float = scale) -> tuple[float, Array]:
                value, along_Y, along_t = stand_in(*split(y))
                return VALUE * value, VALUE * scale * np.concatenate([along_Y.ravel(), along_t])

            with np.errstate(all="ignore"):
                found = scipy.optimize.minimize(
                    objective, np.zeros(size + rows * self.feedthrough), jac=True, method="L-BFGS-B",
                    options={"maxiter": steps, "maxcor": 20, "maxls": 20},
                )  # fmt: skip
            Y, t = split(found.x)
            trial = self._moved(point, Y @ self.white, t)
            if not (np.isfinite(trial.C).all() and np.isfinite(t).all()):
                return
            point, D = trial, D + t * self.gain if self.feedthrough else D
            peak = float(self._gains(point, D).max())
            if peak < self.peak:
                self.point, self.D, self.peak = point, D, peak
            self.lower = max(self.lower, self._dual(point, D))

    @property
    def system(self) -> DiagonalStateSpace:
        """The reduced system with the outputs and D found; as it was where they are those of the start."""
        if self.point is self.start:
            return self.reduced
        C, p = self.frame.outside(self.point).C, self.reduced.p
        D = self.reduced.D + np.diag(self.D) if self.feedthrough else self.reduced.D
        return self.reduced.replace(C=C[:p], C_reverse=C[p:] if self.reduced.is_bidirectional else None, D=D)

    # ------------------------------------------------------------------------------------------ dual
    def _dual(self, point: Point, D: Array) -> float:
        """The largest lower bound that gradients at a point give."""
        E, Psi = self._error(point, D), self.Psi
        U, sigma, Vh = np.linalg.svd(E, full_matrices=False)
        top, best = float(sigma.max()), 0.0
        if not top > 0:
            return 0.0
        for power in DUAL_POWERS:
            scaled = (sigma / top) ** (power - 1.0)
            Z, before = (U * scaled[:, None, :]) @ Vh, float(scaled.sum())
            for _ in range(2):  # once more for the digits that the first solution lost
                rest = np.tensordot(Z, Psi.conj(), axes=((0, 2), (0, 2))).real
                Z = Z - rest @ Psi
                if self.feedthrough:
                    Z = Z - np.einsum("wim,wim->i", self.Phi.conj(), Z).real[:, None] * self.Phi
            mass = float(np.linalg.svd(Z, compute_uv=False).sum())
            if mass < LEFT * before:
                continue
            best = max(best, float(np.vdot(Z, E).real) / mass)
        return best


def _whitened(Psi: Array, states: int) -> tuple[Array, Array]:
    """Real combinations (k', k) of responses (w, k, m), and what these respond, (w, k', m), orthonormal.

    A Gram matrix has squares of sizes, and tells the large combinations only. These are taken off the others, and what
    is left is looked at by itself.
    """
    if not Psi.size:
        return np.zeros((0, Psi.shape[1])), Psi[:, :0]
    F = np.ascontiguousarray(Psi).view(float)  # (w, k, 2 m): inner products are real
    rows = np.einsum("wkm,wkm->k", F, F)
    size = np.sqrt(np.repeat(rows.reshape(-1, 2, states).sum(axis=1, keepdims=True), 2, axis=1).ravel())  # both parts
    W = np.diag(np.where(rows > 0, 1.0 / np.where(rows > 0, size, 1.0), 0.0))
    F = W.diagonal()[:, None] * F
    found, known = np.zeros((0, len(W))), np.zeros((len(F), 0, F.shape[2]))
    while len(W):
        for _ in range(2 if len(found) else 0):  # once more for the digits that the first projection lost
            taken = np.tensordot(F, known, axes=((0, 2), (0, 2)))
            W, F = W - taken @ found, F - taken @ known
        values, V = np.linalg.eigh(np.tensordot(F, F, axes=((0, 2), (0, 2))))
        if not values[-1] > THERE**2:
            break
        clear = values > max(CLEAR**2 * values[-1], THERE**2)
        unit, rest = (V[:, clear] / np.sqrt(values[clear])).T, V[:, ~clear].T
        found, known = np.concatenate([found, unit @ W]), np.concatenate([known, unit @ F], axis=1)
        W, F = rest @ W, rest @ F
    return found, known.view(complex)


class _StandIn:
    """Logarithm of the Schatten norm of ``E - Y Psi - diag(t) Phi`` and its gradients along real Y and t."""

    def __init__(self, E: Array, Psi: Array, Phi: Array | None, power: float) -> None:
        self.E, self.Psi, self.Phi, self.power = E, Psi, Phi, power
        self.adjoint = np.ascontiguousarray(Psi.conj().swapaxes(1, 2))
        self.all = min(E.shape[1:]) <= 2 * LEADING[0]
        self.basis = np.random.default_rng(0).standard_normal((len(E), E.shape[2], LEADING[0])).astype(complex)
        if not self.all:
            for _ in range(FIRST):
                self.basis = orthonormal(E.conj().swapaxes(1, 2) @ (E @ self.basis))[0]

    def _triples(self, E: Array) -> tuple[Array, Array, Array]:
        if self.all:
            return np.linalg.svd(E, full_matrices=False)
        basis, adjoint = self.basis, E.conj().swapaxes(1, 2)
        for _ in range(LEADING[1]):
            basis = orthonormal(adjoint @ (E @ basis))[0]
        U, sigma, W = orthonormal(E @ basis)
        return U, sigma, (basis @ W).conj().swapaxes(1, 2)

    def __call__(self, Y: Array, t: Array) -> tuple[float, Array, Array]:
        E = self.E - Y @ self.Psi
        U, sigma, Vh = self._triples(E if self.Phi is None else E - t[:, None] * self.Phi)
        top = float(sigma.max())
        scaled = (sigma / top) ** (self.power - 1.0)
        total = float((scaled * sigma).sum()) / top
        U = U * (scaled / (total * top))[:, None, :]
        gradient = -np.tensordot(U, Vh @ self.adjoint, axes=((0, 2), (0, 1))).real
        along_t = np.zeros(0)
        if self.Phi is not None:
            along_t = -(U * (self.Phi.conj() @ Vh.swapaxes(1, 2))).sum(axis=(0, 2)).real
        return float(np.log(top) + np.log(total) / self.power), gradient, along_t
