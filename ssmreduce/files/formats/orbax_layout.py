"""Where the arrays lie in a folder of Orbax: at its top, in items, or in the steps of a manager.

``StandardCheckpointer`` and ``PyTreeCheckpointer`` write one tree into a folder, an *item*. A step of
``CheckpointManager`` is a folder of items (``default``, or named ones), and so is what the newer ``save`` writes; the
manager's own folder holds the steps, named by their numbers. Only names of files are looked at here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from ssmreduce.files.errors import CheckpointError, shown
from ssmreduce.files.recipes import ORBAX_NAMES

KEY = "orbax"
"""Where the record of a model holds its layout, as JSON."""

ITEM_NAMES = ("_METADATA", "manifest.ocdbt", "ocdbt.process_0")
"""Entries of a folder that holds one tree."""

STEP = re.compile(r"(?:.*[^0-9])?([0-9]{1,18})")
"""How a manager names its steps: the number, perhaps with zeros or a word before it."""

TEMPORARY = "orbax-checkpoint-tmp"
"""What is in the name of a folder whose save was interrupted."""

NEWER = "orbax.checkpoint"
"""An empty file that the newer ``orbax.checkpoint.v1.save`` leaves in its folder."""


@dataclass(frozen=True, kw_only=True)
class Layout:
    """How a tree lay in its folder.

    Attributes
    ----------
    folder : str
        Of the step, below the folder that was named; "" if that is the step, or there is none.
    step : str
        Name of the step's folder, its number among it; "" if there is none.
    items : tuple of str
        Folders of trees in the step; none if the tree lies at the top. One tree is the whole; of several each is a
        branch of the name of its item.
    lists : tuple of tuple of str
        Paths of what was a list, its entries named by their numbers.
    newer : bool
        Written by ``orbax.checkpoint.v1``.
    """

    folder: str = ""
    step: str = ""
    items: tuple[str, ...] = ()
    lists: tuple[tuple[str, ...], ...] = ()
    newer: bool = False

    def to_json(self) -> str:
        """As the record of a model holds it."""
        return json.dumps(asdict(self))

    @staticmethod
    def of_record(record: Mapping[str, str]) -> Layout:
        """Read the record of a model; without one, a tree at the top."""
        held: dict[str, Any] = json.loads(record.get(KEY, "{}"))
        lists = tuple(tuple(path) for path in held.pop("lists", ()))
        return Layout(**held | {"items": tuple(held.get("items", ())), "lists": lists})


def is_orbax(folder: Path) -> bool:
    """Whether a folder holds a tree, items, or steps of Orbax."""
    return _is_item(folder) or _is_step(folder) or bool(steps_of(folder))


def steps_of(folder: Path) -> dict[int, str]:
    """Numbers of the steps in a manager's folder to the names of their folders; unfinished ones are not among them."""
    found: dict[int, str] = {}
    for entry in _folders(folder):
        match = STEP.fullmatch(entry.name)
        if match is not None and (_is_item(entry) or _is_step(entry)):
            found[int(match[1])] = entry.name
    return dict(sorted(found.items()))


def located(folder: Path, step: int | None) -> Layout:
    """Find the tree that is meant: of a manager's folder the asked step, or the newest.

    Raises
    ------
    CheckpointError
        There is no such step, the folder is none of a manager, or holds items without arrays.
    """
    if _is_item(folder) or _is_step(folder):
        own = STEP.fullmatch(folder.name)
        if step is not None and (own is None or int(own[1]) != step):
            raise CheckpointError(
                f"step {step} was asked for, and this is one checkpoint: name the folder of the steps", folder
            )
        is_of_manager = _is_step(folder) and own is not None and not (folder / NEWER).exists()
        return _inside(folder, Layout(step=folder.name if is_of_manager else ""))
    steps = steps_of(folder)
    if step is not None and step not in steps:
        raise CheckpointError(f"there is no step {step}; there are {', '.join(map(str, steps))}", folder)
    chosen = max(steps) if step is None else step
    return _inside(folder / steps[chosen], Layout(folder=steps[chosen], step=steps[chosen]))


def _inside(place: Path, layout: Layout) -> Layout:
    items = () if _is_item(place) else tuple(sorted(entry.name for entry in _folders(place) if _is_item(entry)))
    return replace(layout, items=items, newer=(place / NEWER).exists())


def left_out(place: Path, layout: Layout) -> str:
    """What lies in a step beside the trees and is not read: a JSON of metrics, the state of an iterator."""
    if not layout.items:
        return ""
    others = sorted(entry.name for entry in _folders(place) if entry.name not in layout.items)
    return ", ".join(f"{shown(name)} (no arrays)" for name in others)


def _is_item(folder: Path) -> bool:
    return any((folder / name).exists() for name in ITEM_NAMES) or _is_old(folder)


def _is_old(folder: Path) -> bool:
    """Whether it is of the time when a msgpack file named ``checkpoint`` held the tree."""
    file = folder / "checkpoint"
    return file.is_file() and (folder / ORBAX_NAMES[1]).exists()


def _is_step(folder: Path) -> bool:
    """Whether it holds items; a folder of one tree does not, and neither does one of steps."""
    named = (folder / ORBAX_NAMES[1]).exists() or (folder / "default").is_dir() or folder.name.isdecimal()
    return not _is_item(folder) and named and any(_is_item(entry) for entry in _folders(folder))


def _folders(folder: Path) -> list[Path]:
    folders = (entry for entry in folder.iterdir() if entry.is_dir())
    return [entry for entry in folders if entry.name[0] != "." and TEMPORARY not in entry.name]
