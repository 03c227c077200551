r"""What steps on all layers at once aim at: the whole model's predictions, or its signals.

Both are least squares: with z the reduced model's outputs on an example, w the whole model's and J the derivative,

.. math:: \|F^{1/2}(z+J\delta-w)\|^2

Of predictions F is Fisher's matrix :math:`\mathrm{diag}(p)-pp^*` half-way between both models, a little white added;
a few random directions of :math:`F^{1/2}` stand for all of it, and what is missing along them is their part of the
residual. Of signals F is the identity, and an example has as many directions as samples: random ones stand for
:math:`J^*J`, while :math:`J^*(w-z)` is exact, the gradient of one more combination of the outputs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ssmreduce.network import log_softmax
from ssmreduce.recorded.measures import Divergence, Measure
from theory.errors import InputError

Array = NDArray[Any]

DIRECTIONS = 3
"""Random directions of an example, at most of predictions, at least of signals."""

DRAWN, MOST = 600, 64
"""Of signals: directions in all, and of an example at most. Signals are few and long, and one direction says little."""

SMOOTHING = 0.05
"""Part of Fisher's matrix that is white: sure predictions would say nothing."""


@dataclass(frozen=True, kw_only=True)
class Faced:
    """Directions of the outputs along which derivatives are taken.

    Attributes
    ----------
    directions : ndarray, shape (N, ..., R)
        R combinations of the outputs of each example.
    missing : ndarray, shape (N, R)
        What the reduced model lacks along them; zero where that is not known one by one.
    residual : ndarray, shape (N, ...), or None
        A combination whose gradient is that of what is minimised, the sign changed; None where `missing` says it all.
    """

    directions: Array
    missing: Array
    residual: Array | None = None


class Aim(Protocol):
    """What is aimed at."""

    directions: int

    def faced(self, outputs: Array, wanted: Array) -> Faced:
        """Return what derivatives are needed, from the reduced model's and the whole one's outputs, both centred."""
        ...


class Predictions:
    """The whole model's predictions, in Fisher's metric: outputs are centred logits, (N, K)."""

    def __init__(self, classes: int, rng: np.random.Generator) -> None:
        if classes < 2:
            raise InputError("predictions of one class alone say nothing")
        self.directions, self._rng = min(DIRECTIONS, classes - 1), rng

    def faced(self, outputs: Array, wanted: Array) -> Faced:
        """Random directions of Fisher's matrices, and the residual along them."""
        roots = self._roots(0.5 * (outputs + wanted))
        return Faced(directions=roots, missing=np.einsum("nkr,nk->nr", roots, wanted - outputs))

    def _roots(self, logits: Array) -> Array:
        p = np.exp(log_softmax(logits))
        K = p.shape[1]
        fisher = p[:, :, None] * np.eye(K) - p[:, :, None] * p[:, None, :] + SMOOTHING / K * (np.eye(K) - 1.0 / K)
        values, vectors = np.linalg.eigh(fisher)
        roots = vectors[:, :, 1:] * np.sqrt(np.maximum(values[:, None, 1:], 0.0))
        if self.directions == K - 1:
            return np.asarray(roots)
        mixed = np.linalg.qr(self._rng.standard_normal((len(p), K - 1, self.directions)))[0]
        return np.asarray(roots @ mixed)


class Signals:
    """The whole model's signals, (N, L, K), in the plain metric."""

    def __init__(self, examples: int, rng: np.random.Generator) -> None:
        self.directions = int(np.clip(-(-DRAWN // examples), DIRECTIONS, MOST))
        self._rng = rng

    def faced(self, outputs: Array, wanted: Array) -> Faced:
        """White directions, whose squares add up to the identity in the mean; the residual itself."""
        drawn = self._rng.standard_normal((*outputs.shape, self.directions), dtype=np.float32)
        missing = np.zeros((len(outputs), self.directions))
        return Faced(directions=drawn / np.sqrt(self.directions), missing=missing, residual=wanted - outputs)


def aim_of(measure: Measure, channels: int, examples: int, rng: np.random.Generator) -> Aim:
    """What is aimed at with the outputs of so many examples, of so many classes or channels.

    Raises
    ------
    InputError
        They say nothing.
    """
    if isinstance(measure, Divergence):
        return Predictions(channels, rng)
    return Signals(examples, rng)
