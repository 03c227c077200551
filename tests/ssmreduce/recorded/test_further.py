"""Norms and decoder fitted again on further examples: nothing else sees them, and really on all of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from toy_network import ToyNetwork, layer

from ssmreduce.network import Parts, divergence
from ssmreduce.recorded.recipe import Recipe
from ssmreduce.recorded.search import Search
from theory.errors import InputError

FURTHER = 40
PLAIN = Recipe(observability=("exact",), polish=0, together=0)
MORE = replace(PLAIN, further=FURTHER)


class Parted(ToyNetwork):
    """A toy network that notes for which of its examples layers were recorded or gradients were asked."""

    def __init__(self, count: int, seed: int = 0) -> None:
        super().__init__([layer(1), layer(2)], count=count, seed=seed)
        self.recorded: set[int] = set()

    def run(self, parts, rows, record=()):
        if record:
            self.recorded |= set(np.asarray(rows).tolist())
        return super().run(parts, rows, record)


def first(network: Parted, count: int) -> Parted:
    """The same network with the first examples only."""
    one = Parted(count)
    one.x, one.parts = network.x[:count], network.parts
    return one


@pytest.mark.parametrize("budget", [3, 5, 8])
def test_nothing_but_norms_and_decoder_sees_the_further_examples(budget):
    network = Parted(24 + FURTHER)
    found, plain = Search(network, MORE).reduce(budget), Search(first(network, 24), PLAIN).reduce(budget)
    assert max(network.recorded) < 24
    for one, other in zip(found.parts.layers, plain.parts.layers, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(one.to_params().values(), other.to_params().values()))
    assert found.divergence <= plain.divergence


@pytest.mark.parametrize("budget", [2, 3, 5])
def test_the_decoder_is_least_squares_over_all_of_them(budget):
    """By NumPy's own solver over fitted and further examples together; five fitted ones alone are too few to win."""
    network = Parted(24 + FURTHER)
    search = Search(network, replace(MORE, norms=False, refit=False, fit_fraction=0.2))
    found = search.reduce(budget)
    stage = next(one for one in found.stages if one.name == "further")
    assert stage.kept
    ridge = float(stage.detail.rsplit(" ", 1)[1])
    rows = np.concatenate([search.recording.rows, np.arange(24, 24 + FURTHER)])
    assert len(set(rows) & set(search.held_out)) == 0
    start = replace(found.parts, decoder=network.parts.decoder)
    assert decoder(network, start, rows, ridge) == pytest.approx(np.vstack(found.parts.decoder), rel=1e-6, abs=1e-9)


def decoder(network: Parted, parts: Parts, rows: np.ndarray, ridge: float) -> np.ndarray:
    """Kernel and bias that give the whole model's centred logits, the ridge as more rows of least squares."""
    F, kernel = network.run(parts, rows).features, parts.decoder[0]
    wanted = network.run(network.parts, rows).logits
    wanted = wanted - wanted.mean(axis=1, keepdims=True)
    given = F @ kernel + parts.decoder[1]
    rest = wanted - (given - given.mean(axis=1, keepdims=True))
    X, y = F - F.mean(axis=0), rest - rest.mean(axis=0)
    weight = np.sqrt(ridge * (X**2).sum() / X.shape[1])
    step = np.linalg.lstsq(
        np.vstack([X, weight * np.eye(X.shape[1])]), np.vstack([y, np.zeros((X.shape[1], y.shape[1]))]), rcond=None
    )[0]
    return np.vstack([kernel + step, parts.decoder[1] + rest.mean(axis=0) - F.mean(axis=0) @ step])


def test_more_examples_come_closer_on_examples_that_nothing_has_seen():
    """Eight fitted examples of a decoder of six numbers are few: over networks, the further ones win elsewhere."""
    gains, more = [], 60
    for seed in range(8):
        network = Parted(16 + 2 * more, seed)
        unseen = np.arange(16 + more, network.count)
        wanted = network.run(network.parts, unseen).logits
        known = first(network, 16 + more)
        few = Search(first(network, 16), PLAIN).reduce(3)
        many = Search(known, replace(PLAIN, further=more)).reduce(3)
        few, many = (divergence(wanted, network.run(one.parts, unseen).logits) for one in (few, many))
        gains.append(few / many)
    assert np.exp(np.mean(np.log(gains))) > 1.0


def test_what_is_not_fitted_is_not_fitted_again():
    network = Parted(24 + FURTHER)
    found = Search(network, replace(MORE, norms=False, decoder=False)).reduce(5)
    assert "further" not in {stage.name for stage in found.stages}
    assert found.parts.decoder is network.parts.decoder


@pytest.mark.parametrize("further", [-1, 21, 24])
def test_too_few_examples_are_refused(further):
    with pytest.raises(InputError, match="fitted and judged"):
        Search(Parted(24), replace(PLAIN, further=further))
