"""Scores: LAST in both variants, golden numbers, invariances, deterministic ties, no score for instability."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from layer_cases import GOLDEN, S4D_OPTIONS, TINY, s4d_params, s5_layers, s5_params

from ssmreduce.files.loading import load
from ssmreduce.layers.layer import SSMLayer
from ssmreduce.layers.params import layer_from_params
from ssmreduce.methods.scores import (
    CRITERIA,
    aire_scores,
    hinf_scores,
    last_energies,
    last_scores,
    magnitude_scores,
    prefix_normalised,
    released_threshold,
    state_scores,
    top,
)
from theory.errors import InputError, StabilityError
from theory.reduction.modal_gains import modal_gain_bounds

positive = st.lists(st.floats(0, 1e6), min_size=1, max_size=12).map(np.array)


@pytest.mark.parametrize("name", TINY)
def test_released_scores_are_the_released_ones(name: str) -> None:
    """LASTscore of the released code, float32, to far better than 2e-5; and its threshold and masks at 30 percent."""
    data = np.load(GOLDEN / name)
    model = load(GOLDEN / name, **TINY[name])
    found = [last_scores(layer, "released") for layer in model.layers]
    assert np.abs(np.array(found) - data["LASTscore"]).max() < 2e-6
    pruned = released_threshold(found, 30)
    assert pruned.keep == data["prune30_keep"]
    assert abs(pruned.threshold - data["prune30_threshold"]) < 2e-6
    assert np.array_equal(np.array(pruned.masks), data["prune30_mask"])


def direct(layer: SSMLayer, variant: str) -> np.ndarray:
    """The published formulas, letter by letter, in float64."""
    step = layer.step
    Lambda = layer.effective_Lambda
    if layer.discretization == "zoh":
        pole = np.exp(Lambda * step)
        B = ((pole - 1) / Lambda)[:, None] * layer.B
    else:
        lead = 1 / (1 - step / 2 * Lambda)
        pole, B = lead * (1 + step / 2 * Lambda), (lead * step)[:, None] * layer.B
    b2 = (np.abs(B) ** 2).sum(1)
    c1 = np.sqrt((np.abs(layer.C) ** 2).sum(0))
    c2 = c1 if layer.C_reverse is None else np.sqrt((np.abs(layer.C_reverse) ** 2).sum(0))
    if variant == "paper":
        return (c1**2 + c2**2) / 2 * b2 / (1 - np.abs(pole)) ** 2
    output = c1**2 if layer.C_reverse is None else (c1 + c2) / 2**2
    return output * b2 / ((1 - np.abs(pole)) ** 2 + 1e-8)


@given(s5_layers(), st.sampled_from(["paper", "released"]))
def test_energies_are_the_formulas(layer: SSMLayer, variant: str) -> None:
    layer = layer.replace(log_step=np.full(layer.order, -2.0), dtype=np.float64)
    assert np.allclose(last_energies(layer, variant), direct(layer, variant), rtol=1e-9)  # type: ignore[arg-type]


@given(positive)
def test_prefix_normalisation(values: np.ndarray) -> None:
    """By definition: each over the sum of itself and all larger ones."""
    found = prefix_normalised(values)
    order = np.argsort(values, kind="stable")
    for k, i in enumerate(order[:-1]):
        rest = values[order[k:]].sum()
        assert found[i] == pytest.approx(values[i] / rest if rest > 0 else 0.0, rel=1e-12)
    assert found[order[-1]] == 1.0
    assert ((found >= 0) & (found <= 1)).all()
    assert (np.diff(found[order]) >= -1e-15).all()


@given(positive, st.floats(1e-3, 1e3))
def test_prefix_normalisation_knows_no_scale(values: np.ndarray, scale: float) -> None:
    assert np.allclose(prefix_normalised(values), prefix_normalised(values * scale), rtol=1e-9, atol=1e-300)


@given(s5_layers(conj_sym=True), st.integers(0, 2**32 - 1))
def test_paper_score_is_a_property_of_the_system(layer: SSMLayer, seed: int) -> None:
    """b -> a b, c -> c/a changes nothing, neither in LAST's paper form nor in gain, energy and magnitude."""
    rng = np.random.default_rng(seed)
    a = 10.0 ** rng.uniform(-3, 3, layer.order) * np.exp(1j * rng.uniform(0, 6, layer.order))
    layer = layer.replace(dtype=np.float64)
    other = layer.replace(
        B=layer.B * a[:, None], C=layer.C / a, C_reverse=None if layer.C_reverse is None else layer.C_reverse / a
    )
    for score in (last_scores, last_energies, aire_scores, magnitude_scores, hinf_scores):
        assert np.allclose(score(layer), score(other), rtol=1e-8, atol=1e-9)


