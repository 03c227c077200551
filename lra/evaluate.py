"""Exported models: written from a finished run, read back, measured; whole ones and reduced ones alike."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import errors as nn_errors
from flax import linen as nn

from lra.checkpoint import load_model, nest, read_tensors, save_model
from lra.config import Config
from lra.errors import CheckpointError, ConfigError
from lra.models import LATER_OPTIONS, OWN_OPTIONS, SHARED_OPTIONS, TASK_OPTIONS, build, stored_copies, stored_states
from lra.step import make_eval_step, measure
from lra.tasks import load_task


def export(workdir: str | Path, path: str | Path) -> dict[str, Any]:
    """Write the best parameters of a run as ``NAME.safetensors`` and ``NAME.json``, and return the JSON.

    Works on a run that still goes on, too: then the record holds no test accuracy.

    Raises
    ------
    CheckpointError
        The run has finished no epoch yet, or its files are damaged.
    """
    workdir = Path(workdir)
    best = workdir / "best.safetensors"
    if not best.is_file():
        raise CheckpointError(f"{workdir} has no best.safetensors: no epoch is finished, or this is not a --workdir")
    tensors, metadata = read_tensors(best)
    try:
        info = json.loads(metadata["lra"])
        config, facts, validation = Config.from_dict(info["config"]), info["task"], info["best"]
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{best} is not a checkpoint of a training run: {error!r}") from error
    variables = nest(tensors)
    states, fields = stored_states(variables["params"]), config.flat()
    options = {
        "architecture": config.model,
        **{key: fields[key] for key in (*SHARED_OPTIONS, *OWN_OPTIONS[config.model]) if key != "dropout"},
        "P": sizes.pop() if len(sizes := set(states)) == 1 else list(states),
        **facts,
    }
    training: dict[str, Any] = {
        "config": {key: value for key, value in config.to_dict().items() if key not in ("data", "start")},
        **({"start": info["start"]} if "start" in info else {}),
        "seed": config.seed,
        "epochs": config.epochs,
        "best_epoch": validation["epoch"],
        "validation_accuracy": validation["accuracy"],
        "validation_loss": validation["loss"],
        "test_accuracy": None,
        "finished": False,
    }
    if (workdir / "result.json").is_file():
        try:
            result = json.loads((workdir / "result.json").read_text())
            training |= {
                "test_accuracy": result["test"]["accuracy"],
                "test_loss": result["test"]["loss"],
                "seconds": round(result["seconds"], 1),
                "hardware": result["hardware"],
                "finished": True,
            }
        except (ValueError, KeyError, TypeError) as error:
            raise CheckpointError(f"{workdir / 'result.json'} is damaged: {error!r}") from error
    training["unstable_poles"] = unstable_poles(variables["params"], config.clips)
    save_model(path, variables, options, training)
    return {"options": options, "training": training}


def unstable_poles(params: Mapping[str, Any], clip_eigs: bool) -> dict[str, list[int]]:
    """Return, by layer, the states whose pole lies on or outside the unit circle (only S5 can have any)."""
    found = {}
    for name, layer in params["encoder"].items():
        states = np.flatnonzero(np.asarray(layer.get("seq", {}).get("Lambda_re", -1.0)) >= 0)
        if len(states) and not clip_eigs:
            found[name] = states.tolist()
    return found


def rebuild(architecture: str, variables: Mapping[str, Any], options: Mapping[str, Any]) -> nn.Module:
    """Return the model that fits the arrays; the number of states is read from each layer's own arrays.

    Raises
    ------
    CheckpointError
        An option or an array is missing, or the architecture is unknown.
    """
    if architecture not in OWN_OPTIONS:
        raise CheckpointError(f"architecture {architecture!r} is not one of {', '.join(OWN_OPTIONS)}")
    try:
        names = {*SHARED_OPTIONS, *OWN_OPTIONS[architecture], *TASK_OPTIONS}
        chosen = {name: options[name] for name in names - {"dropout", *LATER_OPTIONS}}
        chosen |= {name: options.get(name, value) for name, value in LATER_OPTIONS.items()}
        states = stored_states(variables["params"])
        if architecture == "s4d":
            chosen["n_ssm"] = stored_copies(variables["params"])
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise CheckpointError(f"the checkpoint lacks {error}; it is not a whole {architecture} model") from error
    if len(states) != chosen["n_layers"]:
        raise CheckpointError(f"the checkpoint holds {len(states)} layers, its options say {chosen['n_layers']}")
    return build(architecture, states, **chosen)


def evaluate(
    path: str | Path,
    *,
    data: str | None = None,
    split: str = "test",
    batch_size: int = 100,
    options: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Measure an exported model on every example of a split of its task.

    Parameters
    ----------
    path : str or Path
        ``NAME.safetensors``, with ``NAME.json`` beside it.
    data : str, optional
        Where the task's data are; default: the environment variable LRA_DATA.
    split : {"test", "validation", "train"}
        What to measure on.
    options : mapping, optional
        Options of the checkpoint to change: ``step_rescale`` and ``task_options`` measure a model of sound at half
        the rate that it was trained for.

    Returns
    -------
    dict
        ``loss, accuracy, examples, split, task, states`` (stored states by layer).

    Raises
    ------
    CheckpointError
        The arrays do not fit the options, or the data number their tokens in another order than the model does.
    ConfigError
        An option that the checkpoint does not have.
    DataError
        Missing or damaged data.
    NotFiniteError
        The loss is not a finite number.
    """
    if split not in ("test", "validation", "train"):
        raise ConfigError(f"split {split!r} is not one of test, validation, train")
    if batch_size < 1:
        raise ConfigError(f"batch_size must be at least 1, not {batch_size}")
    variables, meta = load_model(path)
    chosen = {"task_options": {}, **meta["options"]}
    for key, value in (options or {}).items():
        if key not in chosen:
            raise ConfigError(f"{path} has no option {key!r}; its options are {', '.join(sorted(chosen))}")
        chosen[key] = value
    model = rebuild(meta["architecture"], variables, chosen)
    task = load_task(chosen.get("task", ""), data, chosen["task_options"])
    if task.vocabulary and chosen.get("vocabulary", list(task.vocabulary)) != list(task.vocabulary):
        raise CheckpointError(
            f"{path} was trained on tokens numbered in another order than those of the data given; "
            "measure it on the data set that it was trained on"
        )
    rows = getattr(task, split)
    held = {key: variables[key] for key in ("params", "batch_stats") if key in variables}
    try:
        result = measure(make_eval_step(model), jax.device_put(held), task, rows, batch_size)
    except (
        nn_errors.ScopeParamShapeError,
        nn_errors.ScopeParamNotFoundError,
        nn_errors.ScopeCollectionNotFound,
    ) as error:
        raise CheckpointError(f"the arrays of {path} do not fit its options: {error}") from error
    return {
        **result,
        "examples": len(rows),
        "split": split,
        "task": task.name,
        "states": list(stored_states(variables["params"])),
    }
