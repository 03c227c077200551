r"""Balanced residualization (singular perturbation): what is left out settles at once, so the gain at rest is exact.

In balanced coordinates the last states are not dropped but held at their equilibrium,
:math:`x_2=A_{21}x_1+A_{22}x_2+B_2u` (continuous time: :math:`0=\dots`). With :math:`M=(I-A)^{-1}`, :math:`w=z-1`
(continuous: :math:`M=-A^{-1}`, :math:`w=s`)

.. math:: G=D+CMB-w\,CM(I+wM)^{-1}MB,

and the leading block of the Schur complement of :math:`M^{-1}` is the inverse of that of M: residualization projects
:math:`(M,MB,CM)` with the very bases that balanced truncation projects :math:`(A,B,C)` with :cite:p:`LA89`. No balanced
realization of all the states is needed, and :math:`w=0` is met exactly. The bound is that of balanced truncation.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from theory.arithmetic.rounding import EPS
from theory.errors import InputError
from theory.gramians.gramians import stacked_output
from theory.reduction.balanced_truncation import _attainable as attainable
from theory.reduction.balanced_truncation import _checked_order as checked_order
from theory.reduction.balanced_truncation import _present as present
from theory.reduction.balanced_truncation import truncate
from theory.reduction.balancing import Balancing, Remark, Truncation, balance, real_order
from theory.reduction.bounds import balanced_bound, hankel_floor
from theory.reduction.channels import parts, stacked
from theory.reduction.dense_truncation import certified
from theory.reduction.stored_states import Matrices, largest_fit
from theory.systems.given import SystemLike, as_system
from theory.systems.pairs import product, real_input, real_output
from theory.systems.system import DiagonalStateSpace, StateSpace, System, require_stable

Array = NDArray[Any]

Feedthrough = Literal["dense", "diagonal", "kept"]

SMALLEST_POLE = EPS**0.5
"""A reduced pole that a ``delay=0`` output divides by is moved out to this modulus: the move and the rounding that the
division brings in are then both of relative size root eps, and both are in the bound."""


def residualized(
    system: SystemLike,
    order: int,
    *,
    feedthrough: Feedthrough = "dense",
    balancing: Balancing | None = None,
    condition_limit: float = 1e8,
) -> Truncation:
    r"""Residualize the balanced realization of a stable system.

    .. math:: G_r(1)=G(1),\qquad\|G-G_r\|_\infty\le2\sum_{i>k}\sigma_i

    (continuous time: at :math:`s=0`) with the Hankel singular values of the strictly causal part, where the feedthrough
    may take every value. A diagonal feedthrough is wrong by the part that it cannot take, a kept one by all of it, and
    so is the gain at rest; the bound has it added.

    Parameters
    ----------
    system : StateSpace or DiagonalStateSpace
        Stable; discrete or continuous, one system or a batch, one or two directions.
    order : int
        Stored states to keep, ``0 <= order <= n``.
    feedthrough : {"dense", "diagonal", "kept"}, keyword only
        What may change of ``D``. An S5 layer stores a diagonal. A ``D`` of real type stays real, of a complex system,
        too.
    balancing : Balancing, optional, keyword only
        Of the system itself, for `hsv`; computed when left out.
    condition_limit : float, keyword only
        As for :func:`theory.reduction.balanced_truncation.balanced_truncation`.

    Returns
    -------
    Truncation
        ``diagnostics["left_out"]``: norm of what the feedthrough could not take.

    Raises
    ------
    StabilityError, OrderError, AccuracyError, InputError

    Notes
    -----
    ``delay=0``: the strictly causal form is residualized and written back, :math:`C_r\to C_r\Lambda_r^{-1}`. Kept
    feedthrough: that of ``(poles, B, C)`` as stored. Cost as balanced truncation.
    """
    system = as_system(system)
    if feedthrough not in ("dense", "diagonal", "kept"):
        raise InputError(f"feedthrough must be 'dense', 'diagonal' or 'kept', got {feedthrough!r}")
    own = balance(system) if balancing is None else balancing
    order = checked_order(own, order)
    if order == system.n or (order == 0 and feedthrough == "kept"):
        return truncate(own, order, condition_limit)
    if isinstance(system, StateSpace):
        return _dense(own, system, order, feedthrough)
    causal = own if feedthrough == "kept" else balance(strictly_causal(system))
    if not system.batch_shape:
        return _diagonal(own, causal, order, feedthrough, condition_limit)
    channels = [
        _diagonal(one, other, order, feedthrough, condition_limit)
        for one, other in zip(parts(own), parts(causal), strict=True)
    ]
    whole = stacked(own, channels, "balanced residualization")
    floor = hankel_floor(causal.floor_hsv, real_order(system, whole.order))
    left_out = np.reshape([channel.diagnostics["left_out"] for channel in channels], system.batch_shape)
    return replace(whole, floor=floor, diagnostics={**whole.diagnostics, "left_out": left_out})


def strictly_causal(system: DiagonalStateSpace) -> DiagonalStateSpace:
    """The same transfer function with ``delay=1`` in both directions, which then share no sample."""
    D, C, reverse = system.D, system.C, system.C_reverse
    if system.delay == 0:
        D, C = D + product(C, system.B, system.conjugate_pairs), C * system.poles[..., None, :]
    if reverse is not None and system.delay_reverse == 0:
        D, reverse = D + product(reverse, system.B, system.conjugate_pairs), reverse * system.poles[..., None, :]
    return system.replace(C=C, C_reverse=reverse, D=D, delay=1, delay_reverse=1)


class _Projected(NamedTuple):
    """What is projected, of a system of N real states: ``M T, M B, C M`` and the gain at rest ``C M B``."""

    MT: Array
    MB: Array
    CM: Array
    gain: Array

    def realize(self, shared: Balancing, k: int, discrete: bool) -> tuple[Matrices, Array]:
        """The reduced matrices, and what the feedthrough grows by."""
        root = np.sqrt(shared.hsv[:k])
        W, T = shared.left[:, :k] / root, shared.right[:, :k] / root
        gram = W.conj().T @ T  # the identity, up to rounding that this solve takes out
        both = np.linalg.solve(gram, W.conj().T @ np.concatenate([self.MT[:, :k] / root, self.MB], axis=1))
        M, b, c = both[:, :k], both[:, k:], self.CM @ T
        inverse = np.linalg.inv(M)
        A = np.eye(k) - inverse if discrete else -inverse
        size = np.abs(inverse) @ (np.abs(W).T @ np.abs(self.MT[:, :k] / root)) @ np.abs(inverse)
        uncertainty = (4.0 + np.sqrt(W.shape[0])) * EPS * (size + np.abs(inverse))
        B, C = inverse @ b, c @ inverse
        return Matrices(A, B, C, uncertainty), self.gain - c @ B


def _diagonal(own: Balancing, causal: Balancing, order: int, feedthrough: str, condition_limit: float) -> Truncation:
    system, form = own.system, causal.system
    assert isinstance(system, DiagonalStateSpace)
    assert isinstance(form, DiagonalStateSpace)
    projected = _modal(form, causal.right)
    ways = 2 if system.is_bidirectional else 1
    perturbation, k, remark, condition = 0.0, 0, "", 1.0
    remarks: tuple[Remark, ...] = ()
    small, grown = form.keep([]), projected.gain
    most = min(real_order(system, order), int(present(causal.hsv)))
    if order and most:
        gains: dict[int, Array] = {}

        def realize(k: int) -> Matrices:
            matrices, gains[k] = projected.realize(causal, k, system.is_discrete)
            return matrices

        fit = largest_fit(form, order, most, realize, condition_limit)
        found, k, grown = fit.diagonalization, fit.k, gains[fit.k]
        remark, remarks = fit.remark, () if fit.failure is None else (Remark.PARTLY_REFUSED,)
        p, C = system.p, found.system.C
        small = form.replace(
            poles=found.system.poles, B=found.system.B, C=C[:p], C_reverse=C[p:] if ways == 2 else None
        )
        perturbation, condition = found.perturbation, found.condition
    change = grown[: system.p] + (grown[system.p :] if ways == 2 else 0.0)
    if feedthrough == "kept":
        reduced, left_out, moved = small.replace(D=system.D), change, 0.0
    else:
        back, moved = _delayed(small.replace(D=form.D + change), system)
        reduced, left_out = writable(back, system, feedthrough)
    lost = float(np.linalg.norm(left_out, 2)) * (1.0 + 16.0 * EPS)
    bound = balanced_bound(causal.hsv, k, directions=ways) + ways * perturbation + moved + lost
    require_stable(reduced)
    return Truncation(
        system=reduced, order=reduced.n, hsv=own.hsv, bound=float(bound),
        floor=hankel_floor(causal.floor_hsv, real_order(system, reduced.n)),
        status=f"balanced residualization to {reduced.n} stored states ({k} of {own.hsv.size}){remark}",
        remarks=remarks,
        diagnostics={
            "states": k, "condition": condition, "perturbation": perturbation + moved, "left_out": lost,
        },
    )  # fmt: skip


def _modal(form: DiagonalStateSpace, right: Array) -> _Projected:
    """The projected matrices of a diagonal system, outputs stacked; real ones for conjugate pairs."""
    at_rest = 1.0 / (1.0 - form.poles) if form.is_discrete else -1.0 / form.poles
    C = stacked_output(form)
    MB, CM, gain = at_rest[:, None] * form.B, C * at_rest, (C * at_rest) @ form.B
    if not form.conjugate_pairs:
        return _Projected(at_rest[:, None] * right, MB, CM, gain)
    n = form.n
    turned = at_rest[:, None] * (right[:n] + 1j * right[n:])  # [Re x; Im x] as x: columns of a real matrix
    return _Projected(real_input(turned), real_input(MB), real_output(CM), 2.0 * gain.real)


def _delayed(small: DiagonalStateSpace, system: DiagonalStateSpace) -> tuple[DiagonalStateSpace, float]:
    """Write a strictly causal system with the delays of another; and what poles too small to divide by cost."""
    poles, moved = small.poles, 0.0
    if small.n and 0 in (system.delay, system.delay_reverse if small.is_bidirectional else 1):
        tiny = np.abs(poles) < SMALLEST_POLE
        poles = np.where(tiny, SMALLEST_POLE * np.where(poles.real < 0, -1.0, 1.0), poles)
        gains = np.linalg.norm(small.B, axis=1) * np.linalg.norm(stacked_output(small), axis=0)
        # |1/(z-a) - 1/(z-b)| <= |a-b|/((1-|a|)(1-|b|)), twice for a pair, and rounding of C/pole B against D
        moved = float((4.0 * gains * np.abs(poles - small.poles)).sum() + 32.0 * EPS * (gains / np.abs(poles)).sum())
        moved *= 2.0 if small.is_bidirectional else 1.0
    D, C, reverse = small.D, small.C, small.C_reverse
    if system.delay == 0:
        C = C / poles
        D = D - product(C, small.B, small.conjugate_pairs)
    if reverse is not None and system.delay_reverse == 0:
        reverse = reverse / poles
        D = D - product(reverse, small.B, small.conjugate_pairs)
    written = small.replace(
        poles=poles, C=C, C_reverse=reverse, D=D, delay=system.delay, delay_reverse=system.delay_reverse
    )
    return written, moved


def writable(reduced: System, system: System, feedthrough: str) -> tuple[Any, Array]:
    """The system with what may be written of its feedthrough, and what may not."""
    change = reduced.D - system.D
    kept = {"dense": change, "diagonal": np.eye(*change.shape[-2:]) * change, "kept": 0.0 * change}[feedthrough]
    kept = kept.real if system.D.dtype.kind == "f" else kept  # a complex system whose D is stored as real
    D = system.D + kept
    if isinstance(reduced, StateSpace):
        return StateSpace(reduced.A, reduced.B, reduced.C, D, dt=reduced.dt), change - kept
    return reduced.replace(D=D), change - kept


def _dense(own: Balancing, system: StateSpace, order: int, feedthrough: str) -> Truncation:
    """The bound is that of the written system: the certified error says whether the a-priori one holds for it."""
    pencil = np.eye(system.n) - system.A if system.is_discrete else -system.A
    solved = np.linalg.solve(pencil, np.concatenate([own.right, system.B], axis=1))
    MT, MB = solved[:, : system.n], solved[:, system.n :]
    CM = np.linalg.solve(pencil.T, system.C.T).T
    projected = _Projected(MT, MB, CM, system.C @ MB)
    k = min(order, attainable(own))
    if k:
        (A, B, C, _), change = projected.realize(own, k, system.is_discrete)
    else:
        A, B, C, change = system.A[:0, :0], system.B[:0], system.C[:, :0], projected.gain
    full = StateSpace(A, B, C, system.D + change, dt=system.dt)
    require_stable(full)
    reduced, left_out = writable(full, system, feedthrough)
    lost = float(np.linalg.norm(left_out, 2))
    bound, _ = certified(system, reduced, float(balanced_bound(own.ceiling_hsv, k)) + lost)
    return Truncation(
        system=reduced, order=k, hsv=own.hsv, bound=bound, floor=hankel_floor(own.floor_hsv, k),
        status=f"balanced residualization to {k} states", diagnostics={"states": k, "left_out": lost},
    )  # fmt: skip
