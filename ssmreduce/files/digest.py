"""Digests: of a file's bytes, and of the arrays in it, whatever the container."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np

KEY = "sha256"
"""Under which name a digest lies in the JSON half (of the file) and in a container's own record (of the arrays)."""


OWN = "sha256_of_the_rest"
"""Under which name the digest of a JSON half's own content lies in it."""


def of_json(content: Mapping[str, Any]) -> str:
    """SHA-256 of what a JSON object says, but for :data:`OWN`; order of names, spaces and line ends do not matter."""
    said = {key: value for key, value in content.items() if key != OWN}
    plain = json.dumps(said, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(plain.encode()).hexdigest()


def of_bytes(data: bytes) -> str:
    """SHA-256 of a file's content, which ties the JSON half of a checkpoint to its arrays."""
    return hashlib.sha256(data).hexdigest()


def of_arrays(arrays: Mapping[str, Any]) -> str:
    """SHA-256 of named arrays: names, types, shapes and bits, in the order of the names."""
    total = hashlib.sha256()
    for name in sorted(arrays):
        array = np.asarray(arrays[name])
        little = array.astype(array.dtype.newbyteorder("<"), copy=False)
        for part in (name, array.dtype.name, str(array.shape)):
            total.update(part.encode("utf-8", "surrogatepass") + b"\0")
        total.update(np.ascontiguousarray(little).tobytes())
    return total.hexdigest()
