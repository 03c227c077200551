"""Methods that keep some of the stored states, bit for bit: a score of every state is all that one has to write.

Of a dense system, which stores no poles, they keep modes: it is diagonalized, and what is kept becomes dense again.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssmreduce.layers.layer import SSMLayer
from ssmreduce.methods.registry import Method, Source, largest, shared, system_of
from ssmreduce.methods.scores import Scored, top
from theory.arithmetic.rounding import EPS
from theory.reduction.balancing import Truncation, real_order
from theory.reduction.bounds import hankel_floor
from theory.reduction.dense_modes import keep_modes
from theory.reduction.diagonalization import diagonalize
from theory.reduction.modal_gains import modal_gain_bounds
from theory.systems.system import DiagonalStateSpace, StateSpace, require_stable

Array = NDArray[Any]

BOUND_ROUNDING = 1e-12
"""Relative allowance for the sums of gains that are compared with a tolerance: n eps for n up to 4500 states."""


@dataclass(frozen=True, kw_only=True)
class Selection(Method):
    """Keeps the states with the largest score; in a batch every channel its own."""

    kind = "selection"
    rank = 1

    @property
    def guarantee(self) -> str:
        """Sum of the gains of what was removed."""
        return "error at most the sum of the removed states' gain bounds (certified, of a dense system)"

    @abstractmethod
    def score(self, source: Scored, *_: Any, **data: Any) -> Array:
        """Return what each stored state is worth, in the shape of the poles: larger is kept."""

    def truncate(self, source: Source, order: int, *_: Any, **data: Any) -> Truncation:
        """Keep the `order` states with the largest score; ``.kept`` has their indices.

        Of a dense system the modes that `order` states have room for; a conjugate pair of a real one takes two.
        """
        if isinstance(source, StateSpace):
            modes = _modes(source)
            return keep_modes(source, modes, self.score(modes, **data), order)
        system, values = self._ranked(source, data)
        return keep(system, top(values, order))

    def smallest(self, source: Source, rtol: float, *_: Any, **data: Any) -> Truncation:
        """Keep the fewest states such that the bounds of the others sum to at most rtol sigma_1, in every channel."""
        if isinstance(source, StateSpace):
            return super().smallest(source, rtol, **data)
        system, values = self._ranked(source, data)
        ranked = np.take_along_axis(modal_gain_bounds(system), np.argsort(values, axis=-1, kind="stable"), axis=-1)
        goal = rtol * largest(shared(system).hsv)[..., None]
        removable: Array = (np.cumsum(ranked, axis=-1) * (1 + BOUND_ROUNDING) <= goal).sum(axis=-1)
        return keep(system, top(values, max(1, int(system.n) - int(removable.min(initial=system.n)))))

    def _ranked(self, source: Source, data: dict[str, Any]) -> tuple[DiagonalStateSpace, Array]:
        system = system_of(source)
        assert isinstance(source, (SSMLayer, DiagonalStateSpace))
        assert isinstance(system, DiagonalStateSpace)
        return system, self.score(source, **data)


@lru_cache(maxsize=64)
def _modes(system: StateSpace) -> DiagonalStateSpace:
    """A stable dense system, diagonalized once for all methods and orders."""
    require_stable(system)
    return diagonalize(system).system


def keep(system: DiagonalStateSpace, kept: Array) -> Truncation:
    """Modal truncation with shared work, and in a batch with one row of indices a channel."""
    balancing, order = shared(system), kept.shape[-1]
    gone = np.ones(system.poles.shape, dtype=bool)
    np.put_along_axis(gone, kept, False, axis=-1)
    rounding = 1.0 + (system.n + system.m + system.p + 16) * EPS
    bound = np.where(gone, modal_gain_bounds(system), 0.0).sum(axis=-1) * rounding
    return Truncation(
        system=_taken(system, kept) if gone.any() else system,
        order=order,
        hsv=balancing.hsv,
        bound=bound if system.batch_shape else float(bound),
        floor=hankel_floor(balancing.floor_hsv, real_order(system, order)),
        status=f"modal truncation to {order} of {system.n} stored states",
        kept=kept,
        diagnostics={"kept": kept},
    )


def _taken(system: DiagonalStateSpace, index: Array) -> DiagonalStateSpace:
    """Return the states `index` (..., r) of every system of a batch."""
    reverse = system.C_reverse
    return system.replace(
        poles=np.take_along_axis(system.poles, index, axis=-1),
        B=np.take_along_axis(system.B, index[..., :, None], axis=-2),
        C=np.take_along_axis(system.C, index[..., None, :], axis=-1),
        C_reverse=None if reverse is None else np.take_along_axis(reverse, index[..., None, :], axis=-1),
    )
