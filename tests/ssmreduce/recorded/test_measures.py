"""Networks whose outputs are signals: judged by squared error, layers of unequal widths and rates, real B and C."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from toy_enhancer import ToyEnhancer, layer
from toy_network import ToyNetwork
from toy_network import layer as square_layer

from ssmreduce.network import Network
from ssmreduce.recorded.measures import MEASURES, measure_of
from ssmreduce.recorded.recipe import Recipe
from ssmreduce.recorded.search import Search
from ssmreduce.recorded.stages import fit_decoder, refit_in_sequence
from ssmreduce.reduction import reduce
from theory.errors import InputError, OrderError, ToleranceError

FAST = Recipe(polish=0)


def error_of(network: ToyEnhancer, parts: object, rows: np.ndarray) -> float:
    """Relative squared error, by its definition."""
    y, z = (network.run(part, rows).logits for part in (network.parts, parts))
    return float(((y - z) ** 2).sum() / (y**2).sum())


@pytest.fixture(scope="module")
def network() -> ToyEnhancer:
    return ToyEnhancer([layer(1, 1, 3), layer(2, 3, 3)])


@pytest.fixture(scope="module")
def search(network: ToyEnhancer) -> Search:
    return Search(network, FAST)


def test_it_is_a_network(network: ToyEnhancer) -> None:
    assert isinstance(network, Network)
    assert measure_of(network).name == "squared_error"
    assert measure_of(ToyNetwork([square_layer(1)])).name == "divergence"


def test_the_gradients_of_the_toy_are_differences(network: ToyEnhancer) -> None:
    """D of a layer moved by s moves its output by s u."""
    rows, rng = np.arange(5), np.random.default_rng(0)
    v = rng.standard_normal((5, 40, 1))
    found, inputs = network.gradients(network.parts, rows, v), network.run(network.parts, rows, (0, 1)).inputs
    for index, one in enumerate(network.parts.layers):
        push = rng.standard_normal(one.D.shape)
        values = [
            (v * network.run(network.parts.with_layer(index, one.replace(D=one.D + step * push)), rows).logits).sum()
            for step in (1e-3, -1e-3)
        ]
        wanted = (values[0] - values[1]) / 2e-3
        assert (found[index] * (inputs[index] @ push.T)).sum() == pytest.approx(wanted, rel=1e-3)


@pytest.mark.parametrize("budget", [2, 4, 6])
def test_the_judge_is_the_squared_error_on_held_out_signals(network: ToyEnhancer, search: Search, budget: int) -> None:
    found = search.reduce(budget)
    assert found.measure == "squared_error"
    assert sum(found.orders) == budget
    assert found.divergence == pytest.approx(error_of(network, found.parts, search.held_out), rel=1e-9)
    assert found.changed == found.divergence
    record = found.record(network.parts.layers)
    assert record["squared_error"] == found.divergence
    assert "divergence" not in record
    assert "changed_predictions" not in record
    assert all(item["squared_error"] >= found.divergence for item in record["candidates"])


def test_it_beats_balanced_truncation_of_the_same_sizes(network: ToyEnhancer, search: Search) -> None:
    for budget in (4, 6):
        found = search.reduce(budget)
        layers = tuple(reduce(one, order).layer for one, order in zip(network.parts.layers, found.orders))
        assert found.divergence < error_of(network, replace(network.parts, layers=layers), search.held_out)


def test_states_that_nothing_drives_go_for_free() -> None:
    network = ToyEnhancer([layer(3, 1, 2, present=3), layer(4, 2, 2, present=2)])
    found = Search(network, FAST).reduce(5)
    assert error_of(network, found.parts, np.arange(12)) < 1e-9


def test_effects_do_not_depend_on_the_loudness(network: ToyEnhancer) -> None:
    """Outputs 1024 times as large, which rounds nothing, have the same relative errors: the budget is divided alike."""
    loud = ToyEnhancer(network.parts.layers)
    kernel, bias = network.parts.decoder
    loud.parts = replace(network.parts, decoder=(1024 * kernel, 1024 * bias))
    recipe = replace(FAST, observability=("exact",))
    one, other = (Search(net, recipe).reduce(6) for net in (network, loud))
    assert one.orders == other.orders
    assert one.divergence == pytest.approx(other.divergence, rel=1e-6)


def test_a_decoder_of_signals_is_least_squares(network: ToyEnhancer, search: Search) -> None:
    """The rest is orthogonal to every feature and to the constant, over all samples."""
    parts, record = search.candidate("exact", (2, 2)), search.recording
    fitted = fit_decoder(record, parts, 1e-13)
    found = network.run(fitted, record.rows)
    rest = (record.whole.logits - found.logits).reshape(-1, 1)
    F = np.column_stack([found.features.reshape(-1, 3), np.ones(rest.size)])
    assert np.abs(F.T @ rest).max() < 1e-8 * np.linalg.norm(F) * np.linalg.norm(record.whole.logits)
    assert error_of(network, fitted, record.rows) < error_of(network, parts, record.rows)


def test_padding_teaches_the_decoder_nothing(network: ToyEnhancer, search: Search) -> None:
    """Samples after the end, where features and outputs are zero, leave the fit as it is."""

    class Padded(ToyEnhancer):
        def run(self, parts, rows, record=()):  # type: ignore[no-untyped-def]
            found = super().run(parts, rows, record)
            longer = [np.concatenate([part, np.zeros_like(part)], axis=1) for part in (found.logits, found.features)]
            return replace(found, logits=longer[0], features=longer[1])

    padded = Padded(network.parts.layers)
    parts = search.candidate("exact", (2, 2))
    one, other = (fit_decoder(Search(net, FAST).recording, parts, 1e-3).decoder for net in (network, padded))
    for a, b in zip(one, other):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)


def test_the_smallest_model_within_a_signal_to_noise_ratio(network: ToyEnhancer, search: Search) -> None:
    found = search.smallest(1e-2)
    assert error_of(network, found.parts, search.held_out) <= 1e-2
    assert sum(found.orders) < 12
    with pytest.raises(ToleranceError, match="outputs' energy"):
        search.smallest(1e-300)


@pytest.mark.parametrize("polish", [0, 2])
def test_a_layer_without_feedthrough_gets_none(polish: int) -> None:
    """Where the code has no D; square layers would otherwise get a diagonal one."""
    network = ToyEnhancer([layer(1, 1, 2), layer(2, 2, 2)])
    for feedthrough in (False, True):
        search = Search(network, Recipe(feedthrough=feedthrough))
        refitted = refit_in_sequence(search.recording, search.candidate("exact", (2, 2)), iterations=polish)
        assert (np.abs(refitted.layers[1].D).max() > 0) == feedthrough
        assert np.array_equal(refitted.layers[0].D, network.parts.layers[0].D)  # no diagonal: never touched


def test_polishing_never_hurts_signals(network: ToyEnhancer, search: Search) -> None:
    assert Search(network, Recipe(polish=3)).reduce(4).divergence <= search.reduce(4).divergence


def test_measures() -> None:
    rng = np.random.default_rng(0)
    y, z = rng.standard_normal((2, 4, 30, 2))
    squared, kl = MEASURES["squared_error"], MEASURES["divergence"]
    assert squared.distance(y, z) == pytest.approx(((y - z) ** 2).sum() / (y**2).sum())
    assert squared.distance(y, 0.9 * y) == pytest.approx(0.01)  # 20 dB
    assert squared.distance(y, y) == 0
    assert squared.distance(0 * y, y) == np.inf
    assert squared.distance(0 * y, 0 * y) == 0
    assert kl.distance(y[:, 0], y[:, 0] + 5) == pytest.approx(0, abs=1e-12)
    assert squared.distance(y, y + 5) > 1  # a constant counts
    v = kl.directions(rng, y)
    assert np.abs(v.sum(axis=-1)).max() < 1e-12
    # white directions: the mean square of v . y is the energy of y
    many = np.array([np.vdot(squared.directions(rng, y[0]), y[0]) for _ in range(4000)])
    assert (many**2).mean() == pytest.approx((y[0] ** 2).sum(), rel=0.15)


def test_a_measure_that_nobody_knows_is_named(network: ToyEnhancer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ToyEnhancer, "measure", "snr")
    with pytest.raises(InputError, match="'squared_error', got 'snr'"):
        Search(network, FAST)


def test_layers_that_nothing_can_be_written_into_are_named() -> None:
    """This form has a diagonal D, these layers a dense one: every order is refused, and the reason is told."""
    network = ToyEnhancer([one.replace(form="lru", conj_sym=False) for one in (layer(1, 1, 3), layer(2, 3, 3))])
    with pytest.raises(OrderError, match=r"no division .* layer 0 with 1 of 6 states: C_re must have shape"):
        Search(network, FAST).reduce(6)
