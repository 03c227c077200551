"""From a point of the sweep to a reduced model: budget, allocation, layers; equal layers are reduced once."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace

import numpy as np

from lra.sweep.examples import Part
from lra.sweep.grid import OWN, WHOLE_MODEL, Point
from lra.sweep.whole_models import WHOLE_MODELS, Reducer
from ssmreduce import ALLOCATIONS, METHODS, allocate
from ssmreduce.cuts import at_most, recorded_data
from ssmreduce.layers.layer import SSMLayer
from ssmreduce.methods.allocation import Allocation
from ssmreduce.methods.registry import Method
from ssmreduce.network import Network, Parts
from ssmreduce.recorded.recording import Recording
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
    """The examples that the methods of one seed are fitted to, and what the whole model did on them, when asked."""

    def __init__(self, network: Network, rows: np.ndarray, seed: int) -> None:
        self.part, self.seed = Part(network, rows), seed
        self.recording = Recording(self.part, np.arange(len(rows)), seed)
        self.effects: dict[tuple[str, str], dict[str, float]] = {}


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
        self._orders: dict[Hashable, tuple[int, ...]] = {}
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
        layers, keys = [], []
        for index, order in enumerate(self._divided(rule, method, point.seed, budget)):
            key = (method.name, point.seed, index, order)
            keys.append(key)
            layers.append(self._layer(key, method, point.seed, index, order))
        return Candidate(parts=replace(self.network.parts, layers=tuple(layers)), rule=rule.name, keys=tuple(keys))

    def _divided(self, rule: Allocation, method: Method, seed: int, budget: int) -> tuple[int, ...]:
        """Orders of the layers; by effects on what the method is fitted to where the rule measures them."""
        if "network" not in rule.requires:
            return self._once((rule.name, budget), lambda: allocate(self.layers, budget, rule))
        recorded = self.recorded(seed)

        def cut(index: int, order: int) -> SSMLayer:
            return self._layer((method.name, seed, index, order), method, seed, index, order)

        effects = recorded.effects.setdefault((rule.name, method.name), {})
        given = {"network": recorded.part, "cut": cut, "known": effects}
        key = (rule.name, method.name, seed, budget)
        return self._once(key, lambda: allocate(self.layers, budget, rule, **given))

    def _once(self, key: Hashable, divide: Callable[[], tuple[int, ...]]) -> tuple[int, ...]:
        if key not in self._orders:
            self._orders[key] = divide()
        return self._orders[key]

    def recorded(self, seed: int) -> Recorded:
        """The examples for a seed; one seed's are held at a time."""
        if self._recorded is None or self._recorded.seed != seed:
            self._recorded, self._reducers = Recorded(self.network, self.rows(seed), seed), {}
        return self._recorded

    def _layer(self, key: Hashable, method: Method, seed: int, index: int, order: int) -> SSMLayer:
        if key not in self._reduced:
            try:
                data = recorded_data(self.recorded(seed).recording, method, index)
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
