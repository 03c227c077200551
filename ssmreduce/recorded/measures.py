r"""How far a reduced model is from the whole one on the same examples: by its predictions, or by its waveforms.

A network says which by its attribute ``measure``, "divergence" where it says nothing. Everything that the recipe
measures, compares and minimises on the outputs of a network is one of these.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ssmreduce.network import Network, changed, divergence, log_softmax
from theory.errors import InputError

Array = NDArray[Any]


class Measure(Protocol):
    """What outputs mean, and how two sets of them are compared.

    Attributes
    ----------
    name : str
        Key of :data:`MEASURES`.
    unit : str
        What :meth:`changed` is a part of, for messages.
    """

    name: str
    unit: str

    def distance(self, whole: Array, reduced: Array, temperature: float = 1.0) -> float:
        """Return how far the reduced model is from the whole one; 0 for the same outputs."""
        ...

    def changed(self, whole: Array, reduced: Array) -> float:
        """Return the part that is another one, 0 for the same outputs."""
        ...

    def directions(self, rng: np.random.Generator, outputs: Array) -> Array:
        """Draw v of :meth:`ssmreduce.Network.gradients`: changes of the outputs that count, equally likely."""
        ...

    def centred(self, outputs: Array) -> Array:
        """Return the outputs, (..., K), without what does not count in them."""
        ...


class Divergence:
    """Outputs are logits, (N, K): the Kullback-Leibler divergence of the predictions, the predictions that change."""

    name, unit = "divergence", "predictions"

    def distance(self, whole: Array, reduced: Array, temperature: float = 1.0) -> float:
        """See :func:`ssmreduce.network.divergence`."""
        return divergence(whole, reduced, temperature)

    def changed(self, whole: Array, reduced: Array) -> float:
        """See :func:`ssmreduce.network.changed`."""
        return changed(whole, reduced)

    def directions(self, rng: np.random.Generator, outputs: Array) -> Array:
        """White, without the direction that moves all logits alike."""
        v = rng.standard_normal(outputs.shape)
        return np.asarray(v - v.mean(axis=-1, keepdims=True))

    def centred(self, outputs: Array) -> Array:
        """Logits up to the constant that each example has."""
        logits = log_softmax(outputs)
        return np.asarray(logits - logits.mean(axis=-1, keepdims=True))


class SquaredError:
    r"""Outputs are signals, (N, L, K) or of any other shape: :math:`\sum(y-\hat y)^2/\sum y^2` over all examples.

    Minus ten times its decimal logarithm is the signal-to-noise ratio of the reduced model in dB.
    """

    name, unit = "squared_error", "outputs' energy"

    def distance(self, whole: Array, reduced: Array, temperature: float = 1.0) -> float:
        """Relative squared error; the temperature says nothing here. Against silence, 0 or infinite."""
        error, energy = (float(np.square(y).sum()) for y in (whole - reduced, whole))
        return error / energy if energy else (np.inf if error else 0.0)

    def changed(self, whole: Array, reduced: Array) -> float:
        """The same: 0.01 leaves 20 dB."""
        return self.distance(whole, reduced)

    def directions(self, rng: np.random.Generator, outputs: Array) -> Array:
        """White: the mean square of v . y is then the energy of y."""
        return rng.standard_normal(outputs.shape)

    def centred(self, outputs: Array) -> Array:
        """As they are: every constant counts."""
        return outputs


MEASURES: dict[str, Measure] = {measure.name: measure for measure in (Divergence(), SquaredError())}
"""Every measure by name."""


def measure_of(network: Network) -> Measure:
    """Return the measure that a network names.

    Raises
    ------
    InputError
        There is none of that name.
    """
    name = getattr(network, "measure", Divergence.name)
    if name not in MEASURES:
        raise InputError(f"network.measure must be one of {', '.join(map(repr, MEASURES))}, got {name!r}")
    return MEASURES[name]
