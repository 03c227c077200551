r"""Balanced truncation of a dense system: the bound holds for the system as written, and that is proved.

Where float64 knows the Gramians, the balanced system is projected in float64, :math:`2\sum_{i>k}\sigma_i` is what its
error should stay below, and the certified norm of the error (:func:`theory.norms.error_norm`) says whether it does.
Where it takes the proof in integers (:mod:`theory.gramians.balance_proof`), that proof covers the truncated system
before it is rounded to float64, and what the rounding changes is bounded through the Gramians of the written system.
"""

from __future__ import annotations

import contextlib
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from theory.arithmetic.fixed_point import above
from theory.arithmetic.rounding import EPS, TINY
from theory.equations.lyapunov import thin_generator
from theory.errors import AccuracyError, SSMReduceError, StabilityError
from theory.gramians.balance_proof import BalanceProof
from theory.gramians.dense import DenseGramians
from theory.gramians.float_proof import float_gramians
from theory.gramians.proof import float_norm
from theory.gramians.scaling import scaled
from theory.norms import error_norm, quick_error_norm
from theory.reduction.balancing import Balancing, Truncation
from theory.reduction.bounds import balanced_bound, hankel_floor, require_consistent
from theory.systems.margin import discrete_margin
from theory.systems.response import frequency_response
from theory.systems.system import StateSpace, System, require_stable

Array = NDArray[Any]

CERTIFY_RTOL = 0.3, 1e-6
"""Tolerances of the certified error, the second where the first does not show that it is below the bound."""

NEGLIGIBLE = 1e-3
"""Part of the bound up to which rounding of the written matrices is added without a look at the certified error."""


def truncate_dense(shared: Balancing, order: int) -> Truncation:
    """Project on the leading part of the balancing of a dense system.

    Raises
    ------
    StabilityError, AccuracyError
        The written system is not proved stable, or its error is not.
    """
    system, proved = shared.system, shared.proved
    assert isinstance(system, StateSpace)
    assert proved is not None
    if proved.is_exact:
        reduced, bound, perturbation = _from_integers(system, proved, order)
    else:
        reduced, bound, perturbation = _from_floats(shared, system, order)
    floor = hankel_floor(shared.floor_hsv, order)
    return Truncation(
        system=reduced, order=order, hsv=shared.hsv, bound=bound, floor=floor,
        status=f"balanced truncation to {order} states", diagnostics={"states": order, "perturbation": perturbation},
    )  # fmt: skip


def project(left: Array, hsv: Array, right: Array, k: int, AT: Array, B: Array, C: Array) -> tuple[Array, ...]:
    """``(W^* T)^{-1} W^* [A T, B]``, ``C T``, and the rounding of A_r; ``W``, ``T`` are left, right / sqrt(hsv)."""
    root = np.sqrt(hsv[:k])
    W, T, AT = left[:, :k] / root, right[:, :k] / root, AT[:, :k] / root
    gram = W.conj().T @ T  # the identity, up to rounding that this solve takes out
    reduced = np.linalg.solve(gram, W.conj().T @ np.concatenate([AT, B], axis=1))
    uncertainty = (4.0 + np.sqrt(W.shape[0])) * EPS * (np.abs(W).T @ np.abs(AT))
    return reduced[:, :k], reduced[:, k:], C @ T, uncertainty


def _from_floats(shared: Balancing, system: StateSpace, order: int) -> tuple[StateSpace, float, float]:
    A_r, B_r, C_r, uncertainty = project(
        shared.left, shared.hsv, shared.right, order, system.A @ shared.right, system.B, system.C
    )
    reduced = StateSpace(A_r, B_r, C_r, system.D, dt=system.dt)
    require_reduced_stable(reduced, shared.hsv, order)
    perturbation = _first_order_effect(reduced, uncertainty)
    expected = float(balanced_bound(shared.hsv, order) + perturbation)
    bound, error = certified(system, reduced, expected)
    require_consistent(floor=hankel_floor(shared.floor_hsv, order), bound=bound, error=error)
    return reduced, bound, perturbation


def require_reduced_stable(reduced: System, hsv: Array, k: int) -> None:
    """Raise :class:`StabilityError` that says which values are too close, where a truncation lost stability."""
    try:
        require_stable(reduced)
    except StabilityError as error:
        raise StabilityError(
            f"truncation between sigma_{k} = {hsv[k - 1]:.6g} and sigma_{k + 1} = {hsv[k]:.6g} gave a pole outside the "
            "stability region: they are too close to be told apart; choose another order",
            error.poles,
            error.margin,
        ) from error


def certified(system: StateSpace, reduced: StateSpace, expected: float) -> tuple[float, tuple[float, float]]:
    """`expected`, if the certified error is not more, else that; and the certified error, from below and above.

    Where nothing is expected (0) the error is certified once, closely.
    """
    lower, upper = 0.0, math.inf
    if expected > 0:
        quick = quick_error_norm(system, reduced, CERTIFY_RTOL[0])
        lower, upper = float(quick.lower), float(quick.upper)
        if upper <= expected:
            return expected, (lower, upper)
    for rtol in CERTIFY_RTOL if expected > 0 else CERTIFY_RTOL[-1:]:
        error = error_norm(system, reduced, rtol)
        lower, upper = max(lower, float(error.lower)), min(upper, float(error.upper))
        if upper <= expected:
            return expected, (lower, upper)
    if not math.isfinite(upper):
        raise AccuracyError(
            f"the error of the reduced system of {reduced.n} states cannot be proved in float64: choose another order, "
            "scale the states alike, or pass the system in modal (diagonal) form",
            upper,
        )
    return upper, (lower, upper)


