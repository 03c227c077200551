r"""Poles and B that fit recorded signals: variable projection by Gauss-Newton steps with damping.

C and D are eliminated: for given poles and B they are the least squares ones (:mod:`theory.reduction.recorded_refit`).
Steps in :math:`\log\lambda_i` and in the rows of B come from :mod:`theory.reduction.sensitivities`, B in principal
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
from theory.reduction.pole_steps import moved_system, principal_inputs, slowest_decay
from theory.reduction.recorded_refit import Refit, fit_output
from theory.reduction.sensitivities import normal_equations
from theory.systems.given import SystemLike, as_system
from theory.systems.scan import Record
from theory.systems.system import DiagonalStateSpace, require_stable

Array = NDArray[Any]

DAMPINGS = (1e-3, 1e-2, 1e-1, 1.0, 10.0)
"""Levenberg-Marquardt damping, relative to the diagonal of the normal matrix, tried from the first until one helps."""
MOST_PARAMETERS = 400
"""Complex parameters of poles and B together: the normal matrix has four times as many squared entries."""
NUDGE = 0.1
"""Angle given to a real pole, in units of its margin: a stored state then carries two real directions."""
REAL = 1e-4
"""Angle to the real axis, in units of the margin, up to which a pole is real: its imaginary part says nothing."""
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
    if _on_the_axis(system).any():
        nudged = fit(_off_the_axis(found.system), experiment)
        if np.sum(nudged.after) < np.sum(found.after):
            found = nudged
            errors.append(found.after)
    most = min(input_directions, max(4, MOST_PARAMETERS // max(system.n, 1) - 1))
    directions = None if system.batch_shape else principal_inputs(given, most)
    rows, chosen = _sampled(given, samples // 4 if system.batch_shape else samples, seed)
    few = Record(values=given.values[rows], lengths=given.lengths[rows])
    few_targets = Record(values=target.values[rows], lengths=target.lengths[rows])
    tried = Experiment.of(system, few.values, few_targets.values, few.lengths) if system.batch_shape else experiment
    damping, slowest = 0, slowest_decay(given)
    for step in range(iterations):
        normal, gradient = normal_equations(found.system, few, few_targets, directions, chosen)
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


def _off_the_axis(system: DiagonalStateSpace) -> DiagonalStateSpace:
    """Real poles get a small angle."""
    turn = np.where(_on_the_axis(system), NUDGE * system.margin, 0.0)
    return system.replace(poles=system.poles * np.exp(1j * turn))


def _on_the_axis(system: DiagonalStateSpace) -> Array:
    """Which poles are real, as far as the record can tell: storage turns a negative one off the axis by rounding."""
    return np.asarray(np.abs(np.sin(np.angle(system.poles))) <= REAL * system.margin)


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
        return moved_system(found.system, step, directions, slowest)

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
