r"""Output matrices that fit recorded signals: poles and B stay, C and the diagonal of D are least squares.

.. math:: \min_{C,d}\ \sum_t\big\|y_t-C x_t-d\circ u_t\big\|^2

along the states that recorded inputs drive. Solved for a *correction* of what is there, so that a ridge pulls towards
the given matrices, not towards zero.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from theory.errors import DimensionError
from theory.reduction.experiment import Experiment, Moments
from theory.systems.correlations import convolved
from theory.systems.given import SystemLike, as_system
from theory.systems.scan import (
    CHUNK_BYTES,
    aligned_states,
    channels_of,
    real_output,
    record,
    require_real_output,
    require_scannable,
    with_real_output,
)
from theory.systems.system import DiagonalStateSpace, require_stable

Array = NDArray[Any]


@dataclass(frozen=True, eq=False, kw_only=True)
class Refit:
    """A system with new output matrices, and the mean squared error per sample before and after, over the record.

    ``energy`` is that of the target without what ``D`` of the target's system would explain: none is subtracted.
    """

    system: DiagonalStateSpace
    before: Any
    after: Any
    energy: Any


def refit_output(
    system: SystemLike,
    inputs: ArrayLike,
    outputs: ArrayLike,
    lengths: ArrayLike | None = None,
    *,
    ridge: float = 1e-6,
    feedthrough: bool | None = None,
    real_outputs: bool = False,
) -> Refit:
    r"""Fit C (of both directions) and the diagonal of D to recorded inputs and outputs.

    Parameters
    ----------
    system : DiagonalStateSpace
        Stable, discrete time; one system, or a batch of scalar ones (S4D).
    inputs, outputs : array_like, shapes (N, L, m) and (N, L, p), or (L, m) and (L, p)
        The record; the number of channels for a batch.
    lengths : array_like of int, shape (N,), optional
        Samples that count in each sequence.
    ridge : float, keyword only
        Added to the normal matrix after its columns were scaled to one; relative, dimensionless.
    feedthrough : bool, keyword only
        Whether the diagonal of D is fitted too; where left out, if there are as many inputs as outputs.
    real_outputs : bool, keyword only
        Whether C, which is real, stays so: the best real one. Of a system in conjugate pairs with one direction.

    Returns
    -------
    Refit
        ``after <= before`` for ridge -> 0; with a ridge up to the part that it holds back.

    Raises
    ------
    StabilityError, DimensionError, InputError
    """
    system = as_system(system, diagonal=True)
    experiment = Experiment.of(system, inputs, outputs, lengths)
    return fit_output(system, experiment, ridge=ridge, feedthrough=feedthrough, real_outputs=real_outputs)


def fit_output(
    system: DiagonalStateSpace, experiment: Experiment, *, ridge: float = 1e-6, feedthrough: bool | None = None,
    real_outputs: bool = False,
) -> Refit:  # fmt: skip
    """:func:`refit_output` for many systems of one experiment: what no system changes is summed once."""
    require_stable(system)
    feedthrough = system.m == system.p if feedthrough is None else feedthrough
    if feedthrough and system.m != system.p:
        raise DimensionError("a diagonal feedthrough needs as many inputs as outputs", D=system.D.shape)
    if real_outputs:
        require_real_output(system)
    moments = Moments.of(system, experiment)
    correction, d = moments.solve(ridge, feedthrough, system.n if real_outputs else None)
    D = system.D
    if feedthrough:
        D = D + (d[:, None, None] if system.batch_shape else np.diag(d))
    fitted = with_real_output(system, real_output(system) + correction, D.real if system.conjugate_pairs else D)
    count = experiment.given.count
    change = moments.change(correction, d)
    return Refit(
        system=fitted, before=moments.residual / count, after=np.maximum(moments.residual + change, 0.0) / count,
        energy=moments.energy / count,
    )  # fmt: skip


def recorded_outputs(system: DiagonalStateSpace, inputs: ArrayLike, lengths: ArrayLike | None = None) -> Array:
    """Return what a system makes of recorded inputs, started at rest: (N, L, p), zero past the end of a sequence."""
    require_scannable(system)
    given, output = record(inputs, lengths, channels_of(system, system.m)), real_output(system)
    if system.batch_shape:
        return convolved(system, given)
    found = np.zeros((*given.values.shape[:2], system.p), dtype=float if system.conjugate_pairs else complex)
    for rows, states in aligned_states(system, given):
        u = given.values[rows] * given.mask[rows][..., None]
        found[rows] = states @ output.T + u @ system.D.T
    return found


def mean_error(
    system: DiagonalStateSpace, inputs: ArrayLike, outputs: ArrayLike, lengths: ArrayLike | None = None
) -> Any:
    """Return the mean squared error per sample of a system on a record; one for each channel of a batch."""
    given = record(inputs, lengths, channels_of(system, system.m))
    wanted = record(outputs, given.lengths, channels_of(system, system.p), "outputs")
    sequences, L, width = wanted.values.shape
    step, total = max(1, CHUNK_BYTES // (16 * L * width)), np.zeros(width)  # no second copy of a long record
    for start in range(0, sequences, step):
        rows = slice(start, start + step)
        found = recorded_outputs(system, given.values[rows], given.lengths[rows])
        rest = np.where(given.mask[rows][..., None], found - wanted.values[rows], 0.0)
        total += (np.abs(rest) ** 2).sum(axis=(0, 1))
    return total / given.count if system.batch_shape else float(total.sum() / given.count)
