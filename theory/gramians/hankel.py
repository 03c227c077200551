r"""Hankel singular values: roots of the eigenvalues of :math:`PQ`, which is never formed."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from theory.arithmetic.rounding import EPS
from theory.gramians.gramians import gramian_factors, scaled_cholesky_factors
from theory.systems.realization import standard_form
from theory.systems.system import DiagonalStateSpace, System, require_stable

Array = NDArray[Any]


def hankel_singular_values(system: System) -> Array:
    r"""Return :math:`\sigma_1\ge\dots\ge\sigma_N\ge0`, the singular values of the Hankel operator of :math:`(A,B,C)`.

    Parameters
    ----------
    system : StateSpace or DiagonalStateSpace
        Stable. Of a diagonal system the *stored* ``(poles, B, C)`` count, whatever `delay` is: this is what
        bounds the error of a layer whose ``D`` is kept. For the strictly causal part of a ``delay=0`` system, which
        bounds what a reduction with free ``D`` can reach, ask :func:`causal_hankel_singular_values`.
        A bidirectional system has its outputs stacked, ``[C; C_reverse]``.

    Returns
    -------
    ndarray, shape (..., N), descending
        ``N`` is the number of states, ``2n`` for conjugate pairs.

    Raises
    ------
    StabilityError
        A pole lies on or outside the boundary.

    Notes
    -----
    Singular values of :math:`L_o^*L_c` :cite:p:`LHPW87`, never the root of an eigenvalue: the absolute error is a
    small multiple of eps times :math:`\sigma_1`, not its square root.
    """
    if _closed_form_may_do(system):
        return balancing_factors(system)[1]
    Lc, Lo = gramian_factors(system)
    if Lc.shape[-1] == 0:
        return np.zeros(Lc.shape[:-1])
    return np.linalg.svd(np.swapaxes(Lo, -1, -2).conj() @ Lc, compute_uv=False)


def _closed_form_may_do(system: System) -> bool:
    """Whether Cholesky factors of the closed form are worth a try: many channels; else the recursion is as fast."""
    return isinstance(system, DiagonalStateSpace) and not system.batch_shape and min(system.n, system.m, system.p) > 1


def balancing_factors(system: System, *, closed_form_tol: float = 1e-13) -> tuple[Array, Array, Array]:
    r"""Return :math:`L_oU,\ \Sigma,\ L_cV` of the singular value decomposition :math:`L_o^*L_c=U\Sigma V^*`.

    Parameters
    ----------
    system : StateSpace or DiagonalStateSpace
        Stable; a batch gives a batch. Coordinates as in :func:`theory.gramians.gramians.gramian_factors`.
    closed_form_tol : float, keyword only
        Error of the Hankel singular values, relative to :math:`\sigma_1`, up to which Cholesky factors of the closed
        form are accepted; past it the recursion runs. 0 always takes the recursion.

    Returns
    -------
    left : ndarray, shape (..., N, N)
    hsv : ndarray, shape (..., N), descending
    right : ndarray, shape (..., N, N)

    Raises
    ------
    StabilityError
        A pole lies on or outside the boundary.

    Notes
    -----
    An error of a few eps in the entries of the scaled Gramian moves :math:`\sigma_i` by about
    :math:`\tfrac12\varepsilon(\|d_c\circ L_ou_i\|^2+\|d_o\circ L_cv_i\|^2)/\sigma_i`, which is what is compared with
    the tolerance.
    """
    if closed_form_tol > 0 and _closed_form_may_do(system):
        require_stable(system)
        found = scaled_cholesky_factors(system)  # type: ignore[arg-type]
        if found is not None:
            Lc, Lo, dc, do = found
            left, hsv, right = _decompose(Lc, Lo)
            moved = np.sum(np.abs(dc[:, None] * left) ** 2, axis=0) + np.sum(np.abs(do[:, None] * right) ** 2, axis=0)
            # 4 eps: the entries of the closed form, and the rounding of the factorization
            if (2.0 * EPS * moved <= closed_form_tol * hsv[0] * hsv).all():
                return left, hsv, right
    Lc, Lo = gramian_factors(system)
    return _decompose(Lc, Lo)


def _decompose(Lc: Array, Lo: Array) -> tuple[Array, Array, Array]:
    if Lc.shape[-1] == 0:
        return Lo, np.zeros(Lc.shape[:-1]), Lc
    U, hsv, Vh = np.linalg.svd(np.swapaxes(Lo, -1, -2).conj() @ Lc)
    return Lo @ U, hsv, Lc @ np.swapaxes(Vh, -1, -2).conj()


def causal_hankel_singular_values(system: System) -> Array:
    r"""Return the Hankel singular values of the strictly causal part, the larger of both directions per index.

    For ``delay=0`` the strictly causal part of :math:`zC(zI-\Lambda)^{-1}B` is :math:`(\Lambda,B,C\Lambda)`. Any
    system of ``k`` states, with any ``D``, misses the given one by at least ``values[k]``, in both directions of time
    (Nehari's theorem, :cite:p:`G84`).

    Parameters, returns, errors: as :func:`hankel_singular_values`.
    """
    if not isinstance(system, DiagonalStateSpace):
        return hankel_singular_values(system)
    values = hankel_singular_values(standard_form(system.replace(C_reverse=None)))
    if system.C_reverse is None:
        return values
    reverse = system.replace(C=system.C_reverse, C_reverse=None, D=None, delay=system.delay_reverse)
    return np.maximum(values, hankel_singular_values(standard_form(reverse)))


def hankel_norm(system: System) -> Any:
    r"""Return :math:`\sigma_1`, the norm of the Hankel operator; 0 for a static system; an array for a batch.

    Parameters, errors: as :func:`hankel_singular_values`.
    """
    values = hankel_singular_values(system)
    largest = values[..., 0] if values.shape[-1] else np.zeros(values.shape[:-1])
    return largest if largest.ndim else float(largest)
