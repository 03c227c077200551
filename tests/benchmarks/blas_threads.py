"""What BLAS threads cost the norm of a layer: as they come, and as `theory.arithmetic.threads` shares the cores.

``python tests/benchmarks/blas_threads.py``, on a quiet machine; each line is a process of its own.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

REPEATS = 5
NAMES = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")


def measure(shared: bool) -> None:
    """Print the least time of a norm, in this process."""
    from layers import s5

    from theory.arithmetic.threads import blas_threads
    from theory.norms import _norm

    norm, layer = _norm if shared else _norm.__wrapped__, s5(192, 512, 0)  # type: ignore[attr-defined]
    norm(layer, 1e-8, stable=True)
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        norm(layer, 1e-8, stable=True)
        times.append(time.perf_counter() - start)
    print(blas_threads(), min(times))


def main() -> None:
    table = Table("BLAS threads", "shared by theory", "seconds", title="norm of an S5 layer, 192 stored states")
    for threads in ("1", None):
        environment = {key: value for key, value in os.environ.items() if key not in NAMES}
        environment |= {"PYTHONPATH": str(Path(__file__).parents[2])} | ({NAMES[0]: threads} if threads else {})
        for shared in (False, True):
            command = [sys.executable, __file__, "shared" if shared else "own"]
            answer = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.split()
            table.add_row(answer[0], "yes" if shared else "no", f"{float(answer[1]):.3f}")
    Console().print(table)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        measure(sys.argv[1] == "shared")
    else:
        main()
