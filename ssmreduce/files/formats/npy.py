"""NumPy's record of one array, ``.npy``: a magic number, a header that says type and shape, and the numbers.

An archive of them is npz; a row of them is what Equinox writes. Read from bytes, numbers only: no objects, no pickle.
"""

from __future__ import annotations

import io
import math
from typing import IO, Any

import ml_dtypes  # noqa: F401  (NumPy learns bfloat16 from it)
import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

MAGIC = b"\x93NUMPY"

HEADER_LIMIT = 10_000
"""Longest header of one array, NumPy's own limit."""


class ObjectsError(ValueError):
    """The array is of Python objects, that is a pickle."""


def read(data: bytes, start: int = 0) -> tuple[Array, int]:
    """Read the record that begins at `start`; returns the array, and where the record ends.

    Raises
    ------
    ObjectsError
        It holds a pickle, which is not looked at.
    Exception
        What NumPy raises of a damaged header (ValueError, SyntaxError, ...), and ValueError where numbers are missing.
    """
    file = io.BytesIO(data)
    file.seek(start)
    version = np.lib.format.read_magic(file)
    header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = header(file, max_header_size=HEADER_LIMIT)
    if dtype.hasobject:
        raise ObjectsError("an array of Python objects")
    size, at = dtype.itemsize * math.prod(shape), file.tell()
    if not all(isinstance(length, int) and length >= 0 for length in shape) or size > len(data) - at:
        raise ValueError(f"an array of shape {shape} and type {dtype} with {len(data) - at} bytes")
    if dtype.kind == "V" and dtype.names is None and dtype.itemsize == 2:
        dtype = np.dtype("bfloat16")  # the only type of two bytes that NumPy writes and does not know
    if dtype.itemsize == 0:
        return np.zeros(shape, dtype), at
    array: Array = np.frombuffer(data, dtype, math.prod(shape), at)
    return (array.reshape(shape[::-1]).T if fortran else array.reshape(shape)), at + size


def write(file: IO[bytes], array: Any) -> None:
    """Write one record, as ``numpy.save`` and ``jax.numpy.save`` do."""
    plain = np.asanyarray(array)
    if plain.dtype.kind == "V":  # NumPy's own name of two bytes that it does not understand
        plain = plain.view(f"V{plain.dtype.itemsize}")
    np.lib.format.write_array(file, plain, allow_pickle=False)
