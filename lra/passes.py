"""What a network runs compiled, on one batch: forwards, and forwards and back, watched at its layers and norms."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from lra.models.norm import BatchNorm
from lra.models.precision import wide
from lra.models.sharded import mean_over_devices, sum_over_devices

Array = Any
Batch = dict[str, Any]
Interceptor = Callable[..., Any]


def forward(module: nn.Module, decoder: Sequence[str], record: bool, variables: Any, batch: Batch) -> dict[str, Any]:
    """Logits and features, what enters the batch norms in sums, and, if wanted, what enters the layers."""
    seen: list[Array] = []
    held: dict[str, Any] = {"moments": [], "counts": []}

    def watch(following: Interceptor, args: Any, kwargs: Any, context: Any) -> Any:
        here = context.module
        if context.method_name == "__call__":
            if here.name == "seq" and record:
                seen.append(args[0])
            elif isinstance(here, BatchNorm):
                mean, square, count = moments(*args, **kwargs)
                held["moments"].append((mean, square))
                held["counts"].append(count)
            elif here.path == tuple(decoder):
                held["features"] = args[0]
        return following(*args, **kwargs)

    with nn.intercept_methods(watch):
        logits = module.apply(variables, batch["x"], batch.get("lengths"))
    return held | {"logits": logits, "inputs": seen}


def with_gradients(module: nn.Module, layers: int, channels: int, variables: Any, batch: Batch) -> dict[str, Any]:
    """Logits, what enters the layers, and the gradients of ``batch["v"]``, R combinations, at the layers' outputs."""
    x, lengths, v = batch["x"], batch.get("lengths"), batch["v"]
    shape = (x.shape[1], x.shape[0], channels)
    zeros = [jnp.zeros(shape) for _ in range(layers)]

    def pushed(pushes: list[Array]) -> tuple[Array, list[Array]]:
        order, seen = iter(pushes), []

        def push(following: Interceptor, args: Any, kwargs: Any, context: Any) -> Any:
            result = following(*args, **kwargs)
            if context.module.name == "seq" and context.method_name == "__call__":
                seen.append(args[0])
                return result + next(order)
            return result

        with nn.intercept_methods(push):
            return module.apply(variables, x, lengths), seen

    logits, pull, seen = jax.vjp(pushed, zeros, has_aux=True)
    (gradients,) = jax.vmap(pull, in_axes=-1, out_axes=-1)(v)
    return {"logits": logits, "inputs": seen, "gradients": gradients}


def moments(x: Array, training: bool = False, mask: Array | None = None) -> tuple[Array, Array, Array]:
    """Mean and mean square of what enters a batch norm, and how many samples that is; over all devices."""
    x = wide(x)
    if mask is None:
        mean, square = mean_over_devices((x.mean((0, 1)), (x * x).mean((0, 1))))
        return mean, square, sum_over_devices(jnp.asarray(float(x.shape[0] * x.shape[1])))
    valid, count = jnp.where(mask[..., None], x, 0), jnp.maximum(sum_over_devices(mask.sum()), 1)
    total, square = sum_over_devices((valid.sum((0, 1)), (valid * valid).sum((0, 1))))
    return total / count, square / count, count.astype(float)
