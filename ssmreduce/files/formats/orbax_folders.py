"""Orbax, where orbax-checkpoint is installed: folders of one tree, or of a manager's steps (the newest, or ``step=``).

orbax itself reads the arrays, as NumPy's on the processor whatever devices wrote them; it reads no pickle. What is
written has the layout that came: a tree, or the step of a manager with its items.
"""

from __future__ import annotations

import logging
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ssmreduce.files.errors import CheckpointError, CheckpointIOError, shown
from ssmreduce.files.formats import orbax_layout
from ssmreduce.files.formats.file_format import LEFT_OUT, Held
from ssmreduce.files.formats.folders import files_in
from ssmreduce.files.formats.orbax_layout import Layout
from ssmreduce.files.recipes import IS_ORBAX
from ssmreduce.files.trees import nested
from ssmreduce.layers.location import leaves
from theory.errors import InputError, MissingDependencyError, optional_package

EXTRA = "orbax"
"""The extra that brings orbax-checkpoint."""

OTHERWISE = "save as .msgpack, .npz or .safetensors"
"""What to do where Orbax cannot hold a tree."""

DEPTH = 64
"""Deepest nesting that is read."""

LATE = 0.2
"""Seconds in which tasks that fail after the first one still say so."""

Path_ = tuple[str, ...]


class OrbaxFolder:
    """See :class:`FolderFormat`; the folder has no room for a record: the digest is in the JSON half."""

    name, suffix, title, aliases = "orbax", ".orbax", "Orbax", ()

    def recognizes(self, folder: Path) -> bool:
        """See :class:`FolderFormat`."""
        return orbax_layout.is_orbax(folder)

    def read(self, folder: Path, step: int | None = None) -> Held:
        """See :class:`FolderFormat`."""
        layout = orbax_layout.located(folder, step)
        place = folder / layout.folder
        try:
            orbax = optional_package("orbax.checkpoint", EXTRA)
        except MissingDependencyError as error:
            raise CheckpointError(f"{error}; this is {IS_ORBAX}", folder) from None
        lists: list[Path_] = []
        whole = len(layout.items) < 2
        try:
            with _quiet():
                branches = {item: _restored(orbax, place / item) for item in layout.items or ("",)}
                tree = next(iter(branches.values())) if whole else branches
                tree = _plain(tree, (), lists)
        except CheckpointError:
            raise
        except Exception as error:  # ValueError, KeyError, FileNotFoundError ... of orbax and tensorstore
            raise CheckpointError(
                f"orbax cannot read this folder ({type(error).__name__}: {_reason(error)}); it is damaged, or its save "
                "was interrupted: copy or save it again",
                place,
            ) from None
        if not isinstance(tree, dict):
            raise CheckpointError(f"Orbax's folder holds a {type(tree).__name__}, not a tree of parameters", place)
        layout = replace(layout, lists=tuple(lists))
        rest = orbax_layout.left_out(place, layout)
        return Held(tree, {orbax_layout.KEY: layout.to_json()} | ({LEFT_OUT: rest} if rest else {}))

    def write(self, tree: Mapping[str, Any], record: Mapping[str, str]) -> dict[str, bytes]:
        """See :class:`FolderFormat`."""
        orbax = optional_package("orbax.checkpoint", EXTRA)
        layout = Layout.of_record(record)
        whole = _listed(nested(tree), {*layout.lists})
        _check(whole)
        several = len(layout.items) > 1  # an optimizer's may be gone, and orbax writes no empty one
        parts = {item: whole[item] for item in layout.items if whole.get(item)} if several else {}
        parts = parts or {(*layout.items, "")[0]: whole}
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch, _quiet():  # threads of a failed save
            folder = Path(scratch).resolve() / "checkpoint"
            try:
                _save(orbax, folder / layout.step, parts, layout)
                found = {item: _plain(_restored(orbax, folder / layout.step / item), (), []) for item in parts}
            except OSError as error:
                raise CheckpointIOError(f"cannot be written ({error.strerror or error})", folder, error) from None
            except (ValueError, TypeError, KeyError) as error:
                raise InputError(
                    f"orbax cannot write this tree ({type(error).__name__}: {_reason(error)}); {OTHERWISE}"
                ) from None
            _compare(_plain(whole, (), []), found if several else next(iter(found.values())))
            return files_in(folder)


def place_of(record: Mapping[str, str]) -> str:
    """Which folder in the one that was named was read."""
    return Layout.of_record(record).folder


