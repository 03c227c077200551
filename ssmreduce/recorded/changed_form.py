"""Layers whose storage changes with them, and networks that know only the storage that came.

S4 (diagonal plus low rank) is read as the diagonal layer with its kernel, and written as S4D once it is changed. A
network that runs the stored arrays in a module of S4, with the low-rank term that lies there, runs another system.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ssmreduce.layers.formats import LAYER_FORMATS
from ssmreduce.layers.layer import SSMLayer
from ssmreduce.network import Network
from ssmreduce.recorded.measures import SquaredError, measure_of
from ssmreduce.recorded.stages import run_logits
from theory.errors import InputError

EXAMPLES = 4
"""Run once as they came and once as they are written: enough to see another system."""

ROUNDING = 1e-4
"""Squared difference of the logits, relative to their energy, that is taken for rounding."""


def require_changed_form(network: Network) -> None:
    """Refuse a network that cannot run its layers in the form in which changed ones are written.

    Costs nothing where the form is the one that came, and two passes over a few examples otherwise.

    Raises
    ------
    InputError
        The network fails on such layers (the failure is the cause), or gives other logits.
    """
    parts = network.parts
    anew = tuple(layer.replace(D=layer.D) if _changes_form(layer) else layer for layer in parts.layers)
    if all(one is layer for one, layer in zip(anew, parts.layers)):
        return
    rows, centred = np.arange(min(EXAMPLES, network.count)), measure_of(network).centred
    whole = run_logits(network, parts, rows)
    try:
        found = run_logits(network, replace(parts, layers=anew), rows)
    except Exception as error:
        raise InputError(_advice(parts.layers, f"fails ({type(error).__name__}: {error})")) from error
    difference = SquaredError().distance(centred(whole), centred(found))
    if not difference <= ROUNDING:
        raise InputError(_advice(parts.layers, f"gives other logits (relative squared difference {difference:.3g})"))


def _changes_form(layer: SSMLayer) -> bool:
    """Whether a changed layer is stored by other arrays than the layer as it came."""
    return layer.source is not None and LAYER_FORMATS[layer.form].written_as != layer.form


def _advice(layers: tuple[SSMLayer, ...], what: str) -> str:
    index = next(i for i, layer in enumerate(layers) if _changes_form(layer))
    return (
        f"layer {index} came as {LAYER_FORMATS[layers[index].form].title}; with the same layers as they are written "
        f"once changed, the network {what}. Let it run parts.layers[i].system, as the page 'Bring your own network' "
        "does for S4"
    )
