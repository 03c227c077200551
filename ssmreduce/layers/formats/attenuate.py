r"""aTENNuate's layers (PyTorch, speech enhancement): complex poles between a real B and a real C, no D.

:math:`\lambda=-\mathrm{softplus}(A_0)+iA_1`, :math:`\bar\lambda=e^{d\lambda}`, :math:`\bar B=dB` (neither a hold nor
the bilinear rule), output :math:`\Re(Cx_k)`. Every mode has a real residue :math:`cb^\top`, and a reduced system has
complex ones, so that states can be kept and no other system be written back.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ssmreduce.layers.formats.layer_format import (
    Array,
    Arrays,
    NotClosedError,
    Recognized,
    aligned,
    expect,
    negative_real,
)
from theory.errors import InputError


class Attenuate(Recognized):
    """See :class:`LayerFormat`; as a layer of S5's family, B holds the step already: ``dirac``."""

    name, kind, title = "attenuate", "s5", "aTENNuate"
    anchor, beside = "log_dt", ("A", "B", "C")
    keys = ("A", "B", "C", "log_dt")
    projects, real_outputs, feeds_through = False, True, False
    fixed: Mapping[str, Any] = {
        "conj_sym": False, "clip_eigs": False, "discretization": "dirac", "delay": 0, "step_rescale": 1.0,
    }  # fmt: skip

    def recognizes(self, raw: Mapping[str, Array], options: Mapping[str, Any]) -> bool:
        """Tell by the real C."""
        return raw["C"].ndim == 2

    def decode(self, raw: Mapping[str, Array]) -> dict[str, Any]:
        """See :class:`LayerFormat`."""
        Lambda, log_step = poles(raw)
        B = expect("B", raw["B"], Lambda.size, None).astype(np.float64)
        C = expect("C", raw["C"], None, Lambda.size).astype(np.float64)
        m, p = B.shape[1], C.shape[0]
        return {
            "Lambda": Lambda,
            "B": (np.exp(log_step)[:, None] * B).astype(complex),
            "C": C.astype(complex),
            "C_reverse": None,
            "D": np.zeros(m) if m == p else np.zeros((p, m)),
            "log_step": log_step,
        }

    def encode(self, fields: Mapping[str, Any], dtype: np.dtype[Any]) -> Arrays:
        """See :class:`LayerFormat`."""
        if fields["C_reverse"] is not None or np.any(fields["D"]):
            raise InputError("a layer of aTENNuate has one direction and no D: D must be 0")
        B, C, miss = aligned(fields["B"], fields["C"], dtype)
        if np.any(C.imag):
            miss = max(miss, float(np.abs(C.imag).max() / np.abs(C).max()))
        if miss:
            raise NotClosedError(
                "a layer of aTENNuate has a real B and a real C, so the residue of each of its modes is real; the "
                f"system has complex ones, by up to {miss:.2g} of their size"
            )
        return stored_poles(fields, dtype) | {
            "B": (B.real / np.exp(fields["log_step"])[:, None]).astype(dtype),
            "C": C.real.astype(dtype),
        }

    def select(self, raw: Arrays, index: Array) -> Arrays:
        """See :class:`LayerFormat`."""
        return {key: raw[key][index] for key in ("A", "B", "log_dt")} | {"C": raw["C"][:, index]}


def poles(raw: Mapping[str, Array]) -> tuple[Array, Array]:
    """Eigenvalues and log-steps of ``A`` (N, 2), inverse softplus of the decay and frequency, and ``log_dt``."""
    A = expect("A", raw["A"], None, 2).astype(np.float64)
    log_step = expect("log_dt", raw["log_dt"], len(A)).astype(np.float64)
    return -np.logaddexp(0.0, A[:, 0]) + 1j * A[:, 1], log_step


def stored_poles(fields: Mapping[str, Any], dtype: np.dtype[Any]) -> Arrays:
    """``A`` and ``log_dt`` of a layer."""
    decay = negative_real(fields["Lambda"], "this code")
    A = np.stack([decay + np.log(-np.expm1(-decay)), fields["Lambda"].imag], axis=-1)
    return {"A": A.astype(dtype), "log_dt": fields["log_step"].astype(dtype)}


FORMATS = (Attenuate(),)
