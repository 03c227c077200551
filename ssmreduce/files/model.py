"""A trained model as it lies on disk: ``load``, ``save``, and its layers replaced by smaller ones.

On disk a checkpoint is ``NAME.safetensors`` (arrays under ``/``-joined tree paths) and ``NAME.json`` (options, training
record, and the digest of the arrays). npz files and Flax msgpack files are read, and written back, as they came.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssmreduce.files import msgpack
from ssmreduce.files.storage import (
    CheckpointError,
    digest,
    read_bytes,
    read_json,
    read_tree,
    to_npz,
    to_safetensors,
    write_files,
)
from ssmreduce.layers.layer import SSMLayer
from ssmreduce.layers.params import LAYER_OPTIONS, find_layers, layer_from_params, leaves
from theory.errors import DimensionError, InputError

Array = NDArray[Any]

FORMAT, VERSION = "ssmreduce-checkpoint", 1
SUFFIXES = {".safetensors": "safetensors", ".npz": "npz", ".msgpack": "msgpack"}
_STATE = ("opt_state",)  # moments of the optimizer: they have the shapes of the unreduced parameters


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Model:
    """A trained model: its parameter tree, and the layers in it.

    Attributes
    ----------
    tree : mapping
        Everything that the file held, keys as they were.
    options : dict
        What arrays cannot tell (``conj_sym``, ``discretization``, ``clip_eigs``, ...), and the model's configuration.
    training : dict
        Where the model comes from: task, seed, accuracy ...
    format : {"safetensors", "npz", "msgpack"}
        How it came, and how :meth:`save` writes it without a suffix that says otherwise.
    path : str
        Where it came from, for messages.
    """

    tree: Mapping[str, Any]
    options: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)
    format: str = "safetensors"
    path: str = ""

    def __post_init__(self) -> None:
        if self.format not in SUFFIXES.values():
            raise InputError(f"format must be one of {sorted(SUFFIXES.values())}, got {self.format!r}")
        _ = self.layers  # validates all of them at the door

    @cached_property
    def _root(self) -> Mapping[str, Any]:
        """The part of the tree that holds parameters: under ``params`` where there is such a key."""
        nested = self.tree.get("params")
        if isinstance(nested, Mapping):
            return {"params": nested}
        inside = {key: value for key, value in self.tree.items() if str(key).startswith("params/")}
        return inside or self.tree

    @cached_property
    def layers(self) -> tuple[SSMLayer, ...]:
        """The layers, in the order of the network."""
        found, flat = find_layers(self._root), dict(leaves(self._root))
        if not found:
            listing = ", ".join("/".join(path) for path in list(flat)[:5]) or "nothing"
            raise CheckpointError(f"no S5 or S4D layer in it (it holds {listing})", self.path)
        options = {key: value for key, value in self.options.items() if key in LAYER_OPTIONS}
        return tuple(
            layer_from_params({key: flat[path] for key, path in paths.items()}, name=name, **options)
            for name, paths in found.items()
        )

    @property
    def architecture(self) -> str:
        """``"s5"`` or ``"s4d"``."""
        return self.layers[0].kind

    @property
    def n_states(self) -> int:
        """Stored states of all layers together (S4D: of one channel of each)."""
        return sum(layer.order for layer in self.layers)

    @cached_property
    def params(self) -> dict[str, Any]:
        """Nested parameter tree: what lies under ``params``, or everything (keys split at ``/``)."""
        tree = _nested(self._root)
        return tree["params"] if set(tree) == {"params"} else tree

    @cached_property
    def batch_stats(self) -> dict[str, Any]:
        """Nested running statistics of the batch norms; empty when there are none."""
        found = _nested(self.tree).get("batch_stats", {})
        return dict(found) if isinstance(found, Mapping) else {}

    def replace_layers(self, layers: Sequence[SSMLayer]) -> Model:
        """Return the model with other layers, one for each, of any size; optimizer moments, which no longer fit, go.

        Raises
        ------
        InputError, DimensionError
            Another number of layers, of channels, another kind, or options that the model's file states once for all.
        """
        if len(layers) != len(self.layers):
            raise InputError(f"the model has {len(self.layers)} layers, {len(layers)} were given")
        changes: dict[tuple[str, ...], Array | None] = {}
        for (name, paths), old, new in zip(find_layers(self._root).items(), self.layers, layers, strict=True):
            if (new.kind, new.n_channels) != (old.kind, old.n_channels):
                raise DimensionError(
                    f"layer {name} is {old.kind} with {old.n_channels} channels, "
                    f"its replacement {new.kind} with {new.n_channels}"
                )
            for key, value in old.options().items():
                if new.options()[key] != value:
                    raise InputError(
                        f"layer {name}: the replacement has {key}={new.options()[key]}, the model {key}={value}"
                    )
            if new.form != old.form:
                raise InputError(
                    f"layer {name}: the replacement is stored as {new.form!r}, the model's layers as {old.form!r}"
                )
            arrays = new.to_params()
            changes |= {path: None for key, path in paths.items() if key not in arrays}
            changes |= {paths[key]: value for key, value in arrays.items() if key in paths}  # unused ones may be absent
        kept = {key: value for key, value in self.tree.items() if str(key).split("/")[0] not in _STATE}
        options, sizes = dict(self.options), [layer.order for layer in layers]
        if "P" in options:  # noted by our training code for the reader; programs look at the arrays
            options["P"] = sizes[0] if len(set(sizes)) == 1 else sizes
        return Model(
            tree=_changed(kept, changes),
            options=options,
            training=self.training,
            format=self.format,
            path=self.path,
        )

    def with_training(self, training: Mapping[str, Any]) -> Model:
        """Return the model with another training record."""
        return Model(tree=self.tree, options=self.options, training=training, format=self.format, path=self.path)

    def padded(self, order: int | None = None) -> Model:
        """Return the model with zero states added until every layer has `order` states (default: the largest).

        The reference S5 code wants one size for all layers. A padding state has ``B = C = 0`` and a stable eigenvalue,
        so the outputs do not change.
        """
        sizes = [layer.order for layer in self.layers]
        target = max(sizes) if order is None else order
        if target < max(sizes):
            raise InputError(f"a layer has {max(sizes)} states; padding to {target} would cut it")
        return self.replace_layers([layer.padded(target) for layer in self.layers])

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the model; see :func:`save`."""
        return save(self, path)

    def __repr__(self) -> str:
        sizes = [layer.order for layer in self.layers]
        spread = str(sizes[0]) if len(set(sizes)) == 1 else f"{min(sizes)}-{max(sizes)}"
        channels = self.layers[0].n_channels
        return f"Model({self.architecture.upper()}, layers={len(sizes)}, order={spread}, channels={channels})"


