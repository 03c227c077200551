"""safetensors in several files: an index says which array lies in which, and the files are read and written as one.

``model.safetensors.index.json`` holds ``weight_map``, name of an array to name of a file beside it. What is written has
as many files as came, each array in the one that it was in; the index carries the digest of all arrays, and the JSON
half that of the index.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ssmreduce.files import digest
from ssmreduce.files.description import strict_json
from ssmreduce.files.errors import CheckpointError, shown
from ssmreduce.files.formats.file_format import Held
from ssmreduce.files.formats.safetensors import Safetensors
from ssmreduce.files.reading import JSON_LIMIT, read_bytes
from ssmreduce.files.recipes import TORCH_SHARDS
from ssmreduce.files.trees import flat

SUFFIX = ".safetensors.index.json"
"""How the name of an index ends."""

MAP = "weight_map"
"""Where the index, and the record of a model, say which array lies in which file."""

PART = re.compile(r"(?P<stem>.+)-(?P<part>\d{5})-of-(?P<parts>\d{5})\.safetensors")
"""How the files are named."""

MOST = 10_000
"""Most files of one model that are read."""


def is_name(path: Path) -> bool:
    """Whether a path is named as an index."""
    return path.name.endswith(SUFFIX) and path.name != SUFFIX


def is_index(head: bytes) -> bool:
    """Whether a file that begins with `head` is an index: a JSON object with a map of weights."""
    return head.lstrip()[:1] == b"{" and f'"{MAP}"'.encode() in head


def refuse_part(path: Path) -> None:
    """Refuse one file of several where the index lies beside it."""
    found = PART.fullmatch(path.name)
    index = path.with_name(f"{found['stem']}{SUFFIX}") if found and int(found["parts"]) > 1 else None
    if index is not None and index.exists():
        raise CheckpointError(f"this is one of {int(found['parts'])} files of a model; name {shown(index.name)}", path)  # type: ignore[index]


def read(path: Path) -> tuple[Held, bytes]:
    """Read all files of an index, and its own bytes.

    Raises
    ------
    CheckpointError
        A damaged index or file, a file elsewhere than beside it, or arrays that are not those of the index.
    CheckpointIOError
        A file is missing.
    """
    data = read_bytes(path, JSON_LIMIT)
    index = strict_json(data, path)
    where = index.get(MAP) if isinstance(index, dict) else None
    if not isinstance(where, dict) or not where or not all(isinstance(name, str) for name in where.values()):
        raise CheckpointError(f"a damaged index: {MAP} must name the file of each array", path)
    names = sorted({*where.values()})
    if len(names) > MOST:
        raise CheckpointError(f"an index of {len(names)} files; at most {MOST} are read", path)
    tree: dict[str, Any] = {}
    record: dict[str, str] = {}
    for name in names:
        if not name or Path(name).name != name or "\\" in name:
            raise CheckpointError(f"the index names a file elsewhere ({name!r}); its files lie beside it", path)
        part = path.with_name(name)
        if not name.endswith(".safetensors"):
            raise CheckpointError(f"the index is of files that are no safetensors ({name}). {TORCH_SHARDS}", path)
        held = Safetensors().read(read_bytes(part), part)
        wanted = {key for key, file in where.items() if file == name}
        if held.tree.keys() != wanted:
            odd = sorted(held.tree.keys() ^ wanted)[0]
            raise CheckpointError(
                f"{shown(path.name)} and this file do not agree on {odd!r}; restore them from one save", part
            )
        tree |= held.tree
        record |= {key: text for key, text in held.record.items() if key != digest.KEY}
    texts = index.get("metadata")
    own = {key: text for key, text in texts.items() if isinstance(text, str)} if isinstance(texts, dict) else {}
    return Held(dict(sorted(tree.items())), record | own | {MAP: json.dumps(where, sort_keys=True)}), data


def write(tree: Mapping[str, Any], record: Mapping[str, str], target: Path) -> dict[Path, bytes]:
    """Return the content of the index `target` and of its files, each array in the file that it was in, by number."""
    arrays = {key: np.asarray(value) for key, value in flat(tree).items()}
    before: dict[str, str] = json.loads(record.get(MAP, "{}"))
    names = sorted({*before.values()}) or [""]
    number = {name: i for i, name in enumerate(names)}
    groups: list[dict[str, Any]] = [{} for _ in names]
    for key, value in arrays.items():
        groups[number.get(before.get(key, ""), len(names) - 1)][key] = value
    groups = [group for group in groups if group] or [{}]
    stem = target.name.removesuffix(SUFFIX)
    texts = {key: text for key, text in record.items() if key not in (MAP, digest.KEY)}
    where: dict[str, str] = {}
    files: dict[Path, bytes] = {}
    for i, group in enumerate(groups, 1):
        name = f"{stem}-{i:05d}-of-{len(groups):05d}.safetensors"
        where |= dict.fromkeys(group, name)
        files[target.with_name(name)] = Safetensors().write(group, texts)
    size = sum(value.nbytes for value in arrays.values())
    metadata = {"total_size": size, digest.KEY: digest.of_arrays(arrays)}
    index = json.dumps({"metadata": metadata, MAP: dict(sorted(where.items()))}, indent=2) + "\n"
    return {target: index.encode(), **files}
