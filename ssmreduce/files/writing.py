"""The one writer: several files as one step, whole or not at all, and nothing left behind by those who were killed.

Each content is written to a temporary file beside its destination (or a temporary folder, which replaces nothing but an
empty one), flushed and closed; then all are moved into place, the old files kept aside until the last move
succeeded. A writer holds a lock on its temporary files, which the system releases when it dies: files of that kind that
nobody holds are removed by the next writer to the same place.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import stat
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO

from ssmreduce.files.errors import CheckpointIOError

try:
    import fcntl
except ImportError:  # not a POSIX system: temporary files of killed writers stay
    fcntl = None  # type: ignore[assignment]

Folder = Mapping[str, bytes]
"""The files of a folder, by their paths in it."""

Content = bytes | Folder | Callable[[IO[bytes]], None]
"""Bytes; a folder; or what writes into a file that is open for reading and writing: more than the memory holds."""

DEVICES = ("/dev", "/dev/fd", "/proc/self/fd")
"""Folders in which nothing is replaced: ``/dev/stdout`` names a file where the output goes to one."""

MODE, FOLDER_MODE = 0o666, 0o777
"""Permissions of a new file and of a new folder, before the process's mask."""


def write_files(contents: Mapping[Path, Content]) -> None:
    """Write several files as one step: all of them are replaced, or none.

    A digest in one of them that covers the others detects a crash between two moves.

    Raises
    ------
    CheckpointIOError
        Nothing was changed. So it is after an error of a content that writes itself, which comes as it is.
    """
    ready: dict[Path, Path] = {}
    aside: dict[Path, Path | None] = {}
    held: list[int] = []
    current = next(iter(contents), Path())
    try:
        for path in contents:
            current = path
            if isinstance(contents[path], Mapping):
                _check_free(path)
            elif path.is_dir():
                raise IsADirectoryError(21, "is a directory, a file is to be written there")
            elif is_stream(path):
                raise FileExistsError(17, "is a device, a pipe or a socket, which no file replaces")
            remove_abandoned(path)
        for path, data in contents.items():
            current = path
            ready[path] = _temporary(path, data, held)
        for path, temporary in ready.items():
            current = path
            aside[path] = _set_aside(path, held)
            os.replace(temporary, path)
    except BaseException as error:
        _undo(ready, aside)
        if isinstance(error, _ContentError):
            raise error.cause from None
        if isinstance(error, ValueError):  # a NUL, or characters that the file system cannot spell
            error = OSError(22, f"no path of a file: {error}")
        if isinstance(error, OSError):
            raise CheckpointIOError(
                f"cannot be written ({error.strerror or error}); nothing was changed", current, error
            ) from None
        raise
    finally:
        for old in aside.values():
            if old is not None:
                with suppress(OSError):
                    old.unlink(missing_ok=True)
        for handle in held:
            os.close(handle)
    for folder in {path.parent for path in contents}:
        _flush_folder(folder)


def is_stream(path: Path) -> bool:
    """Whether a path is there and is neither a file nor a folder: a device, a pipe, a socket, an open descriptor."""
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError):
        return False
    return not stat.S_ISDIR(mode) and (not stat.S_ISREG(mode) or str(path.absolute().parent) in DEVICES)


def _undo(ready: Mapping[Path, Path], aside: Mapping[Path, Path | None]) -> None:
    """Put the old files back, and remove the temporary ones."""
    for path, old in aside.items():
        with suppress(OSError):
            if old is not None:
                os.replace(old, path)
                old.unlink(missing_ok=True)  # rename of one link onto another of the same file leaves both
            elif not ready[path].exists():  # ours is in place, and nothing was there before
                _remove(path)
    for leftover in ready.values():
        with suppress(OSError):
            _remove(leftover)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _check_free(path: Path) -> None:
    """A folder is not replaced: a crash between the moves of the old and the new one would leave none."""
    if path.is_symlink() or path.is_file() or (path.is_dir() and any(path.iterdir())):
        raise FileExistsError(17, "is there, and a folder replaces nothing: remove it, or name another")


def remove_abandoned(path: Path) -> None:
    """Remove temporary files of writers to `path` that are no more; those of living writers are locked, and stay."""
    if fcntl is None:
        return
    ours = re.compile(re.escape(f".{path.name}.") + r"[a-z0-9_]{8}\.tmp")
    with suppress(OSError):
        for entry in list(os.scandir(path.parent)):
            if ours.fullmatch(entry.name) and not entry.is_symlink():
                _remove_unless_held(entry.path)


def _remove_unless_held(path: str) -> None:
    with suppress(OSError):
        handle = os.open(path, os.O_RDONLY)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _remove(Path(path))
        finally:
            os.close(handle)


def _hold(path: str | Path, held: list[int], *, wait: bool = True) -> bool:
    """Lock a file until its handle in `held` is closed; false if a cleaner was faster and removed it."""
    if fcntl is None:
        return True
    handle = os.open(path, os.O_RDONLY)
    held.append(handle)
    with suppress(OSError):  # a file system without locks
        fcntl.flock(handle, fcntl.LOCK_SH if wait else fcntl.LOCK_SH | fcntl.LOCK_NB)
    try:
        return os.path.samestat(os.stat(path), os.fstat(handle))
    except FileNotFoundError:
        return False


def _temporary(path: Path, data: Content, held: list[int]) -> Path:
    if isinstance(data, Mapping):
        return _temporary_folder(path, data, held)
    while True:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
        try:
            with os.fdopen(handle, "w+b") as file:
                if not _hold(name, held):
                    continue
                if callable(data):
                    _let_write(data, file)
                else:
                    file.write(data)
                file.flush()
                os.fsync(file.fileno())
            mask = os.umask(0)
            os.umask(mask)
            os.chmod(name, MODE & ~mask)
        except BaseException:
            with suppress(OSError):
                os.unlink(name)
            raise
        return Path(name)


def _temporary_folder(path: Path, files: Folder, held: list[int]) -> Path:
    """Write a folder under another name, all of it flushed."""
    while True:
        folder = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent))
        try:
            if not _hold(folder, held):
                continue
            mask = os.umask(0)
            os.umask(mask)
            for name, data in files.items():
                file = folder / name
                file.parent.mkdir(parents=True, exist_ok=True)
                with open(file, "xb") as stream:
                    stream.write(data)
                    stream.flush()
                    os.fsync(stream.fileno())
            for place in {folder, *((folder / name).parent for name in files)}:
                _flush_folder(place)
            os.chmod(folder, FOLDER_MODE & ~mask)
        except BaseException:
            with suppress(OSError):
                shutil.rmtree(folder)
            raise
        return folder


class _ContentError(Exception):
    """What a content that writes itself had to say: no matter of the file."""

    def __init__(self, cause: Exception) -> None:
        self.cause = cause
        super().__init__(cause)


def _let_write(content: Callable[[IO[bytes]], None], file: IO[bytes]) -> None:
    try:
        content(file)
    except Exception as error:
        raise _ContentError(error) from error


def _set_aside(path: Path, held: list[int]) -> Path | None:
    """Keep the old file reachable under another name (a hard link, or a copy where links are not possible)."""
    while path.exists():
        keep = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
        try:
            os.link(path, keep)
        except OSError:
            return _temporary(path, path.read_bytes(), held)
        if _hold(keep, held, wait=False):  # the old file itself: its owner may hold a lock of his own
            return keep
    return None


def _flush_folder(folder: Path) -> None:
    """Make the moves themselves durable where the system can."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
