"""A trained model as it lies on disk, and its layers replaced by smaller ones."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ssmreduce.files.counts import recounted
from ssmreduce.files.errors import CheckpointError
from ssmreduce.files.formats import known
from ssmreduce.files.formats.file_format import LEFT_OUT
from ssmreduce.files.recipes import WHOLE
from ssmreduce.files.renaming import beside
from ssmreduce.files.saving import save
from ssmreduce.files.stacks import Stack
from ssmreduce.files.trees import Array, changed, nested, pruned
from ssmreduce.layers.copies import (
    MOMENTS,
    copies_of,
    is_of_optimizer,
    lists_of_weights,
    main_prefix,
    moments_among,
    states_of_optimizers,
    weights_among,
)
from ssmreduce.layers.formats import LAYER_FORMATS
from ssmreduce.layers.layer import SSMLayer
from ssmreduce.layers.location import find_layers, joints, leaves, locate_layers, split
from ssmreduce.layers.options import LAYER_OPTIONS
from ssmreduce.layers.params import UNKNOWN, layer_from_params
from theory.errors import DimensionError, InputError

Keys = dict[str, tuple[str, ...]]


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
    prefix : str, optional
        Which part of the tree is meant, where it holds the network several times; "" for everything. By default
        ``params`` where there is such a part.
    format : str
        How it came, a key of :func:`ssmreduce.files.formats.known`, and how :meth:`save` writes it without a
        suffix that says otherwise.
    record : mapping of str to str
        What the container said besides its arrays.
    path : str
        Where it came from, for messages.
    stack : Stack, optional
        The axis that was taken off the arrays in front, and that what is written has again.
    """

    tree: Mapping[str, Any]
    options: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)
    prefix: str | None = None
    format: str = "safetensors"
    record: Mapping[str, str] = field(default_factory=dict)
    path: str = ""
    stack: Stack | None = None

    def __post_init__(self) -> None:
        if self.format not in known():
            raise InputError(f"format must be one of {sorted(known())}, got {self.format!r}")
        _ = self.layers  # validates all of them at the door

    @cached_property
    def _leaves(self) -> dict[tuple[str, ...], Any]:
        return dict(leaves(self.tree))

    @cached_property
    def _found(self) -> dict[str, Keys]:
        """Name of each layer to its keys and where they lie, in the order of the network."""
        found = find_layers(self.tree, self.prefix)
        if not found:
            listing = ", ".join(repr("/".join(path)) for path in list(self._leaves)[:5]) or "nothing"
            left = f"; left out, as objects of foreign code: {self.left_out}. {WHOLE}" if self.left_out else ""
            raise CheckpointError(f"no S5 or S4D layer in it (it holds {listing}{left}); {UNKNOWN}", self.path)
        return found

    @cached_property
    def _main(self) -> tuple[str, ...]:
        """Under which path the parameters that are meant lie."""
        return main_prefix(weights_among(locate_layers(self.tree), self.prefix), self.prefix)

    def _read(self, found: Mapping[str, Keys]) -> tuple[SSMLayer, ...]:
        options = {key: value for key, value in self.options.items() if key in LAYER_OPTIONS}
        return tuple(
            layer_from_params({key: self._leaves[path] for key, path in keys.items()}, name=name, **options)
            for name, keys in found.items()
        )

    @cached_property
    def layers(self) -> tuple[SSMLayer, ...]:
        """The layers, in the order of the network."""
        return self._read(self._found)

    @cached_property
    def _places(self) -> dict[str, dict[str, Keys]]:
        """Prefix of each further copy of the layers to their names and keys; moments of optimizers are not among."""
        found = locate_layers(self.tree)
        places = copies_of(self._main, [base for base in found if not is_of_optimizer(base)])
        order = {tuple(split(name)) if name else (): name for name in self._found}
        return {
            prefix: {"/".join(copy[base]): found[copy[base]] for base in order}
            for prefix, copy in places.items()
            if MOMENTS.isdisjoint(split(prefix))
        }

    @cached_property
    def copies(self) -> dict[str, tuple[SSMLayer, ...]]:
        """Further copies of the layers in the tree, as averages of the weights are, by the path where each lies."""
        read = {prefix: self._read(found) for prefix, found in self._places.items()}
        sizes = [layer.order for layer in self.layers]
        return {prefix: layers for prefix, layers in read.items() if [layer.order for layer in layers] == sizes}

    @property
    def assumed(self) -> dict[str, Any]:
        """Options that nobody gave and the arrays do not tell: what the place of the layers or custom says of them."""
        layer = self.layers[0]
        given = {key for key, value in self.options.items() if value is not None}
        told = given | LAYER_FORMATS[layer.form].fixed.keys() | {"bidirectional"}
        rest = {key: value for key, value in layer.options().items() if key not in told}
        return {
            key: value
            for key, value in rest.items()
            if (key, value) not in (("step_rescale", 1.0), ("clip_eigs", False))
        }

    @property
    def architecture(self) -> str:
        """Kind of the layers: ``"s5"`` or ``"s4d"``."""
        return self.layers[0].kind

    @property
    def written(self) -> Mapping[str, Any]:
        """The tree as a file holds it: with the axis that it came with."""
        return self.tree if self.stack is None else self.stack.restored(self.tree)

    def taken_apart(self) -> Model:
        """Return the model without the axis that its arrays had in front: layers stay apart, of copies there is one."""
        options = {key: value for key, value in self.options.items() if key != "axis"}
        return replace(self, stack=None, options=options)

    def in_form(self, form: str) -> Model:
        """Return the model with its layers as another code base stores them; moments of an optimizer go.

        Parameters
        ----------
        form : str
            A key of :data:`ssmreduce.layers.formats.LAYER_FORMATS`; see :meth:`SSMLayer.in_form`.

        Raises
        ------
        InputError, StabilityError
            A layer cannot be stored so.
        """
        layers, changes = tuple(layer.in_form(form) for layer in self.layers), dict[tuple[str, ...], Array | None]()
        found = [*zip(self._found.values(), layers)]
        for prefix, copies in self.copies.items():
            found += zip(self._places[prefix].values(), (layer.in_form(form) for layer in copies))
        for paths, layer in found:
            arrays = layer.to_params()
            changes |= dict.fromkeys(paths.values())
            changes |= {paths.get(key) or beside(paths, key): value for key, value in arrays.items()}
        options = {key: value for key, value in self.options.items() if key not in LAYER_OPTIONS}
        tree = pruned(changed(self.tree, changes), self._is_moment())
        return replace(self, tree=tree, options=options | layers[0].options())

    @property
    def left_out(self) -> str:
        """What of the file was not read, and is not written: objects of foreign code, items of Orbax without arrays."""
        return self.record.get(LEFT_OUT, "")

    @property
    def n_states(self) -> int:
        """Stored states of all layers together (S4D: of one channel of each)."""
        return sum(layer.order for layer in self.layers)

    @cached_property
    def params(self) -> dict[str, Any]:
        """Nested parameter tree: what lies under ``params`` (or the prefix), or everything (keys split at ``/``)."""
        tree: Any = nested(self.tree)
        for part in self._main:
            if not isinstance(tree, dict) or part not in tree:
                return {key: value for key, value in nested(self.tree).items() if self._is_inside(split(key))}
            tree = tree[part]
        return dict(tree) if isinstance(tree, dict) else {}

    def _is_inside(self, path: tuple[str, ...]) -> bool:
        return path[: len(self._main)] == self._main

    @cached_property
    def batch_stats(self) -> dict[str, Any]:
        """Nested running statistics of the batch norms; empty when there are none."""
        found = nested(self.tree).get("batch_stats", {})
        return dict(found) if isinstance(found, Mapping) else {}

    def replace_layers(
        self, layers: Sequence[SSMLayer], copies: Mapping[str, Sequence[SSMLayer]] | None = None
    ) -> Model:
        """Return the model with other layers, one for each, of any size; an optimizer's moments, which do not fit, go.

        Parameters
        ----------
        layers : sequence of SSMLayer
        copies : mapping, optional
            Layers of :attr:`copies`, by the same keys. They may be left out where the sizes stay.

        Raises
        ------
        InputError, DimensionError
            Another number of layers, of channels, another kind, options that the model's file states once for all, or
            copies that no longer fit.
        """
        changes = _changes(self._found, self.layers, layers)
        changes |= recounted(self._leaves, list(self._found), self.layers, layers)
        smaller = [layer.order for layer in layers] != [layer.order for layer in self.layers]
        given = copies or {}
        for prefix, old in self.copies.items():
            if prefix in given:
                changes |= _changes(self._places[prefix], old, given[prefix])
                changes |= recounted(self._leaves, list(self._places[prefix]), old, given[prefix])
            elif smaller:
                raise InputError(
                    f"the tree holds a copy of the layers under {prefix!r}, which must stay of their sizes: pass "
                    f"copies={{{prefix!r}: [...]}} to replace_layers (reduce_model does), or model.without({prefix!r})"
                )
        options, sizes = dict(self.options), [layer.order for layer in layers]
        if any(value is None for value in changes.values()):  # stored otherwise than it came: S4 as S4D
            options |= layers[0].options()
        if "P" in options:  # noted by our training code for the reader; programs look at the arrays
            options["P"] = sizes[0] if len(set(sizes)) == 1 else sizes
        return replace(self, tree=pruned(changed(self.tree, changes), self._is_moment()), options=options)

    @property
    def moments(self) -> tuple[str, ...]:
        """Where states of an optimizer lie, or averages without names: they have the shapes of the layers, and go."""
        is_moment, found = self._is_moment(), dict[str, None]()
        for path, _ in leaves(self.tree):
            place = next((path[:end] for end in range(1, len(path) + 1) if is_moment(path[:end])), None)
            if place is not None:
                parts = joints(place)
                ends = [i for i, part in enumerate(parts, 1) if is_of_optimizer((part,)) or part in MOMENTS]
                found["/".join(parts[: ends[0]] if ends else parts)] = None
        return tuple(found)

    def _is_moment(self) -> Callable[[tuple[str, ...]], bool]:
        """Whether a path is an optimizer's: what lies there has the shapes of the unreduced parameters."""
        bases = [base for base in locate_layers(self.tree) if not is_of_optimizer(base)]
        places = [split(prefix) for prefix in copies_of(self._main, bases)]
        places = [*moments_among(bases), *(place for place in places if not MOMENTS.isdisjoint(place))]
        ours = [place for place in (self._main, *map(split, self.copies)) if place]
        arrays = [self._leaves[path] for paths in self._found.values() for path in paths.values()]
        states = states_of_optimizers(self.tree) | lists_of_weights(self.tree, [np.shape(array) for array in arrays])

        def is_moment(path: tuple[str, ...]) -> bool:
            parts = joints(path)
            if any(parts[: len(place)] == place for place in ours):
                return False
            return is_of_optimizer(parts) or path in states or any(parts[: len(place)] == place for place in places)

        return is_moment

    def without(self, prefix: str) -> Model:
        """Return the model without what lies under a path, as a copy of the weights does."""
        place = split(prefix)
        return replace(self, tree=pruned(self.tree, lambda path: joints(path)[: len(place)] == place))

    def with_training(self, training: Mapping[str, Any]) -> Model:
        """Return the model with another training record."""
        return replace(self, training=training)

    def padded(self, order: int | None = None) -> Model:
        """Return the model with zero states added until every layer has `order` states (default: the largest).

        The reference S5 code wants one size for all layers. A padding state has ``B = C = 0`` and a stable eigenvalue,
        so the outputs do not change.
        """
        sizes = [layer.order for layer in self.layers]
        target = max(sizes) if order is None else order
        if target < max(sizes):
            raise InputError(f"a layer has {max(sizes)} states; padding to {target} would cut it")
        copies = {prefix: [layer.padded(target) for layer in layers] for prefix, layers in self.copies.items()}
        return self.replace_layers([layer.padded(target) for layer in self.layers], copies)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the model; see :func:`ssmreduce.save`."""
        return save(self, path)

    def __repr__(self) -> str:
        sizes = [layer.order for layer in self.layers]
        spread = str(sizes[0]) if len(set(sizes)) == 1 else f"{min(sizes)}-{max(sizes)}"
        channels = self.layers[0].n_channels
        return f"Model({self.architecture.upper()}, layers={len(sizes)}, order={spread}, channels={channels})"


def _changes(
    found: Mapping[str, Keys], before: Sequence[SSMLayer], after: Sequence[SSMLayer]
) -> dict[tuple[str, ...], Array | None]:
    """Leaves of the tree that change when layers are replaced; ``None`` removes one."""
    if len(after) != len(before):
        raise InputError(f"the model has {len(before)} layers, {len(after)} were given")
    changes: dict[tuple[str, ...], Array | None] = {}
    for (name, paths), old, new in zip(found.items(), before, after, strict=True):
        if (new.kind, new.n_channels) != (old.kind, old.n_channels):
            raise DimensionError(
                f"layer {name} is {old.kind} with {old.n_channels} channels, "
                f"its replacement {new.kind} with {new.n_channels}"
            )
        written = LAYER_FORMATS[old.form].written_as
        if new.form not in (old.form, written):
            raise InputError(
                f"layer {name}: the replacement is stored as {new.form!r}, the model's layers as {old.form!r}: pass "
                f"layer.in_form({written!r}), or replace the layers of model.in_form({new.form!r})"
            )
        for key, value in old.options().items():
            if new.options()[key] != value:
                raise InputError(
                    f"layer {name}: the replacement has {key}={new.options()[key]}, the model {key}={value}"
                )
        if new is old:
            continue
        arrays = new.to_params()
        if "D" in arrays and "D" not in paths and np.any(arrays["D"]):
            raise InputError(f"layer {name} has no D, and its replacement has one: keep D at 0 (only C and the states)")
        changes |= {path: None for key, path in paths.items() if key not in arrays}
        same = all(key in arrays for key in paths)  # unused ones may be absent; those of another form lie beside
        for key, value in arrays.items():
            if key in paths or not same:
                changes[paths.get(key) or beside(paths, key)] = _as_it_came(value, old.source, key)
    return changes


def _as_it_came(value: Array, source: Mapping[str, Array] | None, key: str) -> Array:
    """An array with the axes of length 1 that it had: D may have a leading one, and steps one behind.

    The size alone says nothing: 2 copies of 6 states for 4 channels become 4 of 3.
    """
    before = None if source is None else source.get(key)
    same = before is not None and [n for n in before.shape if n != 1] == [n for n in value.shape if n != 1]
    return value.reshape(before.shape) if before is not None and same else value
