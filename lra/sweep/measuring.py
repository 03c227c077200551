"""What a reduced model does: accuracy on labelled examples, errors on recorded inputs and on noise, size, time."""

from __future__ import annotations

import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lra.evaluate import rebuild
from lra.network import LraNetwork
from ssmreduce import Model
from ssmreduce.layers.layer import SSMLayer
from ssmreduce.network import Parts, Pass, changed, divergence
from theory.errors import ConvergenceError
from theory.gramians.h2 import h2_norm
from theory.reduction.recorded_refit import mean_error, recorded_outputs
from theory.systems.difference import difference

STEPS = 5
"""Timed steps, of which the fastest counts: anything else that runs can only slow one down."""


class Predictions:
    """Accuracy on labelled examples, beside the whole model's predictions.

    Parameters
    ----------
    network : LraNetwork
        On the examples of the split.
    labels : ndarray of int, shape (N,)
    """

    def __init__(self, network: LraNetwork, labels: np.ndarray) -> None:
        self.network, self.labels, self.rows = network, labels, np.arange(len(labels))
        self.whole = self._logits(network.parts)
        self.accuracy = self._accuracy(self.whole)

    def of(self, parts: Parts) -> dict[str, float]:
        """Accuracy, changed predictions, divergence.

        Raises
        ------
        ConvergenceError
            The logits are not finite.
        """
        logits = self.whole if parts is self.network.parts else self._logits(parts)
        return {
            "accuracy": self._accuracy(logits),
            "changed": changed(self.whole, logits),
            "divergence": max(0.0, divergence(self.whole, logits)),
        }

    def _accuracy(self, logits: np.ndarray) -> float:
        return float((logits.argmax(axis=-1) == self.labels).mean())

    def _logits(self, parts: Parts) -> np.ndarray:
        logits = self.network.run(parts, self.rows).logits.astype(float)
        if not np.isfinite(logits).all():
            raise ConvergenceError("the outputs of the model are not finite", 0)
        return logits


class RecordedErrors:
    """Errors of layers on the inputs that the whole model gave them."""

    def __init__(self, layers: tuple[SSMLayer, ...], found: Pass) -> None:
        self.layers, self.found = layers, found
        self.outputs = [
            recorded_outputs(layer.system, found.inputs[i], found.lengths) for i, layer in enumerate(layers)
        ]
        zeros = [
            mean_error(layer.system, found.inputs[i], np.zeros_like(self.outputs[i]), found.lengths)
            for i, layer in enumerate(layers)
        ]
        self.energies = [float(np.sum(energy)) for energy in zeros]

    def of(self, index: int, layer: SSMLayer) -> float:
        """Root mean square of the error of one layer's output, all channels together, over that of the output."""
        if layer is self.layers[index] or self.energies[index] == 0:
            return 0.0
        error = mean_error(layer.system, self.found.inputs[index], self.outputs[index], self.found.lengths)
        return float(np.sqrt(np.sum(error) / self.energies[index]))


class H2Errors:
    """H2 norms of the layers' errors over those of the layers: the error for white noise at every input.

    Each layer's inputs are independent of each other and of every other time; all channels together.
    """

    def __init__(self, layers: tuple[SSMLayer, ...]) -> None:
        self.layers = layers
        self.norms = [_total(layer) for layer in layers]

    def of(self, index: int, layer: SSMLayer) -> float:
        """Of one layer; 0 where it was not reduced."""
        whole = self.layers[index]
        if layer is whole or self.norms[index] == 0:
            return 0.0
        return float(np.linalg.norm(h2_norm(difference(whole.system, layer.system)))) / self.norms[index]


def _total(layer: SSMLayer) -> float:
    return float(np.linalg.norm(h2_norm(layer.system)))


def size_of(model: Model) -> dict[str, int]:
    """Numbers and bytes of parameters and statistics."""
    leaves = [np.asarray(leaf) for leaf in jax.tree.leaves({"p": model.params, "s": model.batch_stats})]
    return {"parameters": sum(leaf.size for leaf in leaves), "bytes": sum(leaf.nbytes for leaf in leaves)}


def step_milliseconds(network: LraNetwork, model: Model) -> float:
    """Milliseconds of one batch through a model at its own size, compiled for it: the fastest of `STEPS`."""
    variables: dict[str, Any] = {"params": model.params}
    if model.batch_stats:
        variables["batch_stats"] = model.batch_stats
    module = rebuild(model.architecture, variables, network.options)
    step, held = jax.jit(module.apply), jax.device_put(variables)
    count = min(network.batch, network.count)
    rows = np.arange(count)
    which = np.concatenate([rows, rows + network.count]) if network.pairs else rows
    x = jnp.asarray(network.x[which])
    lengths = None if network.lengths is None else jnp.asarray(network.lengths[which])
    step(held, x, lengths).block_until_ready()  # compiles
    times = []
    for _ in range(STEPS):
        start = time.perf_counter()
        step(held, x, lengths).block_until_ready()
        times.append(time.perf_counter() - start)
    return 1e3 * min(times)
