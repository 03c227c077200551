"""The JSON half of a checkpoint: options, training record, and the digest of the other half."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ssmreduce.files import digest
from ssmreduce.files.errors import CheckpointError
from ssmreduce.files.reading import JSON_LIMIT, read_bytes
from theory.errors import InputError

FORMAT, VERSION = "ssmreduce-checkpoint", 2
"""Version 2 has the digest of its own content; files of version 1, which have none, are read as well."""

WITHOUT_OWN_DIGEST = 1


class Description(NamedTuple):
    """What a JSON half says."""

    architecture: str | None
    options: dict[str, Any]
    training: dict[str, Any]


def side_of(path: Path) -> Path:
    """Where the JSON half of a file of arrays lies: ``NAME.json`` of safetensors, ``NAME.npz.json`` of ``NAME.npz``."""
    return path.with_suffix(".json") if path.suffix == ".safetensors" else path.with_name(f"{path.name}.json")


def strict_json(text: bytes | str, path: Path) -> Any:
    """Parse JSON as the standard has it: names once, no NaN, no infinity; a broken one is a typed error."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        result = dict(pairs)
        if len(result) != len(pairs):
            raise ValueError("a name is there twice in one object")
        return result

    def refuse(name: str) -> Any:
        raise ValueError(f"{name} is no JSON number; write null")

    try:
        decoded = text.decode("utf-8") if isinstance(text, bytes) else text
        return json.loads(decoded, object_pairs_hook=once, parse_constant=refuse)
    except (ValueError, RecursionError) as error:  # JSONDecodeError, UnicodeDecodeError, integers of 5,000 digits
        raise CheckpointError(f"not valid JSON ({error}); it may be truncated", path) from None


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object."""
    value = strict_json(read_bytes(path, JSON_LIMIT), path)
    if not isinstance(value, dict):
        raise CheckpointError(f"a JSON object is needed, this is a {type(value).__name__}", path)
    return value


def describe(data: bytes, architecture: str, options: Mapping[str, Any], training: Mapping[str, Any]) -> bytes:
    """Return the JSON half of the file content `data`; numbers that JSON has not (NaN, infinity) become null."""
    text = {
        "format": FORMAT,
        "version": VERSION,
        "architecture": architecture,
        "options": finite(options),
        "training": finite(training),
        digest.KEY: digest.of_bytes(data),
    }
    try:
        plain = json.loads(json.dumps(text, allow_nan=False))  # as a reader has it: lists for tuples, texts for keys
        return (json.dumps({**plain, digest.OWN: digest.of_json(plain)}, indent=2, allow_nan=False) + "\n").encode()
    except (TypeError, ValueError) as error:
        raise InputError(f"options and training must be plain numbers, texts, lists and dicts: {error}") from None


def finite(value: Any) -> Any:
    """Replace what JSON has no number for (NaN, infinity) by null."""
    if isinstance(value, float) and value - value != 0.0:
        return None
    if isinstance(value, Mapping):
        return {key: finite(item) for key, item in value.items()}
    return [finite(item) for item in value] if isinstance(value, (list, tuple)) else value


def _own(text: Mapping[str, Any]) -> str:
    """The digest of what a JSON half says; none of what is nested too deep to be spelled."""
    try:
        return digest.of_json(text)
    except (RecursionError, ValueError):
        return ""


def read_description(file: Path, data: bytes) -> Description | None:
    """Read the JSON half of `file`, whose content is `data`, and compare the digest; ``None`` if there is no such half.

    Raises
    ------
    CheckpointError
        No JSON, another format or version, other content than was written, or the digest of another file.
    """
    side = side_of(file)
    if not os.path.lexists(side):
        return None
    text = read_json(side)
    if text.get("format") != FORMAT:
        raise CheckpointError(
            f"this is not the JSON half of a checkpoint (format is {text.get('format')!r}); "
            f"move it away to load {file.name} alone",
            side,
        )
    if text.get("version") not in (WITHOUT_OWN_DIGEST, VERSION) or isinstance(text.get("version"), bool):
        raise CheckpointError(
            f"a checkpoint of version {text.get('version')!r}; this program reads version {VERSION}: update ssmreduce",
            side,
        )
    if (digest.OWN in text or text["version"] != WITHOUT_OWN_DIGEST) and text.get(digest.OWN) != _own(text):
        raise CheckpointError(
            f"this is not what was written, its digest ({digest.OWN}) differs: restore it; or, if its options were "
            f"changed on purpose, move it away, load {file.name} with the options as keywords (flags of the command "
            "line), and save it again",
            side,
        )
    expected = text.get(digest.KEY)
    if expected is not None and expected != digest.of_bytes(data):
        raise CheckpointError(
            f"{file.name} and {side.name} are of different saves, or one was changed; restore the pair from one save",
            side,
        )
    options, training = text.get("options", {}), text.get("training", {})
    if not isinstance(options, dict) or not isinstance(training, dict):
        raise CheckpointError("options and training must be JSON objects", side)
    architecture = text.get("architecture")
    return Description(architecture if isinstance(architecture, str) else None, options, training)
