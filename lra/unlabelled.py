"""Unlabelled examples of a task's training split, and the network that runs on them: what reductions record.

The test split and the labels are never looked at.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import ssmreduce
from lra.errors import CheckpointError
from lra.network import LraNetwork
from lra.tasks import load_task
from ssmreduce.recorded.together import SAMPLES

RECORDED_BYTES = 2_000_000_000
"""Inputs of all layers that are held at a time, at most; longer sequences mean fewer examples."""
EXAMPLES, MOST_EXAMPLES = 400, 1600
"""Where none are asked for; of sequences shorter than 784 samples more, so that as many samples are seen."""
FURTHER, MOST_FURTHER = 1000, 4000
"""Further ones where none are asked for; of short sequences more."""


def usual_examples(length: int) -> int:
    """Examples that are recorded where none are asked for, of sequences of a length."""
    return min(MOST_EXAMPLES, max(EXAMPLES, EXAMPLES * 784 // length))


def usual_further(length: int) -> int:
    """Further ones where none are asked for: as many as four steps on all layers at once can take, each others."""
    return min(MOST_FURTHER, max(FURTHER, 4 * SAMPLES // length))


def network_of(
    model: ssmreduce.Model, data: str | None, examples: int | None, further: int | None, seed: int
) -> tuple[LraNetwork, dict[str, Any]]:
    """Return the model with unlabelled examples of its training split, and what the record says about them.

    The `further` ones come last; there are fewer where the split ends.

    Raises
    ------
    CheckpointError
        The checkpoint does not name its task.
    DataError
        Missing or damaged data.
    """
    options = model.options
    if "task" not in options:
        raise CheckpointError("it does not name its task (options.task): export it with `lra export`", model.path)
    task = load_task(options["task"], data, options.get("task_options", {}))
    width = sum(layer.n_channels for layer in model.layers) * (2 if task.retrieval else 1)
    affordable = max(4, RECORDED_BYTES // max(1, 4 * task.L * width) * 2)
    count = min(usual_examples(task.L) if examples is None else examples, len(task.train), affordable)
    drawn = np.random.default_rng(seed).permutation(len(task.train))
    further = min(usual_further(task.L) if further is None else further, len(task.train) - count)
    rows = np.concatenate([np.sort(drawn[:count]), np.sort(drawn[count : count + further])])
    batch = task.batch(task.train, rows)
    del batch["y"]  # labels: nothing after this line could read them
    told = {"task": task.name, "split": "train", "examples": count, "further": further, "seed": seed, "labels": False}
    return LraNetwork(model, batch["x"], batch.get("lengths")), told
