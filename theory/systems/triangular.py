r"""Matrices that are triangular in some order of the states: their poles are entries, and substitution solves them.

The order is that of a graph without circles: state i comes after state j where :math:`A_{ij}\neq0`. Chains of lags,
cascades and shift registers are such systems, however their states are numbered.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def triangular_order(A: Array) -> Array | None:
    """Return an order of the states, (n,), that makes `A` lower triangular; ``None`` where there is none.

    Cost: O(n^2); a lower triangular matrix keeps its order, an upper triangular one is reversed.
    """
    n = A.shape[0]
    if not np.triu(A, 1).any():
        return np.arange(n)
    if not np.tril(A, -1).any():
        return np.arange(n)[::-1]
    feeds = A != 0
    np.fill_diagonal(feeds, False)
    waiting, done = feeds.sum(axis=1), np.zeros(n, bool)
    order: list[Array] = []
    while not done.all():
        ready = np.flatnonzero((waiting == 0) & ~done)
        if ready.size == 0:
            return None
        order.append(ready)
        done[ready] = True
        waiting = waiting - feeds[:, ready].sum(axis=1)
    return np.concatenate(order)