def _nested(tree: Mapping[str, Any]) -> dict[str, Any]:
    """Split keys at ``/`` into nested dicts; empty mappings stay."""
    result: dict[str, Any] = {}
    for key, value in tree.items():
        *parts, last = str(key).split("/")
        node = result
        for part in parts:
            node = node.setdefault(part, {})
            if not isinstance(node, dict):
                raise CheckpointError(f"the key {key} runs through an array")
        node[last] = _nested(value) if isinstance(value, Mapping) else value
    return result


def _changed(
    tree: Mapping[str, Any], changes: Mapping[tuple[str, ...], Any], prefix: tuple[str, ...] = ()
) -> dict[str, Any]:
    """Copy a tree with some leaves replaced (``None`` removes one)."""
    result: dict[str, Any] = {}
    for key, value in tree.items():
        path = (*prefix, str(key))
        if isinstance(value, Mapping):
            result[key] = _changed(value, changes, path)
        elif changes.get(path, value) is not None:
            result[key] = changes.get(path, value)
    return result


def _flat(tree: Mapping[str, Any]) -> dict[str, Array]:
    """``/``-joined keys, arrays only."""
    flat: dict[str, Array] = {}
    for path, value in leaves(tree):
        array = np.asarray(value)
        if array.dtype.kind not in "biufc":
            raise InputError(
                f"{'/'.join(path)} holds {type(value).__name__}, which safetensors and npz cannot; save as .msgpack"
            )
        flat["/".join(path)] = array
    return flat


