"""What a reduction of a whole model needs of a model that runs, in any framework: the protocol ``Network``.

Arrays go in and out as NumPy; how the network runs (JAX, PyTorch, NumPy) is its own affair. ``python -m lra``
implements it for the models of this repository (``lra/network.py``); forty lines do it for others
(``docs/bring_your_own_network.md``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from ssmreduce.layers.layer import SSMLayer

Array = NDArray[Any]


@dataclass(frozen=True, eq=False, kw_only=True)
class Parts:
    """What a reduction may change in a network.

    Attributes
    ----------
    layers : tuple of SSMLayer
        In the order in which the network runs them; any number of states.
    norms : tuple of (mean, var)
        Running statistics of the batch norms, shapes (H,), in the order in which they run; empty without batch norms.
    decoder : (kernel, bias) or None
        The last affine map, shapes (F, K) and (K,): ``logits = features @ kernel + bias``, at every sample of a signal.
    """

    layers: tuple[SSMLayer, ...]
    norms: tuple[tuple[Array, Array], ...] = ()
    decoder: tuple[Array, Array] | None = None

    def with_layer(self, index: int, layer: SSMLayer) -> Parts:
        """Return the parts with one layer replaced."""
        return replace(self, layers=(*self.layers[:index], layer, *self.layers[index + 1 :]))


@dataclass(frozen=True, eq=False, kw_only=True)
class Pass:
    """What running a network on some examples gave.

    Attributes
    ----------
    logits : ndarray, shape (N, K)
        Up to a constant for each example: log-probabilities will do. Of a network whose ``measure`` is
        "squared_error" its output signals, (N, L, K) or any other shape, zero where an example has ended.
    features : ndarray, shape (N, F), or None
        Inputs of the decoder; (N, L, F) for signals, zero where an example has ended.
    moments : tuple of (mean, var)
        Statistics of what went into the batch norms, over these examples, in the order of :attr:`Parts.norms`.
    inputs : mapping of int to ndarray, shape (S, L, m)
        Inputs of the layers that were asked for; S sequences, N where an example is one. Of a retrieval task an example
        is two: all first ones come first, then all second ones. Layers may run at rates of their own: L may differ
        among them, where there are no `lengths`.
    lengths : ndarray of int, shape (S,), or None
        Samples of each sequence that enter the layers; the rest is padding, and zero.
    """

    logits: Array
    features: Array | None = None
    moments: tuple[tuple[Array, Array], ...] = ()
    inputs: Mapping[int, Array] = field(default_factory=dict)
    lengths: Array | None = None


@runtime_checkable
class Network(Protocol):
    """A model that runs on unlabelled examples of its own.

    Three further attributes are looked for, and need not be there:

    ``measure`` : str
        How outputs are compared: "divergence" (default), of logits; "squared_error", of signals
        (:mod:`ssmreduce.recorded.measures`).
    ``with_parts(parts) -> Model``
        The model as a file holds it, with these parts. Without it :func:`ssmreduce.reduce_model` writes the layers, and
        leaves norms and decoder as they are.
    ``along(parts, rows, v, record) -> tuple[Pass, Sequence[tuple[Array, ...]]]``
        What ``run`` gives (inputs and logits are enough), and what ``gradients`` gives for each of the R combinations
        in v, (N, ..., R): for networks that save work by passing forwards once (:func:`felt_along`).
    """

    @property
    def parts(self) -> Parts:
        """The whole model's parts, nothing reduced."""

    @property
    def count(self) -> int:
        """Number of examples."""

    def run(self, parts: Parts, rows: Array, record: Sequence[int] = ()) -> Pass:
        """Run the network with these parts on the examples `rows`; keep the inputs of the layers in `record`."""

    def gradients(self, parts: Parts, rows: Array, v: Array) -> tuple[Array, ...]:
        """Gradients of ``sum(v * logits)`` with respect to every layer's output, (S, L, p) each; `v` is as the logits.

        A layer's output is what its linear system gives, ``D u`` included, before any activation.
        """


def felt_along(
    network: Network, parts: Parts, rows: Array, v: Array, record: Sequence[int] = ()
) -> tuple[Pass, Sequence[tuple[Array, ...]]]:
    """The pass over some examples, and the gradients of R combinations v, (N, ..., R), of the outputs.

    All at once where the network offers that, else one after the other.
    """
    along = getattr(network, "along", None)
    if callable(along):
        found: tuple[Pass, Sequence[tuple[Array, ...]]] = along(parts, rows, v, record)
        return found
    felt = [network.gradients(parts, rows, v[..., r]) for r in range(v.shape[-1])]
    return network.run(parts, rows, record=record), felt


def log_softmax(logits: Array) -> Array:
    """Logarithms of the probabilities, (N, K), without overflow."""
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True)))


def divergence(whole: Array, reduced: Array, temperature: float = 1.0) -> float:
    r"""Return the mean of :math:`T^2\,\mathrm{KL}(p_T\|q_T)` over the examples, p of the whole model, q of the reduced.

    At a high temperature it is half the mean squared distance of the centred logits, at 1 what the predictions see.
    """
    p, q = log_softmax(whole / temperature), log_softmax(reduced / temperature)
    return float(temperature**2 * (np.exp(p) * (p - q)).sum(axis=-1).mean())


def changed(whole: Array, reduced: Array) -> float:
    """Part of the examples whose prediction is another one."""
    return float((whole.argmax(axis=-1) != reduced.argmax(axis=-1)).mean())
