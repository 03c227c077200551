"""What comes after a truncation: other values for the same states, and the bound of what is then written."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from theory.reduction.a_posteriori import error_bound
from theory.reduction.balancing import Truncation
from theory.reduction.dense_truncation import certified
from theory.systems.system import DiagonalStateSpace, StateSpace, System

Array = NDArray[Any]


def improved(
    start: Truncation, system: System, reduced: System, status: str, *, hsv: Array | None = None, **diagnostics: Any
) -> Truncation:
    """The truncation `start` of `system` with another reduced system of the same order and feedthrough.

    The bound is the smallest that is known: that of :mod:`theory.reduction.a_posteriori` for a diagonal system, the
    certified error for a dense one; where nothing changed, that of the start. `hsv` are the Hankel singular values of
    the error, where they are known already.
    """
    if reduced is start.system:
        bound = start.bound
    elif isinstance(system, StateSpace) and isinstance(reduced, StateSpace):
        bound, _ = certified(system, reduced, 0.0)
    else:
        bound = error_bound(system, reduced, hsv)
    return replace(
        start, system=reduced, bound=bound, status=status, kept=None,
        diagnostics={key: value for key, value in start.diagnostics.items() if key != "kept"} | diagnostics,
    )  # fmt: skip


def chosen(better: Any, first: DiagonalStateSpace, other: DiagonalStateSpace) -> DiagonalStateSpace:
    """`first` in the channels where `better` holds, `other` elsewhere; same shapes."""
    better = np.asarray(better)
    if better.all():
        return first
    if not better.any():
        return other

    def mixed(name: str, axes: int) -> Array | None:
        one, two = getattr(first, name), getattr(other, name)
        return None if one is None else np.where(better.reshape(*better.shape, *(1,) * axes), one, two)

    return first.replace(
        poles=mixed("poles", 1), B=mixed("B", 2), C=mixed("C", 2), D=mixed("D", 2), C_reverse=mixed("C_reverse", 2)
    )
