"""What is said of a dense system whose Gramians cannot be proved: unstable, on the boundary, or undecided."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from theory.arithmetic.rounding import EPS
from theory.errors import AccuracyError, StabilityError
from theory.systems.margin import discrete_margin, spectral_rounding
from theory.systems.stability import proved_by_diagonal
from theory.systems.system import StateSpace

Array = NDArray[Any]


def _margins(system: StateSpace) -> tuple[Array, Array]:
    poles = system.poles
    return poles, discrete_margin(poles) if system.is_discrete else -poles.real


def refuse_boundary(system: StateSpace) -> None:
    """A pole on the boundary to its last bits counts as on it, unless the matrix is triangular: then as written."""
    if proved_by_diagonal(system):
        return
    poles, margin = _margins(system)
    vague = np.minimum(spectral_rounding(system.A), 2.0 * EPS * np.abs(poles))
    if (np.abs(margin) <= vague).any():
        raise unstable(system, "or on the boundary to working precision")


def unstable(system: StateSpace, why: str) -> StabilityError:
    """The error of a system that is not stable, as far as `why` says."""
    poles, margin = _margins(system)
    outside = margin <= max(float(margin.min()), 0.0)
    region = "the open unit disc" if system.is_discrete else "the open left half plane"
    return StabilityError(
        f"not all {poles.size} poles are inside {region}, {why}; the computed pole with the smallest margin is "
        f"{poles[int(np.argmin(margin))]:.6g}, its margin {float(margin.min()):.3g}; "
        "take the unstable part away, or ask linf_norm",
        poles[outside],
        float(margin.min()),
    )


def undecided(system: StateSpace, grew: bool) -> AccuracyError | StabilityError:
    """What to say where the bits, or the time, ran out."""
    _, margin = _margins(system)
    if (margin < -spectral_rounding(system.A)).any() or (grew and not (margin > 0).all()):
        return unstable(system, "as far as rounding can tell")
    return AccuracyError(
        f"neither float64 nor integers of a feasible length prove the Gramians of this system of {system.n} states; "
        f"the smallest computed margin is {float(margin.min()):.3g}: scale the states alike, reduce it in steps, or "
        "pass it in modal (diagonal) form",
        float(np.linalg.norm(system.A)),
    )
