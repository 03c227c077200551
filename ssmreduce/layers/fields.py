"""What the fields of a layer may be: options, arrays in the precision of storage, indices of states."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssmreduce.layers.families import DISCRETIZATIONS, FAMILIES
from ssmreduce.layers.formats import LAYER_FORMATS
from theory.errors import DimensionError, InputError, require_finite

Array = NDArray[Any]

ARRAYS = ("Lambda", "B", "C", "C_reverse", "D", "log_step")
_COMPLEX = ("Lambda", "B", "C", "C_reverse")

_LARGEST = float(np.finfo(np.float64).max)

PRECISIONS = ("float16", "bfloat16", "float32", "float64")
"""Real types of stored arrays."""


def check_options(given: Mapping[str, Any], kind: str, form: str, where: str) -> None:
    """Refuse options that a layer of this kind, stored in this form, cannot have.

    Raises
    ------
    InputError
        `where`, which option, and what it may be.
    """
    if given["discretization"] not in DISCRETIZATIONS:
        known = " or ".join(map(repr, DISCRETIZATIONS))
        raise InputError(f"{where}discretization must be {known}, got {given['discretization']!r}")
    is_batch = FAMILIES[kind].is_batch
    if given["delay"] not in ((0,) if is_batch else (0, 1)):
        raise InputError(f"{where}delay must be 0{'' if is_batch else ' or 1'}, got {given['delay']!r}")
    for key in ("conj_sym", "clip_eigs"):
        if not isinstance(given[key], (bool, np.bool_)):
            raise InputError(f"{where}{key} must be True or False, got {given[key]!r}")
    if LAYER_FORMATS[form].fixed.get("conj_sym") and not given["conj_sym"]:
        raise InputError(
            f"{where}{LAYER_FORMATS[form].title} stores one eigenvalue of each conjugate pair: conj_sym must be True"
        )
    scale = given["step_rescale"]
    number = isinstance(scale, (int, float, np.integer, np.floating)) and not isinstance(scale, bool)
    if not number or not 0 < scale < _LARGEST:
        raise InputError(f"{where}step_rescale must be a positive number, got {str(scale)[:40]}")


def checked_arrays(
    given: Mapping[str, Any], kind: str, form: str, where: str
) -> tuple[dict[str, Array], np.dtype[Any]]:
    """Return the arrays among the fields `given` as storage holds them, widened, not writeable; and their real type.

    Raises
    ------
    DimensionError, InputError
        Arrays that do not fit together, are not numbers, not finite, or have no step.
    """
    arrays = {key: _array(key, given[key], where) for key in ARRAYS if given[key] is not None}
    dtype = _real_dtype(arrays) if given["dtype"] is None else np.dtype(given["dtype"])
    if dtype.name not in PRECISIONS:
        raise InputError(f"{where}dtype must be one of {', '.join(PRECISIONS)}, got {dtype}")
    for key, array in arrays.items():
        array = array.astype(np.complex128 if key in _COMPLEX else np.float64)
        if LAYER_FORMATS[form].stores_fields:
            array = _rounded(array, dtype)
        array.setflags(write=False)
        arrays[key] = array
    _check_shapes(arrays, kind, where)
    try:
        require_finite(**arrays)
    except InputError as error:
        raise InputError(f"{where}{error}") from None
    with np.errstate(over="ignore", under="ignore"):
        steps = np.exp(arrays["log_step"]) * given["step_rescale"]
    if not (np.isfinite(steps) & (steps > 0)).all():
        raise InputError(
            f"{where}exp(log_step) must be positive and finite; log_step is {arrays['log_step'].max():g}"
        )
    return arrays, dtype


def _array(key: str, value: Any, where: str) -> Array:
    try:
        array: Array = np.array(value)
    except (ValueError, TypeError) as error:
        raise InputError(f"{where}{key} is not a rectangular array of numbers: {error}") from error
    if array.dtype.kind not in ("buifc" if key in _COMPLEX else "buif"):
        raise InputError(
            f"{where}{key} has dtype {array.dtype}; {'' if key in _COMPLEX else 'real '}numbers are needed"
        )
    return array


def _check_shapes(arrays: Mapping[str, Array], kind: str, where: str) -> None:
    shapes = {key: array.shape for key, array in arrays.items()}
    try:
        allowed = FAMILIES[kind].shapes(shapes)
    except DimensionError as error:
        raise DimensionError(f"{where}{str(error).split(' (got ')[0]}", **error.shapes) from None
    for key, choices in allowed.items():
        if key in shapes and shapes[key] not in choices:
            raise DimensionError(
                f"{where}{key} must have shape {' or '.join(map(str, choices))}",
                Lambda=shapes["Lambda"],
                **{key: shapes[key]},
            )


def _rounded(array: Array, dtype: np.dtype[Any]) -> Array:
    """Return the array as storage in the real type `dtype` holds it, widened again; a copy."""
    result = array.copy()
    parts = (result.real, result.imag) if np.iscomplexobj(result) else (result,)
    with np.errstate(over="ignore"):
        for part in parts:
            part[...] = part.astype(dtype)
    return result


def _real_dtype(arrays: Mapping[str, Any]) -> np.dtype[Any]:
    """Precision of the arrays that were given: float32 for 16 and 32 bits, else float64."""
    widest = np.result_type(*(np.asarray(value).dtype for value in arrays.values()))
    return np.dtype(np.float32 if widest in (np.float16, np.float32, np.complex64) else np.float64)


def indices(index: Array, shape: tuple[int, ...], where: str) -> Array:
    """Validate a state index: integers without repetition, (r,) or (H, r)."""
    if index.dtype == bool:
        if index.shape == shape and len(shape) == 2:
            counts = index.sum(axis=1)
            if counts.size and (counts != counts[0]).any():
                raise InputError(
                    f"{where}every channel must keep the same number of states, got {counts.min()} to {counts.max()}"
                )
            return np.nonzero(index)[1].reshape(shape[0], -1)
        if index.shape != shape[-1:]:
            raise DimensionError(f"{where}the mask must have one entry a state", mask=index.shape, Lambda=shape)
        return np.flatnonzero(index)
    if index.size == 0:
        index = index.astype(np.intp)
    if index.dtype.kind not in "iu":
        raise InputError(f"{where}states are chosen by integers or a boolean mask, got dtype {index.dtype}")
    if index.ndim not in (1, len(shape)) or (index.ndim == 2 and index.shape[0] != shape[0]):
        raise DimensionError(
            f"{where}the index must have shape (r,)" + (" or (H, r)" if len(shape) == 2 else ""), index=index.shape
        )
    n = shape[-1]
    if index.size and (index.min() < 0 or index.max() >= n):
        raise InputError(f"{where}state indices run from 0 to {n - 1}, got {index.min()} to {index.max()}")
    ordered = np.sort(index, axis=-1)
    if (ordered[..., 1:] == ordered[..., :-1]).any():
        raise InputError(f"{where}a state is listed twice")
    return index.astype(np.intp)
