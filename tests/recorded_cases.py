"""Systems and signals for the reductions from recorded signals, and what they must give, by plain dense loops."""

from __future__ import annotations

from typing import Any

import numpy as np
from strategies import gaussian, stable_poles

from theory.systems.system import DiagonalStateSpace


def system(kind: str, seed: int = 0, n: int = 4, m: int = 2) -> DiagonalStateSpace:
    """One system of each kind that has a scan."""
    rng = np.random.default_rng([seed, n, m])
    batch = (3,) if kind.startswith("S4D") else ()
    m = 1 if batch else m
    options: dict[str, Any] = {"delay": 0}
    if "bidirectional" in kind:
        options |= {"C_reverse": gaussian(rng, *batch, m, n), "delay_reverse": 1 if batch else 0}
    if kind == "complex":
        options |= {"conjugate_pairs": False}
    if kind == "standard form":
        options |= {"delay": 1}
    poles = stable_poles(rng, "real" if kind == "real poles" else "spread", (*batch, n), 1e-2, True)
    D = rng.standard_normal((*batch, m, m)) * np.eye(m)
    return DiagonalStateSpace(poles, gaussian(rng, *batch, n, m), gaussian(rng, *batch, m, n), D, **options)


KINDS = (
    "S5", "S5 bidirectional", "S4D", "S4D bidirectional", "complex", "standard form", "real poles",
)  # fmt: skip


def channels(item: DiagonalStateSpace) -> int:
    return item.batch_shape[0] if item.batch_shape else item.m


def signals(item: DiagonalStateSpace, seed: int = 1, N: int = 5, L: int = 30) -> tuple[np.ndarray, np.ndarray]:
    """Correlated inputs (N, L, channels), and lengths."""
    rng = np.random.default_rng(seed)
    u = np.cumsum(rng.standard_normal((N, L, channels(item))), axis=1) * 0.3
    return u, rng.integers(1, L + 1, N)


def matrices(item: DiagonalStateSpace, C: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Dense A, B, C of one causal direction of one system, [Re x; Im x] for pairs; written out entry by entry."""
    A = np.diag(item.poles)
    if not item.conjugate_pairs:
        return A, item.B, C
    A = np.block([[A.real, -A.imag], [A.imag, A.real]])
    return A, np.vstack([item.B.real, item.B.imag]), np.hstack([2 * C.real, -2 * C.imag])


def parts(item: DiagonalStateSpace, *arrays: np.ndarray) -> list[tuple[Any, ...]]:
    """A batch channel by channel: (system, arrays with one channel)."""
    if not item.batch_shape:
        return [(item, *arrays)]
    return [(item[h], *(array[..., h : h + 1] for array in arrays)) for h in range(item.batch_shape[0])]


def times(matrix: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """Matrix times vectors (..., k), each to the same bits whatever stands beside it, as no BLAS promises."""
    return np.einsum("ij,...j->...i", matrix, vectors)


def loop(item: DiagonalStateSpace, u: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """States forwards and backwards, and the output, of one system on sequences (..., L, m): the definition."""
    L = u.shape[-2]
    y = times(item.D, u) + (0.0 if item.conjugate_pairs else 0j)  # a copy that holds what comes
    found = []
    for C, order, delay in (
        (item.C, range(L), item.delay),
        (item.C_reverse, range(L - 1, -1, -1), item.delay_reverse),
    ):
        A, B, _ = matrices(item, item.C)
        x = np.zeros((*u.shape[:-2], A.shape[0]), dtype=complex if not item.conjugate_pairs else float)
        states = np.zeros((*u.shape[:-1], A.shape[0]), dtype=x.dtype)
        if C is not None:
            seen = matrices(item, C)[2]
            for t in order:
                old, x = x, times(A, x) + times(B, u[..., t, :])
                states[..., t, :] = x
                y[..., t, :] += times(seen, old if delay else x)
        found.append(states)
    return found[0], found[1], y


def outputs(item: DiagonalStateSpace, u: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """The outputs of all sequences, zero past their end."""
    y = np.zeros(u.shape, dtype=complex if not item.conjugate_pairs else float)
    for h, (one, part) in enumerate(parts(item, u)):
        for length in np.unique(lengths):
            alike = lengths == length
            found = loop(one, part[alike, :length])[2]
            if item.batch_shape:
                y[alike, :length, h] = found[..., 0]
            else:
                y[alike, :length] = found
    return y
