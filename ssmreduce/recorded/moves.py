"""Poles and B among what moves when all layers move at once: their derivatives, their scales, and what they write."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from theory.reduction.pole_steps import moved_system, principal_inputs, slowest_decay
from theory.systems.adjoint import pole_and_input_derivatives
from theory.systems.scan import Record
from theory.systems.system import DiagonalStateSpace

Array = NDArray[Any]

INPUT_DIRECTIONS = 24
"""Principal directions of the inputs in which B moves, at most. In a batch B stays: C explains all that it could do."""

NEGLIGIBLE = 1e-6
"""Of the largest derivative of a layer, below which a parameter is left alone: a real pole has no angle to turn by."""

BYTES = 2**26
"""Adjoint states that are held at a time."""


class Moves:
    """Poles and B of one layer.

    Parameters
    ----------
    system : DiagonalStateSpace
        The layer's, in conjugate pairs.
    given : Record
        Some of its inputs: the directions in which B moves are principal there.
    """

    def __init__(self, system: DiagonalStateSpace, given: Record) -> None:
        self.directions = None if system.batch_shape else principal_inputs(given, INPUT_DIRECTIONS)
        self._slowest, self._along = slowest_decay(given), list[Array]()
        self._scale: Any = 0.0

    def add(self, system: DiagonalStateSpace, signals: Record, felt: Sequence[Array], examples: int) -> None:
        """Add the derivatives of a batch, one gradient after the other; an example is the sum of its sequences."""
        N, L = signals.values.shape[:2]
        size = max(1, BYTES // (16 * system.poles.size * L))
        pieces = []
        for some in (slice(start, start + size) for start in range(0, N, size)):
            few = Record(values=signals.values[some], lengths=signals.lengths[some])
            gradients = [each[some] for each in felt]
            pieces.append(pole_and_input_derivatives(system, few, gradients, self.directions))  # (s, R, k)
        along = np.concatenate(pieces)
        self._along.append(along.reshape(-1, examples, *along.shape[1:]).sum(axis=0))

    def scaled(self, usual: float) -> Array:
        """The derivatives, (N, R, k), each of the size `usual`: they have no energy to go by, as C and D have."""
        along = np.concatenate(self._along)
        size = np.sqrt(np.square(along).sum(axis=(0, 1)))
        there = size > NEGLIGIBLE * size.max(initial=0.0)
        self._scale = np.where(there, usual / np.where(there, size, 1.0), 0.0)
        return np.asarray((along * self._scale).astype(np.float32))

    def written(self, system: DiagonalStateSpace, step: Array) -> DiagonalStateSpace:
        """The system after a step in these scales."""
        change = (step.astype(float) * self._scale).reshape(system.poles.size // system.n, -1)
        return moved_system(system, change, self.directions, self._slowest)
