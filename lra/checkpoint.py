"""Checkpoints: arrays as safetensors, everything else as JSON; written atomically, read with suspicion, no pickle.

A *training* checkpoint is one file, so that it is never half of an old state and half of a new one: all arrays of the
training state by their ``/``-joined paths, and the JSON text in the file's metadata. An *exported* model is what
`ssmreduce.load` reads: ``NAME.safetensors`` with ``params/...`` and ``batch_stats/...``, and ``NAME.json`` beside it.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from lra.errors import CheckpointError

EXPORT_FORMAT, EXPORT_VERSION = "ssmreduce-checkpoint", 1
STATE_FORMAT, STATE_VERSION = "lra-training-state", 1


def flatten(tree: Any) -> dict[str, np.ndarray]:
    """Return the leaves of a pytree by their ``/``-joined paths."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {_join(path): np.asarray(leaf, order="C") for path, leaf in leaves}


def _join(path: tuple[Any, ...]) -> str:
    names = []
    for key in path:
        for attribute in ("key", "name", "idx"):
            if hasattr(key, attribute):
                names.append(str(getattr(key, attribute)))
                break
    return "/".join(names)


def nest(tensors: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``/``-joined names as nested dicts."""
    tree: dict[str, Any] = {}
    for name, value in tensors.items():
        *folders, leaf = name.split("/")
        node = tree
        for folder in folders:
            node = node.setdefault(folder, {})
        node[leaf] = value
    return tree


def write_atomically(path: Path, data: bytes) -> None:
    """Write `data` so that `path` holds the old or the new content, never a part, whatever happens in between."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    if hasattr(os, "O_DIRECTORY"):
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def save_state(path: str | Path, state: Any, info: Mapping[str, Any]) -> None:
    """Write a training state and its JSON-able `info` into one file."""
    meta = {"format": STATE_FORMAT, "version": STATE_VERSION, **info}
    write_atomically(Path(path), save(flatten(state), metadata={"lra": json.dumps(meta)}))


def read_tensors(path: str | Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Return the tensors and the metadata of a safetensors file.

    Raises
    ------
    CheckpointError
        Missing, a folder, truncated or not safetensors at all.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"{path} is {'a folder, not a checkpoint file' if path.is_dir() else 'not there'}")
    try:
        with safe_open(str(path), framework="numpy") as file:
            return {name: file.get_tensor(name) for name in list(file.keys())}, dict(file.metadata() or {})
    except (SafetensorError, OSError, ValueError, TypeError, KeyError) as error:
        raise CheckpointError(f"{path} is damaged or not a safetensors file: {error}") from error


def load_state(path: str | Path, template: Any) -> tuple[Any, dict[str, Any]]:
    """Return the state and the info written by `save_state`.

    Parameters
    ----------
    template : pytree
        A state of the same structure, shapes and types; its values are not used.

    Raises
    ------
    CheckpointError
        The file is damaged, or belongs to a different model or optimizer.
    """
    tensors, metadata = read_tensors(path)
    try:
        info = json.loads(metadata["lra"])
        if info["format"] != STATE_FORMAT or info["version"] != STATE_VERSION:
            raise CheckpointError(f"{path} has format {info['format']} version {info['version']}, unknown here")
    except (KeyError, TypeError, json.JSONDecodeError) as error:
        raise CheckpointError(f"{path} is not a training checkpoint of lra") from error
    leaves, structure = jax.tree_util.tree_flatten_with_path(template)
    names = [_join(key) for key, _ in leaves]
    if set(names) != set(tensors):
        odd = sorted(set(names) ^ set(tensors))
        raise CheckpointError(f"{path} belongs to another model or optimizer; for example {odd[0]!r} does not match")
    for name, (_, leaf) in zip(names, leaves, strict=True):
        found, wanted = tensors[name], np.asarray(leaf)
        if found.shape != wanted.shape or found.dtype != wanted.dtype:
            raise CheckpointError(
                f"{path}: {name} is {found.dtype} {found.shape}, the config asks for {wanted.dtype} {wanted.shape}"
            )
    return jax.tree_util.tree_unflatten(structure, [tensors[name] for name in names]), info


def save_model(
    path: str | Path, variables: Mapping[str, Any], options: Mapping[str, Any], training: Mapping[str, Any]
) -> None:
    """Write ``NAME.safetensors`` and ``NAME.json`` in the form that `ssmreduce.load` reads (the JSON comes last)."""
    path = Path(path)
    if path.suffix != ".safetensors":
        raise CheckpointError(f"an exported model is named NAME.safetensors, not {path.name}")
    tensors = flatten(dict(variables))
    meta = {
        "format": EXPORT_FORMAT,
        "version": EXPORT_VERSION,
        "architecture": options["architecture"],
        "options": {key: value for key, value in options.items() if key != "architecture"},
        "training": dict(training),
    }
    write_atomically(path, save(tensors, metadata={"format": EXPORT_FORMAT}))
    write_atomically(path.with_suffix(".json"), (json.dumps(meta, indent=2) + "\n").encode())


def load_model(path: str | Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the variables (nested dicts of arrays) and the JSON of an exported model.

    Raises
    ------
    CheckpointError
        A file of the two is missing or damaged.
    """
    path = Path(path)
    tensors, _ = read_tensors(path)
    side = path.with_suffix(".json")
    try:
        meta = json.loads(side.read_text())
        if meta["format"] != EXPORT_FORMAT or meta["version"] > EXPORT_VERSION:
            raise CheckpointError(f"{side} has format {meta['format']} version {meta['version']}, unknown here")
        meta["options"], meta["architecture"]
    except FileNotFoundError as error:
        raise CheckpointError(f"{side} is missing: a model is two files, {path.name} and {side.name}") from error
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, KeyError, TypeError) as error:
        raise CheckpointError(f"{side} is damaged: {error!r}") from error
    return nest(tensors), meta
