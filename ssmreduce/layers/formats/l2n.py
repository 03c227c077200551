r"""neural-ssm's ``l2n``: a contraction from state and input to state and output, which bounds the gain by construction.

:math:`K=\hat K/(\|\hat K\|_2+\epsilon)`, with blocks :math:`\rho R(\theta)` of two by two on the diagonal of
:math:`K_{11}`; :math:`x_{k+1}=K_{11}x_k+\gamma K_{12}u_k`, :math:`y_k=K_{21}x_k+\gamma K_{22}u_k`. A block is the
multiplication of :math:`x_1+ix_2` by :math:`\rho e^{i\theta}`, so the layer is diagonal as it stands. Since the norm of
the whole divides every entry, no part of it can be left out or changed for itself: nothing is written back.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy.special import expit

from ssmreduce.layers.formats.layer_format import Array, Arrays, NotClosedError, Recognized, expect
from theory.errors import InputError

RADIUS = 1.0 - 1e-3
"""Largest modulus of an eigenvalue before the division: the constant of the code, ``1 - eps_radius``."""

CONTRACTION = 2e-3
"""What the code adds to the norm that it divides by, in version 0.44."""

OPEN = (
    "l2n divides its matrix by the norm of the whole, so that no state can be left out, and no entry changed, without "
    "all others changing"
)


class ContractingLayer(Recognized):
    """See :class:`LayerFormat`; the output sees the state before the update."""

    name, kind, title = "l2n", "s5", "l2n (neural-ssm; its output sees the state before the update)"
    anchor, beside = "rho_raw", ("theta", "K12_raw", "K21_raw", "K22_raw")
    keys = ("rho_raw", "theta", "K12_raw", "K21_raw", "K22_raw", "log_gamma")
    optional = ("S",)
    projects = False
    fixed: Mapping[str, Any] = {
        "conj_sym": True, "clip_eigs": False, "discretization": "dirac", "delay": 1, "step_rescale": 1.0,
    }  # fmt: skip

    def decode(self, raw: Mapping[str, Array]) -> dict[str, Any]:
        """See :class:`LayerFormat`; ``S`` is another basis of the same system."""
        rho = RADIUS * expit(expect("rho_raw", raw["rho_raw"], None).astype(np.float64))
        N = rho.size
        theta = expect("theta", raw["theta"], N).astype(np.float64)
        K12 = expect("K12_raw", raw["K12_raw"], 2 * N, None).astype(np.float64)
        K21 = expect("K21_raw", raw["K21_raw"], None, 2 * N).astype(np.float64)
        K22 = expect("K22_raw", raw["K22_raw"], K21.shape[0], K12.shape[1]).astype(np.float64)
        log_gamma = np.asarray(raw["log_gamma"], dtype=np.float64).ravel()
        if log_gamma.size != 1:
            raise InputError("log_gamma must be one number")
        K11 = np.zeros((2 * N, 2 * N))
        even = 2 * np.arange(N)
        K11[even, even] = K11[even + 1, even + 1] = rho * np.cos(theta)
        K11[even + 1, even] = rho * np.sin(theta)
        K11[even, even + 1] = -K11[even + 1, even]
        size = float(np.linalg.norm(np.block([[K11, K12], [K21, K22]]), 2)) + CONTRACTION
        gain = float(np.exp(log_gamma[0])) / size
        return {
            "Lambda": np.log(rho / size) + 1j * theta,
            "B": gain * (K12[0::2] + 1j * K12[1::2]),
            "C": (K21[:, 0::2] - 1j * K21[:, 1::2]) / (2.0 * size),
            "C_reverse": None,
            "D": gain * K22,
            "log_step": np.zeros(N),
        }

    def encode(self, fields: Mapping[str, Any], dtype: np.dtype[Any]) -> Arrays:
        """See :class:`LayerFormat`."""
        raise NotClosedError(OPEN)

    def select(self, raw: Arrays, index: Array) -> Arrays:
        """See :class:`LayerFormat`."""
        raise NotClosedError(OPEN)


FORMATS = (ContractingLayer(),)
