"""Digests: of a file's bytes, and of the arrays in it, whatever the container."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np

KEY = "sha256"
"""Under which name a digest lies in the JSON half (of the file) and in a container's own record (of the arrays)."""


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
