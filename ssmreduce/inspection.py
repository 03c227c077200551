"""What a checkpoint holds: layers, options, stability, and how compressible each layer is."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from ssmreduce.analysis import Analysis, analyze
from ssmreduce.crossings import Crossing, crossings
from ssmreduce.files.description import finite
from ssmreduce.files.model import Model
from ssmreduce.files.record import EARLIER, REDUCTION, one_line
from ssmreduce.layers.formats import LAYER_FORMATS
from ssmreduce.layers.layer import SSMLayer
from ssmreduce.view.model_pages import inspection_sheet
from ssmreduce.view.table import Sheet
from theory.reduction.balancing import real_order
from theory.reduction.bounds import balanced_bound

FACTS = ("task", "config", "seed", "epochs", "epoch", "steps", "test_accuracy", "test_loss", "date", "device")
"""What of the training record goes into its one line."""

TARGETS = (0.1, 0.01, 0.001)
"""Parts of the norm for which :func:`inspect_model` says how many states are enough."""


@dataclass(frozen=True, kw_only=True)
class Inspection:
    """A model in a few numbers a layer; ``str()`` is a table.

    Attributes
    ----------
    model : dict
        Path, architecture, format, code bases of the layers, options, those assumed, what of the file was left out,
        training record (and in one line), its reductions in their order, numbers of layers, states and parameters.
    layers : tuple of dict
        For each layer: name, states, channels, directions, what was remarked when it was read, smallest margin, slowest
        time constant in samples, largest Hankel singular value, and under ``enough``, for each of :data:`TARGETS`, the
        states at which the error of balanced truncation is proved to be at most this part of the norm, what is proved
        of it, how, and how many multiplications a step of the recurrence takes then.
    is_certified : bool
        Whether errors were certified: the states are where the certified error falls below the part
        (:mod:`ssmreduce.crossings`); else they are where the a-priori bound does.
    """

    model: dict[str, Any]
    layers: tuple[dict[str, Any], ...] = field(default=())
    is_certified: bool = True

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers, strings and lists."""
        return {
            "format": "ssmreduce-inspection",
            "version": 2,
            "model": self.model,
            "targets": list(TARGETS),
            "certified": self.is_certified,
            "layers": list(self.layers),
        }

    def to_json(self) -> str:
        """:meth:`to_dict` as JSON."""
        return json.dumps(finite(self.to_dict()), indent=1, default=str, allow_nan=False) + "\n"

    def __str__(self) -> str:
        return str(self.sheet())

    def sheet(self) -> Sheet:
        """The table, to be printed as wide as there is room."""
        return inspection_sheet(self.model, self.layers, TARGETS, certified=self.is_certified)


def inspect_model(
    model: Model, *, certify: bool = True, progress: Callable[[int, int, str], None] | None = None
) -> Inspection:
    """Summarise a model; unstable layers are described, not refused.

    Parameters
    ----------
    model : Model
    certify : bool, keyword only
        Certify errors, a few a layer; otherwise the a-priori bound says how many states are enough, at once and more of
        them.
    progress : callable, optional, keyword only
        Called as ``progress(done, total, what)``.
    """
    report = progress or (lambda done, total, what: None)
    record = {key: value for key, value in model.training.items() if isinstance(value, (str, int, float, bool))}
    summary = {
        "path": model.path,
        "architecture": model.architecture,
        "format": model.format,
        "layers": len(model.layers),
        "states": model.n_states,
        "parameters": _count(model.params),
        "options": {key: value for key, value in model.options.items() if isinstance(value, (str, int, float, bool))},
        "stored_as": list(dict.fromkeys(LAYER_FORMATS[layer.form].title for layer in model.layers)),
        "assumed": model.assumed,
        "left_out": model.left_out,
        "training": record,
        "record": one_line(model.training, FACTS),
        "reductions": [*model.training.get(EARLIER, ()), *filter(None, [model.training.get(REDUCTION)])],
    }
    total = len(model.layers)
    layers = []
    for i, layer in enumerate(model.layers):

        def told(order: int, i: int = i) -> None:
            report(i, total, f"layer {i}: {order} states")

        report(i, total, f"layer {i}")
        layers.append(_layer(i, layer, certify, told))
    report(total, total, "done")
    return Inspection(model=summary, layers=tuple(layers), is_certified=certify)


def _count(tree: Any) -> int:
    """Numbers in a tree; a sparse tensor, which stays as it is, counts as many as its shape."""
    if isinstance(tree, Mapping):
        return sum(_count(value) for value in tree.values())
    if isinstance(tree, (list, tuple)):
        return sum(_count(value) for value in tree)
    if hasattr(tree, "shape"):
        return math.prod(tree.shape)
    return int(isinstance(tree, (int, float, complex)))


def _layer(index: int, layer: SSMLayer, certify: bool, told: Callable[[int], None]) -> dict[str, Any]:
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
        "multiplications": layer.family.multiplications(layer, layer.order),
        "enough": None,
    }
    if unstable:
        return found
    analysis = analyze(layer)
    sigma = float(analysis.hsv.max(initial=0.0))
    found |= {"largest_hsv": sigma}
    if margin.size:
        found |= {"slowest_samples": float(-1.0 / np.log1p(-min(margin.min(), 1 - 1e-15)))}
    enough = crossings(analysis, TARGETS, told) if certify else [_by_bound(analysis, target) for target in TARGETS]
    return found | {"enough": [_entry(layer, crossing) for crossing in enough]}


def _entry(layer: SSMLayer, crossing: Crossing) -> dict[str, Any]:
    """What one target takes and saves, for JSON and the table."""
    return {**asdict(crossing), "multiplications": layer.family.multiplications(layer, crossing.order)}


def _by_bound(analysis: Analysis, target: float) -> Crossing:
    """Fewest stored states whose balanced-truncation bound is at most `target` times sigma_1 (at most the norm)."""
    hsv, system = analysis.hsv, analysis.system
    directions = 2 if getattr(system, "is_bidirectional", False) else 1
    sigma = float(hsv.max(initial=0.0))
    for order in range(system.n):
        bound = float(np.max(balanced_bound(hsv, real_order(system, order), directions=directions), initial=0.0))
        if bound <= target * sigma:
            return Crossing(tolerance=target, order=order, error=bound / sigma if sigma else 0.0, proof="bound")
    return Crossing(tolerance=target, order=int(system.n), error=0.0, proof="nothing removed")
