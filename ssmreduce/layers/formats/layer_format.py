"""The idea of a layer format, and how stored arrays are checked, paired and chosen from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from theory.errors import DimensionError, InputError

Array = NDArray[Any]
Arrays = dict[str, Array]


class NotClosedError(InputError):
    """The parameters of a code base hold not every diagonal system, and not this one; the message says why.

    What can be done is said once, here: states may be kept as they are, or the layer is stored as another code base
    does, whose parameters hold every system.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"{reason}. Keep stored states (method='modal', 'last', 'aire', 'lamp' or 'magnitude'; --method modal), "
            "where the code base allows that; or store the layer as S5 before, which holds every system: "
            "layer.in_form('s5'), model.in_form('s5'), ssmreduce convert FILE --form s5 -o FILE2"
        )


class LayerFormat(Protocol):
    """How one code base stores one layer.

    It decodes stored arrays to the fields of a layer in float64, encodes fields back to arrays of the stored precision,
    and selects states without touching a bit.

    Attributes
    ----------
    name, kind, title : str
        Key in :data:`LAYER_FORMATS`; key in :data:`ssmreduce.layers.families.FAMILIES`; what to call it.
    anchor : str
        The dotted key whose presence marks a layer of this format.
    beside : tuple of str
        Keys that must lie beside the anchor, where its name alone may mean something else.
    keys, optional : tuple of str
        Dotted keys of one layer that must, or may, be present.
    complex_keys : tuple of str
        Those of them that may hold complex arrays.
    fixed : mapping
        Options that the code base leaves no choice in.
    stated : mapping
        Options of :func:`ssmreduce.layer_from_params` that choose this format and no other.
    usual : mapping
        Those of them that every published config has, taken where nothing is said.
    question : str
        Which case is which, where an option of :attr:`stated` is asked for.
    discretizations : tuple of str
        The discretizations that the code base knows, where the arrays do not tell which.
    ambiguity : str
        Which code has which of them.
    stores_fields : bool
        Whether the fields are stored as they are (rounded to the precision), or through logarithms and the like.
    projects, real_outputs, feeds_through : bool
        Whether it holds every diagonal system of its ports, as reduced ones are (up to D); whether C is real; whether
        there is a D.
    written_as : str
        Name of the format in which a changed layer is written: its own nearly everywhere.
    """

    name: str
    kind: str
    title: str
    anchor: str
    beside: tuple[str, ...]
    keys: tuple[str, ...]
    optional: tuple[str, ...]
    complex_keys: tuple[str, ...]
    fixed: Mapping[str, Any]
    stated: Mapping[str, Any]
    usual: Mapping[str, Any]
    question: str
    discretizations: tuple[str, ...]
    ambiguity: str
    stores_fields: bool
    projects: bool
    real_outputs: bool
    feeds_through: bool

    @property
    def written_as(self) -> str: ...  # noqa: D102

    def recognizes(self, raw: Mapping[str, Array], options: Mapping[str, Any]) -> bool:
        """Whether arrays with the anchor, under these options, are of this format and of no other."""
        ...

    def presumed(self, raw: Mapping[str, Array], place: str) -> Mapping[str, Any]:
        """Options that hold for arrays of this format at this place of a tree unless something else is said."""
        ...

    def missing(self, raw: Mapping[str, Array]) -> list[str]:
        """What the arrays of a layer lack; an ``InputError`` if some of them contradict each other."""
        ...

    def decode(self, raw: Mapping[str, Array]) -> dict[str, Any]:
        """Stored arrays to the fields ``Lambda, B, C, C_reverse, D, log_step``, in float64."""
        ...

    def encode(self, fields: Mapping[str, Any], dtype: np.dtype[Any]) -> Arrays:
        """Fields to stored arrays of the real type `dtype`."""
        ...

    def select(self, raw: Arrays, index: Array) -> Arrays:
        """Stored arrays of the states `index`, bit for bit."""
        ...

    def as_changed(self, raw: Arrays, dtype: np.dtype[Any]) -> Arrays:
        """The same layer by the arrays that are written of a changed one; the arrays themselves nearly everywhere."""
        ...

    def remarks(self, raw: Mapping[str, Array]) -> dict[str, float]:
        """What a reader should know of how these arrays became the fields; empty where they are the fields."""
        ...


