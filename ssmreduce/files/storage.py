"""Files of arrays, read with suspicion and written in one step.

Reading looks at the content, not at the suffix, and never unpickles. Writing prepares everything beside its
destination, flushes it to disk and moves it into place: after a failure the old files are there, and nothing else.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import struct
import tempfile
import zipfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssmreduce.files import msgpack
from theory.errors import InputError, SSMReduceError

Array = NDArray[Any]


class CheckpointError(InputError):
    """A file is not a checkpoint that can be read, or not what it seems; ``path`` is the file."""

    def __init__(self, message: str, path: str | os.PathLike[str] = "") -> None:
        self.path = os.fspath(path)
        super().__init__(f"{self.path}: {message}" if self.path else message)


class CheckpointIOError(SSMReduceError, OSError):
    """The system refused to read or write (missing file, no permission, full disk); carries ``path`` and ``errno``."""

    def __init__(self, message: str, path: str | os.PathLike[str], error: OSError | None = None) -> None:
        self.path = os.fspath(path)
        text = f"{self.path}: {message}"
        super().__init__(text)
        if error is not None:
            self.errno = error.errno

    def __str__(self) -> str:
        return str(self.args[0])


def read_bytes(path: Path) -> bytes:
    """Read a whole file; a missing file, a directory and a refusal become typed errors with advice."""
    try:
        if path.is_dir():
            inside = sorted(
                entry.name for entry in path.iterdir() if entry.suffix in (".safetensors", ".npz", ".msgpack")
            )
            hint = f"; it holds {', '.join(inside[:4])}: name one of them" if inside else ", and no checkpoint is in it"
            raise CheckpointError(f"this is a directory, a file is needed{hint}", path)
        return path.read_bytes()
    except FileNotFoundError as error:
        nearby = sorted(entry.name for entry in path.parent.glob(f"{path.stem}.*"))[:4] if path.parent.is_dir() else []
        hint = (
            f"; beside it: {', '.join(nearby)}"
            if nearby
            else ""
            if path.parent.is_dir()
            else "; its folder does not exist either"
        )
        raise CheckpointIOError(f"no such file{hint}", path, error) from None
    except OSError as error:
        raise CheckpointIOError(f"cannot be read ({error.strerror or error})", path, error) from None


_CONVERT = (
    "Pickles run code when they are read, so this project never does. In an environment that you trust, convert it: "
    "safetensors.numpy.save_file(dict_of_arrays, 'model.safetensors') or numpy.savez, or safetensors.torch.save_file "
    "for a PyTorch state dict"
)


def sniff(data: bytes, path: Path) -> str:
    """Tell the format from the content: "safetensors", "npz" or "msgpack"; everything else is refused by name."""
    if not data:
        raise CheckpointError("the file is empty; the save that made it was interrupted", path)
    if data[:4] == b"PK\x03\x04" or data[:4] == b"PK\x05\x06":
        try:
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                names = archive.namelist()
        except (zipfile.BadZipFile, NotImplementedError, ValueError, OSError, struct.error):
            raise CheckpointError("a truncated or damaged zip archive; copy or save it again", path) from None
        if any(name.endswith(".pkl") for name in names):
            raise CheckpointError(f"this is a PyTorch checkpoint, a pickle inside a zip. {_CONVERT}", path)
        if names and all(name.endswith(".npy") for name in names):
            return "npz"
        raise CheckpointError(f"a zip archive that is no npz file (it holds {', '.join(names[:3]) or 'nothing'})", path)
    if len(data) > 8 and data[8:9] == b"{" and data[5:8] == b"\0\0\0":
        return "safetensors"
    if data[0] == 0x80 and data[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        torch = b"l\xfc\x9cF\xf9 j\xa8P\x19." in data[:32]
        kind = "a PyTorch checkpoint in the old format, which is a pickle" if torch else "a Python pickle"
        raise CheckpointError(f"this is {kind}. {_CONVERT}", path)
    for magic, what in (
        (b"\x89HDF\r\n\x1a\n", "an HDF5 file"),
        (b"\x93NUMPY", "a single NumPy array (.npy); a checkpoint holds several, save it with numpy.savez"),
        (b"\x1f\x8b", "gzip-compressed; unpack it first"),
        (b"\xfd7zXZ", "xz-compressed; unpack it first"),
        (b"\x28\xb5\x2f\xfd", "zstd-compressed (or an Orbax checkpoint); unpack it first"),
    ):
        if data.startswith(magic):
            raise CheckpointError(f"this is {what}", path)
    if data[0] in (0xDE, 0xDF) or 0x81 <= data[0] <= 0x8F:
        return "msgpack"
    if data[:1] in b"(cl}]" and data.rstrip(b"\n")[-1:] == b".":
        raise CheckpointError(f"this looks like a Python pickle (protocol 0 or 1). {_CONVERT}", path)
    if data[:1] in b"{[" and path.suffix == ".json":
        raise CheckpointError(
            "this is the JSON half of a checkpoint; the arrays are in the .safetensors file beside it", path
        )
    if path.suffix == ".safetensors" or len(data) < 8:
        raise CheckpointError(f"no safetensors file, or the beginning of one ({len(data)} bytes); save it again", path)
    raise CheckpointError("not a checkpoint: safetensors, npz and Flax msgpack are read", path)


def read_tree(data: bytes, path: Path) -> tuple[str, dict[str, Any]]:
    """Read the arrays of a file; returns the format and a (nested or flat) mapping."""
    kind = sniff(data, path)
    if kind == "safetensors":
        return kind, dict(_read_safetensors(data, path))
    if kind == "npz":
        return kind, dict(_read_npz(data, path))
    try:
        tree = msgpack.read(data)
    except InputError as error:
        raise CheckpointError(f"not a readable Flax msgpack file: {error}", path) from None
    if not isinstance(tree, dict):
        raise CheckpointError(f"a msgpack file that holds a {type(tree).__name__}, not a tree of parameters", path)
    return kind, tree


_SAFETENSORS = {
    **{f"F{bits}": f"<f{bits // 8}" for bits in (16, 32, 64)},
    **{f"I{bits}": f"<i{bits // 8}" for bits in (8, 16, 32, 64)},
    **{f"U{bits}": f"<u{bits // 8}" for bits in (8, 16, 32, 64)},
    "BOOL": "?",
    "C64": "<c8",
}


def _read_safetensors(data: bytes, path: Path) -> dict[str, Array]:
    import safetensors

    length = struct.unpack("<Q", data[:8])[0]
    if length > len(data) - 8:
        raise CheckpointError(
            f"truncated: the header alone has {length} bytes, the file {len(data)}; copy or save it again", path
        )
    arrays: dict[str, Array] = {}
    try:
        entries = safetensors.deserialize(data)  # type: ignore[no-untyped-call]  # checks header, ranges, leftovers
        for name, entry in entries:
            kind, body = entry["dtype"], bytes(entry["data"])
            if kind == "BF16":  # the upper half of a float32
                flat: Array = np.left_shift(np.frombuffer(body, "<u2").astype(np.uint32), 16).view(np.float32)
            elif kind in _SAFETENSORS:
                flat = np.frombuffer(body, _SAFETENSORS[kind])
            else:
                raise CheckpointError(f"{name} has the element type {kind}; floats of 16 to 64 bits are read", path)
            arrays[name] = flat.reshape(entry["shape"])
    except CheckpointError:
        raise
    except Exception as error:
        if not isinstance(error, (safetensors.SafetensorError, KeyError, ValueError, TypeError)):
            raise
        raise CheckpointError(
            f"a damaged safetensors file ({error}); it may be truncated: copy or save it again", path
        ) from None
    return dict(sorted(arrays.items()))


def _read_npz(data: bytes, path: Path) -> dict[str, Array]:
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as archive:
            return {key: archive[key] for key in archive.files}
    except (ValueError, KeyError, OSError, EOFError, zipfile.BadZipFile, SyntaxError, NotImplementedError) as error:
        if "allow_pickle" in str(error) or "Object arrays" in str(error):
            raise CheckpointError(f"this npz file holds Python objects, that is a pickle. {_CONVERT}", path) from None
        raise CheckpointError(f"a damaged npz file ({error}); copy or save it again", path) from None
    except Exception as error:  # zlib.error and friends have no common base
        raise CheckpointError(
            f"a damaged npz file ({type(error).__name__}: {error}); copy or save it again", path
        ) from None


def to_safetensors(arrays: Mapping[str, Array]) -> bytes:
    """Serialize named arrays, sorted by name, so that the same arrays give the same bytes."""
    import safetensors.numpy

    return bytes(safetensors.numpy.save({key: np.asarray(arrays[key], order="C") for key in sorted(arrays)}))


def to_npz(arrays: Mapping[str, Array]) -> bytes:
    """Serialize named arrays as an npz file with fixed time stamps, so that the same arrays give the same bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for key, value in arrays.items():
            member = io.BytesIO()
            np.lib.format.write_array(member, np.asanyarray(value), allow_pickle=False)
            archive.writestr(
                zipfile.ZipInfo(f"{key}.npy", (1980, 1, 1, 0, 0, 0)), member.getvalue(), zipfile.ZIP_DEFLATED
            )
    return buffer.getvalue()


