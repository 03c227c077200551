"""What a checkpoint holds: layers, options, stability, and how compressible each layer is."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ssmreduce.files.description import finite
from ssmreduce.files.model import Model
from ssmreduce.files.record import EARLIER, REDUCTION, one_line
from ssmreduce.layers.layer import SSMLayer
from ssmreduce.view.pages import inspection_sheet
from ssmreduce.view.table import Sheet
from theory.gramians.hankel import hankel_singular_values
from theory.reduction.bounds import balanced_bound

FACTS = ("task", "config", "seed", "epochs", "epoch", "steps", "test_accuracy", "test_loss", "date", "device")
"""What of the training record goes into its one line."""

TARGETS = (0.1, 0.01, 0.001)
"""Relative bounds for which :func:`inspect_model` says how many states are enough."""


@dataclass(frozen=True, kw_only=True)
class Inspection:
    """A model in a few numbers a layer; ``str()`` is a table.

    Attributes
    ----------
    model : dict
        Path, architecture, format, options, those assumed, training record (and in one line), its reductions in their
        order, numbers of layers, states and parameters.
    layers : tuple of dict
        For each layer: name, states, channels, directions, what was remarked when it was read, smallest margin, slowest
        time constant in samples, largest Hankel singular value, and the states that are enough for relative bounds of
        :data:`TARGETS`.
    """

    model: dict[str, Any]
    layers: tuple[dict[str, Any], ...] = field(default=())

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers, strings and lists."""
        return {"format": "ssmreduce-inspection", "version": 1, "model": self.model, "layers": list(self.layers)}

    def to_json(self) -> str:
        """:meth:`to_dict` as JSON."""
        return json.dumps(finite(self.to_dict()), indent=1, default=str, allow_nan=False) + "\n"

    def __str__(self) -> str:
        return str(self.sheet())

    def sheet(self) -> Sheet:
        """The table, to be printed as wide as there is room."""
        return inspection_sheet(self.model, self.layers, TARGETS)


def inspect_model(model: Model) -> Inspection:
    """Summarise a model; unstable layers are described, not refused."""
    record = {key: value for key, value in model.training.items() if isinstance(value, (str, int, float, bool))}
    summary = {
        "path": model.path,
        "architecture": model.architecture,
        "format": model.format,
        "layers": len(model.layers),
        "states": model.n_states,
        "parameters": _count(model.params),
        "options": {key: value for key, value in model.options.items() if isinstance(value, (str, int, float, bool))},
        "assumed": model.assumed,
        "training": record,
        "record": one_line(model.training, FACTS),
        "reductions": [*model.training.get(EARLIER, ()), *filter(None, [model.training.get(REDUCTION)])],
    }
    return Inspection(model=summary, layers=tuple(_layer(i, layer) for i, layer in enumerate(model.layers)))


def _count(tree: Any) -> int:
    if hasattr(tree, "values"):
        return sum(_count(value) for value in tree.values())
    return int(np.asarray(tree).size)


def _layer(index: int, layer: SSMLayer) -> dict[str, Any]:
    margin = np.asarray(layer.margin)
    unstable = int((~(margin > 0)).sum())
    found: dict[str, Any] = {
        "index": index,
        "name": layer.name,
        "kind": layer.kind,
        "states": layer.order,
        "channels": layer.n_channels,
        "bidirectional": bool(layer.is_bidirectional),
        "discretization": layer.discretization,
        "precision": str(layer.dtype),
        **layer.remarks,
        "smallest_margin": float(margin.min()) if margin.size else None,
        "unstable": unstable,
        "slowest_samples": None,
        "largest_hsv": None,
        "enough": None,
    }
    if unstable:
        return found
    if not margin.size:
        return found | {"largest_hsv": 0.0, "enough": [0] * len(TARGETS)}
    hsv = hankel_singular_values(layer.system)
    sigma = float(hsv.max(initial=0.0))
    return found | {
        "slowest_samples": float(-1.0 / np.log1p(-min(margin.min(), 1 - 1e-15))),
        "largest_hsv": sigma,
        "enough": [_enough(layer, hsv, target) for target in TARGETS],
    }


def _enough(layer: SSMLayer, hsv: Any, target: float) -> int:
    """Fewest stored states whose balanced-truncation bound is at most `target` times sigma_1 (at most the norm)."""
    directions = 2 if layer.is_bidirectional else 1
    for order in range(1, layer.order):
        if np.all(balanced_bound(hsv, 2 * order, directions=directions) <= target * hsv[..., 0]):
            return order
    return int(layer.order)
