"""Layers whose code base cannot hold a projection: states are kept as they lie, poles and B bit for bit."""

from __future__ import annotations

import numpy as np

from ssmreduce.layers.formats.layer_format import NotClosedError
from ssmreduce.layers.layer import SSMLayer
from ssmreduce.network import Network
from ssmreduce.recorded.recording import Recording
from theory.errors import InputError
from theory.reduction.recorded_selection import recorded_selection


def projects(network: Network) -> bool:
    """Whether any layer of a network can hold a projection."""
    return any(layer.format.projects for layer in network.parts.layers)


def selected(recording: Recording, index: int, order: int) -> SSMLayer:
    """One layer of `order` of its states, those that its record needs, with the C that stands in for the others.

    Raises
    ------
    NotClosedError
        The code base can leave out no state.
    InputError
        The layer is complex, has two directions, or is a batch: none of the code bases that ask for this has such.
    """
    layer = recording.parts.layers[index]
    system = layer.system
    if system.batch_shape or system.is_bidirectional or not system.conjugate_pairs:
        raise InputError("states are selected of single layers in conjugate pairs with one direction")
    layer.keep(np.arange(order))  # what cannot be done is said before it is worked for
    moments, real = recording.reachability[index], layer.format.real_outputs
    reduced, kept = recorded_selection(system, order, moments, real_outputs=real)
    found = layer.keep(kept)
    try:
        return found.with_outputs(reduced)
    except NotClosedError:  # an oscillator's C goes with its B
        return found
