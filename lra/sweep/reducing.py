"""From a point of the sweep to a reduced model: budget, allocation, layers; equal layers are reduced once."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from lra.sweep.examples import Part
from lra.sweep.grid import OWN, WHOLE_MODEL, Point
from lra.sweep.whole_models import WHOLE_MODELS, Reducer
from ssmreduce import ALLOCATIONS, METHODS, allocate
from ssmreduce.layers.layer import SSMLayer
from ssmreduce.methods.registry import Method
from ssmreduce.network import Network, Parts, Pass
from ssmreduce.reduced_model import at_most
from theory.errors import SSMReduceError

REFUSALS = (SSMReduceError, np.linalg.LinAlgError)
"""What a method may say instead of giving a layer."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Candidate:
    """A reduced model: its parts, the allocation that was used, and a key of each layer: equal keys, equal layers."""

    parts: Parts
    rule: str
    keys: tuple[Hashable, ...]


class Recorded:
    """The examples that the methods of one seed are fitted to: inputs of the layers, gradients if anybody asks."""

    def __init__(self, network: Network, rows: np.ndarray, seed: int) -> None:
        self.part, self.seed = Part(network, rows), seed
        self._rows = np.arange(len(rows))
        self._pass: Pass | None = None
        self._gradients: tuple[np.ndarray, ...] | None = None

    @property
    def found(self) -> Pass:
        """The whole model's pass, with the inputs of all layers."""
        if self._pass is None:
            everything = range(len(self.part.parts.layers))
            self._pass = self.part.run(self.part.parts, self._rows, record=everything)
        return self._pass

    @property
    def gradients(self) -> tuple[np.ndarray, ...]:
        """Gradients of random, centred combinations of the logits at the layers' outputs."""
        if self._gradients is None:
            v = np.random.default_rng(self.seed).standard_normal(self.found.logits.shape)
            v -= v.mean(axis=1, keepdims=True)
            self._gradients = self.part.gradients(self.part.parts, self._rows, v.astype(np.float32))
        return self._gradients

    def data_for(self, method: Method, index: int) -> dict[str, Any]:
        """What a method takes for a layer, by name."""
        data: dict[str, Any] = {}
        if "inputs" in method.takes:
            data["inputs"] = self.found.inputs[index]
            if "lengths" in method.takes:
                data["lengths"] = self.found.lengths
            if "gradients" in method.takes and getattr(method, "observability", "") in ("output", "mixture"):
                data["gradients"] = self.gradients[index]
        return data


class Reducing:
    """Reduces one network's layers; remembers what it did.

    Parameters
    ----------
    network : Network
        On training examples.
    rows : callable
        Examples for a seed.
    """

    def __init__(self, network: Network, rows: Callable[[int], np.ndarray]) -> None:
        self.network, self.rows = network, rows
        self.layers = network.parts.layers
        self._orders: dict[tuple[str, int], tuple[int, ...]] = {}
        self._reduced: dict[Hashable, SSMLayer | Exception] = {}
        self._recorded: Recorded | None = None
        self._reducers: dict[tuple[str, int], Reducer] = {}

    def candidate(self, point: Point, budget: int) -> Candidate:
        """Return the reduced model.

        Raises
        ------
        SSMReduceError, LinAlgError
            The method refuses a layer.
        """
        if point.allocation == WHOLE_MODEL:
            return self._whole(point, budget)
        method = METHODS.find(point.method)
        rule = ALLOCATIONS.find(method.allocation if point.allocation == OWN else point.allocation)
        if (rule.name, budget) not in self._orders:
            self._orders[rule.name, budget] = allocate(self.layers, budget, rule)
        layers, keys = [], []
        for index, order in enumerate(self._orders[rule.name, budget]):
            key = (method.name, point.seed, index, order)
            keys.append(key)
            layers.append(self._layer(key, method, point.seed, index, order))
        return Candidate(parts=replace(self.network.parts, layers=tuple(layers)), rule=rule.name, keys=tuple(keys))

    def recorded(self, seed: int) -> Recorded:
        """The examples for a seed; one seed's are held at a time."""
        if self._recorded is None or self._recorded.seed != seed:
            self._recorded, self._reducers = Recorded(self.network, self.rows(seed), seed), {}
        return self._recorded

    def _layer(self, key: Hashable, method: Method, seed: int, index: int, order: int) -> SSMLayer:
        if key not in self._reduced:
            data = self.recorded(seed).data_for(method, index)
            try:
                found = at_most(self.layers[index], order, method, seed + index, **data).layer
                assert found is not None
                self._reduced[key] = found
            except REFUSALS as refusal:
                self._reduced[key] = refusal
        held = self._reduced[key]
        if isinstance(held, Exception):
            raise held
        return held

    def _whole(self, point: Point, budget: int) -> Candidate:
        if budget == sum(layer.order for layer in self.layers):  # nothing is to be removed: nothing is to be fitted
            return Candidate(parts=self.network.parts, rule="all", keys=(WHOLE_MODEL,) * len(self.layers))
        part = self.recorded(point.seed).part
        key = (point.method, point.seed)
        if key not in self._reducers:
            self._reducers[key] = WHOLE_MODELS.find(point.method).reducer(part, point.seed)
        parts, rule = self._reducers[key](budget)
        keys = tuple((point.method, point.seed, index, budget) for index in range(len(self.layers)))
        return Candidate(parts=parts, rule=rule, keys=keys)
