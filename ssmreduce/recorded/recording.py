"""What a network did on some unlabelled examples: the inputs of its layers, its logits, what its logits feel."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssmreduce.layers.layer import SSMLayer
from ssmreduce.network import Network, Parts, Pass
from ssmreduce.recorded.measures import measure_of
from theory.errors import InputError
from theory.gramians.recorded import OBSERVABILITIES, mixture, recorded_observability, recorded_reachability
from theory.gramians.time_limited import time_limited_gramians
from theory.reduction.experiment import Experiment
from theory.reduction.recorded_refit import recorded_outputs
from theory.systems.scan import channels_of, record

Array = NDArray[Any]


def spread_over(total: int, count: int) -> Array:
    """At most `count` of `total` positions, first to last: data may be sorted by class."""
    return np.unique(np.linspace(0, total - 1, min(count, total)).round().astype(int))


@dataclass(frozen=True, eq=False)
class Sample:
    """The whole model on the examples `rows`: one pass, with nothing of its layers kept.

    Parameters
    ----------
    network : Network
    rows : ndarray of int
        Positions of the examples.
    """

    network: Network
    rows: Array

    def __post_init__(self) -> None:
        if self.rows.size == 0:
            raise InputError("a recording needs at least one example")

    @property
    def parts(self) -> Parts:
        """The whole model."""
        return self.network.parts

    @cached_property
    def whole(self) -> Pass:
        """The whole model's pass."""
        return self._run(())

    def _run(self, layers: Iterable[int]) -> Pass:
        found = self.network.run(self.parts, self.rows, record=tuple(layers))
        if not np.isfinite(found.logits).all():
            raise InputError("the network gives logits that are not finite: look at it before it is reduced")
        return found


@dataclass(frozen=True, eq=False)
class Recording(Sample):
    """The whole model on the examples `rows`: one pass, one pass of gradients, and what follows from them.

    Parameters
    ----------
    network : Network
    rows : ndarray of int
        Positions of the examples.
    seed : int
        Of the random directions of the outputs.
    feedthrough : bool or None
        Whether the diagonal of D is fitted where C is; ``None``: where a layer has as many inputs as outputs.
    """

    seed: int = 0
    feedthrough: bool | None = None

    @cached_property
    def whole(self) -> Pass:
        """The whole model's pass, with the inputs of all layers."""
        found = self._run(range(len(self.parts.layers)))
        for index, layer in enumerate(self.parts.layers):
            channels = channels_of(layer.system, layer.system.m)
            record(found.inputs[index], found.lengths, channels, f"recorded inputs of layer {index}")
        return found

    def fits_feedthrough(self, layer: SSMLayer) -> bool | None:
        """Whether the diagonal of D of a layer is fitted; None: where it has as many inputs as outputs."""
        return self.feedthrough if layer.format.feeds_through else False

    def inputs(self, index: int) -> Array:
        """Inputs of a layer, (S, L, m)."""
        return self.whole.inputs[index]

    def outputs(self, index: int) -> Array:
        """Outputs of a layer, (S, L, p): of its system, in float64."""
        return self._outputs[index]

    @cached_property
    def _outputs(self) -> tuple[Array, ...]:
        layers = self.parts.layers
        return tuple(
            recorded_outputs(layer.system, self.inputs(i), self.whole.lengths).astype(np.float32)
            for i, layer in enumerate(layers)
        )

    def experiment(self, index: int, sequences: Array) -> Experiment:
        """What a fit of a layer on some `sequences` of the record needs; the last one asked for is kept."""
        key = (index, sequences.tobytes())
        if key not in self._experiments:
            self._experiments.clear()
            lengths = self.whole.lengths
            self._experiments[key] = Experiment.of(
                self.parts.layers[index].system, self.inputs(index)[sequences], self.outputs(index)[sequences],
                None if lengths is None else lengths[sequences],
            )  # fmt: skip
        return self._experiments[key]

    @cached_property
    def _experiments(self) -> dict[tuple[int, bytes], Experiment]:
        return {}

    @cached_property
    def gradients(self) -> tuple[Array, ...]:
        """Gradients of random combinations of the outputs with respect to every layer's output."""
        v = measure_of(self.network).directions(np.random.default_rng(self.seed), self.whole.logits)
        found = self.network.gradients(self.parts, self.rows, v.astype(np.float32))
        for index, layer in enumerate(self.parts.layers):
            channels = channels_of(layer.system, layer.system.p)
            record(found[index], self.whole.lengths, channels, f"gradients of layer {index}")
        return found

    @cached_property
    def reachability(self) -> tuple[Array, ...]:
        """Recorded reachability Gramian of every layer."""
        return tuple(
            recorded_reachability(layer.system, self.inputs(i), self.whole.lengths)
            for i, layer in enumerate(self.parts.layers)
        )

    def observability(self, index: int, kind: str) -> Array | None:
        """What stands for the observability Gramian of a layer; ``None`` is the exact one."""
        if kind not in OBSERVABILITIES:
            raise InputError(f"observability must be one of {', '.join(OBSERVABILITIES)}, got {kind!r}")
        if kind == "exact":
            return None
        if kind == "mixture":
            return mixture(self.reachability[index], *(self._seen(index, one) for one in ("time_limited", "output")))
        return self._seen(index, kind)

    def _seen(self, index: int, kind: str) -> Array:
        """Of a kind, computed once."""
        if (index, kind) not in self._known:
            system = self.parts.layers[index].system
            if kind == "time_limited":
                found = time_limited_gramians(system, self.inputs(index).shape[1])[1]
            else:
                found = recorded_observability(system, self.gradients[index], self.whole.lengths)
            self._known[index, kind] = found
        return self._known[index, kind]

    @cached_property
    def _known(self) -> dict[tuple[int, str], Array]:
        return {}
