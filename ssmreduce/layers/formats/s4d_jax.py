"""S4D of the Annotated S4 (JAX): states on the first axis, all of them stored, output the real part."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ssmreduce.layers.formats.layer_format import Array, Arrays, Recognized, expect, paired, pairs, take
from theory.errors import InputError


class AnnotatedS4D(Recognized):
    """See :class:`LayerFormat`."""

    name, kind, title = "s4d-jax", "s4d", "S4D (JAX, Annotated S4)"
    anchor = "A_re"
    keys: tuple[str, ...] = ("A_re", "A_im", "C", "D", "log_step")
    optional: tuple[str, ...] = ("B_re", "B_im")
    fixed: Mapping[str, Any] = {"conj_sym": False, "clip_eigs": True, "discretization": "zoh"}

    def decode(self, raw: Mapping[str, Array]) -> dict[str, Any]:
        """See :class:`LayerFormat`."""
        real = expect("A_re", raw["A_re"], None, None)
        N, H = real.shape
        imag = expect("A_im", raw["A_im"], N, H)
        C = paired(expect("C", raw["C"], N, H, 2))
        for key in ("B_re", "B_im"):  # not used by the kernel, and cut with the states
            if key in raw:
                expect(key, raw[key], N, H)
        return {
            "Lambda": (real.astype(np.float64) + 1j * imag.astype(np.float64)).T,
            "B": np.ones((H, N), complex),
            "C": C.T,
            "C_reverse": None,
            "D": expect("D", raw["D"], 1, H).astype(np.float64)[0],
            "log_step": expect("log_step", raw["log_step"], 1, H).astype(np.float64).T,
        }

    def encode(self, fields: Mapping[str, Any], dtype: np.dtype[Any]) -> Arrays:
        """See :class:`LayerFormat`."""
        if fields["C_reverse"] is not None:
            raise InputError("the Annotated S4D has no reverse direction")
        if fields["log_step"].shape[1] != 1:
            raise InputError("the Annotated S4D has one step size a channel")
        Lambda = fields["Lambda"].T
        return {
            "A_re": Lambda.real.astype(dtype),
            "A_im": Lambda.imag.astype(dtype),
            "B_re": np.ones(Lambda.shape, dtype),  # stored by that code, and not used by its kernel
            "B_im": np.zeros(Lambda.shape, dtype),
            "C": pairs((fields["B"] * fields["C"]).T, dtype),
            "D": fields["D"][None].astype(dtype),
            "log_step": fields["log_step"].T.astype(dtype),
        }

    def select(self, raw: Arrays, index: Array) -> Arrays:
        """See :class:`LayerFormat`."""
        columns = index if index.ndim == 1 else index.T
        states = {key: take(raw[key], columns, 0) for key in ("A_re", "A_im", "B_re", "B_im") if key in raw}
        return raw | states | {"C": np.stack([take(raw["C"][..., part], columns, 0) for part in (0, 1)], axis=-1)}


FORMATS = (AnnotatedS4D(),)
