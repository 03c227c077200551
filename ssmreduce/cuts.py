"""The layers of a model cut by one method: to a share of a budget, with what a running network recorded of them."""

from __future__ import annotations

from collections.abc import Callable, MutableMapping, Sequence
from typing import Any

import numpy as np

from ssmreduce.layers.layer import SSMLayer
from ssmreduce.methods.allocation import Allocation, allocate
from ssmreduce.methods.registry import Method
from ssmreduce.network import Network
from ssmreduce.recorded.recording import Recording
from ssmreduce.reduction import NOT_WRITTEN, Reduction, reduce
from theory.errors import InputError, OrderError

NEED_GRADIENTS = ("output", "mixture")
"""Kinds of observability (:data:`theory.gramians.recorded.OBSERVABILITIES`) that look at gradients."""


class Cuts:
    """Every cut is made once; layer i draws with ``seed + i``.

    Parameters
    ----------
    layers : sequence of SSMLayer
    method : Method
    seed : int
    network : Network, optional
        Runs these layers on examples; all of them are recorded if the method takes inputs.
    """

    def __init__(self, layers: Sequence[SSMLayer], method: Method, seed: int, network: Network | None = None) -> None:
        self.layers, self.method, self.seed, self.network = layers, method, seed, network
        self._recording = None if network is None else Recording(network, np.arange(network.count), seed)
        self._made: dict[tuple[int, int], Reduction] = {}

    def data(self, index: int) -> dict[str, Any]:
        """What the method takes for a layer besides it."""
        return {} if self._recording is None else recorded_data(self._recording, self.method, index)

    def at_most(self, index: int, order: int) -> Reduction:
        """A layer cut to a share of a budget; see :func:`at_most`."""
        if (index, order) not in self._made:
            data = self.data(index)
            self._made[index, order] = at_most(self.layers[index], order, self.method, self.seed + index, **data)
        return self._made[index, order]

    def exactly(self, index: int, order: int) -> Reduction:
        """A layer cut to what was asked for; see :func:`exactly`."""
        return exactly(self.layers[index], order, self.method, self.seed + index, **self.data(index))

    def spread(
        self,
        rule: Allocation,
        budget: int,
        effects: MutableMapping[str, float],
        report: Callable[[str], None] = lambda text: None,
    ) -> tuple[int, ...]:
        """States of each layer; a rule that measures effects does so on the network, and leaves them in `effects`."""
        given: dict[str, Any] = {}
        if self.network is not None:
            given = {"network": self.network, "cut": self._cut, "known": effects, "report": report}
        return allocate(self.layers, budget, rule, **{name: given[name] for name in rule.takes if name in given})

    def _cut(self, index: int, order: int) -> SSMLayer:
        return reduced_layer(self.at_most(index, order))


def recorded_data(recording: Recording, method: Method, index: int) -> dict[str, Any]:
    """What a method takes for one layer of a network that runs, by name: inputs, lengths, gradients where it looks."""
    if "inputs" not in method.takes:
        return {}
    data: dict[str, Any] = {"inputs": recording.inputs(index)}
    if "lengths" in method.takes:
        data["lengths"] = recording.whole.lengths
    if "gradients" in method.takes and getattr(method, "observability", "") in NEED_GRADIENTS:
        data["gradients"] = recording.gradients[index]
    return data


def exactly(layer: SSMLayer, order: int, method: Method, seed: int, **data: Any) -> Reduction:
    """Reduce to what was asked for; an error names the layer. `data` as for :func:`at_most`."""
    try:
        return reduce(layer, order=order, method=method, seed=seed, **data)
    except OrderError as error:
        raise OrderError(f"layer {layer.name}: {error}", error.asked, error.attainable) from None


def at_most(layer: SSMLayer, order: int, method: Method, seed: int, **data: Any) -> Reduction:
    """Reduce to a share of a budget, or to what is numerically there of it; one state stays.

    `data` is what the method takes besides, as for :func:`ssmreduce.reduce`.
    """
    try:
        return reduce(layer, order=order, method=method, seed=seed, **data)
    except OrderError as error:
        if error.attainable == 0:  # no state reaches an output: any one of them will do
            return reduce(layer, order=1, method="modal")
        if error.attainable >= order:
            raise
        return reduce(layer, order=error.attainable, method=method, seed=seed, **data)


def reduced_layer(reduction: Reduction) -> SSMLayer:
    """The layer of a reduction of a layer.

    Raises
    ------
    InputError
        The parameters of its code base cannot hold the reduced system.
    """
    if reduction.layer is None:
        raise InputError(reduction.diagnostics[NOT_WRITTEN])
    return reduction.layer
