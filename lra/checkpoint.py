"""What `lra` keeps of a run: arrays as safetensors, everything else as JSON; read and written by `ssmreduce.files`.

A *training* checkpoint is one file, so that it is never half of an old state and half of a new one: all arrays of the
training state by their ``/``-joined paths, and the JSON text in the file's record. An *exported* model is what
`ssmreduce.load` reads: ``NAME.safetensors`` with ``params/...`` and ``batch_stats/...``, and ``NAME.json`` beside it.
Both carry the digest of their arrays, and whoever reads one checks it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from lra.errors import CheckpointError
from ssmreduce.files import formats
from ssmreduce.files.description import FORMAT as EXPORT_FORMAT
from ssmreduce.files.description import describe, read_description, side_of, strict_json
from ssmreduce.files.writing import write_files

STATE_FORMAT, STATE_VERSION = "lra-training-state", 1
CONTAINER = formats.FILE_FORMATS["safetensors"]


def named_leaves(tree: Any) -> dict[str, Any]:
    """Return the leaves of a pytree by their ``/``-joined paths."""
    return {_join(path): leaf for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]}


def flatten(tree: Any) -> dict[str, np.ndarray]:
    """Return the leaves of a pytree as arrays, by their ``/``-joined paths."""
    return {name: np.asarray(leaf, order="C") for name, leaf in named_leaves(tree).items()}


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
    """Write `data` so that `path` holds the old or the new content, never a part; its folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_files({path: data})


def save_state(path: str | Path, state: Any, info: Mapping[str, Any]) -> None:
    """Write a training state and its JSON-able `info` into one file."""
    meta = {"format": STATE_FORMAT, "version": STATE_VERSION, **info}
    write_atomically(Path(path), CONTAINER.write(flatten(state), {"lra": json.dumps(meta)}))


def read_tensors(path: str | Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Return the tensors and the record of a safetensors file whose digest, where it carries one, was compared.

    Raises
    ------
    CheckpointError
        A folder, truncated, changed after it was written, or not safetensors at all.
    CheckpointIOError
        Missing or unreadable.
    """
    path = Path(path)
    form, held, _ = formats.read(path)
    if form.name != CONTAINER.name:
        raise CheckpointError(f"this is {form.title}, not safetensors", path)
    return dict(held.tree), dict(held.record)


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
    CheckpointIOError
        Missing or unreadable.
    """
    path = Path(path)
    tensors, record = read_tensors(path)
    info = strict_json(record.get("lra", ""), path) if "lra" in record else None
    if not isinstance(info, dict) or "format" not in info:
        raise CheckpointError("this is not a training checkpoint of lra", path)
    if (info["format"], info.get("version")) != (STATE_FORMAT, STATE_VERSION):
        raise CheckpointError(f"format {info['format']!r}, version {info.get('version')!r} is unknown here", path)
    leaves, structure = jax.tree_util.tree_flatten_with_path(template)
    names = [_join(key) for key, _ in leaves]
    if set(names) != set(tensors):
        odd = sorted(set(names) ^ set(tensors))
        raise CheckpointError(f"belongs to another model or optimizer; for example {odd[0]!r} does not match", path)
    for name, (_, leaf) in zip(names, leaves, strict=True):
        found, wanted = tensors[name], np.asarray(leaf)
        if found.shape != wanted.shape or found.dtype != wanted.dtype:
            raise CheckpointError(
                f"{name} is {found.dtype} {found.shape}, the config asks for {wanted.dtype} {wanted.shape}", path
            )
    return jax.tree_util.tree_unflatten(structure, [tensors[name] for name in names]), info


def save_model(
    path: str | Path, variables: Mapping[str, Any], options: Mapping[str, Any], training: Mapping[str, Any]
) -> None:
    """Write ``NAME.safetensors`` and ``NAME.json`` in the form that `ssmreduce.load` reads, both or none."""
    path = Path(path)
    if path.suffix != CONTAINER.suffix:
        raise CheckpointError(f"an exported model is named NAME.safetensors, not {path.name}")
    arrays = CONTAINER.write(flatten(dict(variables)), {"format": EXPORT_FORMAT})
    rest = {key: value for key, value in options.items() if key != "architecture"}
    path.parent.mkdir(parents=True, exist_ok=True)
    write_files({path: arrays, side_of(path): describe(arrays, options["architecture"], rest, training)})


def load_model(path: str | Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the variables (nested dicts of arrays) and the description of an exported model.

    Returns
    -------
    variables, description : dict
        The description has ``architecture``, ``options`` and ``training``.

    Raises
    ------
    CheckpointError
        The JSON half is missing, a half is damaged, or the two are of different saves.
    CheckpointIOError
        The file is missing or unreadable.
    """
    path = Path(path)
    _, held, data = formats.read(path)
    description = read_description(path, data)
    if description is None:
        raise CheckpointError(f"the JSON half is missing: a model is two files, {path.name} and this", side_of(path))
    if description.architecture is None:
        raise CheckpointError("it does not say which architecture the model has", side_of(path))
    return nest(held.tree), description._asdict()
