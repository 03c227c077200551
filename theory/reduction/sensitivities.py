r"""The normal equations of a fit of poles and B to recorded signals, from sensitivities that are scans.

A step in :math:`\log\lambda_i` and in the rows of B moves the output by :math:`C_i` times

.. math:: \partial x_i/\partial b_{ij}=\mathrm{scan}(\lambda_i,v_j),\qquad
          \partial x_i/\partial\log\lambda_i=\mathrm{scan}(\lambda_i,\lambda_ix_{i,t-1}),

and the normal matrix is :math:`(C_i^TC_j)\circ(M_{ss}-M_{sx}M_{xx}^{-1}M_{xs})` with M the moments of the signals: the
projection takes out what C can explain (Kaufman's form of variable projection :cite:p:`GP73,K75`). v are coordinates of
the inputs.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from theory.systems.scan import Record, drive, packed, real_output, scan
from theory.systems.system import DiagonalStateSpace

Array = NDArray[Any]


def normal_equations(
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
