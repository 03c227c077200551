"""The systems that are timed: layers of the shapes and pole patterns that S5 and S4D have, drawn from a seed."""

from __future__ import annotations

from typing import Any

import numpy as np

from theory.systems.discrete_modes import zero_order_hold
from theory.systems.system import DiagonalStateSpace


def hippo_eigenvalues(size: int) -> np.ndarray:
    """Eigenvalues with positive imaginary part of HiPPO-LegS's normal part (what S5 and S4D-LegS start from)."""
    row = np.sqrt(2.0 * np.arange(2 * size) + 1.0)
    A = -0.5 * np.outer(row, row)
    skew = np.tril(A, -1) - np.triu(A, 1)
    values = np.linalg.eigvalsh(-1j * skew)
    return -0.5 + 1j * np.sort(values)[size:]


def s5(states: int, width: int, seed: int, blocks: int = 4, *, bidirectional: bool = False) -> DiagonalStateSpace:
    """Draw an S5 layer: HiPPO blocks whose poles have moved as in training, zero-order hold, steps 1e-3 to 1e-1."""
    rng = np.random.default_rng(seed)
    blocks = blocks if states % blocks == 0 else 1
    poles = np.tile(hippo_eigenvalues(states // blocks), blocks)
    poles = poles.real * np.exp(0.5 * rng.normal(size=states)) + 1j * poles.imag * np.exp(0.1 * rng.normal(size=states))
    B = _gaussian(rng, states, width) / np.sqrt(2 * width)
    C = _gaussian(rng, width, states) / np.sqrt(2 * states)
    step = np.exp(rng.uniform(np.log(1e-3), np.log(1e-1), states))
    discrete, B_bar, _ = zero_order_hold(poles, B, step)
    D = np.diag(rng.normal(size=width))
    reverse = _gaussian(rng, width, states) / np.sqrt(2 * states) if bidirectional else None
    return DiagonalStateSpace(discrete, B_bar, C, D, delay=0, delay_reverse=0, C_reverse=reverse)


def s4d(channels: int, pairs: int, seed: int, *, bidirectional: bool = False) -> DiagonalStateSpace:
    """Draw an S4D-Lin layer whose poles have moved as in training, zero-order hold, steps 1e-3 to 1e-1."""
    rng = np.random.default_rng(seed)
    shape = (channels, pairs)
    poles = -0.5 * np.exp(0.5 * rng.normal(size=shape)) + 1j * np.pi * np.arange(pairs) * np.exp(
        0.1 * rng.normal(size=shape)
    )
    step = np.exp(rng.uniform(np.log(1e-3), np.log(1e-1), (channels, 1)))
    discrete = np.exp(poles * step)
    B = ((discrete - 1.0) / poles)[..., None]
    C = _gaussian(rng, channels, 1, pairs) * np.sqrt(0.5)
    reverse = _gaussian(rng, channels, 1, pairs) * np.sqrt(0.5) if bidirectional else None
    D = rng.normal(size=(channels, 1, 1))
    return DiagonalStateSpace(discrete, B, C, D, delay=0, delay_reverse=1, C_reverse=reverse)


def _gaussian(rng: np.random.Generator, *shape: int) -> Any:
    return rng.normal(size=shape) + 1j * rng.normal(size=shape)
