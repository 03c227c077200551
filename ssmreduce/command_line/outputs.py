"""Where results go: files first, all of them or none, and then the screen; nothing that was asked for is lost.

A reader that has gone away (``| head``) is no error. A standard output that is full or closed is one, and is told after
the files are written. A terminal or log that lacks a letter gets another spelling of it.
"""

from __future__ import annotations

import errno
import os
import shutil
import sys
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from ssmreduce.files.errors import CheckpointIOError
from ssmreduce.files.writing import is_stream, write_files
from ssmreduce.view.table import Sheet, printed
from theory.errors import InputError

STANDARD = "-"
"""The name that stands for the standard output."""

SPELLING = str.maketrans(
    {"≤": "<=", "≥": ">=", "–": "-", "“": '"', "”": '"', "σ": "sigma", "─": "-", "━": "-", "…": "...", "‖": "||"}
)
"""What our own letters become where the encoding of a stream lacks them."""


class OutputError(Exception):
    """An output cannot be written."""


# --- before the work -------------------------------------------------------------------------------------------------


def check_outputs(named: Mapping[str, str | None], *, force: bool = True) -> None:
    """Refuse outputs that could not be written, before hours of work and not after.

    Parameters
    ----------
    named : mapping
        Option to the path that it was given, or None.

    Raises
    ------
    InputError
        A name is empty, or two outputs have the same one.
    OutputError
        The folder is missing or not writable, or the file exists and `force` is not given.
    """
    taken: dict[str, str] = {}
    for option, path in named.items():
        if path is None:
            continue
        if not path:
            raise InputError(f"{option}: the name of the file is empty")
        same = path if path == STANDARD else _resolved(path)
        if same in taken:
            what = "the standard output" if path == STANDARD else path
            raise InputError(f"{taken[same]} and {option} both name {what}; one would replace the other")
        taken[same] = option
        if path != STANDARD:
            _check_writable(Path(path), force)


def _resolved(path: str) -> str:
    try:
        return os.path.realpath(path)
    except (OSError, ValueError) as error:  # a NUL
        raise OutputError(f"{path}: {error}") from None


def _check_writable(target: Path, force: bool) -> None:
    folder = target.parent
    if is_stream(target):
        return
    try:
        if target.is_dir():
            raise OutputError(f"{target} is a directory; name a file in it, or a folder that is not there yet")
        if not folder.is_dir():
            raise OutputError(f"{target}: the folder {folder} does not exist; make it first")
        if not os.access(folder, os.W_OK | os.X_OK):
            raise OutputError(f"{target}: the folder {folder} is not writable")
        target.lstat()
    except FileNotFoundError:
        return
    except (OSError, ValueError) as error:  # a name that is too long, or holds a NUL
        raise OutputError(f"{target}: {getattr(error, 'strerror', None) or error}") from None
    if not force:
        raise OutputError(f"{target} exists; --force replaces it")


# --- after it --------------------------------------------------------------------------------------------------------


def deliver(contents: Iterable[tuple[str | None, bytes]]) -> None:
    """Write every output that has a name, all files in one step; then the one that goes to the standard output.

    Raises
    ------
    OutputError
        Nothing was changed; or only the standard output or another stream failed, and every file is there.
    """
    named = [(path, content) for path, content in contents if path is not None]
    streams = {path for path, _ in named if path != STANDARD and is_stream(Path(path))}
    try:
        write_files({Path(path): content for path, content in named if path != STANDARD and path not in streams})
    except CheckpointIOError as error:
        raise OutputError(str(error)) from None
    for path, content in named:
        if path == STANDARD:
            say(content)
        elif path in streams:
            _pour(Path(path), content)


def _pour(path: Path, content: bytes) -> None:
    """Write into what is there, a device or a pipe: ``/dev/null``, ``/dev/stdout``, what ``>(program)`` names."""
    try:
        with open(path, "wb") as stream:
            stream.write(content)
    except BrokenPipeError:  # a reader that has gone away
        return
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror or error})") from None


def show(sheet: Sheet, *, quiet: bool = False) -> None:
    """Print a table on the standard output: as wide as a terminal, in colours there; plain and whole elsewhere."""
    if quiet:
        return
    stream = sys.stdout
    if stream is not None and stream.isatty() and os.environ.get("TERM") != "dumb":
        say(printed(sheet, shutil.get_terminal_size().columns, colour=True) + "\n")
    else:
        say(printed(sheet) + "\n")


def say(what: str | bytes) -> None:
    """Write to the standard output and flush it.

    Raises
    ------
    OutputError
        It is closed, or full.
    """
    if sys.stdout is None:
        raise OutputError("the standard output is closed; --quiet asks for nothing on it")
    try:
        if isinstance(what, bytes):
            sys.stdout.flush()
            sys.stdout.buffer.write(what)
        else:
            sys.stdout.write(_spelled(what, sys.stdout))
        sys.stdout.flush()
    except OSError as error:
        _discard(sys.stdout)
        if error.errno not in (errno.EPIPE, errno.ESHUTDOWN):
            raise OutputError(f"the standard output cannot be written ({error.strerror or error})") from None


def warn(message: str) -> None:
    """Write one line to the error stream; where that is impossible, there is nobody to tell."""
    if sys.stderr is None:
        return
    with suppress(OSError, ValueError):
        sys.stderr.write(_spelled(f"{message}\n", sys.stderr))
        sys.stderr.flush()


def _spelled(text: str, stream: IO[str]) -> str:
    """The text in letters that the encoding of the stream has."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return text.translate(SPELLING).encode(encoding, "backslashreplace").decode(encoding)
    return text


def _discard(stream: Any) -> None:
    """Send what is left in a stream to nowhere, so that the interpreter's last flush does not fail again."""
    with suppress(OSError, ValueError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def settle() -> None:
    """Flush both streams at the end; a reader that has gone away is no error.

    Raises
    ------
    OutputError
        The standard output is full.
    """
    if sys.stdout is not None:
        say("")
    if sys.stderr is not None:
        try:
            sys.stderr.flush()
        except (OSError, ValueError):
            _discard(sys.stderr)


def hold_descriptors() -> None:
    """Open nowhere in place of standard streams that are closed.

    Else the next file that is opened gets their number, and what a library prints lands in it.
    """
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            with suppress(OSError):
                os.open(os.devnull, os.O_RDWR)
