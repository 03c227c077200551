"""``save``: a file of arrays and its JSON half, written as one."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from ssmreduce.files import formats
from ssmreduce.files.description import describe, side_of
from ssmreduce.files.formats import FILE_FORMATS, FileFormat
from ssmreduce.files.writing import write_files
from ssmreduce.layers.layer import SSMLayer


class Saved(Protocol):
    """What is written of a model: :class:`ssmreduce.Model` has it."""

    @property
    def tree(self) -> Mapping[str, Any]: ...  # noqa: D102
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
    """Return the files that :func:`save` would write: the arrays first, then the JSON half."""
    target = Path(path)
    if formats.by_suffix(target) is None:
        target = target.with_name(f"{target.name}{FILE_FORMATS[model.format].suffix}")
    return target, side_of(target)


def content(model: Saved, form: FileFormat | None = None) -> bytes:
    """Return the arrays as a file's content, in a format or as they came; without the JSON half."""
    form = form or FILE_FORMATS[model.format]
    return form.write(model.tree, model.record if form.name == model.format else {})


def save(model: Saved, path: str | os.PathLike[str]) -> Path:
    """Write a model, in the format of the suffix, or as it came when `path` has none of them; returns the file written.

    The file and its JSON half are replaced together: after a failure (full disk, no permission) the old pair is there,
    unchanged, and no temporary file is left.

    Raises
    ------
    CheckpointIOError
        The folder is missing or not writable, the disk is full (an ``OSError``).
    InputError
        The format cannot hold what the tree holds.
    """
    target, side = files_of(model, path)
    form = formats.by_suffix(target)
    assert form is not None  # files_of gave it one
    arrays = content(model, form)
    options = {**model.options, **model.layers[0].options()}
    write_files({target: arrays, side: describe(arrays, model.architecture, options, model.training)})
    return target
