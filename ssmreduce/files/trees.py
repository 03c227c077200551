"""Trees of arrays, nested or flat with joined keys: one turned into the other, and leaves replaced."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssmreduce.files.errors import CheckpointError
from ssmreduce.layers.location import leaves
from theory.errors import InputError

Array = NDArray[Any]
Tree = Mapping[str, Any]

EXTENDED = ("bfloat16", "float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz", "float8_e8m0fnu")
"""Types of numbers that NumPy knows through ml_dtypes; to NumPy itself they are of no kind."""


def nested(tree: Tree) -> dict[str, Any]:
    """Split keys at ``/`` into nested dicts; empty mappings stay."""
    result: dict[str, Any] = {}
    for key, value in tree.items():
        *parts, last = str(key).split("/")
        node = result
        for part in parts:
            node = node.setdefault(part, {})
            if not isinstance(node, dict):
                raise CheckpointError(f"the key {key} runs through an array")
        inner = nested(value) if isinstance(value, Mapping) else value
        if last in node:
            if not (isinstance(inner, dict) and isinstance(node[last], dict)) or inner.keys() & node[last].keys():
                raise CheckpointError(f"the key {key} is there twice")
            inner = node[last] | inner
        node[last] = inner
    return result


def flat(tree: Tree) -> dict[str, Array]:
    """``/``-joined keys, arrays of numbers only."""
    found: dict[str, Array] = {}
    for path, value in leaves(tree):
        name, array = "/".join(path), np.asarray(value)
        if array.dtype.kind not in "biufc" and array.dtype.name not in EXTENDED:
            raise InputError(f"{name} holds {type(value).__name__}, which safetensors and npz cannot; save as .msgpack")
        if name in found:
            raise CheckpointError(f"the key {name} is there twice")
        found[name] = array
    return found


def changed(tree: Tree, changes: Mapping[tuple[str, ...], Any], prefix: tuple[str, ...] = ()) -> dict[str, Any]:
    """Copy a tree with some leaves replaced (``None`` removes one); new ones come last in the branch of their path."""
    result: dict[str, Any] = {}
    for key, value in tree.items():
        path = (*prefix, str(key))
        if isinstance(value, Mapping):
            result[key] = changed(value, changes, path)
        elif path not in changes or changes[path] is not None:
            result[key] = changes.get(path, value)
    there, depth = {str(key) for key in tree}, len(prefix)
    for path, leaf in changes.items():
        if leaf is not None and path[:depth] == prefix and len(path) > depth and path[depth] not in there:
            branch = result
            for part in path[depth:-1]:
                branch = branch.setdefault(part, {})
            branch[path[-1]] = leaf
    return like(tree, result)


def pruned(tree: Tree, is_gone: Callable[[tuple[str, ...]], bool], prefix: tuple[str, ...] = ()) -> dict[str, Any]:
    """Copy a tree without the leaves and branches whose path is gone."""
    kept = {key: value for key, value in tree.items() if not is_gone((*prefix, str(key)))}
    below = {
        key: pruned(value, is_gone, (*prefix, str(key))) if isinstance(value, Mapping) else value
        for key, value in kept.items()
    }
    return like(tree, below)


def like(tree: Mapping[Any, Any], entries: dict[Any, Any]) -> dict[Any, Any]:
    """Entries in a mapping of the kind that they came in: PyTorch's state dict is ordered, and carries its metadata."""
    if not isinstance(tree, OrderedDict):
        return entries
    result = OrderedDict(entries)
    result.__dict__.update(tree.__dict__)
    return result
