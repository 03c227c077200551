"""A converted data set, opened with suspicion: its manifest and its arrays are checked before anything uses them.

It is a folder of ``.npy`` files and a ``manifest.json``, as `lra.tasks.conversion` writes them. Nothing outside of the
folder is read, whatever the manifest names, and labels, offsets and ids are where the models expect them.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from lra.errors import DataError
from lra.tasks.ragged import Ragged
from lra.tasks.reading import check_labels, inside, read_file

FORMAT_VERSION = 1
MANIFEST = "manifest.json"
ADVICE = "delete the folder and convert again"
NAME = re.compile("[A-Za-z0-9_]+")  # of an array; nothing that leads out of the folder


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
        if name not in self.arrays:
            raise DataError(f"{self.folder} lacks the array {name!r}; {ADVICE}")
        return self.arrays[name]

    @property
    def notes(self) -> dict[str, Any]:
        """What the converter had to say: vocabularies, counts, statistics."""
        notes: dict[str, Any] = self.manifest["notes"]
        return notes

    def size(self, name: str) -> int:
        """Return a note that counts something."""
        found = self.notes.get(name)
        if type(found) is not int or found < 0:
            raise DataError(f"{self.folder / MANIFEST} notes {name} as {found!r}, not a count; {ADVICE}")
        return found

    def number(self, name: str) -> float:
        """Return a note that is a finite number."""
        found = self.notes.get(name)
        if type(found) not in (int, float) or not np.isfinite(found):
            raise DataError(f"{self.folder / MANIFEST} notes {name} as {found!r}, not a finite number; {ADVICE}")
        return float(found)

    def numbers(self, name: str, n: int) -> np.ndarray:
        """Return an array of `n` finite numbers."""
        found = self[name]
        if found.shape != (n,) or found.dtype.kind != "f" or not np.isfinite(found).all():
            raise DataError(f"{self.folder}: {name} is {found.dtype} {found.shape}, not {n} finite numbers; {ADVICE}")
        return found

    def words(self, name: str) -> tuple[str, ...]:
        """Return a note that is a list of distinct texts: a vocabulary, the names of classes."""
        found = self.notes.get(name)
        if not isinstance(found, list) or not found or not all(isinstance(word, str) for word in found):
            raise DataError(
                f"{self.folder / MANIFEST} notes {name} as {str(found)[:60]!r}, not a list of texts; {ADVICE}"
            )
        if len(set(found)) < len(found):
            raise DataError(f"{self.folder / MANIFEST} notes a word twice in {name}; {ADVICE}")
        return tuple(found)

    def labels(self, n: int, n_classes: int) -> np.ndarray:
        """Return the array ``y`` if it has `n` labels of 0..n_classes-1."""
        return check_labels(self.folder / "y.npy", self["y"], n, n_classes)

    def stops(self, parts: int) -> np.ndarray:
        """Return where the splits begin and end, from the note ``sizes``, for the labels that there are."""
        sizes = self.notes.get("sizes")
        values = list(sizes.values()) if isinstance(sizes, dict) else []
        if len(values) != parts or not all(type(n) is int and n > 0 for n in values) or sum(values) != len(self["y"]):
            raise DataError(f"{self.folder / MANIFEST} notes sizes {sizes!r} of {len(self['y'])} rows; {ADVICE}")
        return np.cumsum([0, *values])

    def images(self, n: int, shape: tuple[int, ...]) -> np.ndarray:
        """Return the array ``x`` if it has `n` rows of bytes of this shape."""
        x = self["x"]
        if x.shape != (n, *shape) or x.dtype != np.uint8 or n == 0:
            raise DataError(f"{self.folder}: x is {x.dtype} {x.shape}, not uint8 {(n, *shape)}; {ADVICE}")
        return x

    def rows(self, L: int, vocabulary: int) -> Ragged:
        """Return the sequences of ``flat`` and ``offsets``, cut to `L`, if all ids lie below `vocabulary`."""
        flat, offsets = self["flat"], self["offsets"]
        if flat.ndim != 1 or flat.dtype.kind != "u" or offsets.ndim != 1 or offsets.dtype.kind not in "iu":
            raise DataError(f"{self.folder}: flat and offsets are not two lists of integers; {ADVICE}")
        if len(offsets) < 2 or offsets[0] != 0 or offsets[-1] != len(flat) or (np.diff(offsets) < 1).any():
            raise DataError(f"{self.folder}: offsets do not divide the {len(flat)} ids; {ADVICE}")
        if flat.max() >= vocabulary:
            raise DataError(f"{self.folder} holds the id {flat.max()}, its vocabulary has {vocabulary}; {ADVICE}")
        return Ragged(flat, offsets, L)


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
    manifest = _read_manifest(folder)
    if kind is not None and manifest["kind"] != kind:
        raise DataError(f"{folder} holds {manifest['kind']!r} data, not {kind!r}")
    arrays = {name: _open_array(folder, name, entry, verify) for name, entry in manifest["arrays"].items()}
    return Converted(folder=folder, manifest=manifest, arrays=arrays)


def _read_manifest(folder: Path) -> dict[str, Any]:
    """Return the manifest, its entries of the right types."""
    path = folder / MANIFEST
    try:
        manifest = json.loads(read_file(path, folder), parse_constant=_refuse)
        version, arrays, notes = manifest["format"], manifest["arrays"], manifest["notes"]
        if not isinstance(manifest["kind"], str) or not isinstance(notes, dict):
            raise TypeError("kind or notes are of another type")
        for name, entry in arrays.items():
            if not NAME.fullmatch(name) or not all(type(n) is int and n >= 0 for n in entry["shape"]):
                raise ValueError(f"array {name!r} has no usable name or shape")
            if not isinstance(entry["dtype"], str) or not isinstance(entry["sha256"], str):
                raise TypeError(f"dtype or sha256 of array {name!r} is no text")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(f"{path} is missing or damaged ({error}); {ADVICE}") from error
    if version != FORMAT_VERSION:
        raise DataError(f"{folder} has format {version}, this program reads {FORMAT_VERSION}; {ADVICE}")
    return dict(manifest)


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is not a number")


def _open_array(folder: Path, name: str, expected: Mapping[str, Any], verify: bool) -> np.ndarray:
    path = folder / f"{name}.npy"
    try:
        inside(path, folder, sys.maxsize)
        made: np.ndarray = np.load(path, mmap_mode="r" if 0 not in expected["shape"] else None, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path} is missing or cut short ({error}); {ADVICE}") from error
    if list(made.shape) != expected["shape"] or made.dtype.str != expected["dtype"]:
        raise DataError(f"{path} holds {made.dtype.str} {made.shape}, its manifest says otherwise; {ADVICE}")
    if verify and file_sha256(path) != expected["sha256"]:
        raise DataError(f"{path} has changed since it was converted; {ADVICE}")
    return made


def is_converted(path: Path) -> bool:
    """Return whether `path` is a folder with a manifest."""
    return (path / MANIFEST).is_file()


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
