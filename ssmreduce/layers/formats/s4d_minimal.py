"""The minimal S4D of the S4 code (PyTorch, ``models/s4/s4d.py``): B is 1, zero-order hold, one direction."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ssmreduce.layers.formats.layer_format import (
    Array,
    Arrays,
    Recognized,
    expect,
    negative_real,
    paired,
    pairs,
    take,
)
from theory.errors import InputError


class MinimalS4D(Recognized):
    """See :class:`LayerFormat`."""

    name, kind, title = "s4d-minimal", "s4d", "minimal S4D (PyTorch)"
    anchor = "kernel.log_A_real"
    keys: tuple[str, ...] = ("kernel.C", "kernel.log_dt", "kernel.log_A_real", "kernel.A_imag")
    optional: tuple[str, ...] = ("D",)
    fixed: Mapping[str, Any] = {"conj_sym": True, "clip_eigs": False, "discretization": "zoh"}

    def decode(self, raw: Mapping[str, Array]) -> dict[str, Any]:
        """See :class:`LayerFormat`."""
        C = expect("kernel.C", raw["kernel.C"], None, None, 2)
        H, N = C.shape[:2]
        decay = expect("kernel.log_A_real", raw["kernel.log_A_real"], H, N).astype(np.float64)
        imag = expect("kernel.A_imag", raw["kernel.A_imag"], H, N).astype(np.float64)
        return {
            "Lambda": -np.exp(decay) + 1j * imag,
            "B": np.ones((H, N), complex),
            "C": paired(C),
            "C_reverse": None,
            "D": expect("D", raw.get("D", np.zeros(H)), H).astype(np.float64),
            "log_step": expect("kernel.log_dt", raw["kernel.log_dt"], H).astype(np.float64)[:, None],
        }

    def encode(self, fields: Mapping[str, Any], dtype: np.dtype[Any]) -> Arrays:
        """See :class:`LayerFormat`."""
        if fields["C_reverse"] is not None:
            raise InputError("the minimal S4D has no reverse direction")
        if fields["log_step"].shape[1] != 1:
            raise InputError("the minimal S4D has one step size a channel")
        return {
            "kernel.C": pairs(fields["B"] * fields["C"], dtype),
            "kernel.log_dt": fields["log_step"][:, 0].astype(dtype),
            "kernel.log_A_real": np.log(negative_real(fields["Lambda"], "the minimal S4D")).astype(dtype),
            "kernel.A_imag": fields["Lambda"].imag.astype(dtype),
            "D": fields["D"].astype(dtype),
        }

    def select(self, raw: Arrays, index: Array) -> Arrays:
        """See :class:`LayerFormat`."""
        C = raw["kernel.C"]
        return raw | {
            "kernel.C": np.stack([take(C[..., part], index, 1) for part in (0, 1)], axis=-1),
            "kernel.log_A_real": take(raw["kernel.log_A_real"], index, 1),
            "kernel.A_imag": take(raw["kernel.A_imag"], index, 1),
        }


FORMATS = (MinimalS4D(),)
