"""One safetensors file that is larger than the memory: written piece by piece, read memory-mapped.

Its record holds the SHA-256 of all its bytes, the digits of the digest itself counted as zeros.
"""

from __future__ import annotations

import hashlib
import json
import math
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from ssmreduce.files import digest
from ssmreduce.files.description import strict_json
from ssmreduce.files.errors import CheckpointError, CheckpointIOError
from ssmreduce.files.formats.safetensors import HEADER_LIMIT, TYPES
from ssmreduce.files.reading import read_head
from theory.errors import InputError

Array = NDArray[Any]
Shape = tuple[DTypeLike, tuple[int, ...]]
"""Element type and shape."""

PIECE = 2**20
"""Bytes that are hashed at a time."""
BLANK = "0" * 64
"""Stands for the digest while it is computed."""


class TensorWriter:
    """Writes arrays of known types and shapes into an open file, in any order; what is never put is zero.

    Parameters
    ----------
    file : binary file
        Empty, open for reading and writing.
    path : Path
        What it will be, for messages.
    shapes : mapping of str to (dtype, shape)
    record : mapping of str to str
        Texts of the header.
    """

    def __init__(self, file: IO[bytes], path: Path, shapes: Mapping[str, Shape], record: Mapping[str, str]) -> None:
        names = {np.dtype(code): name for name, code in TYPES.items()}
        self.file, self.path = file, path
        self._places: dict[str, tuple[int, np.dtype[Any], tuple[int, ...]]] = {}
        header: dict[str, Any] = {"__metadata__": {**record, digest.KEY: BLANK}}
        end = 0
        for name in sorted(shapes, key=lambda name: (-np.dtype(shapes[name][0]).itemsize, name)):  # all are aligned
            kind, shape = np.dtype(shapes[name][0]).newbyteorder("<"), tuple(shapes[name][1])
            if kind not in names:
                raise InputError(f"{name} has the element type {kind.name}, which safetensors cannot hold")
            size = math.prod(shape) * kind.itemsize
            header[name] = {"dtype": names[kind], "shape": list(shape), "data_offsets": [end, end + size]}
            self._places[name] = (end, kind, shape)
            end += size
        text = json.dumps(header, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 8)
        self._start, self._digest_at = 8 + len(text), 8 + text.index(BLANK.encode())
        self._write(0, struct.pack("<Q", len(text)) + text)
        file.truncate(self._start + end)

    def put(self, name: str, first: int, values: Array) -> None:
        """Write `values` as the entries from `first` on, along the first axis.

        Raises
        ------
        InputError
            They have another type or shape than the array.
        """
        place, kind, shape = self._places[name]
        values = np.asarray(values)
        if values.shape[1:] != shape[1:] or first + len(values) > shape[0]:
            raise InputError(f"{name} must have shape {shape}; entries of shape {values.shape} came at {first}")
        if not np.can_cast(values.dtype, kind, "same_kind"):
            raise InputError(f"{name} must have the type {kind.name}, {values.dtype.name} came")
        each = math.prod(shape[1:]) * kind.itemsize
        self._write(self._start + place + first * each, np.ascontiguousarray(values, dtype=kind).tobytes())

    def finish(self) -> None:
        """Put the digest into the header."""
        self.file.flush()
        self.file.seek(0)
        self._write(self._digest_at, _sha256(self.file, self._digest_at).encode())

    def _write(self, place: int, data: bytes) -> None:
        try:
            self.file.seek(place)
            self.file.write(data)
        except OSError as error:
            why = f"cannot be written ({error.strerror or error}); nothing was changed"
            raise CheckpointIOError(why, self.path, error) from None


class TensorFile:
    """The arrays of a file by name, memory-mapped and read-only.

    Parameters
    ----------
    path : Path

    Raises
    ------
    CheckpointError
        No safetensors file, or a damaged one.
    CheckpointIOError
    """

    def __init__(self, path: Path) -> None:
        import safetensors

        self.path = path
        head = read_head(path)
        if len(head) < 9 or head[8:9] != b"{" or struct.unpack("<Q", head[:8])[0] > HEADER_LIMIT:
            raise CheckpointError("this is no safetensors file", path)
        try:
            with safetensors.safe_open(path, framework="np"):  # checks ranges, overlaps and leftovers
                pass
            self._bytes = np.memmap(path, np.uint8, "r")
        except (safetensors.SafetensorError, ValueError) as error:
            raise CheckpointError(
                f"a damaged safetensors file ({error}); it may be truncated: copy or save it again", path
            ) from None
        except OSError as error:
            raise CheckpointIOError(f"cannot be read ({error.strerror or error})", path, error) from None
        length = struct.unpack("<Q", head[:8])[0]
        self._header = bytes(self._bytes[8 : 8 + length])
        header = strict_json(self._header, path)
        self._start = 8 + length
        self.record: dict[str, str] = header.pop("__metadata__", {})
        self._entries: dict[str, Any] = header

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the arrays."""
        return tuple(self._entries)

    def __getitem__(self, name: str) -> Array:
        entry = self._entries[name]
        if entry["dtype"] not in TYPES:
            raise CheckpointError(f"{name!r} has the element type {entry['dtype']}, which is not read", self.path)
        first, last = (self._start + offset for offset in entry["data_offsets"])
        found = np.frombuffer(self._bytes[first:last], TYPES[entry["dtype"]]).reshape(entry["shape"])
        found.flags.writeable = False
        return found

    def verify(self) -> None:
        """Compare the digest; reads the file once.

        Raises
        ------
        CheckpointError
            It is another one.
        """
        told = self.record.get(digest.KEY, "").encode()
        if len(told) != len(BLANK) or self._header.count(told) != 1:
            raise CheckpointError("it has no digest: it was not written here, or is damaged", self.path)
        with open(self.path, "rb") as file:
            if _sha256(file, 8 + self._header.index(told)).encode() != told:
                raise CheckpointError("its bytes are not those that were written: copy or record it again", self.path)


def _sha256(file: IO[bytes], digest_at: int) -> str:
    """Of all bytes, those of the digest counted as :data:`BLANK`."""
    total = hashlib.sha256(file.read(digest_at))
    total.update(BLANK.encode())
    file.read(len(BLANK))
    while piece := file.read(PIECE):
        total.update(piece)
    return total.hexdigest()
