r"""What a user passes as numbers, as float64 or complex128 arrays, or as an error that names the argument.

Anything that Python counts as a number goes in: integers of any length, fractions and decimals are rounded to the
nearest float64 number, which is exact where they are one. Masked entries are no numbers.
"""

from __future__ import annotations

import decimal
import numbers
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from theory.errors import InputError, TimeBaseError, require_finite

Array = NDArray[Any]

NUMBERS = "buifc"
"""Kinds of NumPy's arrays that hold numbers: Booleans, integers, floating-point and complex numbers."""


def numeric(name: str, value: ArrayLike, *, force_complex: bool = False) -> Array:
    """Return a new float64 or complex128 array of `value`, an argument called `name`.

    Raises
    ------
    InputError
        It is not rectangular, holds something else than numbers, numbers past float64, or masked entries.
    """
    if np.ma.is_masked(value):
        raise InputError(f"{name} has masked entries; fill them (array.filled(0.0)), or leave those states out")
    try:
        array = np.array(value)
    except (ValueError, TypeError) as error:
        raise InputError(f"{name} is not a rectangular array of numbers: {error}") from error
    if array.dtype == object:
        array = _converted(name, array)
    if array.dtype.kind not in NUMBERS:
        raise InputError(f"{name} has dtype {array.dtype}; numbers are needed")
    with np.errstate(over="ignore"):  # what is past float64 becomes infinite, and is refused as that
        return array.astype(np.complex128 if force_complex or array.dtype.kind == "c" else np.float64)


def real(name: str, value: ArrayLike) -> Array:
    """Return :func:`numeric` of an argument that must be real: complex numbers are refused, not cut off."""
    array = numeric(name, value)
    if array.dtype.kind == "c":
        raise InputError(f"{name} must be real, got complex numbers")
    return array


def finite(name: str, value: ArrayLike, *, force_complex: bool = False) -> Array:
    """Return :func:`numeric` of an argument without NaN and infinity."""
    array = numeric(name, value, force_complex=force_complex)
    require_finite(**{name: array})
    return array


def _converted(name: str, array: Array) -> Array:
    """Python's numbers of an array of objects, rounded to float64 or complex128."""
    entries = array.ravel()
    for entry in entries:
        if not isinstance(entry, (numbers.Number, decimal.Decimal)):
            raise InputError(f"{name} holds a {type(entry).__name__}; numbers are needed")
    whole = all(not isinstance(entry, numbers.Complex) or isinstance(entry, numbers.Real) for entry in entries)
    try:
        found = np.array([float(entry) if whole else complex(entry) for entry in entries])
    except (OverflowError, ValueError, TypeError) as error:
        raise InputError(f"{name} holds a number that float64 cannot: {error}") from error
    return found.reshape(array.shape)


def validated_dt(dt: Any) -> float | None:
    """Check a time base: ``None`` is continuous time, a positive number is the sample time in seconds."""
    if dt is None:
        return None
    advice = "python-control's dt=0 is None here, its dt=True is dt=1.0"
    complaint = f"dt must be None (continuous time) or a positive sample time, got {_short(dt)}; {advice}"
    if not isinstance(dt, (numbers.Real, decimal.Decimal)) or isinstance(dt, bool):
        raise TimeBaseError(complaint)
    try:
        step = float(dt)
    except (OverflowError, ValueError):
        step = float("inf")
    if not np.isfinite(step) or step <= 0:
        raise TimeBaseError(complaint, step)
    return step


def _short(value: Any, most: int = 40) -> str:
    """``repr`` that fits into a sentence: of an integer of 400 digits the first and the last ones."""
    text = repr(value)
    return text if len(text) <= most else f"{text[: most // 2]}...{text[-8:]}"
