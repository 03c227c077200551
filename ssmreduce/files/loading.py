"""``load``: a file of arrays and its JSON half, read as one.

On disk a checkpoint is ``NAME.safetensors`` (arrays under ``/``-joined tree paths) and ``NAME.json`` (options, training
record, and the digest of the arrays); of other containers the JSON half is ``NAME.npz.json`` and so on. A file without
its half is read as well, with the options given by the caller.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ssmreduce.files import formats
from ssmreduce.files.description import read_description
from ssmreduce.files.errors import CheckpointError
from ssmreduce.files.formats import equinox_files, orbax_folders
from ssmreduce.files.model import Model
from ssmreduce.files.stacks import asked_for, unstacked
from ssmreduce.layers.options import OptionError
from theory.errors import DimensionError, InputError, StabilityError


def load(
    path: str | os.PathLike[str],
    *,
    prefix: str | None = None,
    axis: str | None = None,
    step: int | None = None,
    names: str | os.PathLike[str] | Sequence[str] | None = None,
    **options: Any,
) -> Model:
    """Read a trained model from any of :data:`ssmreduce.files.formats.FILE_FORMATS`, or a folder of Orbax.

    Pickles are never read: torch itself, where it is installed, reads the weights of a PyTorch file and nothing else.

    Parameters
    ----------
    path : path
        The file, or the folder of Orbax; ``NAME`` alone stands for ``NAME.safetensors``.
    prefix : str, optional
        Which part of the file is meant, where it holds the network several times (weights and their average, say);
        "" takes everything as one network.
    axis : {"device", "layers"}, optional
        What an axis in front of all arrays of a layer is: copies on every device, as ``pmap`` leaves them, or layers,
        as ``nn.scan`` stacks them. It is taken off, and is there again in what is written.
    step : int, optional
        Which step of a folder of Orbax's ``CheckpointManager``; the newest unless given. ``Model.path`` says which.
    names : path or sequence of str, optional
        Names of the leaves of an ``.eqx`` file, which has none: a text file with one a line, or a list; behind a tab
        the shape, which is then compared. The JSON half of what is written has them.
    **options
        What the arrays cannot tell and no JSON says: ``conj_sym=True``, ``discretization="zoh"``, ``clip_eigs=False``
        ... (see :func:`ssmreduce.layers.params.layer_from_params`). They go before what the JSON says.

    Raises
    ------
    CheckpointError
        Not a checkpoint, a pickle, truncated, of another version, changed after it was written, or the two halves of
        different saves.
    CheckpointIOError
        Missing or unreadable file (an ``OSError``).
    OptionError
        An option is needed that neither the arrays nor a JSON half tell; carries its name and its values.
    InputError, DimensionError
        Arrays or options that do not make a layer; the message names the layer.
    """
    file = _resolved(path)
    form, held, data = formats.read(file, step)
    half = read_description(file, data)
    described, training = ({}, {}) if half is None else (half.options, half.training)
    merged = {**described, **{key: value for key, value in options.items() if value is not None}}
    stored = merged.pop(equinox_files.NAMES, None)
    if equinox_files.UNNAMED in held.record:
        held = equinox_files.named(held, stored if names is None else names, file)
    elif names is not None:
        raise InputError(f"{file}: names are for .eqx files, whose arrays have none; this one ({form.title}) has them")
    place = file / orbax_folders.place_of(held.record)
    kind = asked_for(merged.get("axis") if axis is None else axis)
    try:
        tree, stack = (held.tree, None) if kind is None else unstacked(held.tree, kind)
        return Model(
            tree=tree,
            stack=stack,
            options=merged if kind is None else merged | {"axis": kind},
            training=training,
            prefix=prefix,
            format=form.name,
            record=held.record,
            path=str(place),
        )
    except CheckpointError:
        raise
    except DimensionError as error:
        raise DimensionError(f"{file}: {str(error).split(' (got ')[0]}", **error.shapes) from None
    except StabilityError as error:
        raise StabilityError(f"{file}: {error}", error.poles, error.margin) from None
    except OptionError as error:
        raise OptionError(f"{file}: {error}", error.option, error.values) from None
    except InputError as error:
        raise InputError(f"{file}: {error}") from None


def _resolved(path: str | os.PathLike[str]) -> Path:
    try:
        found = Path(path)
    except TypeError:
        raise InputError(f"load takes the path of a file, got {type(path).__name__}") from None
    if found.suffix == ".json" and not formats.shards.is_name(found):
        arrays = found.with_suffix("")
        whole = formats.by_suffix(arrays) or formats.shards.is_name(arrays)
        index = found.name.endswith(".index.json")  # of files of PyTorch: to be named as what it is
        return arrays if whole else found if index else found.with_suffix(".safetensors")
    if formats.by_suffix(found) is None and found.name and not os.path.lexists(found):
        named = (found.with_name(f"{found.name}{suffix}") for suffix in (".safetensors", formats.shards.SUFFIX))
        return next(filter(os.path.lexists, named), found)
    return found
