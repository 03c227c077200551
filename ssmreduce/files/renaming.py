"""Where an array goes that its file has not yet: beside those of its layer, spelled as they are.

A leaf may lie in nested mappings, under names joined by ``.`` or ``/``, under names as ``jax.tree_util.keystr`` writes
them, and in a box of Flax.
"""

from __future__ import annotations

from collections.abc import Mapping

from ssmreduce.layers.location import BOXES
from theory.errors import InputError

Path = tuple[str, ...]


def beside(paths: Mapping[str, Path], key: str) -> Path:
    """Return the path of the dotted `key` of a layer, given those of its other keys.

    Raises
    ------
    InputError
        Their spelling is unknown.
    """
    for there, path in paths.items():
        found = _spelled(there.split("."), path, key.split("."))
        if found is not None:
            return found
    raise InputError(f"no place for {key} beside {', '.join('/'.join(path) for path in list(paths.values())[:3])}")


def _spelled(there: list[str], path: Path, key: list[str]) -> Path | None:
    if len(path) > 1 and path[-1] in BOXES:
        inside = _spelled(there, path[:-1], key)
        return None if inside is None else (*inside, path[-1])
    if list(path[-len(there) :]) == there:
        return (*path[: -len(there)], *key)
    last = path[-1]
    brackets = "".join(f"['{part}']" for part in there)
    if last.endswith(brackets):
        return (*path[:-1], last.removesuffix(brackets) + "".join(f"['{part}']" for part in key))
    for joint in "./":
        joined = joint.join(there)
        stem = last.removesuffix(joined)
        if stem != last and (not stem or stem[-1] in "./") and (len(there) > 1 or not stem or stem[-1] == joint):
            return (*path[:-1], stem + joint.join(key))
    return None
