"""A lock on a file that the system drops when the process that holds it ends, however it ends."""

from __future__ import annotations

import contextlib
import os
import platform
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from lra.errors import BusyError


@contextlib.contextmanager
def locked(path: Path, *, wait: bool, purpose: str = "") -> Iterator[None]:
    """Hold an exclusive lock; the file stays behind, and means nothing when no process has it open.

    Parameters
    ----------
    path : Path
        The file to lock; made if it is not there. It names the process that holds the lock.
    wait : bool
        Wait for another holder to end; otherwise it is an error.
    purpose : str
        What the holder does, for the message.

    Raises
    ------
    BusyError
        Another process (or another call in this one) holds the lock, and `wait` is false.

    Notes
    -----
    ``flock``, on the file's open description: also between machines where their common disk supports it (NFS does).
    A system without it (Windows) does not lock.
    """
    with path.open("a+") as file:
        if not _taken(file, wait):
            file.seek(0)
            holder = file.read(200).strip() or "another process"
            raise BusyError(f"{path.parent} is in use: {purpose}{holder} holds {path.name}; wait until it has ended")
        file.truncate(0)
        file.write(f"process {os.getpid()} on {platform.node()}\n")
        file.flush()
        yield


def _taken(file: IO[str], wait: bool) -> bool:
    try:
        import fcntl
    except ImportError:
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    return True
