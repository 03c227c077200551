r"""H-infinity and L-infinity norms as certified brackets: the gain attained below, the proof above.

Holds: responses (what is sampled along the boundary), peaks (lower ends), proofs (upper ends), and the plan that says
which of them are tried, in which order.
May be imported: ``hinf_norm``, ``linf_norm``, ``error_norm`` from here, and :mod:`theory.norms.bracket`.
Imports :mod:`theory.systems`, :mod:`theory.equations` and :mod:`theory.arithmetic`; never a reduction.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from theory.arithmetic.rounding import EPS
from theory.arithmetic.threads import few_threads
from theory.errors import InputError, ToleranceError
from theory.norms.bracket import Bracket
from theory.norms.plan import UNKNOWN, Stability, decided, sketched
from theory.norms.proofs.constants import Constant
from theory.norms.responses.dense import StaticGain
from theory.systems.difference import difference
from theory.systems.given import SystemLike, as_system
from theory.systems.system import DiagonalStateSpace, StateSpace, System, require_stable
from theory.systems.units import unit_time


def hinf_norm(system: SystemLike, rtol: float = 1e-8) -> Bracket:
    r"""Bracket the H-infinity norm: :math:`\text{lower}\le\sup_\omega\sigma_{\max}(G(\omega))\le\text{upper}`.

    `lower` is a gain attained at `frequency`, rounded down by its evaluation error; `upper` is proved, with
    rounding accounted for.

    Parameters
    ----------
    system : StateSpace or DiagonalStateSpace
        Stable; discrete or continuous, real or complex. A batch gives a bracket of arrays. For a bidirectional
        layer it is the largest gain of the non-causal sum over the circle.
    rtol : float
        Width to aim for, relative to `lower`.

    Returns
    -------
    Bracket
        ``status`` is "open" where rounding kept the bracket wider than `rtol`; both ends are true all the same.
        ``frequency`` is in rad/sample (rad/s in continuous time): ``exp(1j * frequency)`` is the point of the circle
        whatever `dt` is.

    Raises
    ------
    StabilityError
        A pole lies on or outside the stability boundary. The poles of a diagonal system and of a triangular ``A`` are
        taken at their word; those of any other ``A`` count as on the boundary within two units in the last place.
    AccuracyError
        Rounding cannot decide whether a dense system is stable.
    ToleranceError
        `rtol` is below what float64 resolves, 2.2e-16; carries that. Whatever is above is tried: where it is out of
        reach, often from 1e-12 on, the work comes to its limit and the bracket is "open".

    Notes
    -----
    Method: two loops, over ways of writing the system and over proofs (:mod:`theory.norms.plan`). For few channels,
    branch and bound over arcs of the boundary; on each arc the curvature of :math:`\|G(t)u\|^2` is
    bounded from Taylor coefficients and the modes' exact derivatives (:mod:`theory.norms.proofs.arcs`).
    Dense systems are diagonalised with a proved remainder; where eigenvectors fail, a verified resolvent is used.
    With many channels the level is proved for the whole circle at once, by a storage function
    (:mod:`theory.norms.proofs.storage_function`), or arc by arc
    (:mod:`theory.norms.proofs.levels`); ``diagnostics["proof"]`` says which.
    Finite impulse responses are polynomials in 1/z (:mod:`theory.norms.proofs.polynomial`), and triangular systems that
    eigenvectors leave open are solved by substitution (:mod:`theory.norms.responses.substitution`).
    Cost: O(n (p + m)) a sample for a diagonal system, some hundred samples; O(n^3), 15 to 30 times, for a storage
    function.
    Not certified: the input data themselves, taken as exact float64 numbers.
    """
    system = as_system(system)
    return _norm(system, rtol, stable=True)


def linf_norm(system: SystemLike, rtol: float = 1e-8) -> Bracket:
    """Bracket the L-infinity norm, the largest gain on the boundary; poles outside the stability region are allowed.

    A pole on the boundary gives ``upper = inf`` (and ``lower = inf`` where it is proved to be there).

    Parameters
    ----------
    system : StateSpace or DiagonalStateSpace
        Need not be stable.
    rtol : float
        As for :func:`hinf_norm`.

    Returns
    -------
    Bracket
    """
    system = as_system(system)
    return _norm(system, rtol, stable=False)


def error_norm(G: SystemLike, Gr: SystemLike, rtol: float = 1e-8) -> Bracket:
    """Bracket the H-infinity norm of ``G - Gr``; states that both have bit for bit cancel exactly.

    Parameters
    ----------
    G, Gr : StateSpace or DiagonalStateSpace
        Same time base, inputs and outputs.
    rtol : float
        As for :func:`hinf_norm`, relative to the norm of the difference.

    Returns
    -------
    Bracket

    Raises
    ------
    TimeBaseError, DimensionError
        The time bases or the numbers of inputs and outputs differ.
    StabilityError, AccuracyError
        As for :func:`hinf_norm`; states that cancel do not count.
    InputError
        A bidirectional system meets a dense one, or one with other delays.

    Notes
    -----
    Not certified: the rounding of ``D - Dr`` and, where `delay` differs or a ``delay=0`` system meets a dense one,
    of ``C poles`` and ``D + C B``, a few eps times the size of these.
    """
    return hinf_norm(difference(G, Gr), rtol)


@few_threads
def quick_error_norm(G: StateSpace, Gr: StateSpace, rtol: float) -> Bracket:
    """Bracket the H-infinity norm of ``G - Gr`` by plain eigenvectors, at a third of the price of :func:`error_norm`.

    ``[0, inf]`` where these do not prove stability, and where there is nothing to win: for more than
    :data:`theory.systems.stability.FEW_STATES` states together.
    """
    system = difference(G, Gr)
    assert isinstance(system, StateSpace)
    if system.p == 0 or system.m == 0:
        return UNKNOWN
    with np.errstate(all="ignore"):
        scaled, unit = unit_time(system)
        assert isinstance(scaled, StateSpace)
        bracket = sketched(scaled, rtol)
    return replace(bracket, frequency=float(bracket.frequency * unit))


@few_threads
def _norm(system: System, rtol: float, *, stable: bool) -> Bracket:
    if not (isinstance(rtol, (int, float, np.number)) and np.isfinite(rtol) and rtol > 0):
        raise InputError(f"rtol must be a positive number, got {rtol!r}")
    if rtol < EPS:
        raise ToleranceError(f"float64 resolves no relative width below {EPS:.2g}, got rtol = {rtol:g}", rtol, EPS)
    silent, scalar = system.p == 0 or system.m == 0, system.p == 1 and system.m == 1
    if stable and (silent or isinstance(system, DiagonalStateSpace)):
        require_stable(system)
    if isinstance(system, DiagonalStateSpace) and system.batch_shape and not (stable and scalar):
        return _each(system, rtol, stable=stable)
    if silent:
        return Bracket(0.0, 0.0, 0.0, diagnostics={"response": StaticGain.name, "proof": Constant.name})
    with np.errstate(all="ignore"):  # what overflows becomes an open bracket
        scaled, unit = unit_time(system)
        bracket = decided(scaled, rtol, Stability(scaled, unit, owed=stable))
    frequency = bracket.frequency * unit
    return replace(bracket, frequency=frequency if np.ndim(frequency) else float(frequency))


def _each(systems: DiagonalStateSpace, rtol: float, *, stable: bool) -> Bracket:
    """The systems of a batch, one after the other."""
    shape = systems.batch_shape
    brackets = [_norm(systems[index], rtol, stable=stable) for index in np.ndindex(*shape)]
    lower, upper, frequency = (
        np.array([getattr(bracket, end) for bracket in brackets], dtype=float).reshape(shape)
        for end in ("lower", "upper", "frequency")
    )
    proofs = [bracket.diagnostics["proof"] for bracket in brackets]
    largest = proofs[int(np.argmax(upper))] if proofs else Constant.name
    diagnostics = {"systems": len(brackets), "proof": largest, "proofs": proofs}
    return Bracket.of(lower, upper, frequency, rtol, diagnostics)
