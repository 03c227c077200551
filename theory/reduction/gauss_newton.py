r"""Poles and B that fit recorded signals: variable projection by Gauss-Newton steps with damping.

C and D are eliminated: for given poles and B they are the least squares ones (:mod:`theory.reduction.recorded_refit`).
A step in :math:`\log\lambda_i` and in the rows of B moves the output by :math:`C_i` times sensitivity signals that are
scans themselves,

.. math:: \partial x_i/\partial b_{ij}=\mathrm{scan}(\lambda_i,v_j),\qquad
          \partial x_i/\partial\log\lambda_i=\mathrm{scan}(\lambda_i,\lambda_ix_{i,t-1}),

and the normal matrix is :math:`(C_i^TC_j)\circ(M_{ss}-M_{sx}M_{xx}^{-1}M_{xs})` with M the moments of the signals: the
projection takes out what C can explain (Kaufman's form of variable projection :cite:p:`GP73,K75`). v are principal
coordinates of the inputs. In a batch of scalar systems B stays: C explains all that it could do. Stable by
construction: :math:`\log|\lambda|` stays below a part of its old value. A step is taken only if it lowers the measured
error.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from theory.reduction.experiment import Experiment
from theory.reduction.recorded_refit import Refit, fit_output
from theory.systems.given import SystemLike, as_system
from theory.systems.scan import Record, drive, packed, real_output, scan
from theory.systems.system import DiagonalStateSpace, require_stable

Array = NDArray[Any]

LEAST_DECAY = 0.2
"""A step leaves at least this part of ``log|pole|``: poles never reach the circle."""
LARGEST_MOVE = 0.3
"""Largest change of ``log(pole)`` in one step, and of a row of B relative to its norm."""
DAMPINGS = (1e-3, 1e-2, 1e-1, 1.0, 10.0)
"""Levenberg-Marquardt damping, relative to the diagonal of the normal matrix, tried from the first until one helps."""
SLOWEST = 0.01
"""Decay over the longest sequence below which no pole is moved: the record does not see it, other inputs may."""
MOST_PARAMETERS = 400
"""Complex parameters of poles and B together: the normal matrix has four times as many squared entries."""
NUDGE = 0.1
"""Angle given to a real pole, in units of its margin: a stored state then carries two real directions."""
SMALLEST_GAIN = 1e-4
"""A step that lowers the error by less than this part of it ends the iteration."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Fit:
    """The fitted system, its mean squared error before the first and after every step, and the energy of the target."""

    system: DiagonalStateSpace
    errors: tuple[Any, ...]
    energy: Any


