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
from lra.models import s5_model, stored_states
from lra.tasks import load_task
from lra.train import make_eval_step, measure

# What the arrays of a model do not tell; the keys of "options" in an exported model's JSON.
MODEL_OPTIONS: tuple[str, ...] = (
    "d_model",
    "n_layers",
    "C_init",
    "discretization",
    "conj_sym",
    "clip_eigs",
    "bidirectional",
    "step_rescale",
    "activation",
    "prenorm",
    "batchnorm",
    "bn_momentum",
    "mode",
)
TASK_OPTIONS: tuple[str, ...] = ("d_input", "n_classes", "tokens", "padded", "retrieval")


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
    options = {
        "architecture": config.model,
        **{key: getattr(config, key) for key in MODEL_OPTIONS},
        "P": config.P,
        **facts,
    }
    training: dict[str, Any] = {
        "config": {key: value for key, value in config.to_dict().items() if key != "data"},
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
    training["unstable_poles"] = unstable_poles(variables["params"], config.clip_eigs)
    save_model(path, variables, options, training)
    return {"options": options, "training": training}


def unstable_poles(params: Mapping[str, Any], clip_eigs: bool) -> dict[str, list[int]]:
    """Return, by layer, the states whose pole lies on or outside the unit circle."""
    found = {}
    for name, layer in params["encoder"].items():
        if name.startswith("layers_") and not clip_eigs:
            states = np.flatnonzero(np.asarray(layer["seq"]["Lambda_re"]) >= 0)
            if len(states):
                found[name] = states.tolist()
    return found


def rebuild(variables: Mapping[str, Any], options: Mapping[str, Any]) -> nn.Module:
    """Return the model that fits the arrays; the number of states is read from each layer's own arrays.

    Raises
    ------
    CheckpointError
        An option or an array is missing.
    """
    try:
        chosen = {key: options[key] for key in (*MODEL_OPTIONS, "d_input", "n_classes")}
        chosen |= {key: bool(options.get(key, False)) for key in ("tokens", "padded", "retrieval")}
        sizes = stored_states(variables["params"])
    except (KeyError, TypeError) as error:
        raise CheckpointError(f"the checkpoint lacks {error}; it is not a whole S5 model") from error
    if len(sizes) != chosen["n_layers"]:
        raise CheckpointError(f"the checkpoint holds {len(sizes)} layers, its options say {chosen['n_layers']}")
    return s5_model(P=sizes, **chosen)


def evaluate(
    path: str | Path, *, data: str | None = None, split: str = "test", batch_size: int = 100
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

    Returns
    -------
    dict
        ``loss, accuracy, examples, split, task, states`` (stored states by layer).
    """
    if split not in ("test", "validation", "train"):
        raise ConfigError(f"split {split!r} is not one of test, validation, train")
    variables, meta = load_model(path)
    if meta["architecture"] != "s5":
        raise CheckpointError(f"{path} holds an {meta['architecture']} model; only s5 models can be evaluated here")
    model = rebuild(variables, meta["options"])
    task = load_task(meta["options"].get("task", ""), data)
    rows = getattr(task, split)
    held = {key: variables[key] for key in ("params", "batch_stats") if key in variables}
    try:
        result = measure(make_eval_step(model), jax.device_put(held), task, rows, batch_size)
    except (nn_errors.ScopeParamShapeError, nn_errors.ScopeParamNotFoundError, nn_errors.ScopeCollectionNotFound) as error:
        raise CheckpointError(f"the arrays of {path} do not fit its options: {error}") from error
    return {
        **result,
        "examples": len(rows),
        "split": split,
        "task": task.name,
        "states": list(stored_states(variables["params"])),
    }
