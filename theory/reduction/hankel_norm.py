r"""Optimal Hankel-norm approximation: no system of k states is closer in the Hankel norm.

Glover's construction :cite:p:`G84` (Thm 6.3), of the balanced realization with :math:`\sigma=\sigma_{k+1}` split off,
:math:`\Sigma=\mathrm{diag}(\Sigma_1,\sigma I)`, :math:`\Gamma=\Sigma_1^2-\sigma^2I` and a contraction U with
:math:`B_2=-C_2^*U`:

.. math::

    \hat A&=\Gamma^{-1}(\sigma^2A_{11}^*+\Sigma_1A_{11}\Sigma_1-\sigma C_1^*UB_1^*)\\
    \hat B&=\Gamma^{-1}(\Sigma_1B_1+\sigma C_1^*U),\qquad\hat C=C_1\Sigma_1+\sigma UB_1^*

With a unitary U :math:`G-\hat G` is :math:`\sigma` times an all-pass function, and the stable part of :math:`\hat G`
has k states:

.. math:: \|G-G_k\|_H=\sigma_{k+1}.

So it is with a contraction, and with different numbers of inputs and outputs: ports that are zero make it unitary
(:math:`[U,(I-UU^*)^{1/2};\dots]`), and leave the formulas as they are. Only as many directions of U are given as there
are values :math:`\sigma`; every contraction on the others is optimal in the Hankel norm. Here they are zero: the result
turns with the ports, and the feedthrough :math:`\sigma U` that is left out has the least rank. An arbitrary unitary U
cost more H-infinity error on layers with 64 channels: in the median 2.01 floors, not 1.88.

Discrete time goes through the bilinear map, which keeps Gramians and Hankel values; ``D`` is no part of a Hankel
operator, and stays.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from theory.arithmetic.rounding import EPS
from theory.arithmetic.threads import few_threads
from theory.errors import AccuracyError, OrderError, StabilityError
from theory.gramians.gramians import stacked_output
from theory.gramians.hankel import hankel_singular_values
from theory.reduction.balanced_truncation import _checked_order as checked_order
from theory.reduction.balanced_truncation import truncate
from theory.reduction.balancing import Balancing, Remark, Truncation, balance, real_order
from theory.reduction.bounds import hankel_floor
from theory.reduction.channels import parts, stacked
from theory.reduction.improvement import improved
from theory.reduction.stored_states import Matrices, largest_fit
from theory.systems.difference import difference
from theory.systems.given import SystemLike, as_system
from theory.systems.pairs import real_input, real_output
from theory.systems.system import DiagonalStateSpace, StateSpace, System, require_stable

Array = NDArray[Any]

PRESENT = 1e-12
"""Hankel value, relative to the largest, below which a state is left out of the construction: what that changes in the
Hankel norm is at most twice their sum, and the coordinates of such states are rounding."""

EQUAL = 1e-7
"""Relative distance of two Hankel values that count as one: Gamma is singular to the root of eps there."""

GIVEN = 64.0 * EPS
"""Singular value of ``C_2 B_2``, relative to the largest, up to which a direction of U is rounding, and free."""

ATTAINED = 1e-8
"""Relative to the largest Hankel value: how far from the optimum a result may be and be called optimal."""


@few_threads
def hankel_norm_approximation(
    system: SystemLike, order: int, *, balancing: Balancing | None = None, condition_limit: float = 1e8
) -> Truncation:
    r"""Approximate :math:`(A,B,C)` in the Hankel norm, optimally.

    .. math:: \sigma_1(G-G_k)=\sigma_{k+1}(G)

    where k is `order` for a dense or complex system; of conjugate pairs the most real states whose poles fit into
    `order` stored ones, up to twice as many.

    Parameters
    ----------
    system : StateSpace or DiagonalStateSpace
        Stable; discrete or continuous. A batch goes channel by channel; two directions with their outputs stacked.
    order : int
        Stored states to keep, ``0 <= order <= n``.
    balancing : Balancing, optional, keyword only
        Of the system; computed when left out.
    condition_limit : float, keyword only
        As for :func:`theory.reduction.balanced_truncation.balanced_truncation`.

    Returns
    -------
    Truncation
        ``diagnostics["states"]``: k; ``["hankel"]``: the Hankel norm of the error, computed afterwards from the error
        itself. Where it misses the optimum by more than 1e-8 of the largest value (values that nearly coincide), the
        result is balanced truncation, with a remark. ``bound``: twice the sum of the Hankel values of the error (a
        dense system: its certified norm).

    Raises
    ------
    StabilityError, OrderError, AccuracyError

    Notes
    -----
    Glover's bound holds for a feedthrough of its own, which is dense; changing it to keep D would lose more than is
    gained. Cost O(N^3) for every order.
    """
    system = as_system(system)
    shared = balance(system) if balancing is None else balancing
    order = checked_order(shared, order)
    if order in (0, system.n):
        return _told(truncate(shared, order, condition_limit), shared)
    if isinstance(system, StateSpace):
        return _dense(shared, order)
    if not system.batch_shape:
        return _diagonal(shared, order, condition_limit)
    channels = [_diagonal(part, order, condition_limit) for part in parts(shared)]
    whole = stacked(shared, channels, "Hankel-norm approximation")
    extra = {
        name: np.reshape([channel.diagnostics[name] for channel in channels], system.batch_shape)
        for name in ("hankel", "optimal")
    }
    refused = sum(not channel.diagnostics["optimal"] for channel in channels)
    remarks, status = whole.remarks, whole.status
    if refused:
        remarks = (*remarks, Remark.PARTLY_REFUSED)
        status += f"; {refused} of them by balanced truncation: the optimum is not attained in float64"
    return replace(whole, remarks=remarks, status=status, diagnostics={**whole.diagnostics, **extra})


def _told(found: Truncation, shared: Balancing) -> Truncation:
    """The ends: no states, all of them."""
    hankel = shared.hsv[..., 0] if found.order == 0 and shared.hsv.shape[-1] else np.zeros(shared.hsv.shape[:-1])
    optimal = np.ones(hankel.shape, dtype=bool)
    extra = {"hankel": hankel if hankel.ndim else float(hankel), "optimal": optimal if hankel.ndim else True}
    return replace(found, diagnostics={**found.diagnostics, **extra})


class Balanced(NamedTuple):
    """A balanced realization in continuous time, of the states that are there."""

    A: Array
    B: Array
    C: Array
    hsv: Array

    def optimal(self, k: int) -> tuple[Array, Array, Array]:
        """The stable part of Glover's system for ``sigma = hsv[k]``, in continuous time.

        Raises
        ------
        AccuracyError
            The number of its states is not the one that the theory has.
        """
        sigma = self.hsv[k]
        equal = np.abs(self.hsv - sigma) <= EQUAL * sigma
        rest = ~equal
        wanted = int(np.count_nonzero(self.hsv[rest] > sigma))
        A, B1, C1, S = self.A[np.ix_(rest, rest)], self.B[rest], self.C[:, rest], self.hsv[rest][:, None]
        u, size, vh = np.linalg.svd(self.C[:, equal] @ self.B[equal], full_matrices=False)
        given = size[: np.count_nonzero(equal)] > GIVEN * size[0]
        U = -u[:, : given.size] * given @ vh[: given.size]
        gamma = S**2 - sigma**2
        back = C1.conj().T @ U
        A_hat = (sigma**2 * A.conj().T + S * A * S.T - sigma * back @ B1.conj().T) / gamma
        B_hat = (S * B1 + sigma * back) / gamma
        C_hat = C1 * S.T + sigma * U @ B1.conj().T
        schur: Any = scipy.linalg.schur  # its types know no output that is chosen at run time
        T, Z, stable = schur(A_hat, output="real" if np.isrealobj(A_hat) else "complex", sort="lhp")
        if stable != wanted:
            raise AccuracyError(
                f"the optimal approximation of {wanted} states came out with {stable}: Hankel values that nearly "
                "coincide; choose another order",
                float(sigma),
            )
        # split the unstable part off: T11 X - X T22 = -T12
        X = scipy.linalg.solve_sylvester(T[:stable, :stable], -T[stable:, stable:], -T[:stable, stable:])
        left = Z.conj().T @ B_hat
        B_k = left[:stable] - X @ left[stable:]
        return T[:stable, :stable], B_k, C_hat @ Z[:, :stable]


def _to_discrete(A: Array, B: Array, C: Array, flipped: bool) -> tuple[Array, Array, Array]:
    """By the bilinear map ``s = (z - 1) / (z + 1)``; `flipped`: of ``G(-z)``."""
    eye = np.eye(A.shape[0])
    inverse = np.linalg.inv(eye - A)
    sign = -1.0 if flipped else 1.0
    return sign * inverse @ (eye + A), np.sqrt(2.0) * inverse @ B, sign * np.sqrt(2.0) * C @ inverse


def _balanced_diagonal(shared: Balancing) -> tuple[Balanced, bool]:
    system = shared.system
    assert isinstance(system, DiagonalStateSpace)
    poles, B, C = system.poles, system.B, stacked_output(system)
    flipped = False
    if system.is_discrete:
        flipped = bool(np.abs(poles + 1.0).min() < np.abs(poles - 1.0).min())
        if flipped:
            poles, C = -poles, -C
        plus = poles + 1.0
        poles, B, C = (poles - 1.0) / plus, np.sqrt(2.0) * B / plus[:, None], np.sqrt(2.0) * C / plus
    T, n = shared.right, system.n
    if system.conjugate_pairs:
        AT = real_input(poles[:, None] * (T[:n] + 1j * T[n:]))
        B, C = real_input(B), real_output(C)
    else:
        AT = poles[:, None] * T
    return _projected(shared, AT, B, C), flipped


def _projected(shared: Balancing, AT: Array, B: Array, C: Array) -> Balanced:
    there = int(np.count_nonzero(shared.hsv > PRESENT * shared.hsv[0]))
    hsv = shared.hsv[:there]
    root = np.sqrt(hsv)
    W, T = shared.left[:, :there] / root, shared.right[:, :there] / root
    gram = W.conj().T @ T  # the identity, up to rounding that this solve takes out
    both = np.linalg.solve(gram, W.conj().T @ np.concatenate([AT[:, :there] / root, B], axis=1))
    return Balanced(both[:, :there], both[:, there:], C @ T, hsv)


def _diagonal(shared: Balancing, order: int, condition_limit: float) -> Truncation:
    system = shared.system
    assert isinstance(system, DiagonalStateSpace)
    start = truncate(shared, order, condition_limit)
    if not start.order or not shared.hsv[0] > 0:
        return replace(start, diagnostics={**start.diagnostics, "hankel": float(shared.hsv[0]), "optimal": True})
    plant, flipped = _balanced_diagonal(shared)

    def realize(k: int) -> Matrices:
        found = plant.optimal(k)
        A, B, C = _to_discrete(*found, flipped) if system.is_discrete else found
        return Matrices(A, B, C, np.zeros(A.shape))

    most = min(real_order(system, order), plant.hsv.size - 1)
    failure: Exception | None = None
    try:
        fit = largest_fit(system, order, most, realize, condition_limit)
    except (OrderError, AccuracyError, StabilityError) as error:
        failure = error
    else:
        small, p = fit.diagonalization.system, system.p
        reduced = system.replace(
            poles=small.poles, B=small.B, C=small.C[:p], C_reverse=small.C[p:] if system.is_bidirectional else None
        )
        hsv = hankel_singular_values(difference(system, reduced))
        hankel = float(hsv.max(initial=0.0))
        if hankel <= shared.hsv[fit.k] + ATTAINED * shared.hsv[0]:
            found = replace(start, order=reduced.n, remarks=() if fit.failure is None else (Remark.PARTLY_REFUSED,),
                             floor=hankel_floor(shared.floor_hsv, real_order(system, reduced.n)))  # fmt: skip
            return improved(
                found, system, reduced,
                f"Hankel-norm approximation to {reduced.n} stored states ({fit.k} of {shared.hsv.size}){fit.remark}",
                hsv=hsv, states=fit.k, condition=fit.diagonalization.condition, hankel=hankel, optimal=True,
            )  # fmt: skip
    return _fallen_back(start, system, failure)


def _dense(shared: Balancing, order: int) -> Truncation:
    system = shared.system
    assert isinstance(system, StateSpace)
    start = truncate(shared, order, np.inf)
    A, B, C = system.A, system.B, system.C
    AT = A @ shared.right
    if system.is_discrete:
        plus = A + np.eye(system.n)
        AT = np.linalg.solve(plus, AT - shared.right)
        B, C = np.sqrt(2.0) * np.linalg.solve(plus, B), np.sqrt(2.0) * np.linalg.solve(plus.T, C.T).T
    plant = _projected(shared, AT, B, C)
    failure: Exception | None = None
    if order < plant.hsv.size:
        try:
            found = plant.optimal(order)
            A_k, B_k, C_k = _to_discrete(*found, False) if system.is_discrete else found
            reduced = StateSpace(A_k, B_k, C_k, system.D, dt=system.dt)
            require_stable(reduced)
            hankel = float(hankel_singular_values(difference(system, reduced))[0])
            if reduced.n == order and hankel <= shared.hsv[order] + ATTAINED * shared.hsv[0]:
                return improved(
                    start, system, reduced, f"Hankel-norm approximation to {order} states",
                    states=order, hankel=hankel, optimal=True,
                )  # fmt: skip
        except (AccuracyError, StabilityError) as error:
            failure = error
    return _fallen_back(start, system, failure)


def _fallen_back(start: Truncation, system: System, failure: Exception | None) -> Truncation:
    reason = "the optimum is not attained in float64" if failure is None else str(failure)
    hankel = float(hankel_singular_values(difference(system, start.system)).max(initial=0.0))
    return replace(
        start, status=f"{start.status}; not the Hankel-norm approximation: {reason}",
        remarks=(*start.remarks, Remark.PARTLY_REFUSED),
        diagnostics={**start.diagnostics, "hankel": hankel, "optimal": False},
    )  # fmt: skip