class Recognized:
    """What most formats do: the stated options choose, and all keys must be there."""

    name: str
    keys: tuple[str, ...]
    beside: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    complex_keys: tuple[str, ...] = ()
    fixed: Mapping[str, Any] = {}
    stated: Mapping[str, Any] = {}
    usual: Mapping[str, Any] = {}
    question: str = ""
    discretizations: tuple[str, ...] = ()
    ambiguity: str = ""
    stores_fields: bool = False
    projects: bool = True
    real_outputs: bool = False
    feeds_through: bool = True

    @property
    def written_as(self) -> str:
        """See :class:`LayerFormat`."""
        return self.name

    def recognizes(self, raw: Mapping[str, Array], options: Mapping[str, Any]) -> bool:
        """See :class:`LayerFormat`."""
        given = {**self.usual, **{key: value for key, value in options.items() if value is not None}}
        return all(given.get(key) == value for key, value in self.stated.items())

    def presumed(self, raw: Mapping[str, Array], place: str) -> Mapping[str, Any]:
        """See :class:`LayerFormat`."""
        return {}

    def missing(self, raw: Mapping[str, Array]) -> list[str]:
        """See :class:`LayerFormat`."""
        return [key for key in self.keys if key not in raw]

    def as_changed(self, raw: Arrays, dtype: np.dtype[Any]) -> Arrays:
        """See :class:`LayerFormat`."""
        return raw

    def remarks(self, raw: Mapping[str, Array]) -> dict[str, float]:
        """See :class:`LayerFormat`."""
        return {}


def paired(pair: Array) -> Array:
    """``(..., 2)`` real pairs to complex128."""
    wide = pair.astype(np.float64)
    return wide[..., 0] + 1j * wide[..., 1]


def pairs(value: Array, dtype: np.dtype[Any]) -> Array:
    """Complex to ``(..., 2)`` real pairs."""
    return np.stack([value.real, value.imag], axis=-1).astype(dtype)


def aligned(B: Array, C: Array, dtype: np.dtype[Any]) -> tuple[Array, Array, float]:
    """Turn each state so that its row of B is real, C against it; also by how much of its size a row is not.

    Imaginary parts below the rounding of `dtype` are none. The largest entry of a row says by how much it is turned.
    """
    size = np.abs(B).max(axis=1, keepdims=True, initial=0.0)
    largest = np.take_along_axis(B, np.abs(B).argmax(axis=1)[:, None], axis=1) if B.shape[1] else size
    turn = np.where(size > 0, np.where(size > 0, largest, 1.0) / np.where(size > 0, size, 1.0), 1.0)
    turned = np.where(B.imag.any(axis=1, keepdims=True), B * turn.conj(), B)
    against = np.where(B.imag.any(axis=1), C * turn[:, 0], C)
    room = 8.0 * float(np.finfo(complex_type(dtype)).eps)
    against = np.where(np.abs(against.imag) <= room * np.abs(against).max(initial=0.0), against.real, against)
    part = np.abs(turned.imag) / np.where(size > 0, size, 1.0)
    miss = float(part.max(initial=0.0))
    return turned, against.astype(complex), miss if miss > room else 0.0


def complex_type(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The complex type that holds numbers of a real one: complex64 for float32 and shorter."""
    return np.dtype(np.complex64 if dtype.itemsize <= 4 else np.complex128)


def expect(key: str, array: Array, *shape: int | None) -> Array:
    """Check a shape; ``None`` accepts any length."""
    if array.ndim != len(shape) or any(
        want is not None and want != got for want, got in zip(shape, array.shape, strict=True)
    ):
        if all(size is None for size in shape):
            raise DimensionError(
                f"{key} must have {len(shape)} {'axis' if len(shape) == 1 else 'axes'}", **{key: array.shape}
            )
        wanted = "(" + ", ".join("any" if s is None else str(s) for s in shape) + ")"
        raise DimensionError(f"{key} must have shape {wanted}", **{key: array.shape})
    return array


def negative_real(Lambda: Array, title: str) -> Array:
    """``-Re(Lambda)``, which some formats store as a logarithm."""
    decay = -Lambda.real
    if not (decay > 0).all():
        raise InputError(
            f"{title} stores log(-Re(Lambda)), so every Re(Lambda) must be negative; the largest is {-decay.min():.3g}"
        )
    return decay


def take(array: Array, index: Array, axis: int) -> Array:
    """Select states along `axis`: one index for all, or one row (column) of `index` a channel."""
    if index.ndim == 1:
        return np.take(array, index, axis=axis)
    return np.take_along_axis(array, index, axis=axis)
