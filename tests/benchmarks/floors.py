"""How far from the floor methods end on the shipped layers: medians at 25, 50 and 75 % of the states removed.

    python tests/benchmarks/floors.py hinf hankel_norm [--models smnist_small]

The error is the upper end of the certified bracket of what is reduced; of an S4D layer every channel counts. Processor
seconds, so that other work on the machine matters little.
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ssmreduce import METHODS, load
from ssmreduce.layers.layer import SSMLayer
from theory.norms import error_norm

ROOT = Path(__file__).resolve().parents[2]
REMOVED = 0.25, 0.5, 0.75
Key = tuple[str, str]


def shipped(pattern: str) -> Iterator[tuple[str, SSMLayer]]:
    """Layers of the models that the repository has."""
    for folder in ("ssmreduce/checkpoints", "lra/weights"):
        for path in sorted((ROOT / folder).glob(f"*{pattern}*.safetensors")):
            for i, layer in enumerate(load(path).layers):
                yield f"{path.stem} {i}", layer


def form(layer: SSMLayer) -> str:
    """What medians are taken over."""
    if layer.system.batch_shape:
        return "S4D channels"
    return "two directions" if layer.system.is_bidirectional else "one direction"


def floors(layer: SSMLayer, method: str, removed: float) -> tuple[np.ndarray, float]:
    """Return the error over the floor of every channel, and processor seconds of the reduction."""
    order = max(1, round(layer.system.n * (1 - removed)))
    began = time.process_time()
    found = METHODS.find(method).reduce(layer, order=order)
    seconds = time.process_time() - began
    error = np.atleast_1d(error_norm(layer.system, found.system, 1e-3).upper)
    floor = np.broadcast_to(found.floor, error.shape)
    return error[floor > 0] / floor[floor > 0], seconds


def main() -> None:
    """Print a line a reduction, then the medians."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("methods", nargs="+")
    parser.add_argument("--models", default="", help="part of the names of the models that count")
    given = parser.parse_args()
    ratios: dict[Key, list[np.ndarray]] = defaultdict(list)
    seconds: dict[Key, float] = defaultdict(float)
    for name, layer in shipped(given.models):
        for removed in REMOVED:
            for method in given.methods:
                ratio, spent = floors(layer, method, removed)
                key = method, form(layer)
                ratios[key].append(ratio.ravel())
                seconds[key] += spent
                print(f"{name:30} {removed:.0%} {method:16} {np.median(ratio):6.2f} ({ratio.max():.2f}) {spent:6.1f} s",
                      flush=True)  # fmt: skip
    for key, found in ratios.items():
        every = np.concatenate(found)
        print(f"{key[0]:16} {key[1]:16} median {np.median(every):.2f}, worst {every.max():.2f}, of {every.size}; "
              f"{seconds[key] / len(found):.1f} s a reduction")  # fmt: skip


if __name__ == "__main__":
    main()