def _first_order_effect(system: StateSpace, uncertainty: Array, most: int = 64) -> float:
    """What entries of ``A`` that are off by `uncertainty` change in the transfer function, as an estimate.

    With ``R = (zI - A)^{-1}`` the change is ``C R dA R B``: columns of ``C R`` and rows of ``R B``, largest over
    the frequencies of the least damped poles; twice that, for what lies between.
    """
    poles = system.poles
    damping = discrete_margin(poles) if system.is_discrete else -poles.real / np.maximum(np.abs(poles), 1e-300)
    least = poles[np.argsort(damping)[:most]]
    omega = np.unique(np.concatenate([np.angle(least) if system.is_discrete else least.imag, [0.0]]))
    eye = np.eye(system.n)
    B, C = thin_generator(system.B), thin_generator(system.C.conj().T)
    inward = frequency_response(StateSpace(system.A, B, eye, dt=system.dt), omega)
    # (C R)^* = (conj(z) I - A^*)^{-1} C^*: the adjoint system at the mirrored frequency
    outward = frequency_response(StateSpace(system.A.conj().T, C, eye, dt=system.dt), -omega)
    rows, columns = np.linalg.norm(inward, axis=2).max(0), np.linalg.norm(outward, axis=2).max(0)
    return float(2.0 * columns @ uncertainty @ rows)


def _from_integers(system: StateSpace, proved: DenseGramians, order: int) -> tuple[StateSpace, float, float]:
    proof, units = proved.balance, proved.units
    A_r, B_r, C_r = _leading_block(proof, order)
    tail = sum(above(int(value), proof.plant.bits) for value in proof.Pi[order:])
    # entries are rounded once; the rest is the distance between H and the exact inverse of F
    inner = above(int(proof.Pi[order - 1]), proof.plant.bits)
    other = proof.turn * float_norm(proof.H, proof.plant.bits)
    F, B = float_norm(proof.F, proof.plant.bits), float_norm(proof.plant.B, proof.plant.bits)
    A = float_norm(proof.plant.A, proof.plant.bits)
    off = (
        1.01 * EPS * np.abs(A_r) + TINY + other * A * F / inner,
        1.01 * EPS * np.abs(B_r) + TINY + other * B / math.sqrt(inner),
        1.01 * EPS * np.abs(C_r) + TINY,
    )
    primed = StateSpace(A_r, B_r, C_r, dt=system.dt)
    small = StateSpace(*units.realization(A_r, B_r, C_r), system.D, dt=system.dt)
    changed = float(units.gain(_effect(primed, *off)))
    bound = (2.0 * float(units.gain(tail)) + changed) * (1.0 + (system.n + 8) * EPS)
    if not math.isfinite(bound):
        bound = certified(system, small, 0.0)[0]
    elif changed > NEGLIGIBLE * bound:
        with contextlib.suppress(SSMReduceError):  # then the bound that is there stays
            bound = min(bound, float(error_norm(system, small, CERTIFY_RTOL[0]).upper))
    return small, bound, changed


def _leading_block(proof: BalanceProof, k: int) -> tuple[Array, Array, Array]:
    """The truncated system in balanced coordinates, every entry rounded once."""
    bits, plant = proof.plant.bits, proof.plant
    F, H = proof.F[:, :k], proof.H[:, :k]
    root = [math.isqrt(int(value) << bits) for value in proof.Pi[:k]]
    A, B, C = H.T @ plant.A @ F, H.T @ plant.B, plant.C @ F
    A_r = np.array([[A[i, j] / (root[i] * root[j] << bits) for j in range(k)] for i in range(k)])
    B_r = np.array([[B[i, j] / (root[i] << bits) for j in range(B.shape[1])] for i in range(k)])
    C_r = np.array([[C[i, j] / (root[j] << bits) for j in range(k)] for i in range(C.shape[0])])
    return A_r, B_r, C_r


def _effect(written: StateSpace, A_off: Array, B_off: Array, C_off: Array) -> float:
    r"""Bound what errors of A, B and C of these sizes change in the norm; ``inf`` where float64 cannot say.

    The gains of :math:`R=(zI-A)^{-1}`, :math:`RB` and :math:`CR` are at most twice the sum of their Hankel singular
    values, :math:`\sum\sigma_i\le\sqrt{k\,\mathrm{tr}(PQ)}`, with the Gramians of :mod:`theory.gramians.float_proof`.
    """
    units = scaled(written)
    found = float_gramians(units)
    if found is None:
        return math.inf
    d = 2.0 ** units.states.astype(float)
    A_off = A_off * d / d[:, None] * 2.0**-units.rate
    B_off, C_off = B_off / d[:, None] * 2.0**-units.inputs, C_off * d * 2.0**-units.outputs
    a, b, c = (float(np.linalg.norm(X)) * (1.0 + 1e-9) for X in (A_off, B_off, C_off))
    between, into, out, both = (
        float(np.linalg.norm(np.abs(X).T @ np.abs(Y)))
        for X, Y in ((found.Wo, found.Wc), (found.Wo, found.Lc), (found.Lo, found.Wc), (found.Wo, found.Wc))
    )
    # the Gramian with the identity on the right side is at most 2 W W^*
    factor = 2.0 * math.sqrt(written.n) * (1.0 + 1e-6)
    gain = 2.0 * factor * between
    into = factor * math.sqrt(2.0) * math.hypot(into, math.sqrt(found.c_error) * both)
    out = factor * math.sqrt(2.0) * math.hypot(out, math.sqrt(found.o_error) * both)
    if not gain * a < 0.5:
        return math.inf
    into = (into + gain * b) / (1.0 - gain * a)
    return float(np.ldexp(out * a * into + out * b + c * into, units.inputs + units.outputs - units.rate))
