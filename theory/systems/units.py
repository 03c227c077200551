r"""Powers of two that bring a system into the middle of the range of float64; every change is exact.

The proofs of the norms take up to eighth powers of distances to the poles: with poles of 1e140 rad/s these underflow,
and a bound that lost a term is no bound.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from theory.systems.system import DiagonalStateSpace, StateSpace, System

Array = NDArray[Any]


def power_of_two(x: Any) -> Any:
    """The power of two nearest to `x`, elementwise; 1 for zero."""
    x = np.asarray(x, dtype=float)
    return 2.0 ** np.clip(np.round(np.log2(np.where(x > 0, x, 1.0))), -1000, 1000)


def equilibrated(system: StateSpace) -> tuple[Array, Array, Array]:
    """Return A, B, C after LAPACK's balancing: powers of two, hence exactly the same transfer function."""
    gebal = scipy.linalg.lapack.zgebal if system.A.dtype.kind == "c" else scipy.linalg.lapack.dgebal
    _, _, _, scaling, info = gebal(system.A, scale=1, permute=0)
    s = scaling if info == 0 and np.isfinite(scaling).all() and (scaling > 0).all() else np.ones(system.n)
    return system.A / s[:, None] * s, system.B / s[:, None], system.C * s


def unit_time(system: System) -> tuple[System, Any]:
    r"""Measure a continuous-time system in a time unit that brings its poles to size one.

    :math:`C(sI-A)^{-1}B = \tfrac1\tau C(\tfrac s\tau I-\tfrac1\tau A)^{-1}B`, the factor in C or
    in B. Returns the system and :math:`\tau`, one for each system of a batch; 1 in discrete time, and where the
    division would not be exact.
    """
    if system.is_discrete or system.n == 0:
        return system, np.ones(system.batch_shape) if isinstance(system, DiagonalStateSpace) else 1.0
    if isinstance(system, StateSpace):
        largest, rates = _largest(equilibrated(system)[0], (-2, -1)), system.A
    else:
        largest, rates = _largest(system.poles, -1), system.poles[..., None, :]
    left = _exact_unit(largest, rates, system.C)
    right = np.where(left == 1.0, _exact_unit(largest, rates, system.B), 1.0)
    B, C, unit = system.B / right[..., None, None], system.C / left[..., None, None], left * right
    if isinstance(system, StateSpace):
        return StateSpace(system.A / unit, B, C, system.D), float(unit)
    return system.replace(poles=system.poles / unit[..., None], B=B, C=C), unit


def unit_gains(system: DiagonalStateSpace) -> tuple[DiagonalStateSpace, Any]:
    """Bring every mode to rows of B and columns of C alike, and the whole to size one.

    Returns the system and two powers of two, (2, ...), by which its response was divided one after the other. Exact but
    for modes that underflow because they are smaller than the largest by the whole range of float64.
    """
    both = system.C if system.C_reverse is None else np.concatenate([system.C, system.C_reverse], axis=-2)
    b, c = np.abs(system.B).max(axis=-1, initial=0.0), np.abs(both).max(axis=-2, initial=0.0)
    alive = (b > 0) & (c > 0)
    alike = power_of_two(np.where(alive, np.sqrt(b) / np.sqrt(np.where(c > 0, c, 1.0)), 1.0))
    through = np.abs(system.D).max(axis=(-2, -1), initial=0.0)
    left = power_of_two(np.where(alive, b / alike, 0.0).max(axis=-1, initial=0.0))
    left = np.maximum(left, np.where(through > 0, power_of_two(through) * 2.0**-500, 0.0))  # so that D / left is finite
    through = through / left
    right = power_of_two(np.maximum(np.where(alive, c * alike, 0.0).max(axis=-1, initial=0.0), through))

    def outputs(part: Array | None) -> Array | None:
        kept = None if part is None else np.where(alive[..., None, :], part, 0.0)
        return None if kept is None else kept * alike[..., None, :] / right[..., None, None]

    B = np.where(alive[..., None], system.B, 0.0) / alike[..., None] / left[..., None, None]
    C, reverse = outputs(system.C), outputs(system.C_reverse)
    D = system.D / left[..., None, None] / right[..., None, None]
    return system.replace(B=B, C=C, C_reverse=reverse, D=D), np.stack([left, right])


def _largest(values: Array, axis: Any) -> Array:
    return np.asarray(np.maximum(np.abs(values.real).max(axis=axis), np.abs(values.imag).max(axis=axis)))


def _exact_unit(largest: Array, *arrays: Array) -> Array:
    """The power of two near `largest`, or 1 where dividing one of the `arrays` (..., :, :) by it would round."""
    unit = np.asarray(power_of_two(np.where(np.isfinite(largest), largest, 1.0)))
    wide = unit[..., None, None]
    with np.errstate(all="ignore"):
        exact = np.all([(array / wide * wide == array).all(axis=(-2, -1)) for array in arrays], axis=0)
    return np.where(exact, unit, 1.0)
