r"""C and D of all layers at once, towards the whole model's predictions: Gauss-Newton steps through the network.

Layer by layer each output is fitted to the whole model's, as if all that a layer gets wrong counted alike. Here only
what reaches the predictions counts. With z the logits of the reduced model on recorded examples, w the whole model's
and J the derivative of z along all entries of C and the diagonals of D, a step minimises

.. math:: \sum_i\bigl\|F_i^{1/2}(z_i+J_i\delta-w_i)\bigr\|^2+\mu\sum_\ell\|\delta C_\ell X_\ell+\delta D_\ell U_\ell\|^2

with Fisher's matrix :math:`F_i=\mathrm{diag}(p)-pp^*` of the predictions half-way between both models, a little white
added, and states X and inputs U along the record: a small step is one that moves the layers' outputs little. A few
random directions of :math:`F_i^{1/2}` stand for all. J needs nothing but :meth:`ssmreduce.Network.gradients`: with g
the gradient of v . z at a layer's output, the derivative of v . z along C is :math:`\sum_tg_tx_t^*`. Parameters are
many, examples few: :math:`\delta=R^{-1}J^*(JR^{-1}J^*+\mu I)^{-1}F^{1/2}(w-z)`, R being that of the second sum.

Poles and B stay bit for bit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssmreduce.layers.layer import SSMLayer
from ssmreduce.network import Network, Parts, Pass, log_softmax
from ssmreduce.recorded.measures import Divergence, measure_of
from ssmreduce.recorded.recording import Sample, spread_over
from theory.errors import AccuracyError, InputError, require_finite
from theory.systems.scan import aligned_states, channels_of, real_output, record, with_real_output
from theory.systems.system import DiagonalStateSpace

Array = NDArray[Any]

DIRECTIONS = 3
"""Random directions of the predictions of an example, at most."""

EQUATIONS, SAMPLES = 4000, 1_000_000
"""Examples times directions, and samples of all examples, at most: what a step costs grows with both."""

HELD_BYTES = 500_000_000
"""Inputs and gradients of all layers that are held at a time."""

ROUND = 100
"""Examples at a time are a multiple of so many, where more are held: networks that compile see one size of batch."""

SMOOTHING = 0.05
"""Part of Fisher's matrix that is white: sure predictions would say nothing."""

DAMPINGS = (3.0, 1.0, 0.3, 0.1)
"""Values of mu, relative to the mean diagonal of the matrix that is solved with; the judge chooses."""

NEGLIGIBLE = 1e-9
"""Of the largest energy of a direction of the states, below which it cannot be told from rounding."""


def _is_real(layer: SSMLayer) -> bool:
    return isinstance(layer.system, DiagonalStateSpace) and layer.system.is_real


@dataclass(kw_only=True)
class _Columns:
    """What C and D of one layer do to the predictions: derivatives (E, ports, K) and (E, ports), and their scales."""

    along_c: list[Array]
    along_d: list[Array]
    gram: Any = 0.0
    energy: Any = 0.0


