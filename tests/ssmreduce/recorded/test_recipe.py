"""The whole recipe on a network in plain NumPy: budgets are exact, what is kept never hurts, labels do not exist."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from toy_network import ToyNetwork, layer

from ssmreduce.files.model import Model
from ssmreduce.network import Network, changed, divergence
from ssmreduce.recorded.budget import curve_orders, divide, interpolated, spread_evenly
from ssmreduce.recorded.recipe import Recipe
from ssmreduce.recorded.search import Search
from ssmreduce.recorded.stages import fit_decoder, pair_norms, refit_in_sequence
from ssmreduce.reduced_model import reduce_model
from ssmreduce.reduction import reduce
from theory.errors import InputError, OrderError
from theory.norms import error_norm

FAST = Recipe(observability=("exact",), polish=0, together=0)


@pytest.fixture(scope="module")
def network() -> ToyNetwork:
    return ToyNetwork([layer(1), layer(2)])


@pytest.fixture(scope="module")
def search(network: ToyNetwork) -> Search:
    return Search(network, FAST)


@pytest.mark.parametrize("seed", range(12))
def test_the_division_is_the_best_of_all(seed):
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 6, 3)
    costs = [np.concatenate([[np.inf], rng.exponential(size=n)]) for n in sizes]
    costs[0][1 if sizes[0] > 1 else 0] = np.inf
    for budget in range(4, int(sizes.sum()) + 1):
        options = [
            (sum(cost[r] for cost, r in zip(costs, orders)), orders)
            for orders in itertools.product(*(range(1, n + 1) for n in sizes))
            if sum(orders) == budget
        ]
        best = min(options)[0]
        if not np.isfinite(best):
            with pytest.raises(OrderError):
                divide(costs, budget)
            continue
        found = divide(costs, budget)
        assert sum(found) == budget
        assert sum(cost[r] for cost, r in zip(costs, found)) == pytest.approx(best)


def test_even_divisions_meet_the_budget():
    rng = np.random.default_rng(0)
    for _ in range(200):
        sizes = rng.integers(1, 20, rng.integers(1, 6)).tolist()
        budget = int(rng.integers(len(sizes), sum(sizes) + 1))
        orders = spread_evenly(sizes, budget)
        assert sum(orders) == budget
        assert all(1 <= order <= n for order, n in zip(orders, sizes))


def test_curves_run_through_what_was_measured_and_never_rise():
    orders, effects = np.array(curve_orders(40)), np.array([3.0, 2.0, np.inf, 0.5, 0.6, 0.1, 0.01])
    cost = interpolated(orders, effects, 40)
    assert cost[0] == np.inf
    assert cost[40] == 0
    assert (np.diff(cost[1:]) <= 1e-15).all()
    for order, effect in zip(orders, np.minimum.accumulate(effects)):
        assert cost[order] == pytest.approx(effect)


def test_divergence_and_changes():
    rng = np.random.default_rng(0)
    p, q = rng.standard_normal((2, 50, 4))
    P, Q = (np.exp(x) / np.exp(x).sum(1, keepdims=True) for x in (p, q))
    assert divergence(p, q) == pytest.approx((P * np.log(P / Q)).sum(1).mean())
    assert divergence(p, p + 3.0) == pytest.approx(0, abs=1e-15)
    assert changed(p, p) == 0
    # at a high temperature: half the mean squared distance of the centred logits, over the classes
    centred = (p - q) - (p - q).mean(1, keepdims=True)
    assert divergence(p, q, 1e4) == pytest.approx((centred**2).mean() / 2, rel=1e-3)


def test_it_is_a_network(network):
    assert isinstance(network, Network)


@pytest.mark.parametrize("budget", [2, 5, 8, 12])
def test_the_budget_is_met_and_the_judge_is_right(network, search, budget):
    found = search.reduce(budget)
    assert sum(found.orders) == budget
    assert found.orders == tuple(one.order for one in found.parts.layers)
    logits = network.run(found.parts, search.held_out).logits
    whole = network.run(network.parts, search.held_out).logits
    assert found.divergence == pytest.approx(divergence(whole, logits), rel=1e-9, abs=1e-12)
    assert found.changed == changed(whole, logits)
    for one in found.parts.layers:
        one.require_stable()
    assert all(item["divergence"] >= found.divergence for item in found.candidates)
    for stage in found.stages:
        assert stage.kept == (stage.after < stage.before)


def test_all_states_are_the_whole_model(network, search):
    found = search.reduce(12)
    assert found.divergence <= 1e-10
    assert found.parts.layers == network.parts.layers


def test_it_beats_balanced_truncation_of_the_same_sizes(network, search):
    for budget in (4, 6):
        found = search.reduce(budget)
        layers = tuple(reduce(one, order).layer for one, order in zip(network.parts.layers, found.orders))
        balanced = network.run(replace(network.parts, layers=layers), search.held_out).logits
        assert found.divergence < divergence(search.wanted, balanced)


def test_states_that_nothing_drives_go_for_free():
    network = ToyNetwork([layer(3, present=3), layer(4, present=2)])
    found = Search(network, FAST).reduce(5)
    assert found.divergence < 1e-6


def test_polishing_never_hurts(network, search):
    plain = search.reduce(4)
    polished = Search(network, replace(FAST, polish=3)).reduce(4)
    assert polished.divergence <= plain.divergence


def test_the_stages_do_what_they_say(network, search):
    parts = search.candidate("exact", (2, 2))
    record = search.recording
    refitted = refit_in_sequence(record, parts)
    for index in range(2):
        for field in ("Lambda", "B", "log_step"):
            assert np.array_equal(getattr(refitted.layers[index], field), getattr(parts.layers[index], field))
    # paired norms: what was normalised to (m, v) in the whole model is so in the reduced one
    paired = pair_norms(record, parts)
    before, after = record.whole.moments, network.run(parts, record.rows).moments
    for (mean, var), (old, old_var), (m0, v0), (m1, v1) in zip(paired.norms, network.parts.norms, before, after):
        assert np.allclose((m1 - mean) / 1.0, (m0 - old) / 1.0)
        assert np.allclose(v1 / var, v0 / old_var)
    # a ridge of nearly zero is least squares: the rest is orthogonal to the features
    fitted = fit_decoder(record, refitted, 1e-12)
    features = network.run(fitted, record.rows).features
    wanted = record.whole.logits - record.whole.logits.mean(axis=1, keepdims=True)
    kernel, bias = fitted.decoder
    given = features @ kernel + bias
    rest = wanted - (given - given.mean(axis=1, keepdims=True))
    rest = rest - rest.mean(axis=0)
    assert np.abs((features - features.mean(axis=0)).T @ rest).max() < 1e-6 * np.abs(wanted).max() * len(features)


def test_the_same_seed_gives_the_same_model(network):
    one, two = (Search(network, replace(FAST, seed=3)).reduce(5) for _ in range(2))
    assert one.divergence == two.divergence
    for a, b in zip(one.parts.layers, two.parts.layers):
        assert all(np.array_equal(x, y) for x, y in zip(a.to_params().values(), b.to_params().values()))


def test_gradients_are_asked_for_only_where_they_are_used():
    network = ToyNetwork([layer(1, P=3)], count=8, L=6)
    mixed = Search(network, Recipe(observability=("output", "mixture"), polish=0, together=0)).reduce(1)
    assert mixed.observability in ("output", "mixture")


@pytest.mark.parametrize("name", ["polish", "finalists", "together"])
def test_fewer_steps_than_none_are_refused(network, name):
    with pytest.raises(InputError, match=f"{name} must be at least 0"):
        Search(network, replace(FAST, **{name: -1}))


def test_what_cannot_be_done_is_refused(network, search):
    for budget in (1, 13):
        with pytest.raises(OrderError):
            search.reduce(budget)
    with pytest.raises(InputError):
        Search(ToyNetwork([layer(1)], count=2))


def test_a_search_goes_on_with_what_was_measured():
    network, known = ToyNetwork([layer(1), layer(2)]), {}
    one = Search(network, FAST, known=known).reduce(5)
    held, network.runs = dict(known), 0
    two = Search(network, FAST, known=known).reduce(5)
    again = network.runs
    network.runs = 0
    Search(network, FAST).reduce(5)
    assert known == held
    assert one.divergence == two.divergence
    assert again == network.runs - len(held)


def model_of(network: ToyNetwork, **others: np.ndarray) -> Model:
    """The layers as a file holds them, and what else is in it."""
    tree = {
        f"layers_{i}/{key}": value
        for i, one in enumerate(network.parts.layers)
        for key, value in one.to_params().items()
    }
    return Model(tree={**tree, **others}, options=network.parts.layers[0].options())


def test_an_interrupted_reduction_goes_on_with_what_it_knew():
    """Ctrl-C before there is a candidate: nothing is lost but the effect that was being measured."""
    network = ToyNetwork([layer(1), layer(2)])
    model = model_of(network)

    def pressed(done: int, total: int, what: str) -> None:
        if done == 5:
            raise KeyboardInterrupt

    known: dict[str, float] = {}
    with pytest.raises(KeyboardInterrupt):
        reduce_model(model, ratio=0.5, network=network, recipe=FAST, known=known, progress=pressed)
    assert len(known) == 5
    held, network.runs = dict(known), 0
    resumed = reduce_model(model, ratio=0.5, network=network, recipe=FAST, known=known)
    runs, network.runs = network.runs, 0
    assert held.items() <= known.items()
    plain = reduce_model(model, ratio=0.5, network=network, recipe=FAST)
    assert runs == network.runs - 5
    assert resumed.training["reduction"] == plain.training["reduction"]
    with pytest.raises(InputError, match="network"):
        reduce_model(model, ratio=0.5, known=known)


def test_the_smallest_model_is_found_by_bisection(network, search):
    found = search.smallest(0.25)
    assert found.changed <= 0.25
    budget = sum(found.orders)
    assert search.reduce(budget).changed <= 0.25
    if budget > 2:
        assert search.reduce(budget - 1).changed > 0.25


def test_reduce_model_takes_a_network():
    """Only the layers change where the network cannot write norms and decoder; the record says what was done."""
    network = ToyNetwork([layer(1), layer(2)])
    model = model_of(network, other=np.ones(2))
    small = reduce_model(model, ratio=0.5, network=network, recipe=FAST)
    assert small.n_states == 6
    assert np.array_equal(small.tree["other"], np.ones(2))
    record = small.training["reduction"]
    assert record["method"] == "recorded"
    assert record["orders"] == [one.order for one in small.layers]
    assert not record["recipe"]["decoder"]
    logits = network.run(replace(network.parts, layers=small.layers), Search(network, FAST).held_out).logits
    assert record["divergence"] == pytest.approx(divergence(Search(network, FAST).wanted, logits), rel=1e-9)
    for whole, part, bound in zip(network.parts.layers, small.layers, record["bounds"]):
        assert error_norm(whole.system, part.system, rtol=1e-3).lower <= bound
    for wrong in ({"orders": 3}, {"ratio": 0.5, "allocation": "uniform"}, {"ratio": 0.5, "method": "modal"}):
        with pytest.raises(InputError, match="recipe"):
            reduce_model(model, network=network, **wrong, **({"recipe": FAST} if "method" in wrong else {}))
    with pytest.raises(InputError):
        reduce_model(model, ratio=0.5, recipe=FAST)


@pytest.mark.parametrize("wrong", ["inputs", "gradients", "nan"])
def test_a_network_that_is_wrong_is_named_not_searched(wrong, monkeypatch):
    """Its shapes and numbers are checked once; no candidate is refused for what the network did."""
    network = ToyNetwork([layer(1, P=3)], count=8, L=6)
    run, gradients = network.run, network.gradients

    def bad_run(parts, rows, record=()):
        found = run(parts, rows, record)
        spoiled = {i: u[..., :1] if wrong == "inputs" else u * np.nan for i, u in found.inputs.items()}
        return found if wrong == "gradients" else replace(found, inputs=spoiled)

    monkeypatch.setattr(network, "run", bad_run)
    if wrong == "gradients":
        monkeypatch.setattr(network, "gradients", lambda *a: tuple(g[:, :, :1] for g in gradients(*a)))
    with pytest.raises(InputError, match="of layer 0"):
        Search(network, Recipe(observability=("output",), polish=0, together=0)).reduce(1)
