"""Where a layer of a training step spends its time: each piece of an S5 block alone, forward and backward.

    python tests/benchmarks/layer_pieces.py [listops text ...] [--batch 4] [--length 1024]

Processor time on a CPU, wall time elsewhere; medians. The sum of the pieces is not the layer: XLA fuses across them.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parents[1])]

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402
from flax import linen as nn  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402

from lra.__main__ import CPU_ALLOCATOR  # noqa: E402
from lra.config import Config, load_config  # noqa: E402
from lra.models.norm import BatchNorm  # noqa: E402
from lra.models.s5 import matmul  # noqa: E402
from lra.models.scan import diagonal_scan, pack  # noqa: E402

Piece = tuple[Callable[..., Any], tuple[Any, ...]]


def pieces(config: Config, batch: int, length: int) -> dict[str, Piece]:
    """Functions and arguments, all differentiated by all."""
    rng, H, P = np.random.default_rng(0), config.d_model, config.P

    def draw(*shape: int) -> jax.Array:
        return jnp.asarray(rng.normal(size=shape) / shape[-1] ** 0.5, jnp.float32)

    x, drive, W = draw(length, batch, H), draw(length, batch, 2 * P), draw(H, H)
    Lambda_bar = pack(jnp.asarray(0.99 * np.exp(1j * rng.uniform(0, 3, P)), jnp.complex64))
    norm = BatchNorm()
    variables = norm.init(jax.random.key(0), x)
    directions = (False, True) if config.bidirectional else (False,)

    def normalize(x: Any, params: Any) -> Any:
        held = {"params": params, "batch_stats": variables["batch_stats"]}
        return norm.apply(held, x, True, mutable=["batch_stats"])[0]

    def scan(Lambda_bar: Any, drive: Any) -> Any:
        return sum(diagonal_scan(Lambda_bar, drive, reverse=reverse) for reverse in directions)

    return {
        "norm": (normalize, (x, variables["params"])),
        "product with B": (matmul, (x, draw(H, 2 * P))),
        "recurrence": (scan, (Lambda_bar, drive)),
        "products with C": (lambda s, *C: sum(matmul(s, c) for c in C), (drive, *(draw(2 * P, H) for _ in directions))),
        "gelu and gate": (lambda x, W, b: x * nn.sigmoid(matmul(nn.gelu(x), W) + b), (x, W, jnp.zeros(H))),
        "one pass over memory": (lambda x: 2 * x, (x,)),
    }


def milliseconds(piece: Piece, repeats: int) -> tuple[float, float]:
    """Forward alone; gradients by all arguments, with as much of the forward pass as they need."""
    function, arguments = piece
    clock = time.process_time if jax.default_backend() == "cpu" else time.perf_counter
    forward = jax.jit(function)
    out = forward(*arguments)
    gradients = jax.jit(lambda cotangent, *given: jax.vjp(function, *given)[1](cotangent))
    times = []
    for call in (lambda: forward(*arguments), lambda: gradients(out, *arguments)):
        jax.block_until_ready(call())
        spent = []
        for _ in range(repeats):
            started = clock()
            jax.block_until_ready(call())
            spent.append(1e3 * (clock() - started))
        times.append(statistics.median(spent))
    return times[0], times[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("configs", nargs="*", default=["listops", "text"])
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--length", type=int, default=1024)
    parser.add_argument("--repeats", type=int, default=9)
    options = parser.parse_args()
    table = Table(title=f"{jax.devices()[0].device_kind}, batch {options.batch}, L {options.length}; ms")
    for column in ("config", "piece", "forward", "gradients"):
        table.add_column(column)
    for name in options.configs:
        for piece, work in pieces(load_config(name), options.batch, options.length).items():
            table.add_row(name, piece, *(f"{value:.2f}" for value in milliseconds(work, options.repeats)))
    Console(width=None if sys.stdout.isatty() else 120).print(table)


if __name__ == "__main__":
    if sys.platform == "linux" and "GLIBC_TUNABLES" not in os.environ:  # as `python -m lra train`
        os.execve(sys.executable, sys.orig_argv, {**os.environ, "GLIBC_TUNABLES": CPU_ALLOCATOR})
    main()
