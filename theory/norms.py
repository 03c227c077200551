r"""H-infinity and L-infinity norms as certified brackets."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from theory.bracket import Bracket
from theory.errors import AccuracyError, DimensionError, InputError, StabilityError, TimeBaseError
from theory.norm_dense import modal_sum, spectrum_radii
from theory.norm_gain import largest_gain
from theory.norm_modes import AXIS, CIRCLE, INFINITY, ModalSum
from theory.norm_rounding import UNIT
from theory.norm_search import Search
from theory.realization import dense
from theory.system import DiagonalStateSpace, StateSpace, System, require_stable

Array = NDArray[Any]


def hinf_norm(system: System, rtol: float = 1e-8) -> Bracket:
    r"""Bracket the H-infinity norm: ``lower <= sup sigma_max(G) <= upper``, `lower` attained, `upper` proved.

    Parameters
    ----------
    system : StateSpace or DiagonalStateSpace
        Stable; discrete or continuous; a batch gives a bracket of arrays. A bidirectional layer's norm is
        that of the non-causal sum over the circle.
    rtol : float
        Relative width to aim for, ``(upper - lower) / lower``.

    Returns
    -------
    Bracket
        ``status`` is "open" where rounding or the budget kept the bracket wider than `rtol`; both ends are true.

    Raises
    ------
    StabilityError
        A pole on or outside the stability boundary.
    AccuracyError
        Rounding cannot decide whether a dense system is stable.
    """
    return _norm(system, rtol, stable=True)


def linf_norm(system: System, rtol: float = 1e-8) -> Bracket:
    """Bracket the L-infinity norm, the largest gain on the boundary; unstable poles are allowed off the boundary.

    A pole on the boundary gives ``inf``; see :func:`hinf_norm` for the rest.
    """
    return _norm(system, rtol, stable=False)


def error_norm(G: System, Gr: System, rtol: float = 1e-8) -> Bracket:
    """Bracket the H-infinity norm of ``G - Gr``; states that both share bit for bit cancel exactly.

    Raises
    ------
    TimeBaseError, DimensionError
        The time bases or the numbers of inputs and outputs differ.
    StabilityError
        The difference has a pole on or outside the boundary.
    """
    return hinf_norm(difference(G, Gr), rtol)


def difference(G: System, Gr: System) -> System:
    """Return ``G - Gr``, diagonal where both are and have the same form, without the states that they share."""
    if G.dt != Gr.dt:
        raise TimeBaseError(f"the systems have different time bases, dt = {G.dt} and {Gr.dt}", G.dt, Gr.dt)
    if G.D.shape != Gr.D.shape:
        raise DimensionError("the systems differ in inputs, outputs or batch", first=G.D.shape, second=Gr.D.shape)
    if isinstance(G, DiagonalStateSpace) and isinstance(Gr, DiagonalStateSpace):
        merged = _diagonal_difference(G, Gr)
        if merged is not None:
            return merged
    if any(isinstance(item, DiagonalStateSpace) and item.batch_shape for item in (G, Gr)):
        raise InputError("the two batches have different forms (delay, conjugate_pairs or directions): compare them one by one")
    first, second = dense(G), dense(Gr)
    if all(np.array_equal(a, b) for a, b in ((first.A, second.A), (first.B, second.B), (first.C, second.C))):
        return StateSpace([], [], [], first.D - second.D, dt=first.dt)
    A = np.block([[first.A, np.zeros((first.n, second.n))], [np.zeros((second.n, first.n)), second.A]])
    return StateSpace(A, np.vstack([first.B, second.B]), np.hstack([first.C, -second.C]), first.D - second.D, dt=first.dt)


def _diagonal_difference(G: DiagonalStateSpace, Gr: DiagonalStateSpace) -> DiagonalStateSpace | None:
    if (G.delay, G.conjugate_pairs, G.is_bidirectional) != (Gr.delay, Gr.conjugate_pairs, Gr.is_bidirectional):
        return None
    if G.is_bidirectional and G.delay_reverse != Gr.delay_reverse:
        return None
    if not G.batch_shape:
        keep_first, keep_second = _unshared(G, Gr)
        G, Gr = G.keep(keep_first), Gr.keep(keep_second)
    reverse = None
    if G.C_reverse is not None and Gr.C_reverse is not None:
        reverse = np.concatenate([G.C_reverse, -Gr.C_reverse], axis=-1)
    return G.replace(
        poles=np.concatenate([G.poles, Gr.poles], axis=-1),
        B=np.concatenate([G.B, Gr.B], axis=-2),
        C=np.concatenate([G.C, -Gr.C], axis=-1),
        C_reverse=reverse,
        D=G.D - Gr.D,
    )


def _unshared(G: DiagonalStateSpace, Gr: DiagonalStateSpace) -> tuple[list[int], list[int]]:
    """Indices of the states of each system that the other one does not have bit for bit."""

    def key(system: DiagonalStateSpace, i: int) -> bytes:
        reverse = b"" if system.C_reverse is None else system.C_reverse[:, i].tobytes()
        return bytes(system.poles[i].tobytes() + system.B[i].tobytes() + system.C[:, i].tobytes() + reverse)

    waiting: dict[bytes, list[int]] = {}
    for j in range(Gr.n):
        waiting.setdefault(key(Gr, j), []).append(j)
    first = []
    for i in range(G.n):
        same = waiting.get(key(G, i))
        if same:
            same.pop()
        else:
            first.append(i)
    return first, sorted(j for left in waiting.values() for j in left)


def _norm(system: System, rtol: float, *, stable: bool) -> Bracket:
    if not (np.isfinite(rtol) and rtol > 0):
        raise InputError(f"rtol must be a positive number, got {rtol!r}")
    rtol = max(float(rtol), 1e-13)
    if isinstance(system, DiagonalStateSpace):
        if stable:
            require_stable(system)
        if system.batch_shape:
            return _batch(system, rtol, stable=stable)
    if system.p == 0 or system.m == 0:
        return Bracket(0.0, 0.0, 0.0)
    modes = _diagonal_modes(system) if isinstance(system, DiagonalStateSpace) else _dense_modes(system, stable=stable)
    return _bracket(modes, rtol)


def _batch(system: DiagonalStateSpace, rtol: float, *, stable: bool) -> Bracket:
    if stable and system.m == 1 and system.p == 1:
        try:
            from theory.norm_batch import batch_hinf_norm

            return batch_hinf_norm(system, rtol)
        except ImportError:
            pass
    shape = system.batch_shape
    brackets = [_norm(system[index], rtol, stable=stable) for index in np.ndindex(*shape)]
    lower, upper, frequency = (
        np.array([getattr(item, name) for item in brackets], dtype=float).reshape(shape) for name in ("lower", "upper", "frequency")
    )
    closed = all(item.status == "closed" for item in brackets)
    return Bracket(lower, upper, frequency, "closed" if closed else "open", {"systems": len(brackets)})


def _diagonal_modes(system: DiagonalStateSpace) -> ModalSum:
    poles, B, C, reverse = system.poles, system.B, system.C, system.C_reverse
    if system.conjugate_pairs:
        poles, B, C = np.concatenate([poles, poles.conj()]), np.concatenate([B, B.conj()]), np.concatenate([C, C.conj()], axis=1)
        reverse = None if reverse is None else np.concatenate([reverse, reverse.conj()], axis=1)
    n = poles.size
    # without D one factor z does not change the gain: delay 0 is delay 1
    direct = np.full(n, system.delay == 0 and (reverse is not None or bool(np.any(system.D))))
    backwards = np.zeros(n, bool)
    if reverse is not None:
        poles, B, C = np.concatenate([poles, poles]), np.concatenate([B, B]), np.concatenate([C, reverse], axis=1)
        direct = np.concatenate([direct, np.full(n, system.delay_reverse == 0)])
        backwards = np.concatenate([backwards, np.ones(n, bool)])
    real = system.conjugate_pairs
    if not real:
        real = not (np.any(poles.imag) or np.any(B.imag) or np.any(C.imag) or (system.D.dtype.kind == "c" and np.any(system.D.imag)))
    plain = DiagonalStateSpace(poles, B, C, dt=system.dt, conjugate_pairs=False)
    active = np.any(B != 0, axis=1) & np.any(C != 0, axis=0)
    return ModalSum(
        poles=poles[active],
        margin=plain.margin[active],
        B=B[active],
        C=C[:, active],
        D=system.D,
        reverse=backwards[active],
        direct=direct[active],
        discrete=system.is_discrete,
        real=real,
    )


def _dense_modes(system: StateSpace, *, stable: bool) -> ModalSum:
    modes = modal_sum(system)
    if modes is None:
        raise AccuracyError("the dense system cannot be diagonalised", float("inf"))
    if stable:
        radii = spectrum_radii(modes)
        size = float(np.abs(system.A).max(initial=0.0)) if system.n else 0.0
        if not system.is_discrete and system.n:
            size = float(np.linalg.norm(scipy.linalg.matrix_balance(system.A, permute=False)[0]))
        doubtful = ~(modes.margin > radii)
        if doubtful.any():
            worst = float(modes.margin.min())
            outside = modes.margin < 64 * system.n * UNIT * max(size, 1.0 if system.is_discrete else 0.0)
            if outside.any():
                raise StabilityError(
                    f"{int(outside.sum())} of {system.n} poles are on or outside the stability boundary to working precision; "
                    f"the smallest margin is {worst:.3g}",
                    modes.poles[outside],
                    worst,
                )
            raise AccuracyError(
                f"rounding cannot decide whether the system is stable: the eigenvalues are known to {float(radii.max()):.3g}, "
                f"the smallest margin is {worst:.3g}",
                float(radii.max()),
            )
    return modes


def _bracket(modes: ModalSum, rtol: float) -> Bracket:
    size = max(float(np.abs(modes.D).max(initial=0.0)), float(modes.weights.max(initial=0.0)))
    if size == 0.0 and modes.perturbation is None:
        return Bracket(0.0, 0.0, 0.0)
    scale = 2.0 ** np.round(np.log2(size)) if size > 0 else 1.0
    root = 2.0 ** np.round(0.5 * np.log2(scale))
    modes = replace(modes, B=modes.B / root, C=modes.C / (scale / root), D=modes.D / scale)
    if modes.perturbation is not None:
        old = modes.perturbation
        modes = replace(modes, perturbation=replace(old, dB=old.dB / root, dC=old.dC / (scale / root)))
    if modes.poles.size == 0:
        estimate, upper = largest_gain(modes.D[None])
        low = float(max(estimate[0] - (upper[0] - estimate[0]), 0.0))
        return _close(low * scale, float(upper[0]) * scale, 0.0, rtol, {})
    with np.errstate(all="ignore"):
        search = Search(modes=modes, rtol=rtol)
        p, m = modes.D.shape
        order = 6 if p * m <= 64 else 2
        chunk = max(8, min(4096, int(4e5 / (modes.poles.size + p * m))))
        search.prove(order=order, chunk=chunk, budget=20_000)
    frequency = search.where
    if search.chart == INFINITY:
        frequency = np.inf if frequency == 0.0 else 1.0 / frequency
    return _close(search.best * scale, search.upper * scale, float(frequency), rtol, {"arcs": search.arcs})


def _close(lower: float, upper: float, frequency: float, rtol: float, diagnostics: dict[str, Any]) -> Bracket:
    closed = upper <= lower * (1.0 + rtol) or upper == lower
    return Bracket(lower, upper, frequency, "closed" if closed else "open", diagnostics)


__all__ = ["AXIS", "CIRCLE", "difference", "error_norm", "hinf_norm", "linf_norm"]
