"""C and D of all layers at once: derivatives are differences, scales are energies, and no step makes it worse."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from recorded_cases import KINDS, outputs, signals, system
from tolerance import relative, tol
from toy_enhancer import ToyEnhancer
from toy_enhancer import layer as enhancing
from toy_network import ToyNetwork, layer

from ssmreduce.layers.formats import LAYER_FORMATS, LayerFormat
from ssmreduce.network import Parts, Pass
from ssmreduce.recorded import finals, together
from ssmreduce.recorded.aims import Signals
from ssmreduce.recorded.derivatives import scaled
from ssmreduce.recorded.outcome import Candidate, Stage
from ssmreduce.recorded.recipe import Recipe
from ssmreduce.recorded.recording import Sample
from ssmreduce.recorded.search import Search
from ssmreduce.recorded.together import Steps, Turns
from theory.errors import InputError
from theory.systems.system import DiagonalStateSpace

REAL = [kind for kind in KINDS if kind != "complex"]
ROUNDED = tol(30, cond=10, dtype=np.float32)
ONCE = Recipe(observability=("exact",), polish=0, norms=False, decoder=False, together=1)


@dataclass(frozen=True, eq=False)
class Held:
    """A system that takes another output matrix."""

    system: DiagonalStateSpace
    format: ClassVar[LayerFormat] = LAYER_FORMATS["s5"]

    def with_outputs(self, system: DiagonalStateSpace) -> Held:
        return Held(system)


class Linear:
    """Logits are fixed sums over the outputs of one system: derivatives along C and D hold however far one goes.

    An example is one sequence, or several: all first ones come first.
    """

    def __init__(self, item: DiagonalStateSpace, classes: int = 3, ways: int = 1) -> None:
        self.u, self.lengths = signals(item, N=5 if ways == 1 else 2 * ways)
        self.weights = np.random.default_rng(5).standard_normal((ways, classes, *self.u.shape[1:]))
        self.parts = Parts(layers=(Held(item),))
        self.ways, self.count = ways, len(self.u) // ways

    def run(self, parts: Parts, rows: np.ndarray, record: Sequence[int] = ()) -> Pass:
        which = self._sequences(rows)
        u, lengths = self.u[which], self.lengths[which]
        y = outputs(parts.layers[0].system, u, lengths)
        logits = np.einsum("wklp,wnlp->nk", self.weights, y.reshape(self.ways, -1, *y.shape[1:]))
        return Pass(logits=logits, inputs=dict.fromkeys(record, u), lengths=lengths)

    def gradients(self, parts: Parts, rows: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, ...]:
        inside = np.arange(self.u.shape[1]) < self.lengths[self._sequences(rows)][:, None]
        felt = np.einsum("nk,wklp->wnlp", v, self.weights)
        return (felt.reshape(-1, *felt.shape[2:]) * inside[..., None],)

    def _sequences(self, rows: np.ndarray) -> np.ndarray:
        return np.concatenate([rows + k * self.count for k in range(self.ways)])


@pytest.mark.parametrize("ways", [1, 2])
@pytest.mark.parametrize("held", [10**9, 1])
@pytest.mark.parametrize("kind", REAL)
def test_derivatives_are_differences_and_scales_are_energies(
    kind: str, held: int, ways: int, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In one piece, and example by example; of one sequence, and of two."""
    monkeypatch.setattr(together, "HELD_BYTES", held)
    item = system(kind)
    if kind == "real poles":  # as they are stored: nothing there has an imaginary part
        item = item.replace(B=item.B.real + 0j, C=item.C.real + 0j)
    network = Linear(item, ways=ways)
    rows = np.arange(network.count)
    steps = Steps(network, Sample(network, rows), network.run(network.parts, rows, (0,)), 0)
    roots = rng.standard_normal((len(rows), 3, 2))
    ((columns,), _) = steps.columns(network.parts, roots, [0])
    blocks, written = scaled(columns, True)
    step = rng.standard_normal(blocks.shape[2])
    moved = written(item, step)
    before, after = (network.run(Parts(layers=(Held(one),)), rows).logits for one in (item, moved))
    told = np.einsum("nkr,nk->nr", roots, after - before)
    assert relative(blocks @ step, told) <= ROUNDED
    assert np.array_equal(moved.poles, item.poles)
    assert np.array_equal(moved.B, item.B)
    # C alone, along what has energy
    step[-np.size(np.asarray(columns.energy)) :] = 0
    change = outputs(written(item, step), network.u, network.lengths) - outputs(item, network.u, network.lengths)
    alive = np.abs(blocks).max(axis=(0, 1)) > 0
    assert np.square(change).sum() == pytest.approx(np.square(step[alive]).sum(), rel=1e-6)


