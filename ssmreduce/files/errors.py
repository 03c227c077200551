"""What goes wrong with files: what they hold, and what the system refuses."""

from __future__ import annotations

import os

from theory.errors import InputError, SSMReduceError


def shown(path: str | os.PathLike[str]) -> str:
    """A path as text that any terminal and any file takes: what is not printable is escaped."""
    text = os.fsdecode(os.fspath(path))
    return text if text.isprintable() else text.encode("unicode_escape").decode("ascii")


class CheckpointError(InputError):
    """A file is not a checkpoint that can be read, or not what it seems; ``path`` is the file."""

    def __init__(self, message: str, path: str | os.PathLike[str] = "") -> None:
        self.path = os.fspath(path)
        super().__init__(f"{shown(path)}: {message}" if self.path else message)


class CheckpointIOError(SSMReduceError, OSError):
    """The system refused to read or write (missing file, no permission, full disk); carries ``path`` and ``errno``."""

    def __init__(self, message: str, path: str | os.PathLike[str], error: OSError | None = None) -> None:
        self.path = os.fspath(path)
        super().__init__(f"{shown(path)}: {message}")
        if error is not None:
            self.errno = error.errno

    def __str__(self) -> str:
        return str(self.args[0])