def gauss_newton(
    system: SystemLike,
    inputs: ArrayLike,
    outputs: ArrayLike,
    lengths: ArrayLike | None = None,
    *,
    iterations: int = 8,
    input_directions: int = 24,
    samples: int = 20_000,
    ridge: float = 1e-6,
    feedthrough: bool | None = None,
    seed: int = 0,
    progress: Callable[[int, float], None] | None = None,
) -> Fit:
    r"""Fit poles, B, C and the diagonal of D to recorded inputs and outputs.

    Parameters
    ----------
    system : DiagonalStateSpace
        Where to start: stable, discrete time, conjugate pairs; one system, or a batch of scalar ones (S4D).
    inputs, outputs, lengths
        As for :func:`theory.reduction.recorded_refit.refit_output`.
    iterations : int, keyword only
        At most this many steps.
    input_directions : int, keyword only
        Principal coordinates of the inputs in which B moves; what B has outside of them stays.
    samples : int, keyword only
        Sampled times for the moments of the sensitivities (a quarter of them for a batch), from as few sequences as
        hold twice as many; the error is measured at all times of all sequences.
    ridge, feedthrough, seed : keyword only
        Of the refit; of the sampled times.
    progress : callable, optional, keyword only
        Called as ``progress(step, error)``.

    Returns
    -------
    Fit
        The error never rises: a step that does not lower it is not taken. Stable.
    """
    system = as_system(system, diagonal=True)
    require_stable(system)
    experiment = Experiment.of(system, inputs, outputs, lengths)
    given, target = experiment.given, experiment.wanted
    fit = partial(fit_output, ridge=ridge, feedthrough=feedthrough)
    found = fit(system, experiment)
    errors = [found.before, found.after]
    if (system.poles.imag == 0).any():
        nudged = fit(_off_the_axis(found.system), experiment)
        if np.sum(nudged.after) < np.sum(found.after):
            found = nudged
    most = min(input_directions, max(4, MOST_PARAMETERS // max(system.n, 1) - 1))
    directions = None if system.batch_shape else _principal(given, most)
    rows, chosen = _sampled(given, samples // 4 if system.batch_shape else samples, seed)
    few = Record(values=given.values[rows], lengths=given.lengths[rows])
    few_targets = Record(values=target.values[rows], lengths=target.lengths[rows])
    tried = Experiment.of(system, few.values, few_targets.values, few.lengths) if system.batch_shape else experiment
    damping, slowest = 0, SLOWEST / max(1, int(given.lengths.max(initial=1)))
    for step in range(iterations):
        normal, gradient = _normal_equations(found.system, few, few_targets, directions, chosen)
        better, damping = _better(
            found, experiment, tried, normal, gradient, directions, fit, max(damping - 1, 0), slowest
        )
        if better is None:
            break
        gain = float(np.sum(found.after) - np.sum(better.after)) / max(float(np.sum(found.after)), np.finfo(float).tiny)
        found = better
        errors.append(found.after)
        if progress is not None:
            progress(step + 1, float(np.sum(found.after)))
        if gain < SMALLEST_GAIN:
            break
    return Fit(system=found.system, errors=tuple(errors), energy=found.energy)


def _principal(given: Record, most: int) -> Array:
    """Orthonormal directions of the inputs with the largest second moment, (m, q)."""
    flat = given.values[given.mask]
    values, vectors = np.linalg.eigh(flat.T @ flat)
    order = np.argsort(values)[::-1][:most]
    kept = order[values[order] > 1e-10 * max(values.max(), np.finfo(float).tiny)]
    return np.asarray(vectors[:, kept])


def _off_the_axis(system: DiagonalStateSpace) -> DiagonalStateSpace:
    """Real poles get a small angle."""
    turn = np.where(system.poles.imag == 0, NUDGE * system.margin, 0.0)
    return system.replace(poles=system.poles * np.exp(1j * turn))


def _sampled(given: Record, samples: int, seed: int) -> tuple[Array, Array]:
    """Sequences that hold twice `samples`, and positions of sampled times in their flattened (s, L) record."""
    rng = np.random.default_rng(seed)
    shuffled = rng.permutation(given.lengths.size)
    enough = int(np.searchsorted(np.cumsum(given.lengths[shuffled]), 2 * samples)) + 1
    rows = np.sort(shuffled[:enough])
    positions = np.flatnonzero(Record(values=given.values[rows], lengths=given.lengths[rows]).mask.ravel())
    if positions.size > samples:
        positions = np.sort(rng.choice(positions, samples, replace=False))
    return rows, positions


def _normal_equations(
    system: DiagonalStateSpace, given: Record, target: Record, directions: Array | None, chosen: Array
) -> tuple[Array, Array]:
    """``J^T J`` and ``J^T r`` for the real parameters (state, direction or log pole, real or imaginary), (H, k, k)."""
    states, sensitivities = _signals(system, given, directions, chosen)
    C = real_output(system) if system.batch_shape else real_output(system)[None]  # (H, p, K)
    rows = given.values.reshape(-1, given.values.shape[2])[chosen]
    wanted = target.values.reshape(-1, target.values.shape[2])[chosen]
    if system.batch_shape:
        residual = (wanted - np.einsum("htk,hk->th", states, C[:, 0]) - rows * system.D[:, 0, 0]).T[..., None]
        basis = np.concatenate([states, rows.T[..., None]], axis=-1)  # what C and D explain
    else:
        residual = (wanted - states[0] @ C[0].T - rows @ system.D.T)[None]
        basis = states
    flat = [way.reshape(*way.shape[:2], -1) for way in sensitivities]
    signals = np.concatenate([basis, *(part for way in flat for part in (way.real, way.imag))], axis=-1)
    gram, K, k = np.swapaxes(signals, -1, -2) @ signals, basis.shape[-1], flat[0].shape[-1]
    own = gram[:, K:, K:] - gram[:, K:, :K] @ np.linalg.solve(_regularized(gram[:, :K, :K]), gram[:, :K, K:])
    seen = np.swapaxes(residual, -1, -2) @ signals[..., K:]  # (H, p, 2 k ways)
    total: Any = 0.0
    right: Any = 0.0
    for one in range(len(flat)):
        for a in range(2):
            outputs = _outputs(C, system.n, one, a)
            right = right + _rotated(seen, one, a, k, (outputs.repeat(k // system.n, axis=2)[..., None])).sum(axis=1)
            for other in range(len(flat)):
                for b in range(2):
                    weight = np.swapaxes(outputs, -1, -2) @ _outputs(C, system.n, other, b)
                    weight = weight.repeat(k // system.n, axis=1).repeat(k // system.n, axis=2)
                    columns = _rotated(own, other, b, k, weight=None)  # (H, 2 k ways, k, 2)
                    block = _rotated(np.moveaxis(columns, 1, -1), one, a, k, weight=None)  # (H, k, 2, k, 2)
                    total = total + np.moveaxis(block, (1, 2), (3, 4)) * weight[:, :, None, :, None]
    H = residual.shape[0]
    return np.asarray(total).reshape(H, 2 * k, 2 * k), np.asarray(right).reshape(H, 2 * k)


def _rotated(moments: Array, way: int, part: int, k: int, weight: Array | None) -> Array:
    """Moments (..., 2 k ways) with the signals of the real parameters: (..., k, 2), of part 0 (real) or 1 (imaginary).

    A real change moves [Re x; Im x] by [Re s; Im s], an imaginary one by [-Im s; Re s].
    """
    real, imaginary = (moments[..., (2 * way + i) * k : (2 * way + i + 1) * k] for i in range(2))
    found = np.stack([imaginary, real] if part else [real, -imaginary], axis=-1)
    return found if weight is None else found * weight


def _regularized(moment: Array) -> Array:
    """A moment matrix that can be inverted: 1e-9 of its diagonal added."""
    diagonal = np.diagonal(moment, axis1=-2, axis2=-1)
    added = np.where(diagonal > 0, 1e-9 * diagonal, 1.0)
    return np.asarray(moment + added[..., None] * np.eye(moment.shape[-1]))


def _signals(
    system: DiagonalStateSpace, given: Record, directions: Array | None, chosen: Array
) -> tuple[Array, list[Array]]:
    """States (H, T, K) and, of each direction of time, complex sensitivities (H, T, n, q + 1), at sampled times."""
    ways = [(given, system.delay)] + ([(given.reversed(), system.delay_reverse)] if system.is_bidirectional else [])
    states, sensitivities = [], []
    for way, (signals, delay) in enumerate(ways):
        x, s = _one_way(system, signals, delay, directions, _positions(given, chosen, way))
        states.append(packed(x, True))
        sensitivities.append(s)
    return np.concatenate(states, axis=-1), sensitivities


def _positions(given: Record, chosen: Array, way: int) -> tuple[Array, Array]:
    """Sequence and time of the sampled positions, in the order in which a direction scans."""
    sequence, time = np.divmod(chosen, given.values.shape[1])
    return sequence, given.lengths[sequence] - 1 - time if way else time


def _one_way(
    system: DiagonalStateSpace, signals: Record, delay: int, directions: Array | None, at: tuple[Array, Array]
) -> tuple[Array, Array]:
    """States (H, T, n) and sensitivities (H, T, n, q + 1) of one direction of time at sampled sequences and times.

    q is 0 for a batch: what moves b of a scalar system moves its state by a factor, and C can do that.
    """
    values, poles = signals.values, system.poles
    zero = np.zeros((values.shape[0], *poles.shape), dtype=complex)
    x, _ = scan(poles, drive(system, values), zero)
    before = np.concatenate([np.zeros_like(x[:, :1]), x[:, :-1]], axis=1)
    moved, _ = scan(poles, poles * before, zero)
    sequence, time = at
    inside, when = time - delay >= 0, np.maximum(time - delay, 0)

    def picked(signal: Array) -> Array:
        found = signal[sequence, when] * inside.reshape(-1, *(1,) * (signal.ndim - 2))
        return np.moveaxis(found, 1, 0) if directions is None else found[None]

    if directions is None:
        return picked(x), picked(moved)[..., None]
    v = (values @ directions)[:, :, None, :]  # every state sees the same inputs: (N, L, n, q) driven by (N, L, 1, q)
    driven = np.broadcast_to(v, (*x.shape, v.shape[-1])).astype(complex)
    along_inputs, _ = scan(poles[..., None], driven, np.zeros((values.shape[0], *driven.shape[2:]), dtype=complex))
    return picked(x), np.concatenate([picked(along_inputs), picked(moved)[..., None]], axis=-1)


def _outputs(C: Array, n: int, way: int, part: int) -> Array:
    """Columns of the real output matrix that see the real (imaginary) parts of the states of one direction."""
    start = 2 * n * way + n * part
    return C[:, :, start : start + n]


def _better(
    found: Refit, experiment: Experiment, tried: Experiment, normal: Array, gradient: Array, directions: Array | None,
    fit: Callable[..., Refit], first: int, slowest: float,
) -> tuple[Refit | None, int]:  # fmt: skip
    """The first damped step that lowers the error, or ``None``; which damping.

    In a batch every channel has its own: the best on the sequences of the sensitivities, `tried`, kept if it lowers the
    error of all of them.
    """
    diagonal = np.diagonal(normal, axis1=-2, axis2=-1)
    floor = 1e-12 * diagonal.max(axis=-1, keepdims=True)

    def moved(damping: float) -> DiagonalStateSpace:
        added = (damping * np.maximum(diagonal, floor) + np.finfo(float).tiny)[..., None]
        step = np.linalg.solve(normal + added * np.eye(normal.shape[-1]), gradient[..., None])[..., 0]
        return _moved(found.system, step, directions, slowest)

    if found.system.batch_shape:
        best = fit(found.system, tried)
        for damping in DAMPINGS:
            best = _merged(best, fit(moved(damping), tried))
        best = _merged(found, fit(best.system, experiment))
        return best if np.sum(best.after) < np.sum(found.after) else None, 0
    for position in range(first, len(DAMPINGS)):
        trial = fit(moved(DAMPINGS[position]), experiment)
        if trial.after < found.after:
            return trial, position
    return None, 0


def _merged(one: Refit, other: Refit) -> Refit:
    """Channel by channel the better of two."""
    take = other.after < one.after

    def chosen(name: str) -> Array:
        first, second = getattr(one.system, name), getattr(other.system, name)
        return np.asarray(np.where(take.reshape(-1, *(1,) * (first.ndim - 1)), second, first))

    names = ("poles", "B", "C", "D") + (("C_reverse",) if one.system.is_bidirectional else ())
    system = one.system.replace(**{name: chosen(name) for name in names})
    return replace(one, system=system, after=np.where(take, other.after, one.after))


def _moved(system: DiagonalStateSpace, step: Array, directions: Array | None, slowest: float) -> DiagonalStateSpace:
    """The system after a step, held inside the circle; no pole decays by less than `slowest` a sample that did not."""
    H, n = step.shape[0], system.n
    change = step.reshape(H, n, -1, 2)
    complex_step = change[..., 0] + 1j * change[..., 1]
    complex_step = complex_step if system.batch_shape else complex_step[0]
    with np.errstate(divide="ignore"):
        logarithm = np.log(np.where(system.poles == 0, 1e-30, system.poles))
    move = complex_step[..., -1]
    move = move * np.minimum(1.0, LARGEST_MOVE / np.maximum(np.abs(move), np.finfo(float).tiny))
    new = logarithm + move
    least = np.maximum(-LEAST_DECAY * logarithm.real, np.minimum(slowest, -logarithm.real))
    new = np.minimum(new.real, -least) + 1j * new.imag
    if directions is None:
        return system.replace(poles=np.exp(new))
    added = complex_step[..., :-1] @ directions.T
    size = np.linalg.norm(system.B, axis=-1, keepdims=True)
    length = np.linalg.norm(added, axis=-1, keepdims=True)
    added = added * np.minimum(1.0, LARGEST_MOVE * size / np.maximum(length, np.finfo(float).tiny))
    return system.replace(poles=np.exp(new), B=system.B + added)
