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
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from lra.errors import DataError
from lra.lock import locked
from lra.tasks.converted import FORMAT_VERSION, Converted, open_converted
from lra.tasks.writer import Writer


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
