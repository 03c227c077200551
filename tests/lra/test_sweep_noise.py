"""The sweep's H2 errors, against the energy of dense realizations by SciPy's Lyapunov solver."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.linalg

import ssmreduce
from lra.sweep import sweep
from ssmreduce.files.shipped import shipped_checkpoint

pytestmark = pytest.mark.jax

CHECKPOINT = shipped_checkpoint("digits_s5")


def realization(system: Any) -> tuple[np.ndarray, ...]:
    """``A, B, C, D`` over the state ``[x; conj x]`` before the sample; y_t = 2 Re(C x_t) + D u_t of delay 0."""
    A = np.diag(np.concatenate([system.poles, system.poles.conj()]))
    B = np.concatenate([system.B, system.B.conj()])
    C = np.concatenate([system.C, system.C.conj()], axis=1)
    return A, B, C @ A, (C @ B).real + system.D


def energy(A: np.ndarray, B: np.ndarray, C: np.ndarray, D: np.ndarray) -> float:
    P = scipy.linalg.solve_discrete_lyapunov(A, B @ B.conj().T)
    return float(np.sqrt(np.trace(C @ P @ C.conj().T).real + np.sum(D**2)))


def test_h2_errors_are_the_energy_of_the_error() -> None:
    model = ssmreduce.load(CHECKPOINT)
    found = sweep(CHECKPOINT, methods=("last", "balanced"), ratios=(0.0, 0.5), examples=2, recorded=4)
    for row in found.rows:
        if row.ratio == 0:
            assert row.h2_error == 0
            continue
        smaller = ssmreduce.reduce_model(model, row.ratio, row.method, "uniform")
        shares = []
        for whole, reduced, told in zip(model.layers, smaller.layers, row.layers, strict=True):
            A, B, C, D = realization(whole.system)
            Ar, Br, Cr, Dr = realization(reduced.system)
            error = energy(scipy.linalg.block_diag(A, Ar), np.vstack([B, Br]), np.hstack([C, -Cr]), D - Dr)
            shares.append(error / energy(A, B, C, D))
            assert told["h2_error"] == pytest.approx(shares[-1], rel=1e-6)
        assert row.h2_error == pytest.approx(max(shares), rel=1e-6)
