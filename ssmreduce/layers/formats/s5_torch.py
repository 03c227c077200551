r"""s5-pytorch: ``Lambda`` and ``C`` complex, ``B`` as real pairs, all modes stored, output :math:`\Re(Cx)`.

The reverse direction is in the second half of C's columns. ``step_scale`` is `step_rescale`; ``S5`` and ``S5Block``
hold the input (zoh), a bare ``S5SSM`` may be bilinear.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ssmreduce.layers.formats.layer_format import Array, Arrays, Recognized, complex_type, expect, paired, pairs
from ssmreduce.layers.formats.s5 import is_sequence
from theory.errors import DimensionError


class TorchS5(Recognized):
    """See :class:`LayerFormat`."""

    name, kind, title = "s5-torch", "s5", "S5 (s5-pytorch)"
    anchor, beside = "Lambda", ("B", "log_step")
    keys = ("Lambda", "B", "C", "D", "log_step")
    complex_keys = ("Lambda", "C")
    fixed: Mapping[str, Any] = {"conj_sym": False, "clip_eigs": False}
    discretizations: tuple[str, ...] = ("zoh", "bilinear")
    ambiguity = " (S5 and S5Block of s5-pytorch are always 'zoh', and lie under 'seq'; a bare S5SSM may be either)"
    stores_fields = True

    def presumed(self, raw: Mapping[str, Array], place: str) -> Mapping[str, Any]:
        """``S5`` and ``S5Block`` hold the input."""
        return {"discretization": "zoh"} if is_sequence(place) else {}

    def decode(self, raw: Mapping[str, Array]) -> dict[str, Any]:
        """See :class:`LayerFormat`."""
        Lambda = expect("Lambda", raw["Lambda"], None).astype(np.complex128)
        P = Lambda.size
        B = expect("B", raw["B"], P, None, 2)
        H, both = B.shape[1], raw["C"]
        if both.ndim != 2 or both.shape[0] != H or both.shape[1] not in (P, 2 * P):
            raise DimensionError(f"C must have shape ({H}, {P}), or ({H}, {2 * P}) when bidirectional", C=both.shape)
        C = both.astype(np.complex128)
        return {
            "Lambda": Lambda,
            "B": paired(B),
            "C": C[:, :P],
            "C_reverse": C[:, P:] if both.shape[1] == 2 * P and P else None,
            "D": expect("D", raw["D"], H).astype(np.float64),
            "log_step": expect("log_step", raw["log_step"], P).astype(np.float64),
        }

    def encode(self, fields: Mapping[str, Any], dtype: np.dtype[Any]) -> Arrays:
        """See :class:`LayerFormat`."""
        both = [fields["C"]] if fields["C_reverse"] is None else [fields["C"], fields["C_reverse"]]
        wide = complex_type(dtype)
        return {
            "Lambda": fields["Lambda"].astype(wide),
            "B": pairs(fields["B"], dtype),
            "C": np.concatenate(both, axis=1).astype(wide),
            "D": fields["D"].astype(dtype),
            "log_step": fields["log_step"].astype(dtype),
        }

    def select(self, raw: Arrays, index: Array) -> Arrays:
        """See :class:`LayerFormat`."""
        P = raw["Lambda"].shape[0]
        columns = np.concatenate([index, index + P]) if raw["C"].shape[1] == 2 * P else index
        rows = {key: raw[key][index] for key in ("Lambda", "B", "log_step")}
        return raw | rows | {"C": raw["C"][:, columns]}


FORMATS = (TorchS5(),)
