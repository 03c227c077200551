"""Containers of arrays; one file a container.

A new one is a file in this folder that holds ``FORMATS``, a tuple of :class:`FileFormat` (or ``FOLDERS``, of
:class:`FolderFormat`): it is then recognised by its content, read, written by its suffix, listed on the command line
and in the docs.
"""

from __future__ import annotations

import importlib
import os
import pkgutil
from pathlib import Path
from typing import Any

from ssmreduce.files import digest
from ssmreduce.files.description import side_of
from ssmreduce.files.errors import CheckpointError, CheckpointIOError
from ssmreduce.files.formats import folders, shards
from ssmreduce.files.formats.file_format import FileFormat, FolderFormat, Held
from ssmreduce.files.formats.foreign import refuse, refuse_signed
from ssmreduce.files.reading import read_bytes, read_head
from ssmreduce.files.trees import flat


def _collected(kind: str) -> dict[str, Any]:
    """Every format of every file in this folder, files by name."""
    found: dict[str, Any] = {}
    for entry in sorted(pkgutil.iter_modules(__path__), key=lambda entry: entry.name):
        module = importlib.import_module(f"{__name__}.{entry.name}")
        found |= {form.name: form for form in getattr(module, kind, ())}
    return found


FILE_FORMATS: dict[str, FileFormat] = _collected("FORMATS")
"""Every container that is read and written and is one file, by name."""

FOLDER_FORMATS: dict[str, FolderFormat] = _collected("FOLDERS")
"""Every one that is a folder."""


def known() -> dict[str, FileFormat | FolderFormat]:
    """Every container, by name."""
    return {**FILE_FORMATS, **FOLDER_FORMATS}


def by_suffix(path: Path) -> FileFormat | FolderFormat | None:
    """The container whose suffix a path has."""
    return next((form for form in known().values() if path.suffix in (form.suffix, *form.aliases)), None)


def read(path: Path, step: int | None = None) -> tuple[FileFormat | FolderFormat, Held, bytes]:
    """Read a file, whatever its suffix says; returns its container, what it holds, and its bytes.

    Of a folder the bytes are the list of its files with their digests, and are read only where a JSON half has theirs.
    The leaves of an ``.eqx`` file have numbers for names (:func:`ssmreduce.files.formats.equinox_files.named`).

    Raises
    ------
    CheckpointError
        Another kind of file, a damaged one, or arrays that are not those whose digest the file carries.
    CheckpointIOError
        Missing or unreadable.
    """
    if os.path.isdir(path):
        try:
            form = next((form for form in FOLDER_FORMATS.values() if form.recognizes(path)), None)
            if form is not None:
                files = folders.files_in(path) if side_of(path).exists() else {}
                return form, form.read(path, step), folders.content_of(files)
        except PermissionError as error:
            raise CheckpointIOError(f"cannot be read ({error.strerror or error})", path, error) from None
    if step is not None:
        raise CheckpointError(f"step {step} was asked for, and this is no folder of steps: leave it out", path)
    head = read_head(path)
    refuse_signed(head, path)
    if shards.is_index(head):
        held, data = shards.read(path)
        return FILE_FORMATS["safetensors"], _checked(held, path), data
    shards.refuse_part(path)
    chosen = next((form for form in FILE_FORMATS.values() if form.recognizes(head)), None)
    if chosen is None:
        refuse(head, path, [form.title for form in known().values()])
    data = read_bytes(path)
    try:
        held = chosen.read(data, path)
    except (MemoryError, RecursionError) as error:
        raise CheckpointError(f"a damaged {chosen.title} file ({type(error).__name__})", path) from None
    return chosen, _checked(held, path), data


def _checked(held: Held, path: Path) -> Held:
    """Compare the digest that the container carries, if it does."""
    expected = held.record.get(digest.KEY)
    if expected is not None and expected != digest.of_arrays(flat(held.tree)):
        raise CheckpointError(
            "the arrays are not those that were written, their digest differs: restore the file", path
        )
    return held


__all__ = [
    "FILE_FORMATS", "FOLDER_FORMATS", "FileFormat", "FolderFormat", "Held", "by_suffix", "known", "read", "shards",
]
