"""From one system to one bracket: scale, search, prove, and re-evaluate the witness."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from theory.arithmetic.rounding import UNIT, row_norms
from theory.arithmetic.singular_value import gain_of, largest_gain
from theory.norms.bracket import Bracket
from theory.norms.peaks.witness import attained_gain
from theory.norms.proofs.arcs import Boundary, Search
from theory.norms.proofs.levels import LargeSearch
from theory.norms.proofs.storage_function import StorageProof
from theory.norms.proofs.supply import storage_form
from theory.norms.responses.compression import compress
from theory.norms.responses.dense import modal_sum, resolvents, scales
from theory.norms.responses.modes import ModalSum
from theory.norms.responses.resolvent import Resolvent
from theory.systems.boundary import AXIS, CIRCLE, INFINITY, frequency
from theory.systems.pairs import both_halves
from theory.systems.stability import FEW_STATES, proved_by_discs, refinements, refuse
from theory.systems.system import DiagonalStateSpace, StateSpace
from theory.systems.units import power_of_two

Array = NDArray[Any]

SMALL = 64
"""Inputs times outputs up to which every sample gets its singular values; above, levels are proved one by one."""


def diagonal_modes(system: DiagonalStateSpace) -> ModalSum:
    """Write out the modes of one diagonal system: conjugate halves, the reverse direction, the delays."""
    poles, B, C, reverse = system.poles, system.B, system.C, system.C_reverse
    n = poles.size
    # with D = 0 one factor z does not change the gain: delay 0 is delay 1
    direct = np.full(n, system.delay == 0 and (reverse is not None or bool(np.any(system.D))))
    backwards = np.zeros(n, bool)
    if reverse is not None:
        poles, B, C = np.concatenate([poles, poles]), np.concatenate([B, B]), np.concatenate([C, reverse], axis=1)
        direct = np.concatenate([direct, np.full(n, system.delay_reverse == 0)])
        backwards = np.concatenate([backwards, np.ones(n, bool)])
    if system.conjugate_pairs:  # all of the second half, so that the sum is known to be real
        poles, B, C = (both_halves(x, axis) for x, axis in ((poles, 0), (B, 0), (C, 1)))
        direct, backwards = np.tile(direct, 2), np.tile(backwards, 2)
    real = system.conjugate_pairs or not any(np.any(np.imag(array)) for array in (poles, B, C, system.D))
    active = np.any(B != 0, axis=1) & np.any(C != 0, axis=0)
    poles, B, C = poles[active], B[active], C[:, active]
    balance = power_of_two(np.sqrt(row_norms(B)) / np.sqrt(row_norms(C, axis=0)))
    margin = DiagonalStateSpace(poles, B, C, dt=system.dt, conjugate_pairs=False).margin
    return ModalSum(
        poles=poles,
        margin=margin,
        B=B / balance[:, None],
        C=C * balance,
        D=system.D,
        reverse=backwards[active],
        direct=direct[active],
        discrete=system.is_discrete,
        real=real,
    )


def diagonal_bracket(system: DiagonalStateSpace, rtol: float) -> Bracket:
    """Bracket the largest gain of one diagonal system on the boundary; a pole there gives ``inf``."""
    modes = diagonal_modes(system)
    on_boundary = modes.margin == 0
    if on_boundary.any():
        pole = modes.poles[on_boundary][0]
        frequency = float(np.angle(pole)) if system.is_discrete else float(pole.imag)
        frequency = -frequency if modes.reverse[on_boundary][0] else frequency
        frequency = abs(frequency) if modes.real else frequency
        same = on_boundary & (modes.poles == pole)
        residue = modes.C[:, same] @ modes.B[same]
        cancels = np.abs(residue).max() <= 1e-13 * float(modes.weights[same].sum())
        return Bracket(
            0.0 if cancels else np.inf, np.inf, frequency, "open" if cancels else "closed", {"proof": "pole"}
        )
    return modal_bracket(modes, rtol)


def dense_bracket(system: StateSpace, rtol: float, *, stable: bool, unit: float = 1.0) -> Bracket:
    """Bracket the largest gain of a dense system on the boundary; with `stable`, prove stability or raise.

    `unit` is the time unit of the system (:func:`theory.systems.units.unit_time`), for what the errors say.
    """
    if system.n == 0:
        return static_bracket(system.D, rtol)
    bracket, silent = Bracket(0.0, np.inf, 0.0, "open"), not (np.any(system.B) and np.any(system.C))
    for steps in refinements(system.n):
        modes = modal_sum(system, steps=steps)
        proven = not stable or (
            modes is not None and proved_by_discs(system, modes.poles, modes.margin, modes.radii, unit, final=steps > 0)
        )
        if silent and proven:
            return static_bracket(system.D, rtol)
        if modes is not None and (proven or steps > 0):
            bracket = modal_bracket(modes, rtol)
            if proven and bracket.status == "closed":
                return bracket
    if proven and system.n > FEW_STATES and bracket.width < 1e-2:
        return bracket  # float64 inverses, which cost n^3 a sample, do not know more
    for resolvent, scale in resolvents(system):
        budget = int(np.clip(1e9 / system.n**3, 200, 4000))
        search, where = _search(resolvent, rtol, budget=budget, work=system.n**2)
        where = abs(where) if system.is_real else where
        proven = proven or resolvent.stable_count() == system.n
        lower, upper = search.best * scale, search.upper * scale
        if bracket.lower > lower:
            lower, where = bracket.lower, bracket.frequency
        diagnostics = {"arcs": search.arcs, "proof": "resolvent"}
        bracket = close(lower, min(upper, bracket.upper), where, rtol, diagnostics)
        if proven and bracket.status == "closed":
            break
    if not proven:
        refuse(
            resolvent.poles,
            resolvent.stable_count(),
            resolvent.largest_resolvent,
            unit,
            discrete=resolvent.discrete,
        )
    return bracket


def static_bracket(D: Array, rtol: float) -> Bracket:
    """Bracket the largest singular value of `D`."""
    scale = power_of_two(np.abs(D).max(initial=0.0))
    if not D.any():
        return Bracket(0.0, 0.0, 0.0)
    _, upper = largest_gain((D / scale).astype(complex)[None])
    return close(gain_of(D / scale) * scale, float(upper[0]) * scale, 0.0, rtol, {"proof": "static"})


def modal_bracket(modes: ModalSum, rtol: float) -> Bracket:
    """Bracket the largest gain of a modal sum on the boundary."""
    if modes.poles.size == 0:
        return static_bracket(modes.D, rtol)
    balance, scale = scales(modes.B, modes.C, modes.D)
    modes = replace(modes, B=modes.B / balance, C=modes.C / (scale / balance), D=modes.D / scale)
    if modes.perturbation is not None:
        old = modes.perturbation
        modes = replace(
            modes, perturbation=replace(old, b_error=old.b_error / balance, c_error=old.c_error / (scale / balance))
        )
    diagnostics: dict[str, Any] = {"proof": "modes"}
    least = min(modes.poles.size, modes.B.shape[1]) * min(modes.poles.size, modes.C.shape[0])
    vector = None
    if least <= SMALL or (modes.D.any() and modes.D.size <= SMALL):
        short = compress(modes)
        # of a dense system whose modes are all rounding error, the resolvent knows more
        idle = None if modes.perturbation is None else 400
        size = short.poles.size + short.D.size
        search, where = _search(short, rtol, budget=20_000, work=size, idle_budget=idle)
        diagnostics["arcs"], upper = search.arcs, search.upper
    else:
        large, upper = _large(modes, rtol, diagnostics)
        where = frequency(large.chart, large.where)
        vector = large.vector if large.vector.size == modes.B.shape[1] else None
    with np.errstate(all="ignore"):
        lower = attained_gain(modes, where, vector)
    return close(lower * scale, upper * scale, where, rtol, diagnostics)


def _large(modes: ModalSum, rtol: float, diagnostics: dict[str, Any]) -> tuple[LargeSearch, float]:
    """Locate the largest gain; prove it for the whole circle at once where that works, else arc by arc."""
    with np.errstate(all="ignore"):
        large = LargeSearch(compress(modes, factor=2), rtol)
        large.locate()
        if _proved_at_once(modes, large):
            diagnostics["proof"] = "storage"
            return large, large.level
        short = compress(modes)
        if short is not large.modes:
            large = LargeSearch(short, rtol)
            large.locate()
        large.cover()
        diagnostics |= {"arcs": large.arcs, "factorizations": large.proofs}
        return large, large.upper


def _proved_at_once(modes: ModalSum, large: LargeSearch) -> bool:
    """Whether a storage function proves the level; most often it fails because a larger gain was missed."""
    form = storage_form(modes)
    if form is None or not large.best > 0:
        return False
    proof = StorageProof(form)

    def proved(patient: bool) -> bool:
        level = (large.level * (1 - 4 * UNIT)) * (1.0 - form.inflation) - form.extra
        return proof.prove(level, large.best, large.state(), patient=patient)

    if proved(patient=False):
        return True
    found = large.best
    large.locate(thorough=True)
    return (large.best > found and proved(patient=False)) or proved(patient=True)


def _search(
    boundary: Boundary, rtol: float, *, budget: int, work: int, idle_budget: int | None = None
) -> tuple[Search, float]:
    """Run the search and turn its witness into a frequency."""
    search = Search(boundary=boundary, rtol=rtol)
    with np.errstate(all="ignore"):
        search.prove(chunk=max(8, min(4096, int(4e5 / max(work, 1)))), budget=budget, idle_budget=idle_budget)
        if isinstance(boundary, Resolvent):
            search.best = _resolvent_witness(boundary, search.chart, search.where)
    return search, frequency(search.chart, search.where)


def _resolvent_witness(boundary: Resolvent, chart: str, where: float) -> float:
    """Return a gain attained at the float64 frequency that is reported for the sample at `where`."""
    x = np.array([where])
    value, error, model = boundary.response(chart, x)
    # the sample lies within rounding of the frequency that is reported
    slip = {CIRCLE: 4e-16, AXIS: 0.0, INFINITY: 4e-16 * abs(where)}[chart]
    slope = 0.0
    if slip:
        arc = boundary.arc(chart, x, np.array([slip + 1e-300]))
        slope, model = arc.first[0], arc.extra
    gain = gain_of(value[0]) - 1.01 * (float(error[0]) + float(model[0]) + float(slope) * slip)
    return max(gain, 0.0) if np.isfinite(gain) else 0.0


def close(lower: float, upper: float, frequency: float, rtol: float, diagnostics: dict[str, Any]) -> Bracket:
    """Make the bracket, "closed" if it meets `rtol`."""
    lower, upper = float(lower), float(max(upper, lower))
    return Bracket(lower, upper, frequency, "closed" if upper <= lower * (1.0 + rtol) else "open", diagnostics)
