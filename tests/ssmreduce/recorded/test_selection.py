"""Layers whose code base cannot hold a projection: states are kept bit for bit, C is the best that can be stored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from toy_enhancer import ToyEnhancer
from toy_network import ToyNetwork
from toy_network import layer as s5

from ssmreduce.layers.layer import SSMLayer
from ssmreduce.layers.params import layer_from_params
from ssmreduce.recorded.recipe import Recipe
from ssmreduce.recorded.recording import Recording
from ssmreduce.recorded.search import Search
from ssmreduce.recorded.selection import selected
from ssmreduce.recorded.stages import refitted_alone, truncated
from ssmreduce.reduction import reduce
from theory.errors import InputError, OrderError
from theory.gramians.recorded import recorded_reachability
from theory.reduction.recorded_refit import refit_output
from theory.reduction.recorded_selection import recorded_selection
from theory.systems.scan import aligned_states, record

RECIPE = Recipe(together=0)


def attenuate(seed: int, m: int, p: int, n: int = 7) -> SSMLayer:
    """A layer of aTENNuate in single precision: real B and C, no D."""
    rng = np.random.default_rng(seed)
    raw = {
        "A": np.stack([rng.normal(size=n), rng.uniform(0, 8, n)], axis=1),
        "B": rng.normal(size=(n, m)), "C": rng.normal(size=(p, n)), "log_dt": np.log(rng.uniform(0.02, 0.3, n)),
    }  # fmt: skip
    return layer_from_params({key: value.astype(np.float32) for key, value in raw.items()})


def lrnnx(seed: int, m: int) -> SSMLayer:
    """A layer of lrnnx's S5: real B, complex C, a dense D."""
    rng, raw = np.random.default_rng(seed), attenuate(seed, m, m).to_params()
    raw["C"] = rng.normal(size=(*raw["C"].shape, 2)).astype(np.float32)
    return layer_from_params(raw | {"D": 0.1 * rng.normal(size=(m, m)).astype(np.float32)}, discretization="zoh")


@pytest.fixture(scope="module")
def enhancer() -> ToyEnhancer:
    return ToyEnhancer([attenuate(1, 1, 3), attenuate(2, 3, 3)])


def kept_rows(small: SSMLayer, whole: SSMLayer) -> list[int]:
    """Which states of the whole layer these are, by what is stored of their poles and B, bit for bit."""
    mine, theirs = small.to_params(), whole.to_params()
    names = ("A", "log_dt", "B")
    same = [
        [all(np.array_equal(mine[k][i], theirs[k][j]) for k in names) for j in range(whole.order)]
        for i in range(small.order)
    ]
    assert [sum(row) for row in same] == [1] * small.order
    return [row.index(True) for row in same]


@pytest.mark.parametrize("together", [0, 2])
@pytest.mark.parametrize("budget", [4, 7, 11])
def test_a_code_without_projections_gets_its_own_layers_back(together: int, budget: int, enhancer: ToyEnhancer) -> None:
    search = Search(enhancer, replace(RECIPE, together=together))
    found = search.reduce(budget)
    assert sum(found.orders) == budget
    assert found.observability == "selection"
    for small, whole in zip(found.parts.layers, enhancer.parts.layers, strict=True):
        assert small.form == "attenuate"
        assert kept_rows(small, whole) == sorted(kept_rows(small, whole))
        assert small.to_params()["C"].dtype == np.float32  # real, as it is run
        assert not np.any(small.D)
    assert not any(stage.name in ("Gauss-Newton", "refused") for stage in found.stages)
    assert found.divergence == pytest.approx(search.judge(found.parts))


def test_a_step_of_all_layers_at_once_moves_a_real_c(enhancer: ToyEnhancer) -> None:
    without, with_it = (Search(enhancer, replace(RECIPE, together=steps)).reduce(8) for steps in (0, 2))
    assert with_it.divergence < without.divergence
    assert any(stage.name == "all at once" and stage.kept for stage in with_it.stages)


@pytest.mark.parametrize("seed", range(4))
def test_the_fitted_real_c_is_least_squares(seed: int) -> None:
    """Against a dense solve on the real parts of states that a plain loop computes."""
    layer, rng = attenuate(seed, 2, 3), np.random.default_rng(seed)
    u = np.cumsum(rng.normal(size=(3, 50, 2)), axis=1)
    system, target = layer.keep(range(4)).system, rng.normal(size=(3, 50, 3))
    x, states = np.zeros((3, 4), complex), np.zeros((3, 50, 4))
    for t in range(50):
        x = system.poles * x + u[:, t] @ system.B.T
        states[:, t] = 2 * x.real
    best, *_ = np.linalg.lstsq(states.reshape(-1, 4), target.reshape(-1, 3), rcond=None)
    found = refit_output(system, u, target, feedthrough=False, real_outputs=True, ridge=1e-12)
    np.testing.assert_allclose(found.system.C, best.T, rtol=1e-6, atol=1e-9)
    rest = target.reshape(-1, 3) - states.reshape(-1, 4) @ best
    assert found.after == pytest.approx(np.square(rest).sum() / 150, rel=1e-9)


