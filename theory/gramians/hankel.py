r"""Hankel singular values: roots of the eigenvalues of :math:`PQ`, which is never formed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from theory.arithmetic.rounding import EPS
from theory.equations.kautz import pair_functions
from theory.errors import AccuracyError
from theory.gramians.dense import dense_gramians
from theory.gramians.gramians import (
    controllability_factor,
    gramian_factors,
    observability_factor,
    scaled_cholesky_factors,
)
from theory.systems.given import SystemLike, as_system
from theory.systems.realization import standard_form
from theory.systems.system import DiagonalStateSpace, StateSpace, System, require_stable

Array = NDArray[Any]


def hankel_singular_values(system: SystemLike) -> Array:
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
    AccuracyError
        Neither float64 nor integers prove the values of a dense system; or the Gramians overflow.

    Notes
    -----
    Singular values of :math:`L_o^*L_c` :cite:p:`LHPW87`, never the root of an eigenvalue: the absolute error is a
    small multiple of eps times :math:`\sigma_1`, not its square root. With one input, one output and one direction
    :math:`L_o^*L_c` is symmetric, and they are the absolute values of its eigenvalues: a third of the work.
    Of a dense system the error is proved (:mod:`theory.gramians.dense`): in float64 where at most
    :math:`10^{-6}\sigma_1` of it cannot be excluded, else in integers, where every value is right to its last digits.
    """
    system = as_system(system)
    if isinstance(system, StateSpace) and system.n:
        return dense_gramians(system).spectrum.hsv
    return _within_range(lambda: (_closed_form_or_recursion(system),))[0]


def _within_range(compute: Callable[[], tuple[Array, ...]]) -> tuple[Array, ...]:
    """The arrays, if they are finite; a factorization that fails on what overflowed says the same.

    Raises
    ------
    AccuracyError
    """
    try:
        with np.errstate(over="ignore", invalid="ignore"):
            found = compute()
    except np.linalg.LinAlgError:
        found = (np.array(np.nan),)
    if not all(np.isfinite(values).all() for values in found):
        raise AccuracyError(
            "the Gramians of this system overflow float64: scale B or C down, and the values scale with them",
            np.inf,
        )
    return found


def _closed_form_or_recursion(system: System) -> Array:
    if _is_symmetric(system):
        require_stable(system)
        return np.sort(np.abs(np.linalg.eigvalsh(_cross_product(system))), axis=-1)[..., ::-1]  # type: ignore[arg-type]
    if _closed_form_may_do(system):
        return balancing_factors(system)[1]
    Lc, Lo = gramian_factors(system)
    if Lc.shape[-1] == 0:
        return np.zeros(Lc.shape[:-1])
    return np.linalg.svd(np.swapaxes(Lo, -1, -2).conj() @ Lc, compute_uv=False)


def _is_symmetric(system: System) -> bool:
    """Whether one function from input to output makes :math:`L_o^*L_c` symmetric: conjugate pairs, one direction."""
    return (
        isinstance(system, DiagonalStateSpace)
        and (system.m, system.p) == (1, 1)
        and system.conjugate_pairs
        and not system.is_bidirectional
    )


def _cross_product(system: DiagonalStateSpace) -> Array:
    r""":math:`L_o^TL_c=2\,\Re\sum_i c_ib_i\varphi_k(\lambda_i)\varphi_l(\lambda_i)`, symmetric: (..., 2n, 2n).

    Both factors are the same functions at the poles, once times b and once times c, with the sign of the imaginary
    parts turned (:mod:`theory.equations.kautz`).
    """
    g = np.sqrt(system.B[..., 0]) * np.sqrt(system.C[..., 0, :])
    F = pair_functions(system.poles, g, system.is_discrete)
    X, Y = np.ascontiguousarray(F.real), np.ascontiguousarray(F.imag)
    return np.asarray(2.0 * (np.swapaxes(X, -1, -2) @ X - np.swapaxes(Y, -1, -2) @ Y))


