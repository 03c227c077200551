"""Hypothesis strategies: stable systems of every kind that the project takes, the nasty ones included.

Hypothesis draws the structure and a seed; NumPy draws the numbers, so that a system with thousands of entries shrinks
to a small structure quickly.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

from theory.systems.realization import dense
from theory.systems.system import DiagonalStateSpace, StateSpace

POLE_KINDS = ("spread", "near circle", "clustered", "repeated", "real", "zero", "fast")


def gaussian(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.standard_normal(shape) + 1j * rng.standard_normal(shape)


def stable_poles(
    rng: np.random.Generator, kind: str, shape: tuple[int, ...], closest: float, discrete: bool
) -> np.ndarray:
    """Poles of one kind; none closer to the stability boundary than `closest`."""
    low = np.log10(closest)
    margin = 10.0 ** rng.uniform(max(low, -3.0), -0.3, shape)
    angle = rng.uniform(-np.pi, np.pi, shape)
    if kind == "near circle":
        margin = 10.0 ** rng.uniform(low, min(low + 3.0, -0.3), shape)
    elif kind == "clustered":
        margin = margin[..., :1] * (1.0 + 0.05 * rng.uniform(0, 1, shape))
        angle = angle[..., :1] + margin * rng.uniform(-1, 1, shape)
    elif kind == "repeated":
        margin, angle = np.broadcast_to(margin[..., :1], shape).copy(), np.broadcast_to(angle[..., :1], shape).copy()
    elif kind == "real":
        angle = np.where(rng.uniform(size=shape) < 0.7, 0.0, np.pi)
    elif kind == "fast":
        margin = rng.uniform(0.7, 0.999, shape)
    if not discrete:
        return -margin + 1j * (0.0 if kind == "real" else angle)
    poles = (1.0 - margin) * np.exp(1j * angle)
    if kind == "zero":
        poles[..., ::2] = 0.0
    if kind == "real":
        poles = poles.real.astype(complex)
    return poles


@st.composite
def diagonal_systems(
    draw: Any,
    *,
    discrete: bool | None = None,
    pairs: bool | None = None,
    bidirectional: bool | None = False,
    delay: int | None = 1,
    kinds: tuple[str, ...] = POLE_KINDS,
    closest: float = 1e-6,
    max_n: int = 6,
    max_io: int = 4,
    batch: tuple[int, ...] = (),
    siso: bool = False,
    feedthrough: bool = True,
    badly_scaled: bool | None = None,
) -> DiagonalStateSpace:
    """One stable diagonal system; ``None`` leaves a property to Hypothesis."""

    def choose(value: bool | None) -> bool:
        return draw(st.booleans()) if value is None else value

    kind = draw(st.sampled_from(kinds))
    n = draw(st.integers(1, max_n))
    m, p = (1, 1) if siso else (draw(st.integers(1, max_io)), draw(st.integers(1, max_io)))
    two_ways = choose(bidirectional)
    time = True if two_ways or delay == 0 else choose(discrete)
    paired = choose(pairs)
    wait = (draw(st.integers(0, 1)) if delay is None else delay) if time else 1
    wait_reverse = draw(st.integers(0, 1)) if two_ways else 1
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    B, C = gaussian(rng, *batch, n, m), gaussian(rng, *batch, p, n)
    if m > 1 and draw(st.booleans()):  # rank one
        B = B[..., :1] * gaussian(rng, *(1 for _ in batch), 1, m)
    if choose(badly_scaled):
        scale = 10.0 ** rng.uniform(-4, 4, (*batch, n))
        B, C = B * scale[..., None], C / scale[..., None, :]
    D = np.zeros((*batch, p, m)) if not feedthrough else rng.standard_normal((*batch, p, m))
    return DiagonalStateSpace(
        stable_poles(rng, kind, (*batch, n), closest, time),
        B,
        C,
        D,
        dt=1.0 if time else None,
        conjugate_pairs=paired,
        C_reverse=gaussian(rng, *batch, p, n) if two_ways else None,
        delay=wait,
        delay_reverse=wait_reverse,
    )


@st.composite
def dense_systems(
    draw: Any,
    *,
    discrete: bool | None = None,
    real: bool | None = None,
    closest: float = 1e-3,
    max_n: int = 8,
    max_io: int = 3,
) -> StateSpace:
    """A stable dense system: a diagonal one in other coordinates."""
    kinds = ("spread", "near circle", "clustered", "repeated", "real", "zero", "fast")
    half = draw(
        diagonal_systems(
            discrete=discrete,
            pairs=real,
            kinds=kinds,
            closest=closest,
            max_n=max(1, max_n // 2),
            max_io=max_io,
            badly_scaled=False,
        )
    )
    written = dense(half)
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    T = rng.standard_normal((written.n, written.n)) + 3.0 * np.eye(written.n)
    if np.linalg.cond(T) > 1e3:
        T = np.eye(written.n)
    return StateSpace(
        T @ written.A @ np.linalg.inv(T), T @ written.B, written.C @ np.linalg.inv(T), written.D, dt=written.dt
    )


def systems(**options: Any) -> st.SearchStrategy[Any]:
    """Diagonal or dense, one direction."""
    return st.one_of(diagonal_systems(**options), dense_systems())
