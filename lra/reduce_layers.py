"""The layers of a model reduced by a method that is named: ``python -m lra reduce --method M``.

Where the method or the allocation wants to see the network run, it runs on unlabelled examples of the training split;
labels and other splits are never looked at.
"""

from __future__ import annotations

from pathlib import Path

import ssmreduce
from lra.clipping import clipping_effect, load_stable
from lra.errors import ConfigError
from lra.unlabelled import network_of
from ssmreduce.files.record import REDUCTION
from ssmreduce.progress import silent
from ssmreduce.recorded.search import Report


def reduce_layers(
    path: str | Path,
    output: str | Path,
    method: str,
    *,
    ratio: float | None = None,
    budget: int | None = None,
    allocation: str | None = None,
    data: str | None = None,
    examples: int | None = None,
    seed: int = 0,
    clip_eigs: bool = False,
    report: Report | None = None,
) -> ssmreduce.Model:
    """Reduce an exported model and write it; everything but its layers stays, bit for bit.

    The network runs if the method needs recorded inputs, the allocation measures, or `data` is named: then "measured"
    is the allocation unless another one is asked for, otherwise the method's own. `clip_eigs` is for models with
    unstable poles (:mod:`lra.clipping`).

    Raises
    ------
    CheckpointError, DataError, ConfigError, StabilityError, InputError, OrderError
    """
    chosen = ssmreduce.METHODS.find(method)
    rule = None if allocation is None else ssmreduce.ALLOCATIONS.find(allocation)
    if examples is not None and examples < 1:
        raise ConfigError(f"--examples must be at least 1, got {examples}")
    model, network, told = load_stable(path, clip_eigs), None, None
    if chosen.requires or (rule is not None and rule.requires) or data is not None:
        network, told = network_of(model, data, examples, 0, seed)
        told |= clipping_effect(path, network)
    smaller = ssmreduce.reduce_model(
        model, ratio, chosen, rule, budget=budget, network=network, seed=seed, progress=report or silent
    )
    if told is not None:
        training = smaller.training
        smaller = smaller.with_training({**training, REDUCTION: {**training[REDUCTION], "data": told}})
    ssmreduce.save(smaller, output)
    return smaller
