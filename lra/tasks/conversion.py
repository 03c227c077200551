"""Conversion of a data set, once, into memory-mapped arrays that load only when they are complete.

A converted data set is a folder of ``.npy`` files and a ``manifest.json``. It is written under another name, flushed to
the disk, and renamed as the last step: a process killed at any moment leaves at most a ``.partial`` folder, which never
loads and which the next conversion removes. Two processes that convert the same data wait for each other.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from lra.errors import DataError

FORMAT_VERSION = 1
MANIFEST = "manifest.json"
BLOCK = 1 << 22  # values rewritten at a time


@dataclasses.dataclass(frozen=True, kw_only=True)
class Converted:
    """A converted data set, open for reading.

    Attributes
    ----------
    folder : Path
        Where it lies.
    manifest : dict
        ``format, kind, options, notes, source_sha256, source_files, arrays``.
    arrays : mapping of str to ndarray
        Read-only memory maps.
    """

    folder: Path
    manifest: dict[str, Any]
    arrays: Mapping[str, np.ndarray]

    def __getitem__(self, name: str) -> np.ndarray:
        return self.arrays[name]

    @property
    def notes(self) -> dict[str, Any]:
        """What the converter had to say: vocabularies, counts, statistics."""
        notes: dict[str, Any] = self.manifest["notes"]
        return notes


class Writer:
    """Collects the arrays of one conversion and the digest of everything that was read for it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.source_files = 0
        self._digest = hashlib.sha256()
        self._arrays: dict[str, np.ndarray] = {}
        self._streams: dict[str, ArrayStream] = {}

    def read(self, path: Path) -> bytes:
        """Return the bytes of a source file; they enter the source digest."""
        try:
            data = path.read_bytes()
        except OSError as error:
            raise DataError(f"{path} cannot be read ({error.strerror}); copy the data set again") from error
        self.record(path.name, hashlib.sha256(data).digest())
        return data

    def lines(self, path: Path, ended: bool = False) -> Iterator[tuple[int, bytes]]:
        """Yield (row, line without its end) of a text file, rows counted from 1; the file enters the source digest.

        With `ended` a last line without a line end is an error: nothing else tells that its text was cut short.
        """
        digest = hashlib.sha256()
        try:
            with path.open("rb") as file:
                for row, line in enumerate(file, start=1):
                    digest.update(line)
                    if ended and not line.endswith(b"\n"):
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
        self._digest.update(name.encode() + b"\0" + sha256)

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

    Raises
    ------
    DataError
        A source is damaged (nothing is left behind), or the converted files are.
    """
    options = dict(options or {})
    state = [fingerprint(path) for path in sources]
    key = hashlib.sha256(json.dumps([FORMAT_VERSION, kind, options, state], sort_keys=True).encode()).hexdigest()
    root = cache or cache_folder()
    folder = root / f"{kind}-{key[:16]}"
    if not folder.exists():
        write_converted(folder, kind, convert, options)
    return open_converted(folder, kind)


def write_converted(
    folder: Path, kind: str, convert: Callable[[Writer], Mapping[str, Any]], options: Mapping[str, Any] | None = None
) -> None:
    """Convert into `folder`, which appears complete or not at all; nothing is done if it is there already.

    Raises
    ------
    DataError
        A source is damaged, or the disk is full or not writable; nothing is left behind.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        _write_converted(folder, kind, convert, options)
    except OSError as error:
        raise DataError(
            f"{folder} cannot be written ({error}); free some space, or set LRA_CACHE to another folder"
        ) from error


def _write_converted(
    folder: Path, kind: str, convert: Callable[[Writer], Mapping[str, Any]], options: Mapping[str, Any] | None
) -> None:
    partial = folder.with_name(f".{folder.name}.partial")
    with _locked(folder.with_name(f".{folder.name}.lock")):
        if folder.exists():
            return
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        writer = Writer(partial)
        try:
            writer.finish(kind, options or {}, convert(writer))
            _sync_folder(partial)
            os.rename(partial, folder)
            _sync_folder(folder.parent)
        except BaseException:
            writer.abandon()
            shutil.rmtree(partial, ignore_errors=True)
            raise


def open_converted(folder: Path, kind: str | None = None, verify: bool = False) -> Converted:
    """Open a converted data set read-only.

    Parameters
    ----------
    folder : Path
        A folder with a ``manifest.json``.
    kind : str, optional
        What it must be.
    verify : bool
        Also compare the SHA-256 of every array with the manifest (reads everything).

    Raises
    ------
    DataError
        Not a converted data set, another kind or format, or an array that is missing, cut short or changed.
    """
    advice = "delete the folder and convert again"
    try:
        manifest = json.loads((folder / MANIFEST).read_text())
        version, found, described = manifest["format"], manifest["kind"], manifest["arrays"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{folder / MANIFEST} is missing or damaged ({error}); {advice}") from error
    if version != FORMAT_VERSION:
        raise DataError(f"{folder} has format {version}, this program reads {FORMAT_VERSION}; {advice}")
    if kind is not None and found != kind:
        raise DataError(f"{folder} holds {found!r} data, not {kind!r}")
    arrays = {}
    for name, expected in described.items():
        path = folder / f"{name}.npy"
        try:
            made = np.load(path, mmap_mode="r" if 0 not in expected["shape"] else None, allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise DataError(f"{path} is missing or cut short ({error}); {advice}") from error
        if list(made.shape) != expected["shape"] or made.dtype.str != expected["dtype"]:
            raise DataError(f"{path} holds {made.dtype.str} {made.shape}, its manifest says otherwise; {advice}")
        if verify and file_sha256(path) != expected["sha256"]:
            raise DataError(f"{path} has changed since it was converted; {advice}")
        arrays[name] = made
    return Converted(folder=folder, manifest=manifest, arrays=arrays)


def fingerprint(path: Path) -> tuple[str, str]:
    """Return the resolved path and a digest of names, sizes and times of change: of a file, or of all files below."""
    digest = hashlib.sha256()

    def enter(name: str, status: os.stat_result) -> None:
        digest.update(f"{name}\0{status.st_size}\0{status.st_mtime_ns}\n".encode())

    if path.is_file():
        enter(path.name, path.stat())
    for folder, inner, _ in os.walk(path):
        inner.sort()
        with os.scandir(folder) as entries:
            for entry in sorted((e for e in entries if e.is_file()), key=lambda e: e.name):
                enter(entry.path, entry.stat())
    return str(path.resolve()), digest.hexdigest()


def is_converted(path: Path) -> bool:
    """Return whether `path` is a folder with a manifest."""
    return (path / MANIFEST).is_file()


def cache_folder() -> Path:
    """Return LRA_CACHE if set, else ``lra`` in the user's cache folder."""
    given = os.environ.get("LRA_CACHE")
    if given:
        return Path(given)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lra"


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock that the system drops when the process ends, however it ends."""
    with path.open("a") as file:
        try:
            import fcntl
        except ImportError:  # a system without such locks: do not convert the same data twice at a time there
            pass
        else:
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _sync_folder(folder: Path) -> None:
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