class Steps:
    """Gauss-Newton steps of one network on the examples of a sample.

    Parameters
    ----------
    network : Network
        Whose outputs are predictions, and whose layers are real.
    sample : Sample
        Examples; as many of them are used as :data:`EQUATIONS` and :data:`SAMPLES` allow.
    seen : Pass
        Of the whole model, with the inputs of all layers: says how long they are.
    seed : int
        Of the random directions.
    feedthrough : bool
        Whether D moves, where a layer has as many inputs as outputs.

    Raises
    ------
    InputError
        These steps cannot be taken on this network; the reason.
    """

    def __init__(self, network: Network, sample: Sample, seen: Pass, seed: int, feedthrough: bool = True) -> None:
        if not isinstance(measure_of(network), Divergence):
            raise InputError("outputs are signals, not predictions")
        if not all(map(_is_real, network.parts.layers)):
            raise InputError("a layer is a complex system")
        self.network, self.feedthrough = network, feedthrough
        self.rng = np.random.default_rng(seed)
        if any(len(values) != len(seen.logits) for values in seen.inputs.values()):
            raise InputError("an example is more than one sequence")
        classes = seen.logits.shape[-1]
        if classes < 2:
            raise InputError("predictions of one class alone say nothing")
        self.directions = min(DIRECTIONS, classes - 1)
        length = max(values.shape[1] for values in seen.inputs.values())
        self.rows = sample.rows[spread_over(len(sample.rows), min(EQUATIONS // self.directions, SAMPLES // length + 1))]
        each = 8 * sum(values.shape[1] * values.shape[2] for values in seen.inputs.values()) * (1 + self.directions)
        size = max(1, HELD_BYTES // each)
        size -= size % ROUND if size > ROUND else 0
        self.chunks = [self.rows[start : start + size] for start in range(0, len(self.rows), size)]
        self.wanted = self._centred(network.run(network.parts, self.rows).logits)

    def best(self, parts: Parts, distance: Callable[[Parts], float]) -> tuple[float, Parts]:
        """The trial with the least distance, and that; infinite where there is none.

        Raises
        ------
        InputError
            The reduced model's signals are not finite.
        """
        tried = [(distance(trial), k, trial) for k, trial in enumerate(self.trials(parts))]
        score, _, trial = min(tried, key=lambda one: one[:2], default=(np.inf, 0, parts))
        return score, trial

    def trials(self, parts: Parts) -> Iterator[Parts]:
        """Parts after a step from here, one for each damping; without those that storage cannot hold."""
        logits = self._centred(self.network.run(parts, self.rows).logits)
        require_finite(**{"logits of the reduced model": logits})
        roots = self._roots(0.5 * (logits + self.wanted))
        missing = np.einsum("nkr,nk->nr", roots, self.wanted - logits).ravel()
        moving = [i for i, layer in enumerate(parts.layers) if layer is not self.network.parts.layers[i]]
        scaled, back = [], []
        for index, columns in zip(moving, self.columns(parts, roots, moving), strict=True):
            blocks, undo = _scaled(columns, self._feeds_through(parts.layers[index]))
            scaled.append(blocks)
            back.append(undo)
        normal = sum((blocks @ blocks.T).astype(float) for blocks in scaled)
        mean = float(np.trace(normal)) / len(missing) if moving else 0.0
        if not mean > 0:
            return
        for damping in DAMPINGS:
            weights = np.linalg.solve(normal + damping * mean * np.eye(len(missing)), missing).astype(np.float32)
            trial = parts
            try:
                for index, blocks, undo in zip(moving, scaled, back, strict=True):
                    layer = parts.layers[index]
                    trial = trial.with_layer(index, layer.with_outputs(undo(layer.system, blocks.T @ weights)))
            except AccuracyError:
                continue
            yield trial

    def columns(self, parts: Parts, roots: Array, moving: list[int]) -> list[_Columns]:
        """Derivatives of ``sum_k roots[n, k, r] logits[n, k]``, E = (n, r), along C and D of the layers `moving`."""
        found = [_Columns(along_c=[], along_d=[]) for _ in moving]
        start = 0
        for rows in self.chunks:
            part = roots[start : start + len(rows)].astype(np.float32)
            start += len(rows)
            seen = self.network.run(parts, rows, record=moving)
            felt = [self.network.gradients(parts, rows, part[..., r]) for r in range(part.shape[2])]
            for index, columns in zip(moving, found, strict=True):
                system = parts.layers[index].system
                assert isinstance(system, DiagonalStateSpace)
                u = record(seen.inputs[index], seen.lengths, channels_of(system, system.m))
                for some, states in aligned_states(system, u):
                    g = np.stack([gradients[index][some] for gradients in felt], axis=1)  # (s, R, L, p)
                    _add(columns, g, states, u.values[some], bool(system.batch_shape))
        return found

    def _feeds_through(self, layer: SSMLayer) -> bool:
        system = layer.system
        assert isinstance(system, DiagonalStateSpace)
        return self.feedthrough and (bool(system.batch_shape) or system.m == system.p)

    def _centred(self, logits: Array) -> Array:
        return measure_of(self.network).centred(logits.astype(float))

    def _roots(self, logits: Array) -> Array:
        """Random directions of Fisher's matrices, (N, K, R)."""
        p = np.exp(log_softmax(logits))
        K = p.shape[1]
        fisher = p[:, :, None] * np.eye(K) - p[:, :, None] * p[:, None, :] + SMOOTHING / K * (np.eye(K) - 1.0 / K)
        values, vectors = np.linalg.eigh(fisher)
        roots = vectors[:, :, 1:] * np.sqrt(np.maximum(values[:, None, 1:], 0.0))
        if self.directions == K - 1:
            return np.asarray(roots)
        mixed = np.linalg.qr(self.rng.standard_normal((len(p), K - 1, self.directions)))[0]
        return np.asarray(roots @ mixed)


def _add(columns: _Columns, g: Array, states: Array, u: Array, batch: bool) -> None:
    """Sums over time: of gradients times states and times inputs, and of the states' and inputs' own products."""
    x = states.astype(np.float32)
    if batch:  # every channel sees its own states
        along = np.swapaxes(g, 2, 3)[..., None, :] @ np.moveaxis(x, 2, 1)[:, None]  # (s, R, H, 1, K)
        columns.along_c.append(along[..., 0, :])
        columns.gram = columns.gram + np.einsum("slhi,slhj->hij", states, states, optimize=True)
    else:
        columns.along_c.append(np.swapaxes(g, 2, 3) @ x[:, None])
        flat = states.reshape(-1, states.shape[-1])
        columns.gram = columns.gram + flat.T @ flat
    if u.shape[-1] == g.shape[-1]:
        columns.along_d.append(np.einsum("srlp,slp->srp", g, u, optimize=True))
        columns.energy = columns.energy + np.square(u, dtype=float).sum(axis=(0, 1))


def _scaled(columns: _Columns, with_D: bool) -> tuple[Array, Any]:
    """The derivatives along changes of output energy one, (E, parameters), and what writes such changes into a system.

    Directions without energy are left alone.
    """
    values, vectors = np.linalg.eigh(columns.gram)
    roots = vectors * _inverse_roots(values, values[..., -1:])[..., None, :]
    C = np.concatenate(columns.along_c)  # (s, R, p, K)
    ports, K = C.shape[2:]
    if roots.ndim == 3:
        C = (C[..., None, :] @ roots.astype(np.float32))[..., 0, :]
    else:
        C = C @ roots.astype(np.float32)
    blocks = [C.reshape(-1, ports * K)]
    scale = np.zeros(ports)
    if with_D:
        energy = np.asarray(columns.energy)
        scale = _inverse_roots(energy, energy.max(initial=0.0))
        blocks.append((np.concatenate(columns.along_d) * scale.astype(np.float32)).reshape(-1, ports))

    def written(system: DiagonalStateSpace, step: Array) -> DiagonalStateSpace:
        step = step.astype(float)
        change = step[: ports * K].reshape(ports, 1, K) if roots.ndim == 3 else step[: ports * K].reshape(ports, K)
        change, D = change @ np.swapaxes(roots, -1, -2), system.D
        if with_D:
            moved = step[ports * K :] * scale
            D = D + (moved[:, None, None] if roots.ndim == 3 else np.diag(moved))
        return with_real_output(system, real_output(system) + change, D)

    return np.concatenate(blocks, axis=1).astype(np.float32), written


def _inverse_roots(energy: Array, largest: Any) -> Array:
    """One over the square root; zero where the energy is negligible."""
    return np.asarray(np.where(energy > NEGLIGIBLE * largest, 1.0 / np.sqrt(np.maximum(energy, 1e-300)), 0.0))