@pytest.mark.parametrize("ways", [1, 2])
def test_what_moving_poles_costs_counts_every_sequence(
    ways: int, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Enough for one sequence an example, and not for two."""
    item = system("S5")
    network = Linear(item, ways=ways)
    rows = np.arange(network.count)
    monkeypatch.setattr(together, "MOVED", item.n * len(rows) * network.u.shape[1] * 2)
    steps = Steps(network, Sample(network, rows), network.run(network.parts, rows, (0,)), 0, poles=True)
    (_, (move,)) = steps.columns(network.parts, rng.standard_normal((len(rows), 3, 2)), [0])
    assert (move is None) == (ways == 2)


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


@given(total=st.integers(1, 40), count=st.integers(1, 50), seed=st.integers(0, 5))
def test_every_example_has_its_turn_before_any_comes_again(total: int, count: int, seed: int) -> None:
    turns, seen = Turns(total, count, seed), []
    for _ in range(3 * total):
        now = turns.now
        assert np.array_equal(now, np.unique(now))
        assert len(now) == min(count, total)
        seen.append(now)
        turns.next()
    for taken in range(1, len(seen) + 1):
        times = np.bincount(np.concatenate(seen[:taken]), minlength=total)
        assert times.max() - times.min() <= 1


def test_steps_take_turns_where_there_are_more_examples_than_one_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 16 examples four at a time: what a step runs the whole model and its derivatives on are its own, no others."""
    asked: list[np.ndarray] = []

    class Listening(ToyNetwork):
        def gradients(self, parts: Parts, rows: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, ...]:
            asked.append(rows)
            return super().gradients(parts, rows, v)

    network, rows = Listening([layer(1), layer(2)], count=16, L=4), np.arange(16)
    whole = network.run(network.parts, rows, (0, 1))
    monkeypatch.setattr(together, "EQUATIONS", 4 * Steps(network, Sample(network, rows), whole, 0).aim.directions)
    steps = Steps(network, Sample(network, rows), whole, 0)
    smaller, used = network.parts.with_layer(0, network.parts.layers[0].keep(range(3))), []
    for _ in range(5):
        asked.clear()
        used.append(steps.rows)
        steps.best(smaller, lambda parts: 0.0)
        assert np.array_equal(np.unique(np.concatenate(asked)), used[-1])
    assert np.array_equal(np.sort(np.concatenate(used[:4])), rows)
    assert np.array_equal(used[4], used[0])


@pytest.mark.parametrize(
    ("others", "scores", "taken", "kept"),
    [
        (True, [0.9, 0.95, 0.8, 0.85, 0.7], 5, 0.7),
        (True, [0.9, 0.95, 0.92, 0.1, 0.05], 3, 0.9),
        (True, [1.1, 1.2, 0.1, 0.1, 0.1], 2, 1.0),
        (False, [0.9, 0.95, 0.1, 0.1, 0.1], 2, 0.9),
    ],
)
def test_a_refused_step_is_the_last_unless_the_next_sees_other_examples(
    others: bool, scores: list[float], taken: int, kept: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then the second in a row is."""
    left = list(scores)

    class Told:
        turns = SimpleNamespace(others=others)

        def best(self, parts: Parts, distance: object) -> tuple[float, Parts]:
            return left.pop(0), parts

    monkeypatch.setattr(finals, "Steps", lambda *arguments: Told())
    search = Search(ToyNetwork([layer(1), layer(2)], count=16, L=8), replace(ONCE, together=5))
    parts, stages = search.network.parts, list[Stage]()
    found = [Candidate(score=1.0, refitted=parts, final=parts, kind="exact", allocation="uniform")]
    search.finals(stages).together(found)
    assert len(stages) == taken
    assert [stage.after for stage in stages] == scores[:taken]
    assert min(item.score for item in found) == kept


def test_without_feedthrough_d_stays() -> None:
    network = ToyNetwork([layer(1), layer(2)], count=16, L=8)
    found = Search(network, replace(ONCE, feedthrough=False)).reduce(4)
    assert any(stage.name == "all at once" and stage.kept for stage in found.stages)
    for one, whole in zip(found.parts.layers, network.parts.layers, strict=True):
        assert np.array_equal(one.D, whole.D)


@pytest.mark.parametrize("seed", [1, 5])
def test_of_signals_a_step_is_better_or_not_taken_too(seed: int) -> None:
    network = ToyEnhancer([enhancing(seed, 1, 3), enhancing(seed + 1, 3, 3)])
    plain = Search(network, replace(ONCE, together=0)).reduce(4)
    found = Search(network, ONCE).reduce(4)
    assert found.divergence < plain.divergence  # here it is better
    assert not any(stage.name == "refused" for stage in found.stages)


def test_what_is_known_of_the_gradient_is_the_difference_of_the_error(rng: np.random.Generator) -> None:
    """Of half the squared error of the signals, along C and D of both layers."""
    network = ToyEnhancer([enhancing(1, 2, 2, silent=False), enhancing(3, 2, 2, silent=False)])
    network.x = network.x.repeat(2, axis=2)  # as many inputs as outputs: D moves
    rows = np.arange(network.count)
    parts = network.parts.with_layer(0, network.parts.layers[0].keep(range(4)))
    parts = parts.with_layer(1, parts.layers[1].keep(range(3)))
    steps = Steps(network, Sample(network, rows), network.run(network.parts, rows, (0, 1)), 0)
    wanted, got = (network.run(one, rows).logits for one in (network.parts, parts))
    faced = steps.aim.faced(got, wanted)
    for index, columns in enumerate(steps.columns(parts, faced.residual[..., None], [0, 1])[0]):
        blocks, written = scaled(columns, True)
        known = blocks.sum(axis=(0, 1), dtype=float)
        along, layer = known / np.linalg.norm(known), parts.layers[index]
        others = parts.layers
        changed = []
        for step in (-1e-4, 1e-4):
            moved = Held(written(layer.system, step * along))
            trial = replace(parts, layers=(*others[:index], moved, *others[index + 1 :]))
            changed.append(float(np.square(wanted - network.run(trial, rows).logits).sum()))
        before, after = changed
        assert (before - after) / 4e-4 == pytest.approx(known @ along, rel=1e-4)


def test_directions_of_signals_stand_for_all() -> None:
    """Their squares add up to the identity in the mean, and their number is that of one pass over some hundred."""
    aim = Signals(10, np.random.default_rng(0))
    drawn = aim.faced(np.zeros((10, 4, 1)), np.ones((10, 4, 1)))
    flat = drawn.directions.reshape(10, 4, -1)
    assert flat.shape[-1] == 60
    mean = np.einsum("nir,njr->ij", flat, flat) / 10
    assert np.abs(mean - np.eye(4)).max() <= 5 / np.sqrt(600)
    assert np.array_equal(drawn.residual, np.ones((10, 4, 1)))
    assert not drawn.missing.any()


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


def test_layers_that_see_unequally_many_sequences_are_refused_with_the_reason() -> None:
    class Odd(ToyNetwork):
        def run(self, parts: Parts, rows: np.ndarray, record: Sequence[int] = ()) -> Pass:
            found = super().run(parts, rows, record)
            inputs = {index: np.concatenate([values] * (1 + index)) for index, values in found.inputs.items()}
            return replace(found, inputs=inputs)

    search = Search(Odd([layer(1), layer(2)], count=16, L=8), ONCE)
    stages: list = []
    plain = Search(ToyNetwork([layer(1), layer(2)], count=16, L=8), replace(ONCE, together=0))
    found: list = []
    plain._candidates(4, found, plain.finals([]))
    search.finals(stages).together(found)
    assert [stage.name for stage in stages] == ["refused"]
    assert "1, 2 sequences an example" in stages[0].detail
