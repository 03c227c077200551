r"""The LRU in its spellings: poles in polar form; B and C in parts and a diagonal D, or complex and a dense D.

The poles are stored in discrete time, :math:`\bar\lambda=e^{-e^\nu+ie^\theta}`, with the input matrix
:math:`e^\gamma(B_{re}+iB_{im})`; output :math:`\Re(Cx_k)+Du_k` of the updated state,
or in neural-ssm :math:`\Re(Cx_{k-1})+Du_k`, of the state before it. As a layer of S5's family:
:math:`\Lambda=\log\bar\lambda`, a step of 1, zero-order hold.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ssmreduce.layers.formats.layer_format import Array, Arrays, Recognized, complex_type, expect, negative_real
from theory.errors import InputError
from theory.systems.discrete_modes import zero_order_hold


class SplitLRU(Recognized):
    """See :class:`LayerFormat`."""

    name, kind, title = "lru", "s5", "LRU (discretax, linax, lrnnx, minimal-LRU)"
    anchor = "nu_log"
    keys = ("nu_log", "theta_log", "gamma_log", "B_re", "B_im", "C_re", "C_im", "D")
    fixed: Mapping[str, Any] = {"conj_sym": False, "clip_eigs": False, "discretization": "zoh", "step_rescale": 1.0}

    def recognizes(self, raw: Mapping[str, Array], options: Mapping[str, Any]) -> bool:
        """Tell by the name of B."""
        return not {"B", "Bp"} & raw.keys()

    def decode(self, raw: Mapping[str, Array]) -> dict[str, Any]:
        """See :class:`LayerFormat`."""
        Lambda, gain = _polar(raw)
        N = Lambda.size
        B_re = expect("B_re", raw["B_re"], N, None)
        H = B_re.shape[1]
        B_im, C_re = expect("B_im", raw["B_im"], N, H), expect("C_re", raw["C_re"], H, N)
        C_im = expect("C_im", raw["C_im"], H, N)
        return {
            "Lambda": Lambda,
            "B": gain * (B_re.astype(np.float64) + 1j * B_im.astype(np.float64)),
            "C": C_re.astype(np.float64) + 1j * C_im.astype(np.float64),
            "C_reverse": None,
            "D": expect("D", raw["D"], H).astype(np.float64),
            "log_step": np.zeros(N),
        }

    def encode(self, fields: Mapping[str, Any], dtype: np.dtype[Any]) -> Arrays:
        """See :class:`LayerFormat`; an angle of 0, whose logarithm does not exist, is written as 2 pi."""
        polar, B = _encoded(fields, dtype)
        return polar | {
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


class DenseLRU(Recognized):
    """B and C complex, D dense and rectangular: LRU-pytorch, forgi86's lru-reduction."""

    name, kind, title = "lru-dense", "s5", "LRU (LRU-pytorch, lru-reduction)"
    anchor, B = "nu_log", "B"
    keys = ("nu_log", "theta_log", "gamma_log", "B", "C", "D")
    complex_keys = ("B", "C")
    fixed: Mapping[str, Any] = {**SplitLRU.fixed, "delay": 0}

    def recognizes(self, raw: Mapping[str, Array], options: Mapping[str, Any]) -> bool:
        """Tell by the name of B."""
        return self.B in raw

    def decode(self, raw: Mapping[str, Array]) -> dict[str, Any]:
        """See :class:`LayerFormat`."""
        Lambda, gain = _polar(raw)
        B = expect(self.B, raw[self.B], Lambda.size, None)
        C = expect("C", raw["C"], None, Lambda.size)
        return {
            "Lambda": Lambda,
            "B": gain * B.astype(np.complex128),
            "C": C.astype(np.complex128),
            "C_reverse": None,
            "D": expect("D", raw["D"], C.shape[0], B.shape[1]).astype(np.float64),
            "log_step": np.zeros(Lambda.size),
        }

    def encode(self, fields: Mapping[str, Any], dtype: np.dtype[Any]) -> Arrays:
        """See :class:`LayerFormat`; an angle of 0, whose logarithm does not exist, is written as 2 pi."""
        polar, B = _encoded(fields, dtype)
        wide = complex_type(dtype)
        return polar | {self.B: B.astype(wide), "C": fields["C"].astype(wide), "D": fields["D"].astype(dtype)}

    def select(self, raw: Arrays, index: Array) -> Arrays:
        """See :class:`LayerFormat`."""
        rows = {key: raw[key][index] for key in ("nu_log", "theta_log", "gamma_log", self.B)}
        return raw | rows | {"C": raw["C"][:, index]}


class DelayedLRU(DenseLRU):
    """The output from the state before the update: neural-ssm."""

    name, title, B = "lru-delayed", "LRU (neural-ssm, param=lru; its output sees the state before the update)", "Bp"
    keys = ("nu_log", "theta_log", "gamma_log", "Bp", "C", "D")
    complex_keys = ("Bp", "C")
    fixed: Mapping[str, Any] = {**SplitLRU.fixed, "delay": 1}


def _polar(raw: Mapping[str, Array]) -> tuple[Array, Array]:
    """``log(pole)`` (N,), and what the stored rows of B are multiplied by to be the field, (N, 1)."""
    nu = expect("nu_log", raw["nu_log"], None).astype(np.float64)
    theta = expect("theta_log", raw["theta_log"], nu.size).astype(np.float64)
    gamma = expect("gamma_log", raw["gamma_log"], nu.size).astype(np.float64)
    Lambda = -np.exp(nu) + 1j * np.exp(theta)
    return Lambda, np.exp(gamma)[:, None] / _gain(Lambda)


def _encoded(fields: Mapping[str, Any], dtype: np.dtype[Any]) -> tuple[Arrays, Array]:
    """The stored poles, and the rows of B as stored, complex; ``gamma_log = log sqrt(1 - |pole|^2)`` as they start."""
    if fields["C_reverse"] is not None:
        raise InputError("the LRU has no reverse direction")
    scaled = fields["Lambda"] * np.exp(fields["log_step"])
    decay = negative_real(scaled, "the LRU")
    angle = np.mod(scaled.imag, 2.0 * np.pi)
    gamma = 0.5 * np.log(-np.expm1(-2.0 * decay))
    polar = {
        "nu_log": np.log(decay).astype(dtype),
        "theta_log": np.log(np.where(angle > 0, angle, 2.0 * np.pi)).astype(dtype),
        "gamma_log": gamma.astype(dtype),
    }
    return polar, fields["B"] * np.exp(fields["log_step"])[:, None] * _gain(scaled) / np.exp(gamma)[:, None]


def _gain(Lambda: Array) -> Array:
    """What a zero-order hold of step 1 multiplies the rows of B by, (N, 1)."""
    return zero_order_hold(Lambda, np.ones((*Lambda.shape, 1)), np.ones(Lambda.shape)).B


FORMATS = (SplitLRU(), DenseLRU(), DelayedLRU())