def _save(orbax: Any, folder: Path, parts: Mapping[str, Any], layout: Layout) -> None:
    """Have orbax write trees, each an item, or one at the top."""
    if layout.newer and len(layout.items) == 1 and hasattr(orbax, "v1"):
        orbax.v1.save(folder, *parts.values())
    elif not layout.items:
        with orbax.PyTreeCheckpointer() as checkpointer:
            checkpointer.save(folder, parts[""])
    else:
        items = {item: orbax.args.PyTreeSave(part) for item, part in parts.items()}
        with orbax.Checkpointer(orbax.CompositeCheckpointHandler()) as checkpointer:
            checkpointer.save(folder, orbax.args.Composite(**items))


def _restored(orbax: Any, folder: Path) -> Any:
    """Read one tree, arrays as NumPy's: without this orbax wants the devices that wrote them."""
    folder = folder.resolve()
    with orbax.PyTreeCheckpointer() as checkpointer:
        try:
            described = checkpointer.metadata(folder)
            entries = described.item_metadata.tree
        except Exception:  # of an older folder, which describes nothing; what is damaged is told by what comes
            return checkpointer.restore(folder)
        return checkpointer.restore(folder, restore_args=_asked(orbax, entries))


def _asked(orbax: Any, entry: Any) -> Any:
    """How each leaf is to come: arrays as NumPy's, numbers and texts as they are."""
    if isinstance(entry, Mapping):
        return {key: _asked(orbax, value) for key, value in entry.items()}
    if isinstance(entry, (list, tuple)):
        return [_asked(orbax, value) for value in entry]
    is_array = hasattr(entry, "shape") and "Scalar" not in type(entry).__name__
    return orbax.RestoreArgs(restore_type=np.ndarray) if is_array else orbax.RestoreArgs()


def _plain(tree: Any, path: Path_, lists: list[Path_]) -> Any:
    """Copy a tree as nested mappings with NumPy's arrays; what is a list is noted."""
    if len(path) > DEPTH:
        raise CheckpointError(f"the tree is nested more than {DEPTH} deep at {'/'.join(path[:4])}/...")
    if isinstance(tree, (list, tuple)):
        if tree:
            lists.append(path)
        tree = {str(i): value for i, value in enumerate(tree)}
    if isinstance(tree, Mapping):
        return {str(key): _plain(value, (*path, str(key)), lists) for key, value in tree.items()}
    return np.asarray(tree) if hasattr(tree, "__array__") and not isinstance(tree, np.generic) else tree


def _listed(tree: Any, lists: set[Path_], path: Path_ = ()) -> Any:
    """Turn into lists again what was one; where entries went, the last ones, or all, it is shorter."""
    if not isinstance(tree, Mapping):
        return tree
    below = {key: _listed(value, lists, (*path, key)) for key, value in tree.items()}
    if path in lists and [*below] == [str(i) for i in range(len(below))]:
        return list(below.values())
    return below


def _check(tree: Any) -> None:
    """Refuse what the folder could not hold, by name."""
    for path, leaf in leaves(_plain(tree, (), [])):
        if isinstance(leaf, np.ndarray) and leaf.size == 0:
            raise InputError(
                f"{shown('/'.join(path))} has shape {leaf.shape}, and Orbax holds no array without numbers; {OTHERWISE}"
            )


def _compare(wanted: Any, found: Any) -> None:
    """Compare what is read back: the names in a folder are joined by dots, so two that meet replace each other."""
    before, after = ({path: leaf for path, leaf in leaves(tree) if leaf is not None} for tree in (wanted, found))
    for path, leaf in before.items():
        other = after.get(path)
        one, two = np.asarray(leaf), np.asarray(other)
        if other is None or one.tobytes() != two.astype(one.dtype, copy=False).tobytes() or one.shape != two.shape:
            raise InputError(
                f"{shown('/'.join(path))} does not come back from an Orbax folder as it went in; {OTHERWISE}"
            )


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the remarks of orbax and JAX on devices and metadata, and those of tasks that fail beside the first."""
    logger = logging.getLogger("absl")
    before, hook = logger.level, sys.unraisablehook
    logger.setLevel(logging.CRITICAL)
    sys.unraisablehook = lambda _: None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except Exception:
        time.sleep(LATE)
        raise
    finally:
        logger.setLevel(before)
        sys.unraisablehook = hook


def _reason(error: Exception) -> str:
    return str(error).strip().partition("\n")[0].partition(" [tensorstore_spec")[0][:200]


FOLDERS = (OrbaxFolder(),)
