"""Selection by what a record needs: poles and B stay bit for bit, C is fitted."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ssmreduce.methods.empirical import refitted
from ssmreduce.methods.registry import METHODS, Method, Source, shared, system_of
from ssmreduce.methods.time_limited import require_diagonal_discrete
from theory.reduction.a_posteriori import error_bound
from theory.reduction.balancing import Truncation, real_order
from theory.reduction.bounds import hankel_floor
from theory.reduction.recorded_selection import recorded_selection
from theory.systems.scan import Record, aligned_states, channels_of, record
from theory.systems.system import DiagonalStateSpace

Array = NDArray[Any]


@dataclass(frozen=True, kw_only=True)
class EmpiricalSelection(Method):
    """Drops the states that a record can do without, one by one; poles and B of the others stay as they are.

    Pass ``inputs=u``, shape (N, L, m) or (L, m), and ``lengths=`` of padded sequences. For layers whose B cannot take
    new values, and to see which poles the data use. :func:`theory.reduction.recorded_selection.recorded_selection`.
    """

    title = "recorded inputs, selection"
    guarantee = "poles and B kept; error at most twice the sum of the Hankel singular values of the error"
    rank = 1
    takes = ("inputs", "lengths")
    requires = ("inputs",)

    def applies(self, source: Source) -> None:
        """Diagonal systems in discrete time."""
        require_diagonal_discrete(self.name, source, records=True)

    def truncate(
        self, source: Source, order: int, inputs: ArrayLike = (), lengths: ArrayLike | None = None, *_: Any, **__: Any
    ) -> Truncation:
        """Eliminate backwards; in a batch every channel its own states."""
        system = system_of(source)
        assert isinstance(system, DiagonalStateSpace)
        signals = record(inputs, lengths, channels_of(system, system.m))
        if order == system.n:
            reduced, kept = system, np.broadcast_to(np.arange(system.n), system.poles.shape)
        elif system.batch_shape:
            moments = _moments(system, signals)
            found = [recorded_selection(system[h], order, moments[h]) for h in range(system.batch_shape[0])]
            kept = np.stack([chosen for _, chosen in found])
            backwards = [one.C_reverse for one, _ in found if one.C_reverse is not None]
            reduced = system.replace(
                poles=np.stack([one.poles for one, _ in found]), B=np.stack([one.B for one, _ in found]),
                C=np.stack([one.C for one, _ in found]), C_reverse=np.stack(backwards) if backwards else None,
            )  # fmt: skip
        else:
            reduced, kept = recorded_selection(system, order, _moments(system, signals)[0])
        balancing = shared(system)
        truncation = Truncation(
            system=reduced, order=reduced.n, hsv=balancing.hsv,
            bound=error_bound(system, reduced) if reduced is not system else 0.0 * balancing.hsv[..., 0],
            floor=hankel_floor(balancing.floor_hsv, real_order(system, reduced.n)),
            status=f"selection of {order} of {system.n} stored states by recorded inputs, C refitted",
            diagnostics={"selected": kept},
        )  # fmt: skip
        measured = refitted(system, truncation, signals.values, signals.lengths, None)
        return replace(measured, bound=measured.bound if np.ndim(measured.bound) else float(measured.bound))


def _moments(system: DiagonalStateSpace, signals: Record) -> Array:
    """Second moments of what the outputs see, (H, K, K)."""
    total: Any = 0.0
    for _, states in aligned_states(system, signals):
        flat = states.reshape(-1, *states.shape[2:]) if system.batch_shape else states.reshape(-1, 1, states.shape[-1])
        columns = np.moveaxis(flat, 0, -1)
        total = total + columns @ np.swapaxes(columns, -1, -2).conj()
    return np.asarray(total / signals.count)


METHODS.register("empirical_selection", EmpiricalSelection())
