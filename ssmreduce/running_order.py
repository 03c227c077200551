"""The layers of a model in the order in which its network runs them, which need not be that of its file.

A file lists layers by their keys; an encoder and a decoder with skips between them run otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

from ssmreduce.layers.layer import SSMLayer
from ssmreduce.network import Network
from theory.errors import InputError

T = TypeVar("T")


class RunningOrder:
    """Which layer of the file each layer of a network is.

    Parameters
    ----------
    held : sequence of SSMLayer
        Of the model, as its file lists them.
    network : Network, optional
        Without one the order is that of the file.

    Raises
    ------
    InputError
        The network does not run the model's layers.
    """

    def __init__(self, held: Sequence[SSMLayer], network: Network | None = None) -> None:
        running = held if network is None else network.parts.layers
        left = list(range(len(held)))
        self._places: list[int] = []
        for layer in running:
            place = next((k for k in left if held[k] is layer), None)
            place = next((k for k in left if _same(held[k], layer)), None) if place is None else place
            if place is None or len(running) != len(held):
                raise InputError(
                    f"the network runs layers of {_sizes(running)} (states, channels), the model has {_sizes(held)}, "
                    f"and {_where(len(self._places), len(running))} is none of the model's: make the network of this "
                    "model, its parts.layers of model.layers in the order in which they run"
                )
            left.remove(place)
            self._places.append(place)

    @property
    def places(self) -> list[int]:
        """Where the file has the layer that runs first, second, ..., from 0."""
        return list(self._places)

    def place(self, index: int) -> int:
        """Where the file has the layer that runs as the one of this index, from 0."""
        return self._places[index]

    def running(self, items: Sequence[T]) -> list[T]:
        """From the order of the file to that of the network."""
        return [items[place] for place in self._places]

    def filed(self, items: Sequence[T]) -> list[T]:
        """From the order of the network to that of the file."""
        return [items[i] for i in np.argsort(self._places)]


def _where(index: int, count: int) -> str:
    return f"layer {index} of the network" if index < count else "a layer"


def _sizes(layers: Sequence[SSMLayer]) -> list[tuple[int, int]]:
    return [(layer.order, layer.n_channels) for layer in layers]


def _same(one: SSMLayer, other: SSMLayer) -> bool:
    """Whether two layers are the same system, state by state."""
    if (one.order, one.n_channels, one.is_bidirectional) != (other.order, other.n_channels, other.is_bidirectional):
        return False
    pairs = [(getattr(one.system, name), getattr(other.system, name)) for name in ("poles", "B", "C", "C_reverse", "D")]
    return all(np.array_equal(mine, theirs) for mine, theirs in pairs)
