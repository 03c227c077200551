"""The same fraction of every layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ssmreduce.layers.layer import SSMLayer
from ssmreduce.methods.allocation import ALLOCATIONS, BUDGET_ROUNDING, Allocation


@dataclass(frozen=True, kw_only=True)
class Uniform(Allocation):
    """The same fraction of every layer: largest remainders over one state a layer; ties go to earlier layers."""

    def spread(self, layers: Sequence[SSMLayer], sizes: Sequence[int], budget: int) -> tuple[int, ...]:
        """Round the shares, then give and take where the remainder is largest."""
        exact = [size * budget / sum(sizes) for size in sizes]
        kept = [max(1, int(np.floor(share + BUDGET_ROUNDING))) for share in exact]
        while sum(kept) != budget:
            up = sum(kept) < budget
            gap = [(share - count) * (1 if up else -1) for share, count in zip(exact, kept, strict=True)]
            open_ = [i for i, count in enumerate(kept) if (count < sizes[i] if up else count > 1)]
            best = max(open_, key=lambda i: (gap[i], -i))
            kept[best] += 1 if up else -1
        return tuple(kept)


ALLOCATIONS.register("uniform", Uniform())
