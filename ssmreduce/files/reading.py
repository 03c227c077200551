"""Reading a file of unknown origin: what it is and how large is known before it is read."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import IO

from ssmreduce.files.errors import CheckpointError, CheckpointIOError, shown
from ssmreduce.files.recipes import IS_ORBAX, ORBAX_NAMES

HEAD = 4096
"""Bytes from the beginning that a format may look at: room for a magic number and the name of a first member."""

LIMIT = 2**36
"""Largest file that is read, 64 GiB: ten times the largest published S5 or S4D training state."""

JSON_LIMIT = 2**26
"""Largest JSON file that is read, 64 MiB: a record of a run is a few kB, of a long one with its history a few MB."""


def read_head(path: Path) -> bytes:
    """Read the beginning of a regular file."""
    return _read(path, HEAD)


def read_bytes(path: Path, limit: int = LIMIT) -> bytes:
    """Read a whole file; devices, directories, files beyond `limit` and refusals become typed errors with advice."""
    return _read(path, None, limit)


def _read(path: Path, count: int | None, limit: int = LIMIT) -> bytes:
    try:
        with _opened(path) as file:
            size = os.fstat(file.fileno()).st_size
            if count is not None:
                return file.read(min(count, size))
            if size > limit:
                raise CheckpointError(f"{size} bytes are more than the {limit} that are read", path)
            data = file.read(size + 1)
    except MemoryError:
        raise CheckpointError("the file does not fit into memory", path) from None
    except FileNotFoundError as error:
        raise CheckpointIOError(f"no such file{_nearby(path)}", path, error) from None
    except OSError as error:
        raise CheckpointIOError(f"cannot be read ({error.strerror or error})", path, error) from None
    if len(data) != size:
        raise CheckpointError(f"the file has {size} bytes, and {len(data)} or more came: is it being written?", path)
    return data


def _opened(path: Path) -> IO[bytes]:
    """Open a regular file; anything else is refused before it is opened, since opening a FIFO waits for ever."""
    try:
        mode = os.stat(path).st_mode
    except ValueError as error:  # a NUL, or characters that the file system cannot spell
        raise CheckpointError(f"this is no path of a file ({error})", path) from None
    if stat.S_ISDIR(mode):
        if any(os.path.lexists(place / name) for place in (path, path / "default") for name in ORBAX_NAMES):
            raise CheckpointError(f"this is {IS_ORBAX}", path)
        raise CheckpointError(f"this is a directory, a file is needed{_inside(path)}", path)
    if not stat.S_ISREG(mode):
        raise CheckpointError("this is a pipe, a device or a socket; a checkpoint is a file", path)
    return open(path, "rb")


def _inside(path: Path) -> str:
    names = sorted(entry.name for entry in path.iterdir() if not entry.name.startswith("."))
    return f"; it holds {', '.join(map(shown, names[:4]))}: name a checkpoint" if names else "; it is empty"


def _nearby(path: Path) -> str:
    if not path.parent.is_dir():
        return "; its folder does not exist either"
    beside = sorted(entry.name for entry in path.parent.iterdir() if entry.name.startswith(f"{path.stem}."))[:4]
    return f"; beside it: {', '.join(map(shown, beside))}" if beside else ""
