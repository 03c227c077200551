r"""In-training compression: balanced truncation of every layer, a few times during the warm-up.

After Chahine, Nazari, Rus, Rusch (ICLR 2026, arXiv 2510.02823): training begins with many states, and early, while the
learning rate still rises, each layer keeps the fewest states r with

.. math:: \sum_{i>r}\sigma_i \le \tau \sum_i \sigma_i,

so that its transfer function moves by at most :math:`2\tau\sum_i\sigma_i` (plus the rounding of what is written).
`ssmreduce.reduce` does the reduction, in float64, and writes the layer back in its own form; the steps that follow cost
what the smaller layer costs. A pair of conjugates is two states of the real system and one stored state.

A reduced layer has other coordinates, in which the optimizer's moments mean nothing. They start again from zero for
*all* leaves: Adam's bias correction counts steps for a whole group of leaves, and would make the first updates of
zeroed moments three times too large if it went on counting, or those of kept ones ten times if it did not. The
schedule of the learning rate goes on.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax

import ssmreduce
from lra.checkpoint import flatten, nest, read_tensors
from lra.config import Config
from lra.devices import ONE_DEVICE, Devices
from lra.errors import ConfigError
from lra.models import stored_states
from lra.penalties import conventions_of
from ssmreduce.layers.params import layer_from_params
from theory.errors import OrderError, SSMReduceError

WORTHWHILE = 0.95
"""A layer is left alone unless it would keep less than this fraction of its stored states (the paper's value)."""


def compression_steps(config: Config, steps_per_epoch: int) -> frozenset[int]:
    """Return the numbers of steps after which the layers are reduced: evenly spread inside the warm-up.

    Raises
    ------
    ConfigError
        The warm-up has fewer steps than it needs.
    """
    epochs = config.warmup_epochs * steps_per_epoch
    warmup, parts = epochs if config.warmup_steps is None else config.warmup_steps, config.compressions + 1
    steps = frozenset(round(k * warmup / parts) for k in range(1, parts))
    if config.compressions and (len(steps) < config.compressions or min(steps) < 1):
        raise ConfigError(
            f"compressions={config.compressions} do not fit inside a warm-up of {warmup:g} steps; "
            "raise warmup_epochs (or warmup_steps)"
        )
    return steps


def order_kept(hsv: Any, stored: int, tolerance: float) -> int:
    """Return the fewest stored states, at least 1, beyond which the singular values sum to `tolerance` of the total.

    Parameters
    ----------
    hsv : ndarray (..., 2 n)
        Of the real system, descending; one row a channel for S4D, whose channels keep equally many states.
    stored : int
        Stored states, n.
    """
    total = hsv.reshape(-1, hsv.shape[-1]).sum(axis=0)
    tail = np.concatenate([np.cumsum(total[::-1])[::-1], [0.0]])[::2]  # beyond 0, 1, ... n stored states
    return min(max(1, int(np.argmax(tail <= tolerance * tail[0]))), stored)


def compress(
    state: Any, tx: optax.GradientTransformation, config: Config, devices: Devices = ONE_DEVICE
) -> tuple[Any, dict[str, Any]]:
    """Return the training state with reduced layers, and the record of it; the same state if no layer got smaller.

    Raises
    ------
    ConfigError
        Processes on machines that round differently came to different sizes.
    """
    params, record = compress_params(jax.device_get(state.params), config)
    agreed = devices.lead(lambda: record)
    if agreed["states"] != record["states"]:
        raise ConfigError(
            f"this process would keep {record['states']} states, process 0 {agreed['states']}: their machines round "
            "differently; change compression_tolerance a little, or train on equal machines"
        )
    if record["states"] == record["states_before"]:
        return state, record
    smaller = state._replace(params=params, opt_state=restart_moments(tx, params, jax.device_get(state.opt_state)))
    return devices.replicate(devices.from_leader(jax.device_get(smaller))), record


def compress_params(params: Mapping[str, Any], config: Config) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the parameters with reduced layers, and what was done, ready for JSON.

    A layer that ssmreduce refuses (it has an unstable state, say) stays as it is; the record says why.
    """
    encoder, bounds, skipped = dict(params["encoder"]), [], {}
    for i in range(config.n_layers):
        name, bound = f"layers_{i}", 0.0
        try:
            seq, bound = compress_layer(encoder[name]["seq"], config)
            encoder[name] = {**encoder[name], "seq": seq}
        except SSMReduceError as error:
            skipped[name] = str(error)
        bounds.append(bound)
    smaller = {**params, "encoder": encoder}
    before, after = list(stored_states(params)), list(stored_states(smaller))
    return smaller, {"states_before": before, "states": after, "bounds": bounds, "skipped": skipped}


def compress_layer(seq: Mapping[str, Any], config: Config) -> tuple[Mapping[str, Any], float]:
    """Return one layer's parameters after the reduction, and the bound on its error; the same and 0 if not worthwhile.

    Raises
    ------
    SSMReduceError
        The layer cannot be reduced as it is.
    """
    options = conventions_of(config)._asdict() | {"clip_eigs": config.clips}
    del options["conj_sym" if "kernel" in seq else "dt_transform"]
    layer = layer_from_params(flatten(seq), **options)
    layer.require_stable()
    order = order_kept(ssmreduce.hankel_singular_values(layer.system), layer.order, config.compression_tolerance)
    if order >= WORTHWHILE * layer.order:
        return seq, 0.0
    try:
        reduction = ssmreduce.reduce(layer, order=order)
    except OrderError as error:  # fewer states are numerically present
        reduction = ssmreduce.reduce(layer, order=error.attainable)
    assert reduction.layer is not None
    arrays = {key.replace(".", "/"): value for key, value in reduction.layer.to_params().items()}
    return nest(arrays), float(np.max(reduction.bound))


def restart_moments(tx: optax.GradientTransformation, params: Any, old: Any) -> Any:
    """Return the optimizer's state for new parameters: moments of zero, the learning rate where it was."""

    def is_schedule(node: Any) -> bool:
        return isinstance(node, optax.ScaleByScheduleState)

    fresh = jax.jit(tx.init)(params)
    return jax.tree.map(lambda new, held: held if is_schedule(new) else new, fresh, old, is_leaf=is_schedule)


def stored_shapes(path: Path) -> dict[str, list[int]]:
    """Return the shapes of the layers' arrays in the training checkpoint at `path`, by name."""
    arrays = read_tensors(path)[0]
    return {name: list(array.shape) for name, array in arrays.items() if _LAYER.match(name)}


_LAYER = re.compile("params/encoder/layers_[0-9]+/seq/")


def resized(state: Any, shapes: Mapping[str, list[int]], tx: optax.GradientTransformation) -> Any:
    """Return a training state (its values mean nothing) whose parameters have the `shapes` that are given."""
    if not shapes:
        return state
    flat = flatten({"params": state.params})
    params = nest({name: np.zeros(shapes.get(name, leaf.shape), leaf.dtype) for name, leaf in flat.items()})["params"]
    moments = jax.eval_shape(tx.init, params)
    return state._replace(params=params, opt_state=jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), moments))
