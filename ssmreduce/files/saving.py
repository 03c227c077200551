"""``save``: a file of arrays and its JSON half, written as one."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from ssmreduce.files import formats
from ssmreduce.files.description import describe, side_of
from ssmreduce.files.formats import FILE_FORMATS, FileFormat, equinox_files, folders, known, shards
from ssmreduce.files.writing import Folder, write_files
from ssmreduce.layers.layer import SSMLayer
from theory.errors import InputError


class Saved(Protocol):
    """What is written of a model: :class:`ssmreduce.Model` has it."""

    @property
    def written(self) -> Mapping[str, Any]: ...  # noqa: D102
    @property
    def options(self) -> Mapping[str, Any]: ...  # noqa: D102
    @property
    def training(self) -> Mapping[str, Any]: ...  # noqa: D102
    @property
    def format(self) -> str: ...  # noqa: D102
    @property
    def record(self) -> Mapping[str, str]: ...  # noqa: D102
    @property
    def layers(self) -> Sequence[SSMLayer]: ...  # noqa: D102
    @property
    def architecture(self) -> str: ...  # noqa: D102


def files_of(model: Saved, path: str | os.PathLike[str]) -> tuple[Path, ...]:
    """Return the files that :func:`save` would write: the one to load, its JSON half, and more where there are more."""
    target = _target(model, path)
    others = [file for file in _contents(model, target) if file != target] if shards.is_name(target) else []
    return target, side_of(target), *others


def content(model: Saved, form: FileFormat | None = None) -> bytes:
    """Return the arrays as a file's content, in a format or as they came; without the JSON half.

    Raises
    ------
    InputError
        They came as a folder, which is no single content.
    """
    if form is None and model.format not in FILE_FORMATS:
        raise InputError(f"{known()[model.format].title} is a folder, not one file: name the output, or another suffix")
    form = form or FILE_FORMATS[model.format]
    return form.write(model.written, model.record if form.name == model.format else {})


def save(model: Saved, path: str | os.PathLike[str]) -> Path:
    """Write a model, in the format of the suffix, or as it came when `path` has none of them; returns the file written.

    All files of it are replaced together: after a failure (full disk, no permission) the old ones are there, unchanged,
    and no temporary file is left.

    Raises
    ------
    CheckpointIOError
        The folder is missing or not writable, the disk is full (an ``OSError``).
    InputError
        The format cannot hold what the tree holds.
    """
    target = _target(model, path)
    contents = _contents(model, target)
    options = {**model.options, **model.layers[0].options()}
    if target.suffix == equinox_files.EquinoxFile.suffix:
        options[equinox_files.NAMES] = equinox_files.order_of(model.written, model.record)
    found = contents[target]
    data = found if isinstance(found, bytes) else folders.content_of(found)
    half = describe(data, model.architecture, options, model.training)
    write_files({**contents, side_of(target): half})
    return target


def _target(model: Saved, path: str | os.PathLike[str]) -> Path:
    """The file that `path` stands for, with the suffix of the format that came in if it has none."""
    target = Path(path)
    if shards.is_name(target) or formats.by_suffix(target) is not None:
        return target
    sharded = model.format == "safetensors" and shards.MAP in model.record
    return target.with_name(f"{target.name}{shards.SUFFIX if sharded else known()[model.format].suffix}")


def _contents(model: Saved, target: Path) -> dict[Path, bytes | Folder]:
    """Every file of arrays, that which `load` takes among them."""
    if shards.is_name(target):
        return {**shards.write(model.written, model.record if model.format == "safetensors" else {}, target)}
    form = formats.by_suffix(target)
    assert form is not None  # _target gave it one
    record = {key: text for key, text in model.record.items() if key != shards.MAP}
    return {target: form.write(model.written, record if form.name == model.format else {})}
