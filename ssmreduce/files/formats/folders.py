"""A container that is a folder: its files by name, and the bytes that stand for all of them where a digest is taken."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ssmreduce.files import digest
from ssmreduce.files.reading import read_bytes


def files_in(folder: Path) -> dict[str, bytes]:
    """Every file of a folder, by its path in it."""
    paths = (path for path in sorted(folder.rglob("*")) if not path.is_dir())
    return {path.relative_to(folder).as_posix(): read_bytes(path) for path in paths}


def content_of(files: Mapping[str, bytes]) -> bytes:
    """The names of files and their digests, a line each."""
    lines = (f"{name}\0{digest.of_bytes(files[name])}\n" for name in sorted(files))
    return "".join(lines).encode("utf-8", "surrogateescape")
