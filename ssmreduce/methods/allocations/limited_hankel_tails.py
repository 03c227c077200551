r"""The same as "hsv" over a finite horizon: a pole that remembers longer than any sequence does not rule its layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ssmreduce.layers.layer import SSMLayer
from ssmreduce.methods.allocation import ALLOCATIONS, Allocation
from ssmreduce.methods.allocations.hankel_tails import relative_tails, smallest_largest
from theory.errors import AccuracyError, InputError
from theory.gramians.time_limited import time_limited_gramians
from theory.reduction.gramian_pairs import REGULARIZATION, pair_factors
from theory.systems.system import DiagonalStateSpace


@dataclass(frozen=True, kw_only=True)
class LimitedHankelTails(Allocation):
    r"""The largest relative tail of Hankel singular values within a horizon is as small as the budget allows.

    As "hsv", with the singular values of the time-limited Gramians, :math:`\sigma_i=\sqrt{\lambda_i(P_LQ_L)}`
    :cite:p:`GJ90`. Where every pole forgets within the horizon they are the Hankel singular values. A pole at 1e-7
    from the circle has a Hankel singular value like :math:`|b||c|/(2\cdot10^{-7})`, beside which all others look like
    nothing, and of which a sequence of a few thousand samples sees a thousandth.

    Attributes
    ----------
    horizon : int
        Samples; the default is longer than the sequences of most tasks.
    """

    horizon: int = 10_000

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.horizon < 1:
            raise InputError(f"the horizon is a number of samples, at least 1; got {self.horizon}")

    def spread(self, layers: Sequence[SSMLayer], sizes: Sequence[int], budget: int) -> tuple[int, ...]:
        """Give each further state to the layer that misses most."""
        tails = []
        for layer in layers:
            layer.require_stable()
            system = layer.system
            assert isinstance(system, DiagonalStateSpace)
            with np.errstate(over="ignore", invalid="ignore"):
                pair = time_limited_gramians(system, self.horizon)
            if not all(np.isfinite(gramian).all() for gramian in pair):
                raise AccuracyError(
                    f"the Gramians of the layer {layer.name!r} overflow float64: scale its B or C down", np.inf
                )
            _, values, _ = pair_factors(system, *pair, REGULARIZATION)
            tails.append(relative_tails(layer, values))
        return smallest_largest(tails, sizes, budget)


ALLOCATIONS.register("time_limited", LimitedHankelTails())
