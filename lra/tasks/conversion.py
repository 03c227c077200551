"""Conversion of a data set, once, into memory-mapped arrays that load only when they are complete.

A converted data set is a folder of ``.npy`` files and a ``manifest.json``. It is written under another name, flushed to
the disk, and renamed as the last step: a process killed at any moment leaves at most a ``.partial`` folder, which never
loads and which the next conversion removes. Two processes that convert the same data wait for each other.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from lra.errors import DataError
from lra.lock import locked
from lra.tasks.converted import FORMAT_VERSION, MANIFEST, Converted, file_sha256, open_converted
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


def convert_once(
    kind: str,
    sources: Sequence[Path],
    convert: Callable[[Writer], Mapping[str, Any]],
    options: Mapping[str, Any] | None = None,
    cache: Path | None = None,
    root: Path | None = None,
) -> Converted:
    """Return the converted form of `sources`, made now unless a complete one is there.

    Parameters
    ----------
    kind : str
        What is converted; part of the folder's name.
    sources : sequence of Path
        Files, and folders with all that is in them, whose names, sizes and times of change decide whether a
        conversion is still current.
    convert : Callable
        Fills a `Writer` and returns the notes for the manifest; runs only if needed.
    options : mapping, optional
        Whatever changes the outcome; JSON values.
    cache : Path, optional
        Folder of all conversions; default `cache_folder`.
    root : Path, optional
        What nothing outside of is read, see `Writer`.

    Raises
    ------
    DataError
        A source is damaged (nothing is left behind), or the converted files are.
    """
    options = dict(options or {})
    state = [fingerprint(path) for path in sources]
    key = hashlib.sha256(json.dumps([FORMAT_VERSION, kind, options, state], sort_keys=True).encode()).hexdigest()
    home = cache or cache_folder()
    folder = home / f"{kind}-{key[:16]}"
    if not folder.exists():
        write_converted(folder, kind, convert, options, root)
    return open_converted(folder, kind)


def write_converted(
    folder: Path,
    kind: str,
    convert: Callable[[Writer], Mapping[str, Any]],
    options: Mapping[str, Any] | None = None,
    root: Path | None = None,
) -> None:
    """Convert into `folder`, which appears complete or not at all; nothing is done if it is there already.

    Raises
    ------
    DataError
        A source is damaged, or the disk is full or not writable; nothing is left behind.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        _write_converted(folder, kind, convert, options, root)
    except OSError as error:
        raise DataError(
            f"{folder} cannot be written ({error}); free some space, or set LRA_CACHE to another folder"
        ) from error


def _write_converted(
    folder: Path,
    kind: str,
    convert: Callable[[Writer], Mapping[str, Any]],
    options: Mapping[str, Any] | None,
    root: Path | None,
) -> None:
    partial = folder.with_name(f".{folder.name}.partial")
    with locked(folder.with_name(f".{folder.name}.lock"), wait=True):
        if folder.exists():
            return
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        writer = Writer(partial, root)
        try:
            writer.finish(kind, options or {}, convert(writer))
            _sync_folder(partial)
            os.rename(partial, folder)
            _sync_folder(folder.parent)
        except BaseException:
            writer.abandon()
            shutil.rmtree(partial, ignore_errors=True)
            raise


def fingerprint(path: Path) -> tuple[str, str]:
    """Return the resolved path and a digest of names, sizes and times of change: of a file, or of all files below."""
    digest = hashlib.sha256()

    def enter(name: str, status: os.stat_result) -> None:
        digest.update(os.fsencode(name) + f"\0{status.st_size}\0{status.st_mtime_ns}\n".encode())

    if path.is_file():
        enter(path.name, path.stat())
    for folder, inner, _ in os.walk(path):
        inner.sort()
        with os.scandir(folder) as entries:
            for entry in sorted((e for e in entries if e.is_file()), key=lambda e: e.name):
                enter(entry.path, entry.stat())
    return str(path.resolve()), digest.hexdigest()


def cache_folder() -> Path:
    """Return LRA_CACHE if set, else ``lra`` in the user's cache folder."""
    given = os.environ.get("LRA_CACHE")
    if given:
        return Path(given)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lra"


def _sync_folder(folder: Path) -> None:
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
