"""Any of the formats with pairs ``(..., 2)``, its pairs stored as complex arrays, as ``view_as_complex`` makes them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ssmreduce.layers.formats.layer_format import Array, Arrays, LayerFormat, Recognized, complex_type
from ssmreduce.layers.formats.s4d_jax import AnnotatedS4D
from ssmreduce.layers.formats.s4d_minimal import MinimalS4D
from ssmreduce.layers.formats.s4d_torch import TRANSFORMS, Version4, Version4Exp
from ssmreduce.layers.formats.s5 import ReferenceS5, WideS5


class ComplexArrays(Recognized):
    """A format around another one: pairs become complex arrays on the way out, and back on the way in, bit for bit."""

    def __init__(self, plain: LayerFormat, complex_keys: tuple[str, ...]) -> None:
        self.plain, self.complex_keys = plain, complex_keys
        self.name, self.kind, self.title = f"{plain.name}-complex", plain.kind, f"{plain.title}, complex arrays"
        self.anchor, self.keys, self.optional = plain.anchor, plain.keys, plain.optional
        self.fixed, self.stated, self.question = plain.fixed, plain.stated, plain.question
        self.usual, self.discretizations, self.ambiguity = plain.usual, plain.discretizations, plain.ambiguity
        self.stores_fields = plain.stores_fields

    def recognizes(self, raw: Mapping[str, Array], options: Mapping[str, Any]) -> bool:
        """Whether all that could be complex is."""
        there = [raw[key] for key in self.complex_keys if key in raw]
        is_complex = bool(there) and all(array.dtype.kind == "c" for array in there)
        return is_complex and self.plain.recognizes(self._pairs(raw), options)

    def presumed(self, raw: Mapping[str, Array], place: str) -> Mapping[str, Any]:
        """See :class:`LayerFormat`."""
        return self.plain.presumed(raw, place)

    def missing(self, raw: Mapping[str, Array]) -> list[str]:
        """See :class:`LayerFormat`."""
        return self.plain.missing(self._pairs(raw))

    def decode(self, raw: Mapping[str, Array]) -> dict[str, Any]:
        """See :class:`LayerFormat`."""
        return self.plain.decode(self._pairs(raw))

    def encode(self, fields: Mapping[str, Any], dtype: np.dtype[Any]) -> Arrays:
        """See :class:`LayerFormat`."""
        real = complex_type(dtype).type(0).real.dtype  # there is no complex type of 16 bits
        return self._complex(self.plain.encode(fields, real))

    def select(self, raw: Arrays, index: Array) -> Arrays:
        """See :class:`LayerFormat`."""
        return self._complex(self.plain.select(self._pairs(raw), index))

    def _pairs(self, raw: Mapping[str, Array]) -> Arrays:
        return {
            key: np.stack([value.real, value.imag], axis=-1) if key in self.complex_keys else value
            for key, value in raw.items()
        }

    def _complex(self, raw: Arrays) -> Arrays:
        return {
            key: np.ascontiguousarray(value).view(complex_type(value.dtype))[..., 0]
            if key in self.complex_keys
            else value
            for key, value in raw.items()
        }


FORMATS = (
    *(ComplexArrays(form, ("B", "C", "C1", "C2")) for form in (ReferenceS5(), WideS5())),
    ComplexArrays(MinimalS4D(), ("kernel.C",)),
    *(ComplexArrays(form(real), ("kernel.B", "kernel.C")) for real in TRANSFORMS for form in (Version4, Version4Exp)),
    ComplexArrays(AnnotatedS4D(), ("C",)),
)
