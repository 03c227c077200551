r"""All layers at once, towards what the whole model puts out: Gauss-Newton steps through the network.

Layer by layer each output is fitted to the whole model's, as if all that a layer gets wrong counted alike. Here only
what reaches the outputs counts. With z the outputs of the reduced model on recorded examples, w the whole model's
and J the derivative of z along all entries of C and the diagonals of D, a step minimises

.. math:: \sum_i\bigl\|F_i^{1/2}(z_i+J_i\delta-w_i)\bigr\|^2+\mu\sum_\ell\|\delta C_\ell X_\ell+\delta D_\ell U_\ell\|^2

with the metrics F of :mod:`ssmreduce.recorded.aims`, and states X and inputs U along the record: a small step is one
that moves the layers' outputs little. Parameters are many, directions few: with B the derivatives along them in
parameters whose second sum is :math:`|\delta|^2`, m what is missing along them, and g what of the gradient is known
exactly, :math:`\delta=B^*a+g/\mu` with :math:`(BB^*+\mu I)a=m-Bg/\mu`.

Where poles and B move, too, they are further parameters, in scales of their own (:mod:`ssmreduce.recorded.moves`); a
step of C and D alone is tried beside every one of all. Else they stay bit for bit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssmreduce.layers.layer import SSMLayer
from ssmreduce.network import Network, Parts, Pass
from ssmreduce.recorded.aims import aim_of
from ssmreduce.recorded.blocks import Block, solved
from ssmreduce.recorded.derivatives import Columns, scaled
from ssmreduce.recorded.measures import measure_of
from ssmreduce.recorded.moves import Moves
from ssmreduce.recorded.recording import Sample, spread_over
from ssmreduce.recorded.stages import REFUSALS, written
from theory.errors import InputError, require_finite
from theory.systems.scan import Record, channels_of, record
from theory.systems.system import DiagonalStateSpace

Array = NDArray[Any]

EQUATIONS, SAMPLES = 4000, 1_000_000
"""Examples times directions, and samples of all examples, at most: what a step costs grows with both."""

HELD_BYTES = 500_000_000
"""Inputs and gradients of all layers that are held at a time."""

ROUND = 100
"""Examples at a time are a multiple of so many, where more are held: networks that compile see one size of batch."""

DAMPINGS = (30.0, 10.0, 3.0, 1.0, 0.3, 0.1)
"""Values of mu, relative to the mean diagonal of the matrix that is solved with; the judge chooses."""

MOVED = 500_000_000
"""Adjoint states, at most, of all samples, layers and directions: with more, poles and B stay."""


def _is_real(layer: SSMLayer) -> bool:
    return isinstance(layer.system, DiagonalStateSpace) and layer.system.is_real


class Steps:
    """Gauss-Newton steps of one network on the examples of a sample.

    Parameters
    ----------
    network : Network
        Whose layers are real.
    sample : Sample
        Examples; as many of them are used as :data:`EQUATIONS` and :data:`SAMPLES` allow.
    seen : Pass
        Of the whole model, with the inputs of all layers: says how long they are.
    seed : int
        Of the random directions.
    feedthrough : bool
        Whether D moves, where a layer has as many inputs as outputs.
    poles : bool
        Whether poles and B move, as long as :data:`MOVED` allows it.

    Raises
    ------
    InputError
        These steps cannot be taken on this network; the reason.
    """

    def __init__(
        self, network: Network, sample: Sample, seen: Pass, seed: int, feedthrough: bool = True, poles: bool = False
    ) -> None:
        if not all(map(_is_real, network.parts.layers)):
            raise InputError("a layer is a complex system")
        self.network, self.feedthrough, self.poles = network, feedthrough, poles
        ways = {len(values) / len(seen.logits) for values in seen.inputs.values()}
        if len(ways) > 1 or any(each % 1 for each in ways):
            raise InputError(f"the layers see {', '.join(f'{each:g}' for each in sorted(ways))} sequences an example")
        (each,) = ways
        length = int(each) * max(values.shape[1] for values in seen.inputs.values())
        count = min(len(sample.rows), SAMPLES // length + 1)
        self.aim = aim_of(measure_of(network), seen.logits.shape[-1], count, np.random.default_rng(seed))
        count = min(count, EQUATIONS // self.aim.directions)
        self.rows = sample.rows[spread_over(len(sample.rows), count)]
        held = 8 * int(each) * sum(values.shape[1] * values.shape[2] for values in seen.inputs.values())
        size = max(1, HELD_BYTES // (held * (2 + self.aim.directions)))
        size -= size % ROUND if size > ROUND else 0
        self.chunks = [self.rows[start : start + size] for start in range(0, len(self.rows), size)]
        self.wanted = self._outputs(network.parts)

    def _outputs(self, parts: Parts) -> Array:
        return measure_of(self.network).centred(self.network.run(parts, self.rows).logits.astype(float))

    def best(self, parts: Parts, distance: Callable[[Parts], float]) -> tuple[float, Parts]:
        """The trial with the least distance, and that; infinite where there is none.

        Raises
        ------
        InputError
            The reduced model's outputs are not finite.
        """
        tried = [(distance(trial), k, trial) for k, trial in enumerate(self.trials(parts))]
        score, _, trial = min(tried, key=lambda one: one[:2], default=(np.inf, 0, parts))
        return score, trial

    def trials(self, parts: Parts) -> Iterator[Parts]:
        """Parts after a step from here, one for each damping; without those that storage cannot hold."""
        outputs = self._outputs(parts)
        require_finite(**{"outputs of the reduced model": outputs})
        faced = self.aim.faced(outputs, self.wanted)
        combined = [faced.directions] if faced.residual is None else [faced.directions, faced.residual[..., None]]
        changing = [i for i, layer in enumerate(parts.layers) if layer is not self.network.parts.layers[i]]
        columns, moves = self.columns(parts, np.concatenate(combined, axis=-1), changing)
        alone, full = [], []
        for index, one, move in zip(changing, columns, moves, strict=True):
            blocks, write = scaled(one, self._feeds_through(parts.layers[index]))
            alone.append(Block.of(index, blocks, faced, write))
            if move is not None:
                size = float(np.sqrt(np.square(blocks, dtype=float).sum(axis=(0, 1)).mean()))
                full.append(Block.of(index, move.scaled(size), faced, move.written, moves=True))
        for chosen in [alone + full, alone] if full else [alone]:
            for steps in solved(chosen, faced.missing.ravel(), DAMPINGS):
                try:
                    yield self._after(parts, chosen, steps)
                except REFUSALS:
                    continue

    @staticmethod
    def _after(parts: Parts, blocks: Sequence[Block], steps: Sequence[Array]) -> Parts:
        """The parts after steps along some blocks; poles and B, where they do not move, bit for bit."""
        for block, step in zip(blocks, steps, strict=True):
            layer = parts.layers[block.index]
            system = block.write(layer.system, step)
            better = written(layer, system) if block.moves else layer.with_outputs(system)
            parts = parts.with_layer(block.index, better)
        return parts

    def columns(
        self, parts: Parts, combined: Array, changing: Sequence[int]
    ) -> tuple[list[Columns], list[Moves | None]]:
        """Derivatives of R combinations (N, ..., R) of the outputs along C and D of layers, and along poles and B."""
        found, start = [Columns(real=parts.layers[index].format.real_outputs) for index in changing], 0
        moves: list[Moves | None] = [None for _ in changing]
        for rows in self.chunks:
            part = combined[start : start + len(rows)].astype(np.float32)
            seen = self.network.run(parts, rows, record=changing)
            felt = [self.network.gradients(parts, rows, part[..., r]) for r in range(part.shape[-1])]
            for k, index in enumerate(changing):
                system, mine = parts.layers[index].system, [gradients[index] for gradients in felt]
                assert isinstance(system, DiagonalStateSpace)
                given = record(seen.inputs[index], seen.lengths, channels_of(system, system.m))
                found[k].add(system, given, mine, len(rows))
                free = system.conjugate_pairs and parts.layers[index].format.projects
                if start == 0 and free and self._may_move(parts, changing, given, len(felt)):
                    moves[k] = Moves(system, given)
                if (move := moves[k]) is not None:
                    move.add(system, given, mine, len(rows))
            start += len(rows)
        return found, moves

    def _may_move(self, parts: Parts, changing: Sequence[int], given: Record, directions: int) -> bool:
        states = sum(parts.layers[index].system.poles.size for index in changing)
        return self.poles and states * len(self.rows) * given.values.shape[1] * directions <= MOVED

    def _feeds_through(self, layer: SSMLayer) -> bool:
        system = layer.system
        assert isinstance(system, DiagonalStateSpace)
        return self.feedthrough and layer.format.feeds_through and (bool(system.batch_shape) or system.m == system.p)
