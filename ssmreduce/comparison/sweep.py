"""Largest gains of a difference on a grid of frequencies: lower bounds by power iteration, at all points at once."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ssmreduce.comparison.peers import kernel, response
from theory.systems.system import DiagonalStateSpace, System

Array = NDArray[Any]


class Samples(Protocol):
    """G at K points as a map of vectors: column k of the argument is taken to G at point k times it."""

    def times(self, v: Array) -> Array:
        """Apply G: (m, K) to (p, K)."""
        ...

    def adjoint_times(self, u: Array) -> Array:
        """Apply the adjoint: (p, K) to (m, K)."""
        ...


def samples(system: System, omega: Array) -> Samples:
    """Return a system at all frequencies; one diagonal discrete one without a matrix of p m entries a point."""
    if isinstance(system, DiagonalStateSpace) and system.is_discrete and not system.batch_shape:
        return _Factored(system, omega)
    value = response(system, omega)
    return _Matrices(value.reshape(-1, *value.shape[-2:]))


class _Matrices:
    def __init__(self, value: Array) -> None:
        self.value = value

    def times(self, v: Array) -> Array:
        return np.asarray((self.value @ v.T[..., None])[..., 0].T)

    def adjoint_times(self, u: Array) -> Array:
        return np.asarray((self.value.conj().swapaxes(-1, -2) @ u.T[..., None])[..., 0].T)


class _Factored:
    def __init__(self, system: DiagonalStateSpace, omega: Array) -> None:
        self.D = system.D
        self._parts: list[tuple[Array, Array, Array]] = []  # C, the modes' functions (n, K), B
        directions = [(system.C, omega, system.delay)]
        if system.C_reverse is not None:
            directions.append((system.C_reverse, -omega, system.delay_reverse))
        for C, theta, delay in directions:
            self._parts.append((C, kernel(system, theta, delay).T, system.B))
            if system.conjugate_pairs:
                self._parts.append((C.conj(), kernel(system, -theta, delay).T.conj(), system.B.conj()))

    def times(self, v: Array) -> Array:
        return np.asarray(self.D @ v + sum(C @ (modes * (B @ v)) for C, modes, B in self._parts))

    def adjoint_times(self, u: Array) -> Array:
        parts = (B.conj().T @ (modes.conj() * (C.conj().T @ u)) for C, modes, B in self._parts)
        return np.asarray(self.D.conj().T @ u + sum(parts))


def attained(G: Samples, Gr: Samples | None, shape: tuple[int, int], seed: int, *, steps: int = 12) -> Array:
    """Lower bounds of the largest singular value of G, or of ``G - Gr``, at each of K points, for `shape` (m, K)."""
    parts = [(1.0, G)] if Gr is None else [(1.0, G), (-1.0, Gr)]
    if shape[0] == 0:
        return np.zeros(shape[1])
    vector = np.random.default_rng(seed).standard_normal(shape) + 0j
    for _ in range(steps):
        output = sum(sign * part.times(vector) for sign, part in parts)
        vector = np.asarray(sum(sign * part.adjoint_times(np.asarray(output)) for sign, part in parts))
        norm = np.linalg.norm(vector, axis=0)
        vector = vector / np.where(norm > 0, norm, 1.0)
    return np.asarray(np.linalg.norm(np.asarray(sum(sign * part.times(vector) for sign, part in parts)), axis=0))
