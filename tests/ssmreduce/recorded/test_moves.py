"""Poles and B among what moves at once: derivatives are differences through the network, scales and steps."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pytest
from layer_cases import s4d_params
from recorded_cases import KINDS, outputs, signals, system
from toy_enhancer import ToyEnhancer
from toy_enhancer import layer as enhancing
from toy_network import ToyNetwork, layer

from ssmreduce.layers.formats import LAYER_FORMATS, LayerFormat
from ssmreduce.layers.layer import SSMLayer
from ssmreduce.layers.params import layer_from_params
from ssmreduce.network import Parts
from ssmreduce.recorded import moves, together
from ssmreduce.recorded.aims import Faced
from ssmreduce.recorded.blocks import Block, solved
from ssmreduce.recorded.moves import Moves
from ssmreduce.recorded.recipe import Recipe
from ssmreduce.recorded.recording import Sample
from ssmreduce.recorded.search import Search
from ssmreduce.recorded.together import Steps
from theory.systems.scan import Record
from theory.systems.system import DiagonalStateSpace

ONCE = Recipe(observability=("exact",), polish=1, finalists=1, norms=False, decoder=False, together=1)
NAMES = ("Lambda", "B", "C")


@dataclass(frozen=True, eq=False)
class Held:
    """A layer that computes a system as it is."""

    system: DiagonalStateSpace
    format: ClassVar[LayerFormat] = LAYER_FORMATS["s5"]


@pytest.mark.parametrize("budget", [10**9, 1])
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "complex"])
def test_derivatives_are_differences(
    kind: str, budget: int, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever is held at a time; of examples of two sequences; every one that is not left out has the usual size."""
    monkeypatch.setattr(moves, "BYTES", budget)
    item = system(kind)
    u, lengths = signals(item, N=6)
    given = Record(values=u, lengths=lengths)
    felt = [rng.standard_normal(u.shape) * given.mask[..., None] for _ in range(2)]
    found = Moves(item, given)
    found.add(item, given, felt, 3)
    along = found.scaled(0.7)
    sizes = np.sqrt(np.square(along, dtype=float).sum(axis=(0, 1)))
    assert (np.isclose(sizes, 0.7, rtol=1e-5) | (sizes == 0)).all()
    step = rng.standard_normal(along.shape[2])

    def sums(size: float) -> np.ndarray:
        y = outputs(found.written(item, size * step), u, lengths)
        each = np.stack([(g * y).sum(axis=(1, 2)) for g in felt], axis=1)
        return each[:3] + each[3:]

    scale = 1e-4 / np.abs(found._scale * step).max()
    told = (sums(scale) - sums(-scale)) / (2 * scale)
    assert np.abs(along @ step - told).max() <= 1e-4 * np.abs(told).max()


def test_through_the_network_they_are_differences_too(rng: np.random.Generator) -> None:
    """Of random combinations of the signals, layer by layer."""
    network = ToyEnhancer([enhancing(1, 2, 2), enhancing(3, 2, 2)])
    network.x = network.x.repeat(2, axis=2)
    rows = np.arange(network.count)
    whole = network.parts
    steps = Steps(network, Sample(network, rows), network.run(whole, rows, (0, 1)), 0, poles=True)
    combined = rng.standard_normal((*network.run(whole, rows).logits.shape, 2))
    for index, move in enumerate(steps.columns(whole, combined, [0, 1])[1]):
        assert move is not None
        along = move.scaled(1.0)
        step = rng.standard_normal(along.shape[2])
        scale, item = 1e-4 / np.abs(move._scale * step).max(), whole.layers[index].system
        told = []
        for size in (-scale, scale):
            moved = Held(move.written(item, size * step))
            trial = Parts(layers=(*whole.layers[:index], moved, *whole.layers[index + 1 :]), decoder=whole.decoder)
            told.append(np.einsum("nlkr,nlk->nr", combined, network.run(trial, rows).logits))
        assert np.allclose(
            along @ step, (told[1] - told[0]) / (2 * scale), rtol=0, atol=2e-3 * np.abs(along @ step).max()
        )


