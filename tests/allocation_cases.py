"""What an allocation needs besides the layers, in tests that go over all allocations: a network, where one runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from toy_network import ToyNetwork

from ssmreduce.layers.layer import SSMLayer
from ssmreduce.methods.allocation import ALLOCATIONS


def network_for(allocation: str, layers: Sequence[SSMLayer]) -> dict[str, Any]:
    """Keywords of `reduce_model`."""
    return {"network": ToyNetwork(layers, count=2, L=4)} if "network" in ALLOCATIONS[allocation].requires else {}


def data_for(allocation: str, layers: Sequence[SSMLayer]) -> dict[str, Any]:
    """Keywords of `allocate`; a cut keeps the first states."""
    given = network_for(allocation, layers)
    return given | ({"cut": lambda i, order: layers[i].keep(np.arange(order))} if given else {})
