r"""The stable and the unstable part: :math:`G=G_s+G_u`, all poles of one inside the stability region.

An integrator does not end everything: :math:`G_s` is reduced, :math:`G_u` is kept, and the error is that of
:math:`G_s`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from theory.errors import AccuracyError, InputError
from theory.systems.given import SystemLike, as_system
from theory.systems.margin import discrete_margin, spectral_rounding
from theory.systems.system import DiagonalStateSpace, StateSpace, System

Array = NDArray[Any]

SCHUR_ROUNDING = 10.0
"""The QR iteration moves poles by a small multiple of n eps ||A||; 1.5 of it was seen (four states, three kernels)."""


class Split(NamedTuple):
    """Two systems that add up to the given one."""

    stable: System  #: with all of ``D``
    rest: System  #: poles on the boundary and outside; no feedthrough


def stable_part(system: SystemLike) -> Split:
    r"""Split a system additively: :math:`G=G_s+G_u`.

    Parameters
    ----------
    system : StateSpace or DiagonalStateSpace
        Discrete or continuous; `stable` has the poles strictly inside the stability region. Those of a dense system are
        computed, and one within rounding of the boundary belongs to the rest. A batch must split alike in every
        channel.

    Returns
    -------
    Split
        ``.stable`` has ``D``; ``.rest`` has none. Either may be without states.

    Raises
    ------
    InputError
        The channels of a batch have different numbers of stable states.
    AccuracyError
        Stable and unstable poles of a dense system are too close to be told apart.

    Notes
    -----
    Diagonal: the stored states as they are, bit for bit. Dense: ordered Schur form and a Sylvester equation, O(n^3);
    the sum is the system up to rounding times the norm of the solution, which is large where poles nearly meet. Within
    rounding is 10 n times :func:`theory.systems.margin.spectral_rounding`.
    """
    system = as_system(system)
    if isinstance(system, DiagonalStateSpace):
        return _diagonal(system)
    if system.n == 0:
        return Split(system, StateSpace(system.A, system.B, system.C, 0.0 * system.D, dt=system.dt))
    vague = SCHUR_ROUNDING * system.n * spectral_rounding(system.A)
    real = system.A.dtype.kind == "f"

    def inside(re: Any, im: Any = 0.0) -> bool:
        pole = complex(re, im) if real else complex(re)
        margin = float(discrete_margin(pole)) if system.is_discrete else -pole.real
        return bool(margin > vague)

    schur: Any = scipy.linalg.schur  # its types know no output that is chosen at run time
    T, Z, k = schur(system.A, output="real" if real else "complex", sort=inside)
    coupling = T[:k, k:]
    X = np.zeros_like(coupling)
    if coupling.size:
        X = scipy.linalg.solve_sylvester(T[:k, :k], -T[k:, k:], -coupling)
        if not np.isfinite(X).all():
            raise AccuracyError("stable and unstable poles nearly coincide; the system does not split", float("inf"))
    B, C = Z.conj().T @ system.B, system.C @ Z
    return Split(
        StateSpace(T[:k, :k], B[:k] - X @ B[k:], C[:, :k], system.D, dt=system.dt),
        StateSpace(T[k:, k:], B[k:], C[:, k:] + C[:, :k] @ X, 0.0 * system.D, dt=system.dt),
    )


def _diagonal(system: DiagonalStateSpace) -> Split:
    inside = system.margin > 0
    without = system.replace(D=0.0 * system.D)
    if not system.batch_shape:
        return Split(system.keep(inside), without.keep(~inside))
    counts = inside.sum(axis=-1)
    if counts.min(initial=system.n) != counts.max(initial=0):
        raise InputError(
            f"the channels have {counts.min()} to {counts.max()} stable states; split them one by one, system[index]"
        )
    order = np.argsort(~inside, axis=-1, kind="stable")
    k = int(counts.flat[0]) if counts.size else system.n
    return Split(_taken(system, order[..., :k]), _taken(without, order[..., k:]))


def _taken(system: DiagonalStateSpace, index: Array) -> DiagonalStateSpace:
    """The states `index` (..., r) of every system of a batch."""
    reverse = system.C_reverse
    return system.replace(
        poles=np.take_along_axis(system.poles, index, axis=-1),
        B=np.take_along_axis(system.B, index[..., :, None], axis=-2),
        C=np.take_along_axis(system.C, index[..., None, :], axis=-1),
        C_reverse=None if reverse is None else np.take_along_axis(reverse, index[..., None, :], axis=-1),
    )