def channelwise(seed: int, form: str) -> SSMLayer:
    """An S4D layer of two channels with six states each, fast enough to be seen; "s4d-v3" has two directions."""
    raw = s4d_params(np.random.default_rng(seed), form, H=2, N=6)
    raw = {key: value + 2.0 if key.endswith("log_dt") else value for key, value in raw.items()}
    return layer_from_params(raw, discretization="zoh")


NETWORKS = {
    "predictions": lambda: ToyNetwork([layer(1), layer(2)], count=16, L=8),
    "signals": lambda: ToyEnhancer([enhancing(1, 1, 3), enhancing(2, 3, 3)]),
    "S4D": lambda: ToyNetwork([channelwise(k, "s4d-minimal") for k in (1, 2)], count=16, L=8),
    "S4D, two directions": lambda: ToyNetwork([channelwise(k, "s4d-v3") for k in (1, 2)], count=16, L=8),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_a_step_that_moves_poles_is_better_or_not_taken(name: str) -> None:
    """And better than one of C and D alone, which is tried beside it; every pole stays inside."""
    network = NETWORKS[name]()
    plain = Search(network, replace(ONCE, together=0)).reduce(4)
    found, again = (Search(network, ONCE).reduce(4) for _ in range(2))
    assert found.divergence < plain.divergence  # here it is better
    assert found.divergence == again.divergence
    for one, other in zip(found.parts.layers, plain.parts.layers, strict=True):
        names = [key for key in NAMES if key != "B" or one.kind != "s4d"]  # there C explains all that B could do
        assert all(not np.array_equal(getattr(one, name), getattr(other, name)) for name in names)
        assert (np.abs(one.system.poles) < 1).all()
    search = Search(network, ONCE)
    distances = {}
    for poles in (False, True):
        steps = Steps(network, search.more, search.recording.whole, 0, poles=poles)
        distances[poles], _ = steps.best(plain.parts, search.judge)
    assert distances[True] < distances[False]


def test_with_too_many_states_poles_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    network = ToyNetwork([layer(1), layer(2)], count=16, L=8)
    monkeypatch.setattr(together, "MOVED", 1)
    plain = Search(network, replace(ONCE, together=0)).reduce(4)
    found = Search(network, ONCE).reduce(4)
    assert found.divergence < plain.divergence
    for one, other in zip(found.parts.layers, plain.parts.layers, strict=True):
        assert np.array_equal(one.Lambda, other.Lambda)
        assert np.array_equal(one.B, other.B)


def test_steps_are_the_minimisers(rng: np.random.Generator) -> None:
    """Of the squares along the directions, the known part of the gradient and the damping, by the large matrix."""
    faced = Faced(directions=np.zeros((4, 1, 3)), missing=rng.standard_normal((4, 3)), residual=np.zeros((4, 1)))
    along = [rng.standard_normal((4, 4, k)).astype(np.float32) for k in (5, 30)]
    blocks = [Block.of(0, one, faced, lambda system, step: system) for one in along]
    B = np.concatenate([one[:, :3].reshape(12, -1) for one in along], axis=1).astype(float)
    g = np.concatenate([one[:, 3].sum(axis=0) for one in along]).astype(float)
    dampings = (2.0, 0.1)
    for damping, found in zip(dampings, solved(blocks, faced.missing.ravel(), dampings), strict=True):
        mu = damping * np.trace(B @ B.T) / len(B)
        wanted = np.linalg.solve(B.T @ B + mu * np.eye(B.shape[1]), B.T @ faced.missing.ravel() + g)
        assert np.abs(np.concatenate(found) - wanted).max() <= 1e-5 * np.abs(wanted).max()
    assert not list(solved([], faced.missing.ravel(), dampings))
    huge = [Block.of(0, along[0] * np.float32(1e20), faced, lambda system, step: system)]
    with np.errstate(over="ignore", invalid="ignore"):
        assert not list(solved(huge, faced.missing.ravel(), dampings))  # squares overflow: no step is known
