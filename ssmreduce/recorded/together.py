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

A step costs as much as it has examples. Where there are more than one step can take, each takes others, until all have
been seen: what the next step asks for, the last one has not been fitted to.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssmreduce.layers.layer import SSMLayer
from ssmreduce.network import Network, Parts, Pass, felt_along
from ssmreduce.recorded.aims import aim_of
from ssmreduce.recorded.blocks import Block, solved
from ssmreduce.recorded.derivatives import Columns, scaled
from ssmreduce.recorded.measures import measure_of
from ssmreduce.recorded.moves import Moves
from ssmreduce.recorded.recording import Sample
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


class Turns:
    """Which of `total` examples a step takes, `count` at a time: others each time, all before any comes again.

    They are the same ones in every step where `count` are all of them.
    """

    def __init__(self, total: int, count: int, seed: int) -> None:
        self._order, self._count, self._start = np.random.default_rng(seed).permutation(total), min(count, total), 0

    @property
    def others(self) -> bool:
        """Whether the next step takes others."""
        return self._count < len(self._order)

    @property
    def now(self) -> Array:
        """Positions, in order."""
        return np.sort(np.take(self._order, np.arange(self._start, self._start + self._count), mode="wrap"))

    def next(self) -> None:
        """The next step's."""
        self._start = (self._start + self._count) % len(self._order)


def _is_real(layer: SSMLayer) -> bool:
    return isinstance(layer.system, DiagonalStateSpace) and layer.system.is_real


class Steps:
    """Gauss-Newton steps of one network on the examples of a sample.

    Parameters
    ----------
    network : Network
        Whose layers are real.
    sample : Sample
        Examples; a step uses as many of them as :data:`EQUATIONS` and :data:`SAMPLES` allow, the next step others.
    seen : Pass
        Of the whole model, with the inputs of all layers: says how long they are.
    seed : int
        Of the random directions, and of which step uses which examples.
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
        self.turns = Turns(len(sample.rows), count, seed)
        held = 8 * int(each) * sum(values.shape[1] * values.shape[2] for values in seen.inputs.values())
        size = max(1, HELD_BYTES // (held * (2 + self.aim.directions)))
        self._size = size - (size % ROUND if size > ROUND else 0)
        self._each = int(each)
        self._sample, self._known = sample, (np.array([], dtype=int), np.array([]))

    @property
    def rows(self) -> Array:
        """Examples of the next step."""
        return np.asarray(self._sample.rows[self.turns.now])

    def _outputs(self, parts: Parts, rows: Array) -> Array:
        return measure_of(self.network).centred(self.network.run(parts, rows).logits.astype(float))

    def _wanted(self, rows: Array) -> Array:
        """What the whole model says; run once as long as the examples are the same."""
        if not np.array_equal(self._known[0], rows):
            self._known = rows, self._outputs(self.network.parts, rows)
        return self._known[1]

    def best(self, parts: Parts, distance: Callable[[Parts], float]) -> tuple[float, Parts]:
        """The trial with the least distance, and that; infinite where there is none. The next step has its turn.

        Raises
        ------
        InputError
            The reduced model's outputs are not finite.
        """
        tried = [(distance(trial), k, trial) for k, trial in enumerate(self.trials(parts))]
        score, _, trial = min(tried, key=lambda one: one[:2], default=(np.inf, 0, parts))
        self.turns.next()
        return score, trial

    def trials(self, parts: Parts) -> Iterator[Parts]:
        """Parts after a step from here, one for each damping; without those that storage cannot hold."""
        outputs = self._outputs(parts, self.rows)
        require_finite(**{"outputs of the reduced model": outputs})
        faced = self.aim.faced(outputs, self._wanted(self.rows))
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
        for rows in (self.rows[first : first + self._size] for first in range(0, len(self.rows), self._size)):
            part = combined[start : start + len(rows)].astype(np.float32)
            seen, felt = felt_along(self.network, parts, rows, part, changing)
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
        samples = len(self.rows) * self._each * given.values.shape[1]
        return self.poles and states * samples * directions <= MOVED

    def _feeds_through(self, layer: SSMLayer) -> bool:
        system = layer.system
        assert isinstance(system, DiagonalStateSpace)
        return self.feedthrough and layer.format.feeds_through and (bool(system.batch_shape) or system.m == system.p)
