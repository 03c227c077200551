"""What the H2 norm and the Hankel singular values of a diagonal system cost, next to the plain closed form.

``python tests/benchmarks/gramians.py [STATES ...]``, on a quiet machine; all numbers of a line come from one run, so
that their ratios do. The closed form is the textbook's, in NumPy: two matrices of n^2 entries and two products.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from theory.gramians.gramians import gramian_factors
from theory.gramians.h2 import h2_norm
from theory.gramians.hankel import hankel_singular_values
from theory.systems.system import DiagonalStateSpace


def drawn(n: int, rng: np.random.Generator) -> DiagonalStateSpace:
    """One channel, margins over six decades."""
    poles = (1 - 10 ** rng.uniform(-6, -0.5, n)) * np.exp(1j * rng.uniform(0, np.pi, n))
    return DiagonalStateSpace(poles, rng.normal(size=(n, 1)) + 0j, rng.normal(size=(1, n)) + 0j)


def plain_h2(system: DiagonalStateSpace) -> float:
    """Root of ``2 Re(C P C^* + C M C^T)`` with P and M entry by entry."""
    l, B, C = system.poles, system.B, system.C
    P, M = (B @ B.conj().T) / (1 - l[:, None] * l.conj()), (B @ B.T) / (1 - l[:, None] * l)
    return float(np.sqrt(2 * (C @ P @ C.conj().T + C @ M @ C.T).real[0, 0]))


def by_factors(system: DiagonalStateSpace) -> Any:
    """Hankel singular values by both factors and a singular value decomposition: the way for several channels."""
    Lc, Lo = gramian_factors(system)
    return np.linalg.svd(Lo.T @ Lc, compute_uv=False)


def seconds(function: Callable[[Any], Any], system: Any, repeats: int) -> float:
    """The least time of some calls."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        function(system)
        times.append(time.perf_counter() - start)
    return min(times)


def main(sizes: list[int]) -> None:
    """Print a line for each number of stored states."""
    table = Table(
        "stored states", "closed form", "h2_norm", "ratio", "factors + SVD", "hankel_singular_values", "ratio"
    )
    rng = np.random.default_rng(0)
    for n in sizes:
        system, repeats = drawn(n, rng), 5 if n < 1000 else 1
        plain, ours = seconds(plain_h2, system, repeats), seconds(h2_norm, system, repeats)
        general, values = (seconds(f, system, repeats) for f in (by_factors, hankel_singular_values))
        cells = (f"{plain:.4f} s", f"{ours:.4f} s", f"{ours / plain:.2f}", f"{general:.2f} s", f"{values:.2f} s")
        table.add_row(str(n), *cells, f"{values / general:.2f}")
    Console().print(table)


if __name__ == "__main__":
    main([int(word) for word in sys.argv[1:]] or [128, 512, 2000])
