r"""The H2 norm: root of the energy of the impulse response."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from theory.gramians.gramians import gramian_factors
from theory.systems.pairs import real_output
from theory.systems.realization import anticausal_part, causal_part, feedthrough_of_delay, standard_form
from theory.systems.system import DiagonalStateSpace, System, require_stable

Array = NDArray[Any]


def h2_norm(system: System) -> Any:
    r"""Return the H2 norm.

    .. math:: \|G\|_2^2=\frac1{2\pi}\int\|G\|_F^2\,d\omega=\sum_k\|h_k\|_F^2=\|D\|_F^2+\|CL_c\|_F^2,\qquad P=L_cL_c^*

    In continuous time the norm is infinite unless :math:`D=0`. A bidirectional system has the impulse response of both
    directions, which overlap at lag 0 when both have ``delay=0``.

    Parameters
    ----------
    system : StateSpace or DiagonalStateSpace
        Stable; discrete or continuous.

    Returns
    -------
    float
        An array for a batch.

    Raises
    ------
    StabilityError
        A pole lies on or outside the boundary.

    Notes
    -----
    In discrete time the sum has unit weight per sample (not ``dt``). A sum of squares, so nothing cancels between modes
    of a factor; relative error a small multiple of eps times :math:`\|C\|\|L_c\|/\|CL_c\|`. Cost O(n^2 m + n^2 p).
    """
    require_stable(system)
    if isinstance(system, DiagonalStateSpace):
        lag_zero = system.D
        if system.delay == 0:
            lag_zero = lag_zero + feedthrough_of_delay(causal_part(system))
        parts = [standard_form(causal_part(system))]
        if system.is_bidirectional:
            reverse = anticausal_part(system)
            if reverse.delay == 0:
                lag_zero = lag_zero + feedthrough_of_delay(reverse)
            parts.append(standard_form(reverse))
        squares = [_energy(lag_zero), *(_strict_energy(part) for part in parts)]
    else:
        lag_zero = system.D
        squares = [_energy(lag_zero), _energy(system.C @ gramian_factors(system)[0])]
    norm = np.sqrt(sum(squares))
    if not system.is_discrete:
        norm = np.where(np.any(lag_zero != 0, axis=(-2, -1)), np.inf, norm)
    return norm if np.ndim(norm) else float(norm)


def _energy(matrix: Array) -> Array:
    """Squared Frobenius norm."""
    return np.sum(np.abs(matrix) ** 2, axis=(-2, -1))  # type: ignore[no-any-return]


def _strict_energy(system: DiagonalStateSpace) -> Array:
    """Energy of the strictly proper part: ``D`` left out."""
    Lc = gramian_factors(system)[0]
    C = real_output(system.C) if system.conjugate_pairs else system.C
    return _energy(C @ Lc)
