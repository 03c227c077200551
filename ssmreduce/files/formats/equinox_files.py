"""Equinox's ``.eqx``: leaves one after another without names, which are given (``names=``); no library is needed.

``equinox.tree_serialise_leaves`` writes one ``.npy`` record a leaf, in the order of ``jax.tree_util.tree_flatten``. The
names are those of that order; :data:`ssmreduce.files.recipes.EQUINOX_NAMES` writes them from a model of the structure,
each with its shape. A line of JSON in front (hyperparameters, by Equinox's own recipe) comes back as it was.
"""

from __future__ import annotations

import io
import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ssmreduce.files import recipes
from ssmreduce.files.errors import CheckpointError, shown
from ssmreduce.files.formats import npy
from ssmreduce.files.formats.file_format import CONVERT, Held
from ssmreduce.files.reading import JSON_LIMIT, read_bytes
from ssmreduce.files.trees import flat
from theory.errors import InputError

NAMES = "names"
"""Where the record of a model and the options of a JSON half hold the names of the leaves, in their order."""

UNNAMED = "unnamed"
"""What the record of leaves says that have no names yet."""

HYPERPARAMETERS = "hyperparameters"
"""Where the record of a model holds the line of JSON that stood before the leaves."""

LEAVES = 2**17
"""Most leaves that are read: a network has hundreds, its training state thousands."""

FRONT = re.compile(rb"\s*[\[{][^\n]*\n\x93NUMPY")
"""How a file with a line in front begins."""

SINGLE = (
    "a single NumPy array (.npy); a checkpoint holds several, save it with numpy.savez (or, if it is an .eqx file of "
    "one leaf, pass its name: names=['...'])"
)

SEVERAL = (
    "leaves without names, one after another, as Equinox writes them (.eqx). Pass the names: names='names.txt' (on the "
    "command line --names names.txt), one a line in the order of the leaves. Where equinox is installed, two lines "
    f"write them: {recipes.EQUINOX_NAMES}"
)


class EquinoxFile:
    """See :class:`FileFormat`; the container has no room for a record: the digest is in the JSON half."""

    name, suffix, title, aliases = "equinox", ".eqx", "Equinox", ()

    def recognizes(self, head: bytes) -> bool:
        """An array, or a line of JSON and an array behind it."""
        return head.startswith(npy.MAGIC) or FRONT.match(head) is not None

    def read(self, data: bytes, path: Path) -> Held:
        """See :class:`FileFormat`; the leaves are numbered, :func:`named` gives them their names."""
        start = 0 if data.startswith(npy.MAGIC) else data.index(b"\n") + 1
        found: list[Any] = []
        at = start
        while at < len(data):
            if len(found) == LEAVES:
                raise CheckpointError(f"more than {LEAVES} leaves; that is no checkpoint", path)
            try:
                leaf, at = npy.read(data, at)
            except npy.ObjectsError:
                raise CheckpointError(
                    f"leaf {len(found)} is of Python objects, that is a pickle. {CONVERT}", path
                ) from None
            except Exception as error:  # NumPy's of a damaged header: ValueError, SyntaxError, struct.error ...
                raise CheckpointError(
                    f"a damaged row of arrays: leaf {len(found)}, at byte {at}, {error}; copy or save it again", path
                ) from None
            found.append(leaf)
        record = {UNNAMED: str(len(found))}
        if start:
            record[HYPERPARAMETERS] = data[:start].decode("utf-8", "surrogateescape")
        return Held({str(i): leaf for i, leaf in enumerate(found)}, record)

    def write(self, tree: Mapping[str, Any], record: Mapping[str, str]) -> bytes:
        """See :class:`FileFormat`; in the order of the names that came, or not at all."""
        arrays, buffer = flat(tree), io.BytesIO()
        buffer.write(record.get(HYPERPARAMETERS, "").encode("utf-8", "surrogateescape"))
        for name in order_of(tree, record):
            npy.write(buffer, arrays[name])
        return buffer.getvalue()


def order_of(tree: Mapping[str, Any], record: Mapping[str, str]) -> list[str]:
    """Return the names of the leaves of a tree in the order of the file; those that were dropped are left out.

    Raises
    ------
    InputError
        The order is not known: the model came in another container, or holds what the file had not.
    """
    arrays, came = flat(tree), json.loads(record.get(NAMES, "[]"))
    if not came:
        raise InputError(
            "an .eqx file holds leaves without names, in the order of the model that reads it, which only an .eqx file "
            "with its names tells: save as .npz or .safetensors, and fill the model by name"
        )
    new = sorted(arrays.keys() - {*came})
    if new:
        raise InputError(
            f"{shown(new[0])} was not among the leaves of the .eqx file, so its place among them is not known: save as "
            ".npz or .safetensors, and fill the model by name"
        )
    return [name for name in came if name in arrays]


def named(held: Held, names: Any, path: Path) -> Held:
    """Give the leaves of an ``.eqx`` file their names.

    Parameters
    ----------
    held : Held
        As :class:`EquinoxFile` reads it.
    names : sequence of str, or path of a text file
        One a leaf, in order, ``/`` or ``.`` or brackets between the parts; behind a tab may stand the shape, which is
        then compared.

    Raises
    ------
    CheckpointError
        None are given, as many as there are leaves are needed, or a shape is another.
    InputError
        No names, or one twice.
    """
    count, given = int(held.record[UNNAMED]), _lines(names)
    if not given:
        raise CheckpointError(f"this is {f'{count} {SEVERAL}' if count > 1 else SINGLE}", path)
    if len(given) != count:
        raise CheckpointError(
            f"the file has {count} leaves, and {len(given)} names were given: they are of another model, or of another "
            f"set of leaves (the file has every array, number and truth value of the tree). Write them again: "
            f"{recipes.EQUINOX_NAMES}",
            path,
        )
    tree: dict[str, Any] = {}
    for i, (line, leaf) in enumerate(zip(given, held.tree.values(), strict=True)):
        name, _, shape = line.partition("\t")
        if shape.strip() and [int(n) for n in re.findall(r"\d+", shape)] != [*leaf.shape]:
            raise CheckpointError(
                f"leaf {i} has shape {leaf.shape}, and {name} should have {shape.strip()}: the names are of another "
                "model, or its numbers of states or channels are others than those of the file",
                path,
            )
        if not name.strip():
            raise InputError(f"names: leaf {i} has none")
        if name in tree:
            raise InputError(f"names: {shown(name)} is there twice, again at leaf {i}")
        tree[name] = leaf
    record = {key: text for key, text in held.record.items() if key != UNNAMED}
    return Held(tree, record | {NAMES: json.dumps(list(tree))})


def _lines(names: Any) -> list[str]:
    """The names, one each, from a file or as they were given."""
    if names is None:
        return []
    if isinstance(names, (str, os.PathLike)):
        file = Path(names)
        try:
            text = read_bytes(file, JSON_LIMIT).decode("utf-8")
        except UnicodeDecodeError:
            raise CheckpointError("names: a text file is needed, one name a line", file) from None
        return [line.rstrip("\r") for line in text.split("\n") if line.strip()]
    if isinstance(names, Sequence) and all(isinstance(name, str) for name in names):
        return list(names)
    raise InputError(f"names must be the path of a text file or a list of texts, got {type(names).__name__}")


FORMATS = (EquinoxFile(),)
