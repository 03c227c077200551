"""Files that are no checkpoints of ours: what to say about each, from its first bytes alone."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from ssmreduce.files import recipes
from ssmreduce.files.errors import CheckpointError
from ssmreduce.files.formats.file_format import CONVERT

SIGNATURES = (
    (b"\x89HDF\r\n\x1a\n", f"an HDF5 file. Where h5py is installed, convert it: {recipes.HDF5}"),
    (b"\x0c\xdb\x3a\x2a", f"part of {recipes.IS_ORBAX}"),
    (b"\x1f\x8b", "gzip-compressed; unpack it first"),
    (b"\xfd7zXZ", "xz-compressed; unpack it first"),
    (b"\x28\xb5\x2f\xfd", "zstd-compressed (or an Orbax checkpoint); unpack it first"),
)

OLD_PICKLE = re.compile(rb"\([dlt]p\d|[}\])]q.|\(?c[A-Za-z_][\w.]*\n[A-Za-z_]\w*\n|\(X", re.DOTALL)
"""How pickles of protocols 0 and 1 begin: an empty container and its memo, or the name of a class."""


def refuse_signed(head: bytes, path: Path) -> None:
    """Raise the error that names a file with a signature of its own, whatever else its bytes might mean."""
    for magic, what in SIGNATURES:
        if head.startswith(magic):
            raise CheckpointError(f"this is {what}", path)


def refuse(head: bytes, path: Path, known: Sequence[str]) -> NoReturn:
    """Raise the error that names what begins with `head`; `known` are the containers that are read."""
    if not head:
        raise CheckpointError("the file is empty; the save that made it was interrupted", path)
    if head[0] == 0x80 and head[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        raise CheckpointError(f"this is a Python pickle. {CONVERT}", path)
    if OLD_PICKLE.match(head):
        raise CheckpointError(f"this looks like a Python pickle (protocol 0 or 1). {CONVERT}", path)
    if head[:1] in b"{[" and path.suffix == ".json":
        raise CheckpointError(
            "this is the JSON half of a checkpoint; the arrays are in the .safetensors file beside it", path
        )
    if path.suffix == ".safetensors" or len(head) < 8:
        raise CheckpointError(f"no safetensors file, or the beginning of one ({len(head)} bytes); save it again", path)
    raise CheckpointError(f"not a checkpoint; these are read: {', '.join(known)}", path)
