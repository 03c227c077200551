r"""LRU as discretax, linax, lrnnx and minimal-LRU store it: poles in polar form, B and C as real and imaginary parts.

The poles are stored in discrete time, :math:`\bar\lambda=e^{-e^\nu+ie^\theta}`, with the input matrix
:math:`e^\gamma(B_{re}+iB_{im})`; output :math:`\Re(Cx_k)+D\odot u_k` of the updated state. As a layer of S5's family:
:math:`\Lambda=\log\bar\lambda`, a step of 1, zero-order hold.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ssmreduce.layers.formats.layer_format import Array, Arrays, Recognized, expect, negative_real
from theory.errors import InputError
from theory.systems.discretization import zero_order_hold


class SplitLRU(Recognized):
    """See :class:`LayerFormat`."""

    name, kind, title = "lru", "s5", "LRU (discretax, linax, lrnnx, minimal-LRU)"
    anchor = "nu_log"
    keys = ("nu_log", "theta_log", "gamma_log", "B_re", "B_im", "C_re", "C_im", "D")
    fixed: Mapping[str, Any] = {"conj_sym": False, "clip_eigs": False, "discretization": "zoh", "step_rescale": 1.0}

    def missing(self, raw: Mapping[str, Array]) -> list[str]:
        """What the layer lacks; the spellings with complex arrays and a dense D are named."""
        lacking = super().missing(raw)
        if lacking and ("B" in raw or "Bp" in raw):
            raise InputError(
                "this is an LRU layer with a complex B and a dense D, as LRU-pytorch and neural-ssm store it; only the "
                "spelling with B_re, B_im, C_re, C_im and a diagonal D is read"
            )
        return lacking

    def decode(self, raw: Mapping[str, Array]) -> dict[str, Any]:
        """See :class:`LayerFormat`."""
        nu = expect("nu_log", raw["nu_log"], None).astype(np.float64)
        N = nu.shape[0]
        theta = expect("theta_log", raw["theta_log"], N).astype(np.float64)
        gamma = expect("gamma_log", raw["gamma_log"], N).astype(np.float64)
        B_re = expect("B_re", raw["B_re"], N, None)
        H = B_re.shape[1]
        B_im, C_re = expect("B_im", raw["B_im"], N, H), expect("C_re", raw["C_re"], H, N)
        C_im = expect("C_im", raw["C_im"], H, N)
        Lambda = -np.exp(nu) + 1j * np.exp(theta)
        B = np.exp(gamma)[:, None] * (B_re.astype(np.float64) + 1j * B_im.astype(np.float64))
        return {
            "Lambda": Lambda,
            "B": B / _gain(Lambda),
            "C": C_re.astype(np.float64) + 1j * C_im.astype(np.float64),
            "C_reverse": None,
            "D": expect("D", raw["D"], H).astype(np.float64),
            "log_step": np.zeros(N),
        }

    def encode(self, fields: Mapping[str, Any], dtype: np.dtype[Any]) -> Arrays:
        """See :class:`LayerFormat`; an angle of 0, whose logarithm does not exist, is written as 2 pi."""
        if fields["C_reverse"] is not None:
            raise InputError("the LRU has no reverse direction")
        scaled = fields["Lambda"] * np.exp(fields["log_step"])
        decay = negative_real(scaled, "the LRU")
        angle = np.mod(scaled.imag, 2.0 * np.pi)
        gamma = 0.5 * np.log(-np.expm1(-2.0 * decay))  # log sqrt(1 - |pole|^2)
        B = fields["B"] * np.exp(fields["log_step"])[:, None] * _gain(scaled) / np.exp(gamma)[:, None]
        return {
            "nu_log": np.log(decay).astype(dtype),
            "theta_log": np.log(np.where(angle > 0, angle, 2.0 * np.pi)).astype(dtype),
            "gamma_log": gamma.astype(dtype),
            "B_re": B.real.astype(dtype),
            "B_im": B.imag.astype(dtype),
            "C_re": fields["C"].real.astype(dtype),
            "C_im": fields["C"].imag.astype(dtype),
            "D": fields["D"].astype(dtype),
        }

    def select(self, raw: Arrays, index: Array) -> Arrays:
        """See :class:`LayerFormat`."""
        rows = {key: raw[key][index] for key in ("nu_log", "theta_log", "gamma_log", "B_re", "B_im")}
        return raw | rows | {key: raw[key][:, index] for key in ("C_re", "C_im")}


def _gain(Lambda: Array) -> Array:
    """What a zero-order hold of step 1 multiplies the rows of B by, (N, 1)."""
    return zero_order_hold(Lambda, np.ones((*Lambda.shape, 1)), np.ones(Lambda.shape)).B


FORMATS = (SplitLRU(),)