def test_released_score_depends_on_the_scaling_when_bidirectional(rng: np.random.Generator) -> None:
    layer = layer_from_params(
        s5_params(rng, bidirectional="C1C2", dtype=np.float64), conj_sym=True, discretization="zoh"
    )
    a = np.array([1, 1, 1, 1, 100.0])
    other = layer.replace(B=layer.B * a[:, None], C=layer.C / a, C_reverse=layer.C_reverse / a)
    assert not np.allclose(last_scores(layer, "released"), last_scores(other, "released"), rtol=0.5)


@given(s5_layers())
def test_system_and_layer_agree(layer: SSMLayer) -> None:
    """Scores of the layer's system are those of the layer, up to the factor that conj_sym puts into C."""
    factor = 1.0 if layer.conj_sym else 2.0
    system = layer.system
    assert np.allclose(last_energies(layer), factor**2 * last_energies(system), rtol=1e-6)
    assert np.allclose(last_scores(layer), last_scores(system), rtol=1e-6)
    assert np.array_equal(hinf_scores(layer), hinf_scores(system))


@given(s5_layers())
def test_exact_gains_stay_below_their_bound(layer: SSMLayer) -> None:
    assert (hinf_scores(layer) <= modal_gain_bounds(layer.system) * (1 + 1e-12)).all()


@pytest.mark.parametrize("form", S4D_OPTIONS)
@pytest.mark.parametrize("criterion", CRITERIA)
def test_every_criterion_on_s4d(form: str, criterion: str, rng: np.random.Generator) -> None:
    layer = layer_from_params(s4d_params(rng, form), **S4D_OPTIONS[form])
    values = state_scores(layer, criterion)
    assert values.shape == (4, 5)
    assert (np.isfinite(values) & (values >= 0)).all()
    for h in range(4):
        if criterion not in ("random", "last_released"):
            single = state_scores(layer.system[h], criterion)  # magnitude alone has a scale, and conj_sym enters it
            factor = 2.0 if criterion == "magnitude" and not layer.conj_sym else 1.0
            assert np.allclose(values[h], factor * single, rtol=1e-9)


@pytest.mark.parametrize("criterion", CRITERIA)
def test_unstable_states_have_no_score(criterion: str, rng: np.random.Generator) -> None:
    raw = s5_params(rng)
    raw["Lambda_re"][1] = 1e-3
    layer = layer_from_params(raw, conj_sym=True, discretization="zoh", name="layers_4")
    with pytest.raises(StabilityError, match=r"layers_4.*state 1"):
        state_scores(layer, criterion)
    assert np.isfinite(state_scores(layer.replace(clip_eigs=True), criterion)).all()


def test_ties_are_broken_by_index() -> None:
    assert list(top(np.array([1.0, 1.0, 1.0, 1.0]), 2)) == [2, 3]
    assert list(top(np.array([3.0, 1.0, 3.0, 1.0]), 3)) == [0, 2, 3]
    tied = prefix_normalised(np.ones(4))
    assert np.allclose(tied, [1 / 4, 1 / 3, 1 / 2, 1])
    assert np.array_equal(top(np.ones(4), 2), top(tied, 2))
    assert np.array_equal(prefix_normalised(np.zeros(3)), [0, 0, 1])


def test_random_is_seeded(rng: np.random.Generator) -> None:
    layer = layer_from_params(s5_params(rng), conj_sym=True, discretization="zoh")
    assert np.array_equal(state_scores(layer, "random", seed=3), state_scores(layer, "random", seed=3))
    assert not np.array_equal(state_scores(layer, "random", seed=3), state_scores(layer, "random", seed=4))


def test_released_threshold_keeps_ties_and_every_top_state() -> None:
    pruned = released_threshold([np.array([0.5, 0.5, 1.0]), np.array([0.2, 1.0])], 60)
    assert (pruned.keep, pruned.threshold) == (2, 1.0)
    assert [mask.sum() for mask in pruned.masks] == [1, 1]
    assert released_threshold([np.array([0.5, 0.5, 1.0])], 40).masks[0].sum() == 1
    assert released_threshold([np.array([0.5, 0.5, 1.0])], 30).masks[0].sum() == 3  # two asked, a tie keeps three
    assert released_threshold([np.array([0.5, 1.0]), np.array([1.0])], 100).masks[1].all()
    for bad in (-1, 101):
        with pytest.raises(InputError, match="percentage"):
            released_threshold([np.ones(2)], bad)


def test_bad_arguments_are_named(rng: np.random.Generator) -> None:
    layer = layer_from_params(s5_params(rng), conj_sym=True, discretization="zoh")
    with pytest.raises(InputError, match="unknown criterion"):
        state_scores(layer, "best")
    with pytest.raises(InputError, match="variant"):
        state_scores(layer, "last", variant="draft")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="got str"):
        state_scores("layer", "last")  # type: ignore[arg-type]