def load(path: str | os.PathLike[str], **options: Any) -> Model:
    """Read a trained model from safetensors (with its JSON), npz, or a Flax msgpack file. Nothing is ever unpickled.

    Parameters
    ----------
    path : path
        The file; ``NAME`` alone stands for ``NAME.safetensors``.
    **options
        What the arrays cannot tell and no JSON says: ``conj_sym=True``, ``discretization="zoh"``, ``clip_eigs=False``
        ... (see :func:`ssmreduce.layers.params.layer_from_params`). They go before what the JSON says.

    Raises
    ------
    CheckpointError
        Not a checkpoint, a pickle, truncated, of another version, or the two halves of different saves.
    CheckpointIOError
        Missing or unreadable file (an ``OSError``).
    InputError, DimensionError
        Arrays or options that do not make a layer; the message names the layer, and the option to pass.
    """
    file = _resolved(Path(path))
    data = read_bytes(file)
    kind, tree = read_tree(data, file)
    described: dict[str, Any] = {}
    training: dict[str, Any] = {}
    side = file.with_suffix(".json")
    if kind == "safetensors" and side.exists():
        described, training = _description(side, file, digest(data))
    merged = {**described, **{key: value for key, value in options.items() if value is not None}}
    try:
        return Model(tree=tree, options=merged, training=training, format=kind, path=str(file))
    except CheckpointError:
        raise
    except DimensionError as error:
        raise DimensionError(f"{file}: {str(error).split(' (got ')[0]}", **error.shapes) from None
    except InputError as error:
        raise InputError(f"{file}: {error}") from None


def _resolved(path: Path) -> Path:
    if path.suffix == ".json":
        return path.with_suffix(".safetensors")
    if not path.exists() and path.suffix not in SUFFIXES:
        candidate = path.with_name(path.name + ".safetensors")
        return candidate if candidate.exists() else path
    return path


def _description(side: Path, file: Path, found: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Read and check the JSON half."""
    text = read_json(side)
    if text.get("format") != FORMAT:
        raise CheckpointError(
            f"this is not the JSON half of a checkpoint (format is {text.get('format')!r}); "
            f"move it away to load {file.name} alone",
            side,
        )
    if text.get("version") != VERSION:
        raise CheckpointError(
            f"a checkpoint of version {text.get('version')!r}; this program reads version {VERSION}: update ssmreduce",
            side,
        )
    expected = text.get("sha256")
    if expected is not None and expected != found:
        raise CheckpointError(
            f"{file.name} and {side.name} are of different saves, or one was changed; restore the pair from one save",
            side,
        )
    options, training = text.get("options", {}), text.get("training", {})
    if not isinstance(options, dict) or not isinstance(training, dict):
        raise CheckpointError("options and training must be JSON objects", side)
    return options, training


def save(model: Model, path: str | os.PathLike[str]) -> Path:
    """Write a model, in the format of the suffix, or as it came when `path` has none of them; returns the file written.

    safetensors and its JSON are replaced together: after a failure (full disk, no permission) the old pair is there,
    unchanged, and no temporary file is left.

    Raises
    ------
    CheckpointIOError
        The folder is missing or not writable, the disk is full (an ``OSError``).
    InputError
        The format cannot hold what the tree holds.
    """
    target = Path(path)
    kind = SUFFIXES.get(target.suffix)
    if kind is None:
        kind = model.format
        target = target.with_name(f"{target.name}.{kind}")
    if kind == "msgpack":
        write_files({target: msgpack.write(_nested(model.tree))})
    elif kind == "npz":
        write_files({target: to_npz(_flat(model.tree))})
    else:
        arrays = to_safetensors(_flat(model.tree))
        options = {**model.options, **model.layers[0].options()}
        text = {
            "format": FORMAT,
            "version": VERSION,
            "architecture": model.architecture,
            "options": options,
            "training": dict(model.training),
            "sha256": digest(arrays),
        }
        try:
            description = json.dumps(text, indent=2, sort_keys=False, allow_nan=True) + "\n"
        except (TypeError, ValueError) as error:
            raise InputError(f"options and training must be plain numbers, texts, lists and dicts: {error}") from None
        write_files({target: arrays, target.with_suffix(".json"): description.encode()})
    return target
