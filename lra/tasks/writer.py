"""Writers of a converted data set: its arrays, whole or piece by piece, its manifest, and a digest of what was read."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from lra.errors import DataError
from lra.tasks.converted import FORMAT_VERSION, MANIFEST, file_sha256
from lra.tasks.reading import LARGEST, inside, read_file

BLOCK = 1 << 22  # values rewritten at a time
LONGEST_LINE = 1 << 24  # bytes; the longest row of these data sets, two papers, has less than a hundredth of that


class Writer:
    """Collects the arrays of one conversion and the digest of everything that was read for it.

    Parameters
    ----------
    folder : Path
        Where the arrays go.
    root : Path, optional
        The folder (or the file) that sources are read from, and nothing outside of it; default: the folder that a
        file lies in.
    """

    def __init__(self, folder: Path, root: Path | None = None) -> None:
        self.folder, self.root = folder, root
        self.source_files = 0
        self._digest = hashlib.sha256()
        self._arrays: dict[str, np.ndarray] = {}
        self._streams: dict[str, ArrayStream] = {}

    def read(self, path: Path, limit: int = LARGEST) -> bytes:
        """Return the bytes of a source file below `root`; they enter the source digest."""
        data = read_file(path, self.root or path.parent, limit)
        self.record(path.name, hashlib.sha256(data).digest())
        return data

    def lines(self, path: Path, ended: bool = False) -> Iterator[tuple[int, bytes]]:
        """Yield (row, line without its end) of a text file, rows counted from 1; the file enters the source digest.

        With `ended` a last line without a line end is an error: nothing else tells that its text was cut short.
        """
        digest = hashlib.sha256()
        try:
            with inside(path, self.root or path.parent, sys.maxsize).open("rb") as file:
                for row, line in enumerate(iter(lambda: file.readline(LONGEST_LINE), b""), start=1):
                    digest.update(line)
                    whole = line.endswith(b"\n")
                    if not whole and (ended or len(line) == LONGEST_LINE):
                        raise DataError(
                            f"{path}: row {row} has no line end, so the file is cut short; fetch it again "
                            "(or end the row, if you know that it is whole)"
                        )
                    yield row, line.rstrip(b"\r\n")
        except OSError as error:
            raise DataError(f"{path} cannot be read ({error.strerror}); copy the data set again") from error
        self.record(path.name, digest.digest())

    def record(self, name: str, sha256: bytes) -> None:
        """Add a source file, read by other means, to the source digest."""
        self.source_files += 1
        self._digest.update(os.fsencode(name) + b"\0" + sha256)

    def array(self, name: str, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        """Return a new zero array of known shape, mapped to its file, to be filled in place."""
        path = self.folder / f"{name}.npy"
        made: np.ndarray = (
            np.lib.format.open_memmap(path, mode="w+", dtype=np.dtype(dtype), shape=shape)
            if np.prod(shape)
            else np.zeros(shape, dtype)
        )
        if isinstance(made, np.memmap) and hasattr(os, "posix_fallocate"):
            with path.open("rb+") as file:  # a full disk is an error now, not a crash of the mapping later
                os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
        self._arrays[name] = made
        return made

    def save(self, name: str, values: np.ndarray) -> None:
        """Store a small array."""
        self.array(name, values.shape, values.dtype)[...] = values

    def stream(self, name: str, dtype: Any) -> ArrayStream:
        """Return an open one-dimensional array that grows by ``append``."""
        made = ArrayStream(self.folder / f"{name}.npy", np.dtype(dtype))
        self._streams[name] = made
        return made

    def finish(self, kind: str, options: Mapping[str, Any], notes: Mapping[str, Any]) -> None:
        """Close all arrays and write the manifest, everything flushed to the disk."""
        described: dict[str, Any] = {}
        for name, stream in self._streams.items():
            stream.close()
            described[name] = {"shape": [stream.size], "dtype": stream.dtype.str}
        for name, array in self._arrays.items():
            if isinstance(array, np.memmap):
                array.flush()
            else:
                np.save(self.folder / f"{name}.npy", array)
            described[name] = {"shape": list(array.shape), "dtype": array.dtype.str}
        for name, entry in described.items():
            path = self.folder / f"{name}.npy"
            entry["sha256"] = file_sha256(path)
            with path.open("rb+") as file:
                os.fsync(file.fileno())
        manifest = {
            "format": FORMAT_VERSION,
            "kind": kind,
            "options": dict(options),
            "notes": dict(notes),
            "source_sha256": self._digest.hexdigest(),
            "source_files": self.source_files,
            "arrays": described,
        }
        with (self.folder / MANIFEST).open("w") as text:
            json.dump(manifest, text, indent=1)
            text.flush()
            os.fsync(text.fileno())

    def abandon(self) -> None:
        """Let go of all files."""
        for stream in self._streams.values():
            stream.file.close()
        self._arrays.clear()


class ArrayStream:
    """A one-dimensional ``.npy`` file that is written piece by piece."""

    def __init__(self, path: Path, dtype: np.dtype[Any]) -> None:
        self.dtype = dtype
        self.size = 0
        self.file: BinaryIO = path.open("wb+")
        self._header = self._write_header()

    def append(self, values: np.ndarray) -> None:
        """Add `values` at the end."""
        self.file.write(np.ascontiguousarray(values, self.dtype).tobytes())
        self.size += values.size

    def remap(self, table: np.ndarray) -> None:
        """Replace each value v written so far by ``table[v]``."""
        for start in range(0, self.size, BLOCK):
            n = min(BLOCK, self.size - start)
            self.file.seek(self._header + start * self.dtype.itemsize)
            values = np.frombuffer(self.file.read(n * self.dtype.itemsize), self.dtype)
            self.file.seek(self._header + start * self.dtype.itemsize)
            self.file.write(table[values].astype(self.dtype).tobytes())

    def close(self) -> None:
        """Write the final length into the header; NumPy's headers leave room for that."""
        self.file.seek(0)
        if self._write_header() != self._header:
            raise AssertionError("the header of an npy file has grown")
        self.file.close()

    def _write_header(self) -> int:
        header = {"descr": self.dtype.str, "fortran_order": False, "shape": (self.size,)}
        np.lib.format.write_array_header_1_0(self.file, header)
        return self.file.tell()
