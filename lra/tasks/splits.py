"""The random splits of the published data loaders, without torch."""

from __future__ import annotations

import numpy as np


def torch_permutation(n: int, seed: int) -> np.ndarray:
    """Return what ``torch.randperm(n)`` gives with a CPU generator seeded by `seed`.

    A Fisher-Yates shuffle of 0..n-1 driven by the raw 32-bit outputs of MT19937.
    """
    draws = np.random.RandomState(seed).randint(0, 2**32, size=max(n - 1, 0), dtype=np.uint32).astype(np.int64)
    swap = (np.arange(n - 1) + draws % np.arange(n, 1, -1)).tolist()
    order = list(range(n))
    for i, j in enumerate(swap):
        order[i], order[j] = order[j], order[i]
    return np.asarray(order, dtype=np.int64)