@pytest.mark.parametrize("seed", range(6))
def test_each_state_that_goes_costs_least_of_all(seed: int) -> None:
    """Every choice of a state to leave out, C refitted each time by a dense solve."""
    layer, rng = attenuate(seed, 2, 3, n=5), np.random.default_rng(seed)
    u = np.cumsum(rng.normal(size=(4, 40, 2)), axis=1)
    system = layer.system
    x = np.concatenate([states for _, states in aligned_states(system, record(u, None, 2))])[..., :5].reshape(-1, 5)
    alive, output = np.arange(5), x @ (2 * system.C.real).T
    for order in (4, 3, 2, 1):
        errors = []
        for j in range(order + 1):
            left = x[:, np.delete(alive, j)]
            errors.append(np.square(output - left @ np.linalg.lstsq(left, output, rcond=None)[0]).sum())
        alive = np.delete(alive, int(np.argmin(errors)))
        moments = recorded_reachability(system, u, None)
        found, kept = recorded_selection(system, order, moments, real_outputs=True, regularization=1e-13)
        assert kept.tolist() == alive.tolist()
        best = np.linalg.lstsq(x[:, alive], output, rcond=None)[0].T
        np.testing.assert_allclose(2 * found.C, best, rtol=1e-5, atol=1e-8)


def test_a_complex_c_beside_a_real_b_is_fitted_as_such() -> None:
    network = ToyNetwork([lrnnx(1, 2), lrnnx(2, 2)], count=12, L=8)
    search = Search(network, Recipe(together=0, norms=False, decoder=False))
    found = search.reduce(6)
    for small, whole in zip(found.parts.layers, network.parts.layers, strict=True):
        assert small.form == "s5-lrnnx"
        rows = kept_rows(small, whole)
        assert np.abs(small.C.imag - whole.C.imag[:, rows]).max() > 1e-3


def test_projected_and_selected_layers_may_stand_side_by_side() -> None:
    network = ToyNetwork([s5(1), lrnnx(2, 2)], count=12, L=8)
    found = Search(network, Recipe(observability=("exact",), finalists=1, together=0)).reduce(6)
    first, second = found.parts.layers
    assert not set(np.round(first.system.poles, 6)) <= set(np.round(network.parts.layers[0].system.poles, 6))
    kept_rows(second, network.parts.layers[1])


def test_a_system_that_no_longer_is_what_c_says_is_refused() -> None:
    system = s5(1).system
    with pytest.raises(InputError, match="C stays real only where it is"):
        refit_output(system, np.ones((1, 9, 2)), np.ones((1, 9, 2)), real_outputs=True)


def test_a_code_that_can_leave_out_no_state_says_so_at_once(rng: np.random.Generator) -> None:
    raw = {
        "rho_raw": rng.normal(size=3), "theta": rng.uniform(0.1, 3, 3), "K12_raw": rng.normal(size=(6, 2)),
        "K21_raw": rng.normal(size=(2, 6)), "K22_raw": rng.normal(size=(2, 2)), "log_gamma": np.zeros(()),
    }  # fmt: skip
    network = ToyNetwork([layer_from_params(raw)])
    with pytest.raises(OrderError, match=r"l2n divides .* store the layer as S5 before"):
        Search(network, RECIPE).reduce(2)


@pytest.mark.parametrize("inputs", [1, 3])
def test_the_method_fits_no_d_where_there_is_none(inputs: int, rng: np.random.Generator) -> None:
    """Of a single input every system can be stored; of several the answer is a system, and says why."""
    found = reduce(attenuate(1, inputs, inputs), 4, method="empirical", inputs=rng.normal(size=(2, 40, inputs)))
    assert not np.any(found.system.D)
    assert found.layer is None or not np.any(found.layer.D)


def test_an_s4d_without_d_is_refitted(rng: np.random.Generator) -> None:
    """Discretax's S4D: with a D among what is fitted, nothing could be written, and the layer stayed as it was cut."""
    shape = (2, 8)
    raw = {
        "kernel.C": (rng.normal(size=shape) + 1j * rng.normal(size=shape)).astype(np.complex64),
        "kernel.log_dt": np.log(rng.uniform(0.01, 0.1, 2)).astype(np.float32),
        "kernel.log_a_real": np.log(rng.uniform(0.3, 2.0, shape)).astype(np.float32),
        "kernel.A_imag": rng.uniform(0, 12, shape).astype(np.float32),
    }
    network = ToyNetwork([layer_from_params(raw)])
    recording = Recording(network, np.arange(12))
    cut = truncated(recording, 0, "exact", 3)
    fitted = refitted_alone(recording, 0, cut, np.arange(12))
    assert not np.any(fitted.D)
    assert not np.array_equal(fitted.C, cut.C)


def test_selection_of_what_is_no_single_layer_is_refused(enhancer: ToyEnhancer) -> None:
    network: Sequence[SSMLayer] = [s5(1).replace(C_reverse=s5(2).C)]
    with pytest.raises(InputError, match="states are selected of single layers"):
        selected(Recording(ToyNetwork(network), np.arange(4)), 0, 2)
