"""Arrays with an axis in front: copies on every device (pmap), or the layers of a network on top of each other (scan).

The axis is asked for, since both look alike: ``axis="device"`` takes one of the equal copies, ``axis="layers"`` takes
the layers apart. :class:`Model` then holds a tree without the axis; what is written has it again. Either refuses what
the other one is: copies that differ are no copies, and layers that are all equal are copies.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssmreduce.files.trees import changed
from ssmreduce.layers.location import as_array, joints, leaves, locate_layers
from ssmreduce.layers.options import OptionError
from ssmreduce.layers.params import leading_axis
from theory.errors import InputError

Array = NDArray[Any]
Path = tuple[str, ...]

DEVICE, LAYERS = "device", "layers"

KINDS = (DEVICE, LAYERS)
"""What an axis in front may be."""


@dataclass(frozen=True)
class Stack:
    """How a tree was before its axis was taken off.

    Attributes
    ----------
    kind : str
        One of :data:`KINDS`.
    size : int
        Length of the axis; of "layers" the largest.
    tree : mapping
        The tree as it came.
    places : mapping
        Path of each leaf that had the axis to the paths of its parts.
    """

    kind: str
    size: int
    tree: Mapping[str, Any]
    places: Mapping[Path, tuple[Path, ...]]

    def restored(self, tree: Mapping[str, Any]) -> dict[str, Any]:
        """Return a changed tree with the axis, in the structure that came.

        Raises
        ------
        InputError
            Layers of one stack are of unlike sizes, or are stored under other names than they came.
        """
        found, changes, used = dict(leaves(tree)), dict[Path, Any](), set[Path]()
        for path, leaf in leaves(self.tree):
            whole = self.places.get(path)
            parts = whole or (_apart(path) if self.kind == LAYERS else path,)
            used.update(parts)
            values = [found[part] for part in parts if part in found]
            if not values:
                changes[path] = None
            elif whole is not None:
                changes[path] = self._joined([np.asarray(value) for value in values], path, len(leaf))
            elif values[0] is not leaf:
                changes[path] = values[0]
        new = found.keys() - used
        if new and self.kind == LAYERS:
            raise InputError(
                f"the layers are stored under other names than they came ({'/'.join(min(new))}), so they cannot be "
                "stacked again: take the layers apart before, each in a file of its own"
            )
        changes |= {path: self._joined([np.asarray(found[path])], path, self.size) for path in new}
        return changed(self.tree, changes)

    def _joined(self, parts: list[Array], path: Path, size: int) -> Array:
        if self.kind == DEVICE:
            return np.repeat(parts[0][None], size, axis=0)
        if len({part.shape for part in parts}) > 1:
            sizes = " and ".join(dict.fromkeys(str(part.shape) for part in parts))
            raise InputError(
                f"the layers of {'/'.join(path)} are stacked in one array, so all of them need the same number of "
                f"states, and their parts have the shapes {sizes}: give one order for all (--orders N), spread the "
                "states evenly (--allocation uniform), or fill up with zero states (--pad, model.padded())"
            )
        return np.stack(parts)


def asked_for(value: Any) -> str | None:
    """Check the option that says what the axis is."""
    if value is not None and value not in KINDS:
        raise OptionError(f"axis must be one of {', '.join(map(repr, KINDS))}, got {value!r}", "axis", KINDS)
    return None if value is None else str(value)


def unstacked(tree: Mapping[str, Any], kind: str) -> tuple[dict[str, Any], Stack]:
    """Take the axis off, and say what was there.

    Raises
    ------
    InputError
        No layer has such an axis; copies that differ; layers that are all equal.
    """
    flat = dict(leaves(tree))
    stacked: dict[Path, int] = {}
    members: dict[Path, Path] = {}
    for base, keys in locate_layers(tree).items():
        raw = {key: as_array(flat[path], key) for key, path in keys.items()}
        size = leading_axis(raw)
        if not size:
            continue
        equal = all(_all_equal(array) for array in raw.values())
        if kind == DEVICE and not equal:
            raise InputError(
                f"layer {'/'.join(base)}: the {size} parts of its arrays differ, so they are no copies on {size} "
                "devices: pass axis='layers' (--axis layers) where scan stacked layers"
            )
        if kind == LAYERS and equal:
            raise InputError(
                f"layer {'/'.join(base)}: the {size} parts of its arrays are equal, so they are copies of one layer: "
                "pass axis='device' (--axis device)"
            )
        stacked[base] = size
        members |= dict.fromkeys(keys.values(), base)
    if not stacked:
        raise InputError(f"axis={kind!r} was given, and no layer has an axis in front of its arrays: leave it out")
    size = max(stacked.values())
    if kind == DEVICE:
        places = {path: (path,) for path, leaf in flat.items() if path in members or _is_copied(leaf, size)}
        return changed(tree, {path: np.asarray(flat[path])[0] for path in places}), Stack(kind, size, tree, places)
    apart: dict[str, Any] = {}
    split: dict[Path, tuple[Path, ...]] = {}
    for path, leaf in flat.items():
        if path not in members:
            apart[_apart(path)[0]] = leaf
            continue
        base = members[path]
        tail = joints(path)[len(base) :]
        names = ["/".join((*base[:-1], str(i), *base[-1:], *tail)) for i in range(stacked[base])]
        apart |= dict(zip(names, np.asarray(leaf)))
        split[path] = tuple((name,) for name in names)
    return apart, Stack(kind, size, tree, split)


def _apart(path: Path) -> Path:
    """The path of a leaf without an axis in the tree of layers taken apart."""
    return ("/".join(path),)


def _all_equal(array: Array) -> bool:
    """Whether all parts along the first axis are the same bits."""
    return len({np.ascontiguousarray(part).tobytes() for part in array}) == 1


def _is_copied(leaf: Any, size: int) -> bool:
    """Whether another leaf of a replicated tree is one of its copies."""
    return isinstance(leaf, np.ndarray) and leaf.ndim > 0 and len(leaf) == size and _all_equal(leaf)
