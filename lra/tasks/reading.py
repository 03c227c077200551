"""Reading files of strangers: regular files inside the data folder, of a size that is looked at before it is read."""

from __future__ import annotations

import gzip
import io
import math
import stat
import warnings
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

import numpy as np

from lra.errors import DataError

LARGEST = 1 << 29
"""Bytes of a file that is read at once, and of what an archive may expand to. The largest such file of these data sets,
the reviews in one npz, has 0.07 GB."""

DAMAGED = (OSError, ValueError, KeyError, EOFError, RuntimeError, MemoryError, zipfile.BadZipFile, zlib.error)
"""What the standard library and NumPy raise on files that are not what they say (RuntimeError: encrypted members)."""


def inside(path: Path, root: Path, limit: int = LARGEST) -> Path:
    """Return `path` if, all symbolic links followed, it is a regular file below `root` of at most `limit` bytes.

    Raises
    ------
    DataError
        It is not there, leads out of the folder, is a folder, a pipe or a device, or is too large.
    """
    try:
        real, status = path.resolve(strict=True), path.stat()
    except (OSError, RuntimeError, ValueError) as error:  # RuntimeError: links in a circle; ValueError: a NUL
        raise DataError(f"{path} cannot be read ({error}); copy the data set again") from error
    if not real.is_relative_to(root.resolve()):
        raise DataError(f"{path} leads to {real}, outside of {root}, and is not read; copy the file itself there")
    if not stat.S_ISREG(status.st_mode):
        raise DataError(f"{path} is not a regular file; copy the data set again")
    if status.st_size > limit:
        raise DataError(f"{path} has {status.st_size} bytes, more than the {limit} that such a file may have")
    return path


def read_file(path: Path, root: Path, limit: int = LARGEST) -> bytes:
    """Return the bytes of a file, see `inside`."""
    try:
        return inside(path, root, limit).read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}); copy the data set again") from error


def read_npz(path: Path, arrays: Mapping[str, int]) -> dict[str, np.ndarray]:
    """Return named arrays of an npz file, each with the number of axes that is expected.

    Raises
    ------
    DataError
        The file is cut short, lacks an array or holds it twice, or expands to more than `LARGEST`.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            found = _members(archive, arrays)
    except (*DAMAGED, NotImplementedError) as error:
        raise DataError(
            f"{path} is damaged or lacks an array ({error or type(error).__name__}); copy it again"
        ) from error
    for name, axes in arrays.items():
        if found[name].ndim != axes:
            raise DataError(f"{path}: array {name!r} has shape {found[name].shape}, not {axes} axes")
        if found[name].dtype.kind == "f" and not np.isfinite(found[name]).all():
            raise DataError(f"{path}: array {name!r} holds values that are not finite; copy it again")
    return found


def _members(archive: zipfile.ZipFile, wanted: Mapping[str, int]) -> dict[str, np.ndarray]:
    entries: dict[str, zipfile.ZipInfo] = {}
    for entry in archive.infolist():
        name = entry.filename.removesuffix(".npy")
        if name in entries:
            raise ValueError(f"member {name!r} is there twice")
        entries[name] = entry
    chosen = {name: entries[name] for name in wanted}
    size = sum(entry.file_size for entry in chosen.values())
    if size > LARGEST:
        raise ValueError(f"its arrays expand to {size} bytes, more than {LARGEST}")
    found = {}
    for name, entry in chosen.items():
        with archive.open(entry) as member:
            found[name] = read_npy(io.BytesIO(member.read()))
    return found


def read_npy(file: BinaryIO) -> np.ndarray:
    """Return an array in NumPy's format whose header promises what there is.

    Raises
    ------
    ValueError
        It promises more, or Python objects.
    """
    start = file.tell()
    major, _ = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if major == 1 else np.lib.format.read_array_header_2_0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of headers that Python 2 wrote
        shape, _, dtype = read(file)
    header, held = file.tell(), file.seek(0, io.SEEK_END)
    if dtype.hasobject or min(shape, default=0) < 0 or math.prod(shape) * dtype.itemsize != held - header:
        raise ValueError(f"the header promises {dtype} {shape}, {held - header} bytes follow")
    file.seek(start)
    array: np.ndarray = np.load(file, allow_pickle=False)
    return array


def read_idx(path: Path, raw: bytes, magic: int, axes: int) -> np.ndarray:
    """Return the bytes of an IDX file, packed with gzip or not, whose header begins with `magic`.

    Raises
    ------
    DataError
        It is another kind of file, or holds less or more than its header promises.
    """
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(raw)) if path.suffix == ".gz" else io.BytesIO(raw) as stream:
            header = np.frombuffer(stream.read(4 * (axes + 1)), ">u4")
            if len(header) < axes + 1 or header[0] != magic:
                raise DataError(f"{path} is not an IDX file of {'images' if axes > 1 else 'labels'}")
            shape = tuple(int(n) for n in header[1:])
            if math.prod(shape) > LARGEST:
                raise DataError(f"{path} promises {shape} bytes, more than {LARGEST}; fetch it again")
            body = np.frombuffer(stream.read(math.prod(shape) + 1), np.uint8)
    except DAMAGED as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{path} cannot be decompressed ({error}); fetch it again") from error
    if body.size != math.prod(shape):
        held = body.size if body.size < math.prod(shape) else "more"
        raise DataError(f"{path} promises {shape} bytes but holds {held}; fetch it again")
    return body.reshape(shape)


def check_labels(path: Path, y: np.ndarray, n: int, n_classes: int) -> np.ndarray:
    """Return `y` as int32 if it has `n` labels of 0..n_classes-1."""
    if y.shape != (n,) or y.dtype.kind not in "iu":
        raise DataError(f"{path}: labels are {y.dtype} {y.shape}, not {n} integers")
    wrong = np.flatnonzero((y < 0) | (y >= n_classes))
    if len(wrong):
        raise DataError(f"{path}: row {wrong[0]} has label {y[wrong[0]]}, not one of 0..{n_classes - 1}")
    return y.astype(np.int32)
