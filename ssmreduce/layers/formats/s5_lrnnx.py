r"""S5 of lrnnx (PyTorch, the time-invariant one): a real B, C in pairs, a dense D that is applied from the right.

Poles as :mod:`ssmreduce.layers.formats.attenuate` has them, with a zero-order hold or, as event-ssm, B as it is; output
:math:`\Re(Cx_k)+D^\top u_k`. Of several inputs, B of a reduced system is complex, so that states can be kept and no
other system be written back; of a single input every system can, its phase going into C.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ssmreduce.layers.formats.attenuate import poles, stored_poles
from ssmreduce.layers.formats.layer_format import (
    Array,
    Arrays,
    NotClosedError,
    Recognized,
    aligned,
    expect,
    paired,
    pairs,
)
from theory.errors import InputError


class LrnnxS5(Recognized):
    """See :class:`LayerFormat`."""

    name, kind, title = "s5-lrnnx", "s5", "S5 (lrnnx)"
    anchor, beside = "log_dt", ("A", "B", "C", "D")
    keys = ("A", "B", "C", "D", "log_dt")
    projects = False
    fixed: Mapping[str, Any] = {"conj_sym": False, "clip_eigs": False, "delay": 0}
    discretizations: tuple[str, ...] = ("zoh", "dirac")
    ambiguity = " (lrnnx: as configured; its 'bilinear' has a sign reversed, and poles outside of the circle)"

    def recognizes(self, raw: Mapping[str, Array], options: Mapping[str, Any]) -> bool:
        """Tell by C in pairs."""
        return raw["C"].ndim == 3 and raw["A"].ndim == 2

    def decode(self, raw: Mapping[str, Array]) -> dict[str, Any]:
        """See :class:`LayerFormat`."""
        Lambda, log_step = poles(raw)
        B = expect("B", raw["B"], Lambda.size, None).astype(np.float64)
        H = B.shape[1]
        return {
            "Lambda": Lambda,
            "B": B.astype(complex),
            "C": paired(expect("C", raw["C"], H, Lambda.size, 2)),
            "C_reverse": None,
            "D": expect("D", raw["D"], H, H).astype(np.float64).T,
            "log_step": log_step,
        }

    def encode(self, fields: Mapping[str, Any], dtype: np.dtype[Any]) -> Arrays:
        """See :class:`LayerFormat`."""
        if fields["C_reverse"] is not None:
            raise InputError("S5 of lrnnx has no reverse direction")
        expect("D", fields["D"], fields["C"].shape[0], fields["B"].shape[1])
        B, C, miss = aligned(fields["B"], fields["C"], dtype)
        if miss:
            raise NotClosedError(
                f"S5 of lrnnx has a real B; the system has a complex one, by up to {miss:.2g} of its size, which no "
                "change of coordinates makes real"
            )
        return stored_poles(fields, dtype) | {
            "B": B.real.astype(dtype),
            "C": pairs(C, dtype),
            "D": fields["D"].T.astype(dtype),
        }

    def select(self, raw: Arrays, index: Array) -> Arrays:
        """See :class:`LayerFormat`."""
        rows = {key: raw[key][index] for key in ("A", "B", "log_dt")}
        return raw | rows | {"C": raw["C"][:, index]}


FORMATS = (LrnnxS5(),)
