"""What a weight may be: a stable system, or a spectral density that is constant between given frequencies."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

from theory.errors import DimensionError, InputError, TimeBaseError
from theory.gramians.frequency_limited import Piece, checked_band
from theory.systems.given import as_system
from theory.systems.realization import dense
from theory.systems.system import DiagonalStateSpace, StateSpace, System, require_stable

Weight = StateSpace | tuple[tuple[float, ...], tuple[float, ...]]


def checked_weight(weight: Any) -> Weight | None:
    """Return a weight as a dense system, or as ``(edges, values)`` of floats, as far as it can be checked by itself.

    Parameters
    ----------
    weight : StateSpace, anything that stands for one causal system, (edges, values), or None

    Raises
    ------
    InputError, StabilityError
    """
    if weight is None:
        return None
    if isinstance(weight, (tuple, list)):
        return _checked_density(weight)
    try:
        system = as_system(weight)
    except InputError as error:
        raise InputError(f"a weight is a system or (edges, values): {error}") from None
    if isinstance(system, DiagonalStateSpace):
        system = dense(system)
    require_stable(system)
    if not system.D.any() and not (system.B.any() and system.C.any()):
        raise InputError("a weight that is zero everywhere lets nothing through: leave it out")
    return system


def fitted_weight(weight: Any, system: System, side: str) -> StateSpace | tuple[Piece, ...] | None:
    """Return a weight that fits the time base and the channels of a system; a density as its pieces.

    Parameters
    ----------
    weight : object
        As for :func:`checked_weight`.
    system : StateSpace or DiagonalStateSpace
    side : {"input", "output"}

    Raises
    ------
    InputError, DimensionError, TimeBaseError, StabilityError
    """
    checked = checked_weight(weight)
    if checked is None:
        return None
    if isinstance(checked, tuple):
        edges, values = checked
        checked_band((edges[0], edges[-1]), system.is_discrete)
        return tuple(
            Piece(low, high, value) for (low, high), value in zip(pairwise(edges), values, strict=True) if value
        )
    if checked.dt != system.dt:
        raise TimeBaseError(f"the {side} weight has another time base than the system", checked.dt, system.dt)
    if system.is_real and not checked.is_real:
        raise InputError(f"the {side} weight of a real system must be real: a complex one has no real Gramian")
    theirs, ours = (checked.p, system.m) if side == "input" else (checked.m, system.p)
    if theirs != ours and (checked.m, checked.p) != (1, 1):
        ends = "outputs, as many as the system has inputs" if side == "input" else "inputs, as the system has outputs"
        raise DimensionError(
            f"the {side} weight must have {ours} {ends}; or one input and one output, for every channel",
            D=checked.D.shape,
        )
    return checked


def _checked_density(weight: Any) -> tuple[tuple[float, ...], tuple[float, ...]]:
    try:
        edges, values = (tuple(float(number) for number in part) for part in weight)
    except (TypeError, ValueError):
        raise InputError(f"a spectral density is (edges, values), two sequences of numbers; got {weight!r}") from None
    if len(edges) != len(values) + 1 or not values:
        raise InputError(
            f"a spectral density has one value between two edges; got {len(edges)} edges and {len(values)} values"
        )
    for pair in pairwise(edges):
        checked_band(pair)
    if not all(0 <= value < math.inf for value in values) or not any(values):
        raise InputError(f"a spectral density is finite, not negative, and not zero everywhere; got {values}")
    return edges, values
