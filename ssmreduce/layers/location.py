"""Where layers lie in a tree of arrays: paths, and the arrays that belong to one layer.

A tree is any mapping of arrays: nested (a Flax dict or FrozenDict) or flat with joined keys
(``params/encoder/layers_0/seq/B`` of an npz file, ``layers.0.layer.layer.kernel.C`` of a PyTorch state dict).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssmreduce.layers.copies import main_prefix, weights_among
from ssmreduce.layers.formats import LAYER_FORMATS
from ssmreduce.layers.formats.foreign import FOREIGN
from theory.errors import InputError

Array = NDArray[Any]
Path = tuple[str, ...]

_BRACKETS = re.compile(r"""\[(?:'|"|[0-9]+\])""")

BOXES = ("value", "raw_value")
"""Last keys under which Flax boxes an array that carries metadata (``nn.Partitioned``, NNX)."""


def split(key: str) -> Path:
    """Split a joined key at ``/`` and ``.``, and at the brackets of ``jax.tree_util.keystr``."""
    if _BRACKETS.search(key):
        return tuple(re.findall(r"""[^\[\]'"./]+""", key))
    return tuple(re.split(r"[/.]", key))


def joints(path: Path) -> Path:
    """Split every key of a path, and take the box off that holds the leaf."""
    parts = tuple(piece for part in path for piece in split(part))
    return parts[:-1] if len(parts) > 1 and parts[-1] in BOXES else parts


def leaves(tree: Mapping[Any, Any], prefix: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Yield ``(path, leaf)`` of a nested mapping, keys as they are."""
    if len(prefix) > 64:
        raise InputError(f"the tree is nested more than 64 deep at {'/'.join(prefix[:4])}/...")
    for key, value in tree.items():
        path = (*prefix, str(key))
        if isinstance(value, Mapping):
            yield from leaves(value, path)
        else:
            yield path, value


def as_array(value: Any, name: str) -> Array:
    """Turn a leaf (NumPy, JAX, a Flax variable) into a NumPy array of numbers."""
    if not isinstance(value, np.ndarray) and hasattr(value, "value") and not hasattr(value, "__array__"):
        value = value.value
    if callable(getattr(value, "detach", None)):  # a PyTorch tensor that may require a gradient or sit elsewhere
        value = value.detach().cpu()
    try:
        array = np.asarray(value)
    except (ValueError, TypeError, RuntimeError) as error:
        raise InputError(f"{name} is no array of numbers: {error}") from error
    if array.dtype.kind not in "iufc" and array.dtype.name != "bfloat16":
        raise InputError(f"{name} has dtype {array.dtype}; numbers are needed")
    return array


def _order(path: Path) -> list[Any]:
    """Sort ``layers_10`` after ``layers_9``, numbers before words."""
    pieces = [[int(piece) if piece.isdecimal() else piece for piece in re.split(r"([0-9]+)", part)] for part in path]
    return [[(isinstance(piece, str), piece) for piece in part] for part in pieces]


def locate_layers(tree: Mapping[Any, Any]) -> dict[Path, dict[str, Path]]:
    """Locate everything that looks like a layer, in whatever copy: where it lies to ``{dotted key: path in tree}``."""
    where: dict[Path, Path] = {}
    numbers: set[Path] = set()
    for path, leaf in leaves(tree):
        parts = joints(path)
        if isinstance(leaf, int) or getattr(leaf, "shape", None) == ():
            numbers.add(parts)
        if parts in where:
            raise InputError(f"{'/'.join(parts)} is there twice, as {where[parts]} and as {path}")
        where[parts] = path
    tails = {tuple(form.anchor.split(".")) for form in LAYER_FORMATS.values()} | FOREIGN.keys()
    bases = {path[: -len(tail)] for path in where for tail in tails if path[-len(tail) :] == tail}
    known = {key for form in LAYER_FORMATS.values() for key in form.keys + form.optional} | {"P"}
    known |= {".".join(tail) for tail in FOREIGN}
    depth = 1 + max(key.count(".") for key in known)
    found: dict[Path, dict[str, Path]] = {base: {} for base in bases}
    for path, original in where.items():
        for cut in range(1, 1 + min(depth, len(path))):
            key = ".".join(path[-cut:])
            if path[:-cut] in found and key in known and (key != "P" or path not in numbers):  # P may count states
                found[path[:-cut]][key] = original
    layers = {base: found[base] for base in sorted(found, key=_order) if _is_layer(found[base])}
    return {base: keys for base, keys in layers.items() if not _is_part(base, keys, layers)}


def _is_part(base: Path, keys: Mapping[str, Path], layers: Mapping[Path, Mapping[str, Path]]) -> bool:
    """Whether all arrays of what looks like a layer are those of a layer around it: S4D's kernel has an A, B and C."""
    around = (layers.get(base[:cut], {}) for cut in range(len(base)))
    return any({*keys.values()} <= {*outer.values()} for outer in around if outer)


def _is_layer(keys: Mapping[str, Path]) -> bool:
    """Whether what lies beside an anchor confirms it."""
    named = any(form.anchor in keys and keys.keys() >= {*form.beside} for form in LAYER_FORMATS.values())
    return named or any(".".join(tail) in keys for tail in FOREIGN)


def find_layers(tree: Mapping[Any, Any], prefix: str | None = None) -> dict[str, dict[str, Path]]:
    """Locate the layers of a tree; of a training state, those under ``params``.

    Parameters
    ----------
    tree : mapping
    prefix : str, optional
        Which part of the tree is meant, where it holds several copies of the network; "" for everything.

    Returns
    -------
    dict
        Name of the layer (its place in the tree, ``/``-joined; "" for a bare layer) to ``{dotted key: path in tree}``,
        in the order of the network.

    Raises
    ------
    InputError
        The tree holds twins, as weights and their average are, and no `prefix` tells which are meant; or a kind of
        layer that is not read.
    """
    located = locate_layers(tree)
    found = {base: located[base] for base in weights_among(located, prefix)}
    root = main_prefix(found, prefix)
    inside = {base: keys for base, keys in found.items() if base[: len(root)] == root}
    foreign = {base: tail for base, keys in inside.items() for tail in FOREIGN if ".".join(tail) in keys}
    if foreign and len(foreign) == len(inside):  # beside layers that are read, others are part of the network
        base, tail = next(iter(foreign.items()))
        raise InputError(f"{'/'.join((*base, *tail))}: this is {FOREIGN[tail]}")
    inside = {base: keys for base, keys in inside.items() if base not in foreign}
    return {"/".join(base): keys for base, keys in inside.items()}
