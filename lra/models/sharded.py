"""What a model must know when its batch is spread over devices: sums and means are those of the whole batch.

`lra.devices` runs a step under `jax.shard_map` with the axis `AXIS`; there each device sees its own part of the batch.
Outside of it every function here is the identity, so that a model is written once.
"""

from __future__ import annotations

from typing import TypeVar

import jax

Array = jax.Array
T = TypeVar("T")

AXIS = "data"


def is_sharded() -> bool:
    """Return whether the code that is being traced runs on one part of the batch out of several."""
    return AXIS in jax.sharding.get_abstract_mesh().manual_axes


def sum_over_devices(tree: T) -> T:
    """Return the sum over the parts of the batch of every array in `tree`."""
    return jax.lax.psum(tree, AXIS) if is_sharded() else tree


def mean_over_devices(tree: T) -> T:
    """Return the mean over the parts of the batch (all of one size) of every array in `tree`."""
    return jax.lax.pmean(tree, AXIS) if is_sharded() else tree


def first_example(size: int) -> Array | int:
    """Return the position in the whole batch of the first of this part's `size` examples."""
    return jax.lax.axis_index(AXIS) * size if is_sharded() else 0
