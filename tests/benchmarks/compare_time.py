"""Time of a whole comparison: a layer of the shipped S5, 8 orders, no second opinion.

    python tests/benchmarks/compare_time.py [--descents] [--layer 0] [--threads 2]

By itself, on an idle machine with two cores: wall time counts. On a busy one the processor seconds say more.
"""

from __future__ import annotations

import argparse
import os
import time
from collections import defaultdict

from ssmreduce import METHODS, compare, load, shipped_checkpoint
from ssmreduce.progress import progress_bar
from theory.errors import InputError


def main() -> None:
    """Compare once; imports and a small comparison go before."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--descents", action="store_true", help="h2, hinf and mixed, too")
    parser.add_argument("--layer", type=int, default=0)
    parser.add_argument("--threads", type=int, default=None)
    arguments = parser.parse_args()
    layer = load(shipped_checkpoint()).layers[arguments.layer]
    methods = [name for name, method in METHODS.items() if not method.requires and applies(name, layer)]
    if not arguments.descents:
        methods = [name for name in methods if not METHODS[name].searches]
    compare(layer.keep(range(4)), methods, [2], crosscheck="none", threads=arguments.threads)
    load_before, wall, processor = os.getloadavg()[0], time.perf_counter(), time.process_time()
    with progress_bar() as progress:
        found = compare(layer, methods, crosscheck="none", threads=arguments.threads, progress=progress)
    wall, processor = time.perf_counter() - wall, time.process_time() - processor
    each: dict[str, float] = defaultdict(float)
    for row in found.rows:
        each[row.method] += row.seconds or 0.0
    print(f"{len(found.rows)} rows: {wall:.1f} s, {processor:.1f} processor seconds, load before {load_before:.1f}")
    print("reductions alone:", ", ".join(f"{name} {seconds:.2f} s" for name, seconds in each.items()))


def applies(name: str, layer: object) -> bool:
    """Whether the method takes this layer."""
    try:
        METHODS[name].applies(layer)  # type: ignore[arg-type]
    except InputError:
        return False
    return True


if __name__ == "__main__":
    main()
