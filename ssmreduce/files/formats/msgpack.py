"""Flax's msgpack files: ``flax.serialization.to_bytes``, read and written without Flax."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ssmreduce.files.errors import CheckpointError
from ssmreduce.files.formats import flaxbytes
from ssmreduce.files.formats.file_format import Held
from ssmreduce.files.recipes import IS_ORBAX
from ssmreduce.files.trees import nested
from ssmreduce.layers.location import leaves
from theory.errors import InputError


class FlaxMsgpack:
    """See :class:`FileFormat`; the container has no room for a record: the digest is in the JSON half."""

    name, suffix, title, aliases = "msgpack", ".msgpack", "Flax msgpack", ()

    def recognizes(self, head: bytes) -> bool:
        """A map of one entry or more; not a safetensors file whose header happens to have such a length."""
        is_map = bool(head) and (head[0] in (0xDE, 0xDF) or 0x81 <= head[0] <= 0x8F)
        return is_map and head[5:9] != b"\0\0\0{"

    def read(self, data: bytes, path: Path) -> Held:
        """See :class:`FileFormat`."""
        try:
            tree = flaxbytes.read(data)
        except InputError as error:
            raise CheckpointError(f"not a readable Flax msgpack file: {error}", path) from None
        if not isinstance(tree, dict):
            raise CheckpointError(f"a msgpack file that holds a {type(tree).__name__}, not a tree of parameters", path)
        if any(isinstance(leaf, str) and leaf.startswith("PLACEHOLDER://") for _, leaf in leaves(tree)):
            raise CheckpointError(f"this is the table of contents of {IS_ORBAX}", path)
        return Held(tree, {})

    def write(self, tree: Mapping[str, Any], record: Mapping[str, str]) -> bytes:
        """See :class:`FileFormat`."""
        return flaxbytes.write(nested(tree))


FORMATS = (FlaxMsgpack(),)
