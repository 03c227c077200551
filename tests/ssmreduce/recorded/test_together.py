"""C and D of all layers at once: derivatives are differences, scales are energies, and no step makes it worse."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pytest
from recorded_cases import KINDS, outputs, signals, system
from tolerance import relative, tol
from toy_enhancer import ToyEnhancer
from toy_network import ToyNetwork, layer

from ssmreduce.network import Parts, Pass
from ssmreduce.recorded import together
from ssmreduce.recorded.recipe import Recipe
from ssmreduce.recorded.recording import Sample
from ssmreduce.recorded.search import Search
from ssmreduce.recorded.together import Steps
from theory.errors import InputError
from theory.systems.system import DiagonalStateSpace

REAL = [kind for kind in KINDS if kind != "complex"]
ROUNDED = tol(30, cond=10, dtype=np.float32)
ONCE = Recipe(observability=("exact",), polish=0, norms=False, decoder=False, together=1)


@dataclass(frozen=True, eq=False)
class Held:
    """A system that takes another output matrix."""

    system: DiagonalStateSpace

    def with_outputs(self, system: DiagonalStateSpace) -> Held:
        return Held(system)


class Linear:
    """Logits are fixed sums over the outputs of one system: derivatives along C and D hold however far one goes."""

    def __init__(self, item: DiagonalStateSpace, classes: int = 3) -> None:
        self.u, self.lengths = signals(item)
        self.weights = np.random.default_rng(5).standard_normal((classes, *self.u.shape[1:]))
        self.parts = Parts(layers=(Held(item),))
        self.count = len(self.u)

    def run(self, parts: Parts, rows: np.ndarray, record: Sequence[int] = ()) -> Pass:
        u, lengths = self.u[rows], self.lengths[rows]
        y = outputs(parts.layers[0].system, u, lengths)
        return Pass(logits=np.einsum("klp,nlp->nk", self.weights, y), inputs=dict.fromkeys(record, u), lengths=lengths)

    def gradients(self, parts: Parts, rows: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, ...]:
        inside = np.arange(self.u.shape[1]) < self.lengths[rows][:, None]
        return (np.einsum("nk,klp->nlp", v, self.weights) * inside[..., None],)


@pytest.mark.parametrize("held", [10**9, 1])
@pytest.mark.parametrize("kind", REAL)
def test_derivatives_are_differences_and_scales_are_energies(
    kind: str, held: int, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In one piece, and example by example."""
    monkeypatch.setattr(together, "HELD_BYTES", held)
    item = system(kind)
    if kind == "real poles":  # as they are stored: nothing there has an imaginary part
        item = item.replace(B=item.B.real + 0j, C=item.C.real + 0j)
    network = Linear(item)
    rows = np.arange(network.count)
    steps = Steps(network, Sample(network, rows), network.run(network.parts, rows, (0,)), 0)
    roots = rng.standard_normal((len(rows), 3, 2))
    (columns,) = steps.columns(network.parts, roots, [0])
    blocks, written = together._scaled(columns, True)
    step = rng.standard_normal(blocks.shape[1])
    moved = written(item, step)
    before, after = (network.run(Parts(layers=(Held(one),)), rows).logits for one in (item, moved))
    told = np.einsum("nkr,nk->nr", roots, after - before)
    assert relative((blocks @ step).reshape(told.shape), told) <= ROUNDED
    assert np.array_equal(moved.poles, item.poles)
    assert np.array_equal(moved.B, item.B)
    # C alone, along what has energy
    step[-np.size(np.asarray(columns.energy)) :] = 0
    change = outputs(written(item, step), network.u, network.lengths) - outputs(item, network.u, network.lengths)
    alive = np.abs(blocks).max(axis=0) > 0
    assert np.square(change).sum() == pytest.approx(np.square(step[alive]).sum(), rel=1e-6)


@pytest.mark.parametrize("budget", [3, 5])
def test_a_step_is_better_or_not_taken_and_moves_nothing_but_c_and_d(budget: int) -> None:
    network = ToyNetwork([layer(1), layer(2)], count=16, L=8)
    plain = Search(network, replace(ONCE, together=0)).reduce(budget)
    found, again = (Search(network, ONCE).reduce(budget) for _ in range(2))
    assert found.divergence < plain.divergence  # here it is better
    assert found.divergence == again.divergence
    (stage,) = (stage for stage in found.stages if stage.name == "all at once")
    assert (stage.before, stage.after, stage.kept) == (plain.divergence, found.divergence, True)
    for one, other in zip(found.parts.layers, plain.parts.layers, strict=True):
        for name in ("Lambda", "B", "log_step"):
            assert np.array_equal(getattr(one, name), getattr(other, name))
        assert not np.array_equal(one.C, other.C)


def test_without_feedthrough_d_stays() -> None:
    network = ToyNetwork([layer(1), layer(2)], count=16, L=8)
    found = Search(network, replace(ONCE, feedthrough=False)).reduce(4)
    assert any(stage.name == "all at once" and stage.kept for stage in found.stages)
    for one, whole in zip(found.parts.layers, network.parts.layers, strict=True):
        assert np.array_equal(one.D, whole.D)


def test_signals_are_refused_with_the_reason() -> None:
    network = ToyEnhancer([layer(1, H=1), layer(2, H=1)])
    found = Search(network, replace(ONCE, observability=("exact",))).reduce(4)
    assert any(stage.name == "refused" and "signals" in stage.detail for stage in found.stages)


def test_one_class_and_signals_that_are_not_finite_are_refused_with_the_reason() -> None:
    layers, rows = [layer(1), layer(2)], np.arange(12)
    alone = ToyNetwork(layers, count=12, L=12, classes=1)
    with pytest.raises(InputError, match="one class"):
        Steps(alone, Sample(alone, rows), alone.run(alone.parts, rows, (0, 1)), 0)

    class Broken(ToyNetwork):
        def run(self, parts: Parts, rows: np.ndarray, record: Sequence[int] = ()) -> Pass:
            found = super().run(parts, rows, record)
            return found if parts is self.parts else replace(found, logits=found.logits * np.nan)

    network = Broken(layers, count=12, L=12)
    smaller = network.parts.with_layer(0, layers[0].keep(range(3)))
    steps = Steps(network, Sample(network, rows), network.run(network.parts, rows, (0, 1)), 0)
    with pytest.raises(InputError, match="finite"):
        steps.best(smaller, lambda parts: 0.0)


def test_examples_of_several_sequences_are_refused_with_the_reason() -> None:
    class Pairs(ToyNetwork):
        def run(self, parts: Parts, rows: np.ndarray, record: Sequence[int] = ()) -> Pass:
            found = super().run(parts, rows, record)
            inputs = {index: np.concatenate([values, values]) for index, values in found.inputs.items()}
            return replace(found, inputs=inputs)

    search = Search(Pairs([layer(1), layer(2)], count=16, L=8), ONCE)
    stages: list = []
    plain = Search(ToyNetwork([layer(1), layer(2)], count=16, L=8), replace(ONCE, together=0))
    found: list = []
    plain._candidates(4, found, plain.finals([]))
    search.finals(stages).together(found)
    assert [stage.name for stage in stages] == ["refused"]
    assert "sequence" in stages[0].detail
