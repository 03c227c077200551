r"""Gramians of the signals that a system really sees: reachability from recorded inputs, observability from gradients.

.. math:: P=\mathrm{E}\,x_tx_t^*,\quad x_t=\Lambda x_{t-1}+Bu_t;\qquad
          Q=\mathrm{E}\textstyle\sum_t a_ta_t^*,\quad a_t=A^*a_{t+1}+C^*g_t

For white inputs P is the reachability Gramian (up to their power). For others it is what the inputs excite:
empirical balancing :cite:p:`M81,LHPW87` along the signals of a data set. The expectation is the mean over all samples
that count.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from theory.errors import InputError
from theory.systems.correlations import Channels, divisible, some_channels
from theory.systems.given import SystemLike, as_system
from theory.systems.scan import Record, channels_of, record, require_scannable, states_of
from theory.systems.system import DiagonalStateSpace, require_stable

Array = NDArray[Any]


def recorded_reachability(system: SystemLike, inputs: ArrayLike, lengths: ArrayLike | None = None) -> Array:
    r"""Return :math:`P=\mathrm{E}\,x_tx_t^*` over recorded inputs, started at rest.

    Parameters
    ----------
    system : DiagonalStateSpace
        Stable, discrete time; a batch of scalar systems (S4D) along one axis is handled at once.
        A bidirectional system's states of both scans are summed.
    inputs : array_like, shape (N, L, m) or (L, m)
        Recorded inputs; m is the size of the batch for S4D.
    lengths : array_like of int, shape (N,), optional
        Samples that count in each sequence; the rest is padding.

    Returns
    -------
    ndarray, shape (..., k, k)
        Hermitian, positive semidefinite; in the coordinates of :func:`theory.gramians.gramians.gramians`: real with
        k = 2n for conjugate pairs.

    Raises
    ------
    StabilityError, TimeBaseError, DimensionError, InputError

    Notes
    -----
    One scan and one product of the states with themselves: O(N L k^2) time, memory bounded. Channels of a batch by
    :mod:`theory.systems.correlations`: O(N L (k + log L)).
    """
    system = as_system(system, diagonal=True)
    require_scannable(system)
    require_stable(system)
    signals = record(inputs, lengths, channels_of(system, system.m))
    total = _second_moment(system, signals)
    if system.is_bidirectional:
        total = total + _second_moment(system, signals.reversed())
    return total / signals.count


def recorded_observability(system: SystemLike, gradients: ArrayLike, lengths: ArrayLike | None = None) -> Array:
    r"""Return :math:`Q=\tfrac1N\sum\sum_ta_ta_t^*`, the sensitivity of a scalar to the states, from that to the output.

    Parameters
    ----------
    system : DiagonalStateSpace
        As for :func:`recorded_reachability`.
    gradients : array_like, shape (N, L, p) or (L, p)
        Gradients of a scalar with respect to the outputs of the system, sample by sample.
    lengths : array_like of int, shape (N,), optional

    Returns
    -------
    ndarray, shape (..., k, k)
        In the coordinates of :func:`theory.gramians.gramians.gramians`; both directions summed.

    Notes
    -----
    The gradient with respect to the state is the adjoint scan :math:`a_t=A^*a_{t+1}+C^*g_t`, backwards in time; of a
    reverse direction, forwards. One sample more or less of delay is not distinguished: the mean runs over all samples.
    """
    system = as_system(system, diagonal=True)
    require_scannable(system)
    require_stable(system)
    signals = record(gradients, lengths, channels_of(system, system.p), "gradients")
    if not system.conjugate_pairs and signals.values.dtype.kind != "c":
        signals = Record(values=signals.values.astype(complex), lengths=signals.lengths)
    total = _second_moment(_adjoint(system, system.C), signals.reversed())
    if system.C_reverse is not None:
        total = total + _second_moment(_adjoint(system, system.C_reverse), signals)
    return np.asarray(total / signals.values.shape[0])


def _adjoint(system: DiagonalStateSpace, C: Array) -> DiagonalStateSpace:
    """The system whose states, driven by output gradients, are the gradients: poles and C conjugated."""
    # y = 2 Re(C x): the gradient with respect to [Re x; Im x] is 2 [Re C; -Im C]^T g, packed from 2 conj(C)^T g
    inputs = (2.0 if system.conjugate_pairs else 1.0) * np.swapaxes(C.conj(), -1, -2)
    return DiagonalStateSpace(
        system.poles.conj(), inputs, np.zeros((*system.batch_shape, 1, system.n)), dt=system.dt,
        conjugate_pairs=system.conjugate_pairs,
    )  # fmt: skip


def _second_moment(system: DiagonalStateSpace, signals: Record) -> Array:
    """Sum of ``x x^*`` over all samples that count."""
    k = (2 if system.conjugate_pairs else 1) * system.n
    total: Array = np.zeros((*system.batch_shape, k, k), dtype=float if system.conjugate_pairs else complex)
    if system.batch_shape:
        quick = divisible(system, signals)
        for chosen in (np.flatnonzero(quick), np.flatnonzero(~quick)):
            _add_channels(total, system, signals, chosen, by_states=not quick[chosen].all())
    else:
        _add_states(total, system, signals)
    if not np.isfinite(total).all():
        raise InputError("the states overflow along these signals: scale the inputs")
    return np.asarray(0.5 * (total + np.swapaxes(total, -1, -2).conj()))


def _add_states(total: Array, system: DiagonalStateSpace, signals: Record) -> None:
    for _, states in states_of(system, signals):
        flat = states.reshape(-1, *system.batch_shape, total.shape[-1])
        columns = np.moveaxis(flat, 0, -1)  # (..., k, samples)
        total += columns @ np.swapaxes(columns, -1, -2).conj()


def _add_channels(
    total: Array, system: DiagonalStateSpace, signals: Record, chosen: Array, *, by_states: bool
) -> None:
    """Some channels of a batch, a few at a time."""
    for rows in some_channels(len(chosen), 32 * signals.values[..., 0].size):
        some = chosen[rows]
        part, heard = system[some], Record(values=signals.values[..., some], lengths=signals.lengths)
        if by_states:
            found = np.zeros_like(total[some])
            _add_states(found, part, heard)
        else:
            (found,) = Channels.of(heard).sums(part.replace(delay=0))
        total[some] = found


OBSERVABILITIES = ("exact", "time_limited", "output", "mixture")
"""What stands for the observability Gramian beside a recorded P: the infinite one (stable by proof), that over the
length of the record, :func:`recorded_observability`, and the mean of the last two."""


def mixture(P: Array, one: Array, other: Array) -> Array:
    """Mean of two observability Gramians, each scaled to trace 1 with P, all channels of a batch together."""

    def scaled(Q: Array) -> Array:
        weight = float(np.einsum("...ij,...ji->...", P, Q).real.sum())
        return Q / weight if weight > 0 else Q

    return np.asarray(0.5 * (scaled(one) + scaled(other)))
