"""A run that begins with another model's parameters: one trained on an easier task, or a reduced one on its own task.

The model that begins computes what the file's model computes (tested): options that change the function must agree, the
numbers of states are those of the file's arrays. The optimizer and its schedule begin anew.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax

from lra.checkpoint import flatten, load_model, named_leaves, nest
from lra.config import Config
from lra.devices import ONE_DEVICE, Devices
from lra.errors import CheckpointError
from lra.evaluate import rebuild
from lra.models import LATER_OPTIONS, OWN_OPTIONS, SHARED_OPTIONS, TASK_OPTIONS
from lra.step import TrainState, first_state
from lra.tasks import Task
from ssmreduce.files import digest

FREE = ("C_init", "A_init", "n_ssm", "bn_momentum", "dropout", "precision", "padded")
"""Options that say how a model is trained, or that its arrays tell."""


def started(
    config: Config, task: Task, tx: optax.GradientTransformation, devices: Devices = ONE_DEVICE
) -> tuple[TrainState, dict[str, str]]:
    """Return the state before the first step with the parameters of ``config.start``, and which file that was.

    Returns
    -------
    state : TrainState
        Parameters and running statistics of the file; the first process reads it for all.
    record : dict
        ``file`` (its name) and ``sha256`` (of its content).

    Raises
    ------
    CheckpointError
        The file is no exported model, is damaged, or holds another model than the config describes.
    CheckpointIOError
        Missing or unreadable.
    """
    path, held = Path(str(config.start)).expanduser(), dict[str, Any]()

    def read() -> dict[str, Any]:
        variables, description = load_model(path)
        require_same_function(description, config, task, path)
        held.update(flatten(variables))
        shapes = {name: list(array.shape) for name, array in held.items()}
        return {"shapes": shapes, "file": path.name, "sha256": digest.of_bytes(path.read_bytes())}

    found = devices.lead(read)
    arrays = held or {name: np.zeros(shape, np.float32) for name, shape in found["shapes"].items()}
    variables = devices.from_leader(fitting(arrays, config, task, path))
    return first_state(variables, tx), {name: found[name] for name in ("file", "sha256")}


def required(config: Config, task: Task) -> dict[str, Any]:
    """Options of this run's model."""
    return config.flat() | {name: getattr(task, name) for name in TASK_OPTIONS}


def require_same_function(description: Mapping[str, Any], config: Config, task: Task, path: Path) -> None:
    """Refuse a file whose options would make another function of its arrays."""
    if description["architecture"] != config.model:
        raise CheckpointError(f"it holds an {description['architecture']} model, this run trains {config.model}", path)
    mine, theirs = required(config, task), {**LATER_OPTIONS, **description["options"]}
    free = FREE if task.padded or theirs["padded"] else (*FREE, "mask_padding")
    for name in sorted({*SHARED_OPTIONS, *OWN_OPTIONS[config.model], *TASK_OPTIONS} - {*free}):
        value = theirs.get(name)
        if value != mine[name]:
            way = "use a model of a task like this" if name in TASK_OPTIONS else f"--set {name}={value!r}"
            raise CheckpointError(
                f"its {name} is {value!r}, that of this run {mine[name]!r}; a run starts from a model of the same kind "
                f"({way}, or another file)",
                path,
            )
    words = theirs.get("vocabulary")
    if task.vocabulary and words is not None and list(words) != list(task.vocabulary):
        raise CheckpointError("it numbers tokens in another order than the data given; use the same data", path)


def fitting(arrays: Mapping[str, np.ndarray], config: Config, task: Task, path: Path) -> dict[str, Any]:
    """Return the model's variables, in the types that it has, after names, shapes and values were looked at."""
    try:
        model = rebuild(config.model, nest(arrays), required(config, task))
    except CheckpointError as error:
        raise CheckpointError(str(error), path) from error
    batch = task.batch(task.train, np.arange(1))
    wanted = named_leaves(jax.eval_shape(model.init, jax.random.key(0), batch["x"], batch.get("lengths")))
    held = {}
    for name in sorted(wanted.keys() | arrays.keys()):
        mine, theirs = (getattr(group.get(name), "shape", None) for group in (wanted, arrays))
        if mine != theirs:
            raise CheckpointError(
                f"{name} has the shape {theirs} there and {mine} in this run (None: is missing)", path
            )
        if not np.can_cast(arrays[name].dtype, wanted[name].dtype, "same_kind"):
            raise CheckpointError(f"{name} is {arrays[name].dtype} there and {wanted[name].dtype} in this run", path)
        with np.errstate(over="ignore"):  # what becomes infinite is refused
            held[name] = np.asarray(arrays[name], wanted[name].dtype)
        if not np.isfinite(held[name]).all():
            raise CheckpointError(f"{name} is not finite; start from a model that ran, or an earlier one", path)
    return nest(held)
