"""S4D of discretax and linax: the minimal S4D with a complex C, another name for the decay, and no D."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ssmreduce.layers.formats.layer_format import Array, Arrays, complex_type, expect, pairs
from ssmreduce.layers.formats.s4d_minimal import MinimalS4D
from theory.errors import InputError

_DECAY, _THEIRS = "kernel.log_A_real", "kernel.log_a_real"


class DiscretaxS4D(MinimalS4D):
    """See :class:`LayerFormat`."""

    name, title = "s4d-discretax", "S4D (discretax, linax)"
    anchor = _THEIRS
    keys = ("kernel.C", "kernel.log_dt", _THEIRS, "kernel.A_imag")
    optional = ()
    feeds_through = False
    complex_keys = ("kernel.C",)

    def decode(self, raw: Mapping[str, Array]) -> dict[str, Any]:
        """See :class:`LayerFormat`."""
        C = expect("kernel.C", raw["kernel.C"], None, None)
        plain = {key: value for key, value in raw.items() if key != _THEIRS}
        return super().decode(plain | {"kernel.C": pairs(C, np.dtype(np.float64)), _DECAY: raw[_THEIRS]})

    def encode(self, fields: Mapping[str, Any], dtype: np.dtype[Any]) -> Arrays:
        """See :class:`LayerFormat`."""
        if np.any(fields["D"]):
            raise InputError("this S4D has no D, so D must be 0")
        raw = super().encode(fields, dtype)
        C = (fields["B"] * fields["C"]).astype(complex_type(dtype))
        kept = {key: raw[key] for key in ("kernel.log_dt", "kernel.A_imag")}
        return kept | {"kernel.C": C, _THEIRS: raw[_DECAY]}

    def select(self, raw: Arrays, index: Array) -> Arrays:
        """See :class:`LayerFormat`."""
        C = raw["kernel.C"]
        plain = raw | {"kernel.C": np.stack([C.real, C.imag], axis=-1), _DECAY: raw[_THEIRS]}
        chosen = super().select(plain, index)
        C = np.ascontiguousarray(chosen["kernel.C"]).view(C.dtype)[..., 0]
        return {key: chosen[key] for key in ("kernel.log_dt", "kernel.A_imag")} | {
            "kernel.C": C,
            _THEIRS: chosen[_DECAY],
        }


FORMATS = (DiscretaxS4D(),)
