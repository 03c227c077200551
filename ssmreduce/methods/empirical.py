"""Reductions from recorded inputs: what the layer really sees decides what stays."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ssmreduce.layers.layer import SSMLayer
from ssmreduce.methods.registry import METHODS, Method, Source, shared, system_of
from ssmreduce.methods.time_limited import require_diagonal_discrete
from theory.errors import InputError
from theory.gramians.hankel import causal_hankel_singular_values
from theory.gramians.recorded import OBSERVABILITIES, mixture, recorded_observability, recorded_reachability
from theory.gramians.time_limited import time_limited_gramians
from theory.reduction.a_posteriori import error_bound
from theory.reduction.balancing import Truncation, real_order
from theory.reduction.bounds import hankel_floor
from theory.reduction.gramian_pairs import pair_truncation
from theory.reduction.recorded_refit import mean_error, recorded_outputs, refit_output
from theory.systems.scan import channels_of, record
from theory.systems.system import DiagonalStateSpace

Array = NDArray[Any]


@dataclass(frozen=True, kw_only=True)
class Empirical(Method):
    """Balances what recorded inputs reach with what the output sees, then fits C and D to the record.

    Pass ``inputs=u``, shape (N, L, m) or (L, m), ``lengths=`` of padded sequences, and ``gradients=`` of a scalar with
    respect to the layer's outputs, (N, L, p), for the kinds of observability that need them. The proof for all inputs
    and the measured error on the recorded ones come back side by side.

    Attributes
    ----------
    observability : {"exact", "time_limited", "output", "mixture"}
        What stands for the observability Gramian: the infinite one (stable by proof), that over the length of the
        record, the second moment of the gradients at the states, or the mean of the last two.
    refit : bool
        Whether C and the diagonal of D are least squares on the record.
    ridge : float
        Of the refit, relative.
    """

    observability: str = "exact"
    refit: bool = True
    ridge: float = 1e-6

    title = "recorded inputs"
    guarantee = "stable; error at most twice the sum of the Hankel singular values of the error"
    rank = 1
    takes = ("inputs", "lengths", "gradients")
    requires = ("inputs",)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.observability not in OBSERVABILITIES:
            raise InputError(f"observability must be one of {', '.join(OBSERVABILITIES)}, got {self.observability!r}")
        if not 0 < self.ridge < 1:
            raise InputError(f"the ridge must lie between 0 and 1, got {self.ridge}")

    @property
    def keeps_feedthrough(self) -> bool:  # type: ignore[override]
        """``D`` is fitted, too, where there is a refit."""
        return not self.refit

    def applies(self, source: Source) -> None:
        """Diagonal systems in discrete time."""
        require_diagonal_discrete(self.name, source, records=True)

    def truncate(
        self,
        source: Source,
        order: int,
        inputs: ArrayLike = (),
        lengths: ArrayLike | None = None,
        gradients: ArrayLike | None = None,
        **_: Any,
    ) -> Truncation:
        """Truncate the pair, then refit; :class:`~theory.errors.InputError` where gradients are needed."""
        system = system_of(source)
        assert isinstance(system, DiagonalStateSpace)
        signals = record(inputs, lengths, channels_of(system, system.m))
        P = recorded_reachability(system, signals.values, signals.lengths)
        Q = self._observability(system, P, signals.values.shape[1], gradients, lengths)
        found = pair_truncation(system, order, P, Q, balancing=shared(system))
        ridge = self.ridge if self.refit else None
        with_D = not isinstance(source, SSMLayer) or source.format.feeds_through
        return refitted(system, found, signals.values, signals.lengths, ridge, with_D)

    def _observability(
        self, system: DiagonalStateSpace, P: Array, horizon: int, gradients: ArrayLike | None, lengths: Any
    ) -> Array | None:
        if self.observability == "exact":
            return None
        limited = time_limited_gramians(system, horizon)[1]
        if self.observability == "time_limited":
            return limited
        if gradients is None:
            raise InputError(
                f"observability={self.observability!r} needs gradients=..., those of a scalar with respect to the "
                "layer's outputs; observability='exact' and 'time_limited' do without"
            )
        felt = recorded_observability(system, gradients, lengths)
        return felt if self.observability == "output" else mixture(P, limited, felt)


def refitted(
    system: DiagonalStateSpace, found: Truncation, inputs: Array, lengths: Array, ridge: float | None,
    with_D: bool = True,
) -> Truncation:  # fmt: skip
    """The truncation with C and D fitted to the record (unless `ridge` is None), and its error there, measured."""
    reduced = found.system
    assert isinstance(reduced, DiagonalStateSpace)
    wanted = recorded_outputs(system, inputs, lengths)
    energy = np.asarray((np.abs(wanted) ** 2).sum(axis=(0, 1)) / lengths.sum())
    energy = energy if system.batch_shape else energy.sum()
    if reduced is system:
        return replace(found, diagnostics={**found.diagnostics, "recorded": _relative(0.0 * energy, energy)})
    square = with_D and system.m == system.p and (system.conjugate_pairs or system.D.dtype.kind == "c")
    if ridge is None or not reduced.n:
        error = mean_error(reduced, inputs, wanted, lengths)
        return replace(found, diagnostics={**found.diagnostics, "recorded": _relative(error, energy)})
    fit = refit_output(reduced, inputs, wanted, lengths, ridge=ridge, feedthrough=square)
    balancing = shared(system)
    floor_hsv = balancing.floor_hsv
    if square and not system.is_bidirectional:  # D is free: what bounds the error is the strictly causal part
        floor_hsv = causal_hankel_singular_values(system)
    return replace(
        found,
        system=fit.system,
        bound=error_bound(system, fit.system),
        floor=hankel_floor(floor_hsv, real_order(system, found.order)),
        status=f"{found.status}, C{' and D' if square else ''} refitted",
        diagnostics={**found.diagnostics, "recorded": _relative(fit.after, energy)},
    )


def _relative(error: Any, energy: Any) -> dict[str, float]:
    """Root mean square of the error on the record, absolute and relative to the output's, all channels together."""
    total, size = float(np.sum(error)), float(np.sum(energy))
    return {"error": total**0.5, "relative": (total / size) ** 0.5 if size > 0 else 0.0}


METHODS.register("empirical", Empirical())