def digest(data: bytes) -> str:
    """SHA-256 of a file's content, which ties the JSON half of a checkpoint to its arrays."""
    return hashlib.sha256(data).hexdigest()


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object; a broken one is a typed error."""
    try:
        value = json.loads(read_bytes(path).decode("utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise CheckpointError(f"not valid JSON ({error}); it may be truncated", path) from None
    if not isinstance(value, dict):
        raise CheckpointError(f"a JSON object is needed, this is a {type(value).__name__}", path)
    return value


def write_files(contents: Mapping[Path, bytes]) -> None:
    """Write several files as one step: all of them are replaced, or none.

    Each is written to a temporary file in its own folder, flushed and closed; then all are moved into place, the old
    ones kept aside until the last move succeeded. The digest in the JSON half detects a crash between two moves.

    Raises
    ------
    CheckpointIOError
        Nothing was changed.
    """
    ready: dict[Path, Path] = {}
    aside: dict[Path, Path | None] = {}
    current = next(iter(contents), Path())
    try:
        for path, data in contents.items():
            current = path
            if path.is_dir():
                raise IsADirectoryError(21, "is a directory, a file is to be written there")
            ready[path] = _temporary(path, data)
        for path, temporary in ready.items():
            current = path
            aside[path] = _set_aside(path)
            os.replace(temporary, path)
    except BaseException as error:
        for path, old in aside.items():
            with suppress(OSError):
                if old is not None:
                    os.replace(old, path)
                    old.unlink(missing_ok=True)  # rename of one link onto another of the same file leaves both
                elif not ready[path].exists():  # ours is in place, and nothing was there before
                    path.unlink()
        for leftover in ready.values():
            with suppress(OSError):
                leftover.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise CheckpointIOError(
                f"cannot be written ({error.strerror or error}); nothing was changed", current, error
            ) from None
        raise
    for old in aside.values():
        if old is not None:
            with suppress(OSError):
                old.unlink()
    for folder in {path.parent for path in contents}:
        _flush_folder(folder)


def _temporary(path: Path, data: bytes) -> Path:
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(name, 0o666 & ~mask)
    except BaseException:
        with suppress(OSError):
            os.unlink(name)
        raise
    return Path(name)


def _set_aside(path: Path) -> Path | None:
    """Keep the old file reachable under another name (a hard link, or a copy where links are not possible)."""
    if not path.exists():
        return None
    keep = path.with_name(f".{path.name}.{os.getpid()}.old.tmp")
    with suppress(OSError):
        keep.unlink(missing_ok=True)
    try:
        os.link(path, keep)
    except OSError:
        old = _temporary(path, path.read_bytes())
        os.replace(old, keep)
    return keep


def _flush_folder(folder: Path) -> None:
    """Make the moves themselves durable where the system can."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