def _closed_form_may_do(system: System) -> bool:
    """Whether Cholesky factors of the closed form are worth a try: many channels; else the recursion is as fast."""
    return isinstance(system, DiagonalStateSpace) and not system.batch_shape and min(system.n, system.m, system.p) > 1


def balancing_factors(system: SystemLike, *, closed_form_tol: float = 1e-13) -> tuple[Array, Array, Array]:
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
    AccuracyError
        They overflow float64.

    Notes
    -----
    An error of a few eps in the entries of the scaled Gramian moves :math:`\sigma_i` by about
    :math:`\tfrac12\varepsilon(\|d_c\circ L_ou_i\|^2+\|d_o\circ L_cv_i\|^2)/\sigma_i`, which is what is compared with
    the tolerance.
    """
    system = as_system(system)
    left, hsv, right = _within_range(lambda: _factors(system, closed_form_tol))
    return left, hsv, right


def _factors(system: System, closed_form_tol: float) -> tuple[Array, Array, Array]:
    if _is_symmetric(system):
        require_stable(system)
        return _symmetric_balancing(system)  # type: ignore[arg-type]
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
    if isinstance(system, StateSpace) and system.n:
        proved = dense_gramians(system)
        left, right = proved.balancing()
        return left, proved.spectrum.hsv, right
    Lc, Lo = gramian_factors(system)
    return _decompose(Lc, Lo)


def _symmetric_balancing(system: DiagonalStateSpace) -> tuple[Array, Array, Array]:
    """The same by one symmetric eigenvalue problem instead of a singular value decomposition."""
    values, V = np.linalg.eigh(_cross_product(system))
    order = np.argsort(-np.abs(values), axis=-1, kind="stable")
    values, V = np.take_along_axis(values, order, axis=-1), np.take_along_axis(V, order[..., None, :], axis=-1)
    Lc, Lo = controllability_factor(system), observability_factor(system)
    return Lo @ (V * np.sign(values)[..., None, :]), np.abs(values), Lc @ V


def _decompose(Lc: Array, Lo: Array) -> tuple[Array, Array, Array]:
    if Lc.shape[-1] == 0:
        return Lo, np.zeros(Lc.shape[:-1]), Lc
    U, hsv, Vh = np.linalg.svd(np.swapaxes(Lo, -1, -2).conj() @ Lc)
    return Lo @ U, hsv, Lc @ np.swapaxes(Vh, -1, -2).conj()


def causal_hankel_singular_values(system: SystemLike) -> Array:
    r"""Return the Hankel singular values of the strictly causal part, the larger of both directions per index.

    For ``delay=0`` the strictly causal part of :math:`zC(zI-\Lambda)^{-1}B` is :math:`(\Lambda,B,C\Lambda)`. Any
    system of ``k`` states, with any ``D``, misses the given one by at least ``values[k]``, in both directions of time
    (Nehari's theorem, :cite:p:`G84`).

    Parameters, returns, errors: as :func:`hankel_singular_values`.
    """
    system = as_system(system)
    if not isinstance(system, DiagonalStateSpace):
        return hankel_singular_values(system)
    values = hankel_singular_values(standard_form(system.replace(C_reverse=None)))
    if system.C_reverse is None:
        return values
    reverse = system.replace(C=system.C_reverse, C_reverse=None, D=None, delay=system.delay_reverse)
    return np.maximum(values, hankel_singular_values(standard_form(reverse)))


def hankel_norm(system: SystemLike) -> Any:
    r"""Return :math:`\sigma_1`, the norm of the Hankel operator; 0 for a static system; an array for a batch.

    Parameters, errors: as :func:`hankel_singular_values`.
    """
    values = hankel_singular_values(system)
    largest = values[..., 0] if values.shape[-1] else np.zeros(values.shape[:-1])
    return largest if largest.ndim else float(largest)
