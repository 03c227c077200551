"""Containers of arrays; one file a container.

A new one is a file in this folder that holds ``FORMATS``, a tuple of :class:`FileFormat`: it is then recognised by its
content, read, written by its suffix, listed on the command line and in the docs.
"""

from __future__ import annotations

import importlib
import pkgutil
from pathlib import Path

from ssmreduce.files import digest
from ssmreduce.files.errors import CheckpointError
from ssmreduce.files.formats import shards
from ssmreduce.files.formats.file_format import FileFormat, Held
from ssmreduce.files.formats.foreign import refuse, refuse_signed
from ssmreduce.files.reading import read_bytes, read_head
from ssmreduce.files.trees import flat


def _collected() -> dict[str, FileFormat]:
    """Every format of every file in this folder, files by name."""
    found: dict[str, FileFormat] = {}
    for entry in sorted(pkgutil.iter_modules(__path__), key=lambda entry: entry.name):
        module = importlib.import_module(f"{__name__}.{entry.name}")
        found |= {form.name: form for form in getattr(module, "FORMATS", ())}
    return found


FILE_FORMATS: dict[str, FileFormat] = _collected()
"""Every container that is read and written, by name."""


def by_suffix(path: Path) -> FileFormat | None:
    """The container whose suffix a path has."""
    return next((form for form in FILE_FORMATS.values() if path.suffix in (form.suffix, *form.aliases)), None)


def read(path: Path) -> tuple[FileFormat, Held, bytes]:
    """Read a file, whatever its suffix says; returns its container, what it holds, and its bytes.

    Raises
    ------
    CheckpointError
        Another kind of file, a damaged one, or arrays that are not those whose digest the file carries.
    CheckpointIOError
        Missing or unreadable.
    """
    head = read_head(path)
    refuse_signed(head, path)
    if shards.is_index(head):
        held, data = shards.read(path)
        return FILE_FORMATS["safetensors"], _checked(held, path), data
    shards.refuse_part(path)
    chosen = next((form for form in FILE_FORMATS.values() if form.recognizes(head)), None)
    if chosen is None:
        refuse(head, path, [form.title for form in FILE_FORMATS.values()])
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


__all__ = ["FILE_FORMATS", "FileFormat", "Held", "by_suffix", "read", "shards"]
