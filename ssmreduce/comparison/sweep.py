"""Largest gains of a difference on a grid of frequencies: lower bounds by power iteration, at all points at once."""

from __future__ import annotations

import copy
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ssmreduce.comparison.peers import kernel, response
from theory.systems.system import DiagonalStateSpace, System

Array = NDArray[Any]

FIRST, REST = 2, 10
"""Steps of the power iteration at all points, and at the most promising ones."""

PART = 0.1
"""Part of the points that are promising."""


class Samples(Protocol):
    """G at K points as a map of vectors: column k of the argument is taken to G at point k times it."""

    def times(self, v: Array) -> Array:
        """Apply G: (m, K) to (p, K)."""
        ...

    def adjoint_times(self, u: Array) -> Array:
        """Apply the adjoint: (p, K) to (m, K)."""
        ...

    def at(self, index: Array) -> Samples:
        """G at some of the points."""
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

    def at(self, index: Array) -> Samples:
        return _Matrices(self.value[index])


class _Factored:
    """Products with C, the modes' functions and B; of conjugate pairs with real matrices, which halves the work."""

    def __init__(self, system: DiagonalStateSpace, omega: Array) -> None:
        self.D, self.paired = system.D, system.conjugate_pairs
        self._parts: list[tuple[Array, tuple[Array, ...], Array]] = []  # C, the modes' functions (n, K), B
        directions = [(system.C, omega, system.delay)]
        if system.C_reverse is not None:
            directions.append((system.C_reverse, -omega, system.delay_reverse))
        B = np.concatenate([system.B.real, system.B.imag]) if self.paired else system.B
        for C, theta, delay in directions:
            modes: tuple[Array, ...] = (kernel(system, theta, delay).T,)
            if self.paired:
                modes = (modes[0], kernel(system, -theta, delay).T.conj())
                C = np.concatenate([C.real, C.imag], axis=1)
            self._parts.append((C, modes, B))

    def times(self, v: Array) -> Array:
        total = _product(self.D, v)
        for C, modes, B in self._parts:
            total = total + _product(C, self._through(modes, _product(B, v)))
        return np.asarray(total)

    def adjoint_times(self, u: Array) -> Array:
        total = _product(self.D.conj().T, u)
        for C, modes, B in self._parts:
            back = tuple(values.conj() for values in modes)
            total = total + _product(B.conj().T, self._through(back, _product(C.conj().T, u), sign=-1.0))
        return np.asarray(total)

    def _through(self, modes: tuple[Array, ...], inputs: Array, sign: float = 1.0) -> Array:
        """The modes' functions times what reaches them; of pairs the parts along Re b and Im b come in.

        With those, x and y, a mode gets x + j y and its conjugate x - j y; of the two results a sum and j times the
        difference go on to Re c and Im c. The adjoint has the other sign of j.
        """
        if not self.paired:
            return np.asarray(modes[0] * inputs)
        n, turn = len(modes[0]), sign * 1j
        own, mirrored = modes[0] * (inputs[:n] + turn * inputs[n:]), modes[1] * (inputs[:n] - turn * inputs[n:])
        return np.concatenate([own + mirrored, turn * (own - mirrored)])

    def at(self, index: Array) -> Samples:
        some = copy.copy(self)
        some._parts = [(C, tuple(values[:, index] for values in modes), B) for C, modes, B in self._parts]
        return some


def _product(matrix: Array, v: Array) -> Array:
    """``matrix @ v`` for complex v; a real matrix is not made complex."""
    if np.iscomplexobj(matrix):
        return np.asarray(matrix @ v)
    return np.asarray((matrix @ np.ascontiguousarray(v, dtype=complex).view(float)).view(complex))


def attained(G: Samples, Gr: Samples | None, shape: tuple[int, int], seed: int, *, steps: int = 12) -> Array:
    """Lower bounds of the largest singular value of G, or of ``G - Gr``, at each of K points, for `shape` (m, K)."""
    vector = np.random.default_rng(seed).standard_normal(shape) + 0j
    return _gains(G, Gr, _iterated(G, Gr, vector, steps))


def largest(G: Samples, Gr: Samples, shape: tuple[int, int], seed: int) -> tuple[float, int]:
    """The largest gain of ``G - Gr`` that is found at K points, and where.

    A few steps of the power iteration at all points; the rest of them only at the points whose gain is then among the
    largest. What is returned is attained, whatever was left out.
    """
    if 0 in shape:
        return 0.0, 0
    vector = _iterated(G, Gr, np.random.default_rng(seed).standard_normal(shape) + 0j, FIRST)
    gains = _gains(G, Gr, vector)
    some = np.argsort(gains)[-max(1, int(np.ceil(PART * gains.size))) :]
    G, Gr, vector = G.at(some), Gr.at(some), _iterated(G.at(some), Gr.at(some), vector[:, some], REST)
    gains[some] = np.maximum(gains[some], _gains(G, Gr, vector))
    return float(gains.max()), int(gains.argmax())


def _iterated(G: Samples, Gr: Samples | None, vector: Array, steps: int) -> Array:
    if vector.shape[0] == 0:
        return vector
    for _ in range(steps):
        output = G.times(vector) if Gr is None else G.times(vector) - Gr.times(vector)
        vector = G.adjoint_times(output) if Gr is None else G.adjoint_times(output) - Gr.adjoint_times(output)
        norm = np.linalg.norm(vector, axis=0)
        vector = vector / np.where(norm > 0, norm, 1.0)
    return vector


def _gains(G: Samples, Gr: Samples | None, vector: Array) -> Array:
    """Gains of unit vectors (or of zeros)."""
    if vector.shape[0] == 0:
        return np.zeros(vector.shape[1])
    return np.asarray(np.linalg.norm(G.times(vector) if Gr is None else G.times(vector) - Gr.times(vector), axis=0))
