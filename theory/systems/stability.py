r"""The proof that a dense system is stable, or the reason why it is refused.

Computed eigenvalues of a matrix that is far from normal may be wrong by more than their stability margins. Two proofs:

*Discs.* In the coordinates of computed eigenvectors A is exactly :math:`\Lambda + F` with a bounded F
(:mod:`theory.systems.eigenvectors`); every eigenvalue lies in a Gershgorin disc about a computed pole, and discs inside
the stability region prove stability.

*Counting.* The Schur form :math:`A = \tilde A + \Delta,\; \tilde A = UTU^{-1}` has the spectrum on the diagonal of T.
If :math:`\|\Delta\|\sup\|(zI-A)^{-1}\| < 1` along the whole boundary (:mod:`theory.systems.resolvent`), no eigenvalue
crosses it between the two.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NoReturn

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from theory.arithmetic.rounding import SECOND_ORDER, UNIT, frobenius, gamma
from theory.errors import AccuracyError, StabilityError
from theory.systems.boundary import INFINITY, charts, half_width, resonances
from theory.systems.eigenvectors import diagonalized, spectrum_radii
from theory.systems.graded_schur import Graded, graded
from theory.systems.margin import discrete_margin, spectral_rounding
from theory.systems.resolvent import CONVERGENT, neumann, resolvent_bound, verified_inverse
from theory.systems.system import StateSpace
from theory.systems.triangular import triangular_order
from theory.systems.units import equilibrated, unit_time

Array = NDArray[Any]

FEW_STATES = 64
"""States up to which a dense system is analysed with refined eigenvectors at once, and inverted at samples at will."""

LAST_BITS = 4.0
"""Units in the last place of a pole within which one that was computed by somebody counts as on the boundary."""

WORKING_PRECISION = 8.0
"""Discs of radius below this times ``n u |A|`` are as small as float64 makes them: a pole closer to the boundary than
that is refused as "on the boundary to working precision", not as undecided."""

FIRST_ARCS = 16
"""Equal arcs that the covering of the boundary begins with, besides those that end next to the poles."""

INVERSIONS = 1e9, 200, 4000
"""Most arcs: the first number over ``n^3``, and its limits. About a second of inversions on one core."""

HOPELESS = 2.0
"""An arc whose centre alone has a resolvent this many times too large is not halved: its halves have it, too."""


def prove_stable(system: StateSpace) -> None:
    """Return if every pole of a dense system is proved to lie inside the stability region, and raise otherwise.

    Parameters
    ----------
    system : StateSpace
        Discrete or continuous; only ``A`` decides, B and C choose the scale of the states.

    Raises
    ------
    StabilityError
        A pole lies on or outside the boundary. The poles of a triangular ``A`` are taken at their word; those of any
        other count as on the boundary within two units in the last place.
    AccuracyError
        Rounding cannot decide it; carries a bound of the resolvent on the boundary, ``inf`` where there is none.

    Notes
    -----
    Cost: O(n^3), some thirty times; where discs do not decide, one inverse for each of up to some thousand arcs.
    """
    if system.n == 0 or proved_by_diagonal(system):
        return
    scaled, unit = unit_time(system)
    assert isinstance(scaled, StateSpace)
    with np.errstate(all="ignore"):
        for steps in refinements(scaled.n):
            modes = diagonalized(scaled, steps=steps)
            if modes is not None and proved_by_discs(
                scaled, modes.poles, modes.margin, spectrum_radii(modes.F), float(unit), final=steps > 0
            ):
                return
        poles = np.linalg.eigvals(equilibrated(scaled)[0])
        for form in coordinates(scaled):
            largest = largest_resolvent(form, poles, discrete=scaled.is_discrete, real=scaled.is_real)
            inside = stable_count(form.A, form.A_error, largest, discrete=scaled.is_discrete)
            if inside == scaled.n:
                return
        refuse(poles, inside, largest, float(unit), discrete=scaled.is_discrete)


def proved_by_diagonal(system: StateSpace) -> bool:
    """Whether A is triangular in some order of the states, and its poles are all inside: taken at their word.

    Raises
    ------
    StabilityError
        A is triangular, and a pole is not inside.
    """
    if triangular_order(system.A) is None:
        return False
    poles = np.diag(system.A).astype(complex)
    margin = discrete_margin(poles) if system.is_discrete else -poles.real
    outside = ~(margin > 0)
    if outside.any():
        raise _unstable(poles, margin, outside, 1.0, "as the diagonal of a triangular A says")
    return True


def refinements(n: int) -> tuple[int, ...]:
    """Newton steps of the eigenvectors, in the order in which they are tried: most large systems need none."""
    return (3,) if n <= FEW_STATES else (0, 3)


def coordinates(system: StateSpace) -> Iterator[Graded]:
    """Yield the system in graded Schur coordinates (if they help, and it is small), then in its own, balanced."""
    better = graded(system) if system.n <= FEW_STATES else None
    if better is not None:
        yield better
    yield own_coordinates(system)


def own_coordinates(system: StateSpace) -> Graded:
    """Return the system as it is, balanced by powers of two: without any error."""
    A, B, C = equilibrated(system)
    return Graded(A=A, B=B, C=C, A_error=0.0, B_error=0.0, C_error=0.0, schur=False)


def proved_by_discs(system: StateSpace, poles: Array, margin: Array, radii: Array, unit: float, *, final: bool) -> bool:
    """Whether eigenvalue discs prove stability; if `final`, raise where they prove, or nearly prove, the opposite."""
    size = float(np.linalg.norm(equilibrated(system)[0], 2))
    working = WORKING_PRECISION * system.n * UNIT * max(size, 1.0 if system.is_discrete else 0.0)
    # a matrix whose poles are not its entries was computed by somebody: a last bit of it decides on which side they are
    vague = np.minimum(spectral_rounding(system.A), LAST_BITS * UNIT * np.abs(poles))
    blurred = (np.abs(margin) <= vague) & (radii <= working)
    if (margin > radii).all() and not blurred.any():
        return True
    if not final:
        return False
    outside = (margin < -radii) | blurred | (np.abs(margin) <= radii) & (radii <= working)
    if outside.any():
        raise _unstable(poles, margin, outside, unit, "or to working precision on its boundary")
    return False


def largest_resolvent(form: Graded, poles: Array, *, discrete: bool, real: bool) -> float:
    """Bound of ``|(zI - A)^{-1}|`` along the whole boundary, small enough for :func:`stable_count`, or ``inf``.

    `poles` only say where to look first.
    """
    A, n = form.A, form.A.shape[0]
    enough = 1.0 / _schur_change(A, form.A_error)[1]
    work, least, most = INVERSIONS
    budget, largest, chunk = int(np.clip(work / n**3, least, most)), 0.0, max(8, 4096 // n**2)
    for chart, low, high in charts(discrete=discrete, real=real and not form.schur, radius=float(np.abs(poles).max())):
        near = resonances(chart, poles)
        ends = np.unique(np.concatenate([np.linspace(low, high, FIRST_ARCS + 1), near[(near > low) & (near < high)]]))
        left, right = ends[:-1], ends[1:]
        while left.size:
            l, r, left, right = left[:chunk], right[:chunk], left[chunk:], right[chunk:]
            budget -= l.size
            centre = 0.5 * (l + r)
            h = half_width(chart, l, r)
            inverse = verified_inverse(A, chart, centre)
            bound = resolvent_bound(chart, centre, h, inverse, neumann(A, chart, inverse, h))
            long = ~(bound < enough)
            largest = max(largest, float(bound[~long].max(initial=0.0)))
            at_centre = frobenius(inverse.g) * (1.0 + inverse.relative) * (1.0 if chart != INFINITY else np.abs(centre))
            if budget < 0 or (at_centre[long] > HOPELESS * enough).any() or ~((centre > l) & (centre < r))[long].all():
                return np.inf
            left = np.concatenate([left, l[long], centre[long]])
            right = np.concatenate([right, centre[long], r[long]])
    return largest


def stable_count(A: Array, A_error: float, largest_resolvent: float, *, discrete: bool) -> int | None:
    """Return the number of eigenvalues of ``A + E``, ``|E| <= A_error``, inside the stability region.

    ``None`` if rounding hides it; `largest_resolvent` bounds ``|(zI - A)^{-1}|`` along the boundary.
    """
    values, change = _schur_change(A, A_error)
    if not change * largest_resolvent < 1.0:
        return None
    margin = discrete_margin(values) if discrete else -values.real
    return int((margin > 0).sum())


def _schur_change(A: Array, A_error: float) -> tuple[Array, float]:
    """Return computed eigenvalues, and how far the matrix that has exactly these may be from ``A + E``."""
    T, U = scipy.linalg.schur(A, output="complex")
    n = A.shape[0]
    residual = A @ U - U @ T
    size = np.linalg.norm(residual) + gamma(n) * 2.0 * np.linalg.norm(A) * np.linalg.norm(U) * (1 + n * gamma(n))
    defect = np.linalg.norm(U.conj().T @ U - np.eye(n)) + gamma(n) * n
    change = SECOND_ORDER * size / (1.0 - defect) + A_error if defect < CONVERGENT else np.inf
    return np.diag(T), float(change)


def refuse(poles: Array, inside: int | None, largest: float, unit: float, *, discrete: bool) -> NoReturn:
    """Raise what keeps a system from being proved stable: `inside` of its eigenvalues are, ``None`` is unknown."""
    margin = 1.0 - np.abs(poles) if discrete else -poles.real
    if inside is not None or margin.min() <= 0:
        outside = margin <= max(float(margin.min()), 0.0)
        raise _unstable(poles, margin, outside, unit, "or cannot be told from poles outside")
    least = f"{float(margin.min()) * unit:.3g}"
    raise AccuracyError(
        f"rounding cannot decide whether the system is stable; the smallest margin is {least}: "
        "scale the states alike, or pass it in modal (diagonal) form",
        largest / unit,
    )


def _unstable(poles: Array, margin: Array, outside: Array, unit: float, cause: str) -> StabilityError:
    """The error that names the poles `outside`."""
    least = float(margin.min()) * unit
    return StabilityError(
        f"{int(outside.sum())} of {poles.size} poles are outside the stability region, {cause}; the first is "
        f"{poles[outside][0] * unit:.6g}, the smallest margin is {least:.3g}; linf_norm takes such systems",
        poles[outside] * unit,
        least,
    )
