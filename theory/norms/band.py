r"""The largest gain over a band of frequencies, as a certified bracket.

.. math:: \text{lower}\le\max_{\omega\in[l,h]}\sigma_{\max}(G(\omega))\le\text{upper}

The search and the proofs that go along the boundary (:mod:`theory.norms.proofs.arcs`,
:mod:`theory.norms.proofs.levels`) begin with its arcs: of a band these are fewer. A storage function says something of
the whole circle only, and is not asked.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from theory.arithmetic.rounding import EPS
from theory.arithmetic.threads import few_threads
from theory.errors import InputError, ToleranceError
from theory.norms.bracket import Bracket
from theory.norms.peaks.peak import Peak
from theory.norms.peaks.search import gain_at, locate
from theory.norms.plan import UNKNOWN
from theory.norms.proofs.arcs import Arcs
from theory.norms.proofs.constants import Constant
from theory.norms.proofs.levels import Levels
from theory.norms.proofs.proof import Proof
from theory.norms.responses.dense import Eigenvectors, StaticGain
from theory.norms.responses.diagonal import Modes
from theory.norms.responses.response import Response
from theory.systems.given import SystemLike, as_system
from theory.systems.stability import refinements
from theory.systems.system import DiagonalStateSpace, StateSpace, System, require_stable
from theory.systems.units import unit_time

ALONG: tuple[Proof, ...] = (Constant(), Arcs(), Levels())
"""Proofs that cover the boundary arc by arc."""


@few_threads
def band_norm(system: SystemLike, band: tuple[float, float], rtol: float = 1e-3) -> Bracket:
    r"""Bracket the largest gain over a band of frequencies, both signs of them.

    Parameters
    ----------
    system : StateSpace or DiagonalStateSpace
        Stable. A batch gives a bracket of arrays, channel by channel.
    band : tuple of two floats
        ``(low, high)``, ``0 <= low < high``, in rad/sample up to pi; in continuous time in rad/s, up to infinity. Both
        ends belong to it.
    rtol : float
        Width to aim for, relative to `lower`.

    Returns
    -------
    Bracket
        `lower` is attained at `frequency`, which lies in the band; "open" where rounding kept the bracket wider than
        `rtol`: both ends are true all the same.

    Raises
    ------
    StabilityError
        A pole lies on or outside the stability boundary.
    InputError
        The band is none, or lies outside the frequencies that there are.
    ToleranceError
        As :func:`theory.norms.hinf_norm`.

    Notes
    -----
    A dense system goes through its eigenvectors with what they leave out; where that cannot be bounded the upper end is
    infinite. Cost: that of :func:`theory.norms.hinf_norm` without its proof for the whole circle; with many inputs and
    outputs some seconds.
    """
    system = as_system(system)
    low, high = _checked(band, discrete=system.is_discrete)
    if not (isinstance(rtol, (int, float, np.number)) and np.isfinite(rtol) and rtol > 0):
        raise InputError(f"rtol must be a positive number, got {rtol!r}")
    if rtol < EPS:
        raise ToleranceError(f"float64 resolves no relative width below {EPS:.2g}, got rtol = {rtol:g}", rtol, EPS)
    require_stable(system)
    if isinstance(system, DiagonalStateSpace) and system.batch_shape:
        found = [_one(system[index], low, high, rtol) for index in np.ndindex(system.batch_shape)]
        lower, upper, frequency = (
            np.reshape([float(getattr(bracket, end)) for bracket in found], system.batch_shape)
            for end in ("lower", "upper", "frequency")
        )
        return Bracket.of(lower, upper, frequency, rtol, {"systems": len(found)})
    return _one(system, low, high, rtol)


def _one(system: System, low: float, high: float, rtol: float) -> Bracket:
    if system.p == 0 or system.m == 0:
        return Bracket(0.0, 0.0, low, diagnostics={"response": StaticGain.name, "proof": Constant.name})
    with np.errstate(all="ignore"):  # what overflows becomes an open bracket
        scaled, unit = unit_time(system)
        response = _written(scaled)
        if response is None:
            return replace(UNKNOWN, frequency=low)
        low, high = low / unit, max(high / unit, float(np.nextafter(low / unit, np.inf)))  # the quotients may underflow
        pieces = [(low, high)] if response.form.real else [(low, high), (-high, -low)]
        found = [_bracketed(_within(response, piece), piece, rtol) for piece in pieces]
    best, most = max(found, key=lambda one: one.lower), max(found, key=lambda one: one.upper)
    return Bracket.of(best.lower, most.upper, best.frequency * unit, rtol, most.diagnostics)


def _written(system: System) -> Response | None:
    """The modes of a diagonal system, the refined eigenvectors of a dense one."""
    if isinstance(system, DiagonalStateSpace):
        return Modes().write(system)
    assert isinstance(system, StateSpace)
    return Eigenvectors(steps=refinements(system.n)[-1]).write(system) if system.n else StaticGain().write(system)


def _within(response: Response, band: tuple[float, float]) -> Response:
    return replace(response, form=replace(response.form, band=band))


def _bracketed(response: Response, band: tuple[float, float], rtol: float) -> Bracket:
    """The peak below, the best of the proofs above: :func:`theory.norms.plan.bracketed`, the witness in the band."""
    peak: Peak = locate(response, rtol)
    upper, diagnostics = np.inf, {"response": response.name}
    for proof in ALONG:
        if proof.applies(response) and (proved := proof.prove(response, peak, rtol)) is not None:
            upper, diagnostics = proved.upper, {"response": response.name, "proof": proof.name, **proved.cost}
    where = float(np.clip(peak.frequency, *band))  # 1 / (1 / w) may be next to w
    lower = gain_at(response, peak, where)
    return Bracket.of(*response.whole(lower, upper), where, rtol, diagnostics)


def _checked(band: tuple[float, float], *, discrete: bool) -> tuple[float, float]:
    try:
        low, high = (float(end) for end in band)
    except (TypeError, ValueError):
        raise InputError(f"a band is (low, high), two frequencies; got {band!r}") from None
    most = np.pi if discrete else np.inf
    if not 0.0 <= low < high <= most:
        raise InputError(
            f"a band is (low, high) with 0 <= low < high <= {'pi rad/sample' if discrete else 'inf rad/s'}; got "
            f"({low:g}, {high:g})"
        )
    return low, high
