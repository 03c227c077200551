"""Least squares from recorded signals: the errors are those of plain loops, the result cannot be improved."""

from __future__ import annotations

import numpy as np
import pytest
from recorded_cases import KINDS, outputs, signals, system
from strategies import gaussian

from theory.errors import DimensionError
from theory.gramians.recorded import recorded_reachability
from theory.reduction.gauss_newton import gauss_newton
from theory.reduction.gramian_pairs import pair_truncation
from theory.reduction.recorded_refit import refit_output
from theory.reduction.recorded_selection import recorded_selection
from theory.systems.scan import real_output, with_real_output
from theory.systems.system import DiagonalStateSpace


def mean_error(item, u, y, lengths):
    return (np.abs(outputs(item, u, lengths) - y) ** 2).sum() / lengths.sum()


def case(kind, order=2):
    item = system(kind, n=5)
    u, lengths = signals(item, N=8, L=60)
    y = outputs(item, u, lengths)
    return item, pair_truncation(item, order, recorded_reachability(item, u, lengths)).system, u, y, lengths


@pytest.mark.parametrize("kind", KINDS)
def test_the_errors_are_those_of_the_definition(kind):
    _, small, u, y, lengths = case(kind)
    found = refit_output(small, u, y, lengths)
    assert np.sum(found.before) == pytest.approx(mean_error(small, u, y, lengths), rel=1e-9)
    assert np.sum(found.after) == pytest.approx(mean_error(found.system, u, y, lengths), rel=1e-6)
    assert np.sum(found.energy) == pytest.approx((np.abs(y) ** 2).sum() / lengths.sum(), rel=1e-12)
    assert np.sum(found.after) < 0.999 * np.sum(found.before)
    assert np.array_equal(found.system.poles, small.poles)
    assert np.array_equal(found.system.B, small.B)


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_near_it_is_better(kind):
    _, small, u, y, lengths = case(kind)
    found = refit_output(small, u, y, lengths, ridge=1e-13).system
    least = mean_error(found, u, y, lengths)
    rng = np.random.default_rng(5)
    output = real_output(found)
    for size in (1e-3, -1e-3):
        for _ in range(4):
            change = size * rng.standard_normal(output.shape) * np.abs(output).max()
            eye = rng.standard_normal() * size * np.eye(found.p)
            assert mean_error(with_real_output(found, output + change, found.D + eye), u, y, lengths) > least


@pytest.mark.parametrize("kind", KINDS)
def test_the_true_outputs_are_found_again(kind):
    item = system(kind, n=2)
    u, lengths = signals(item, N=8, L=60)
    y = outputs(item, u, lengths)
    wrong = with_real_output(item, 0.5 * real_output(item), item.D + 0.3 * np.eye(item.p))
    found = refit_output(wrong, u, y, lengths, ridge=1e-14)
    assert np.sum(found.after) <= 1e-12 * np.sum(found.energy)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "complex"])
def test_gauss_newton_never_rises_and_says_the_error_of_what_it_returns(kind):
    _, small, u, y, lengths = case(kind)
    found = gauss_newton(small, u, y, lengths, iterations=5)
    errors = [float(np.sum(value)) for value in found.errors]
    assert errors == sorted(errors, reverse=True)
    assert errors[0] == pytest.approx(mean_error(small, u, y, lengths), rel=1e-9)
    assert errors[-1] == pytest.approx(mean_error(found.system, u, y, lengths), rel=1e-6)
    assert (np.abs(found.system.poles) < 1).all()
    assert errors[-1] < 0.95 * errors[1], "steps in poles and B beat the refit of C alone"


@pytest.mark.parametrize("kind", ["S5", "S5 bidirectional", "S4D", "standard form"])
def test_gauss_newton_finds_a_system_of_its_own_order(kind):
    """From poles that are off by some percent, to the system that made the record."""
    item = system(kind, n=2)
    u, lengths = signals(item, N=8, L=60)
    y = outputs(item, u, lengths)
    off = item.replace(poles=item.poles * 0.95 * np.exp(0.05j), B=item.B * (1 + 0.1j))
    found = gauss_newton(off, u, y, lengths, iterations=25, ridge=1e-12)
    assert np.sum(found.errors[-1]) <= 1e-6 * np.sum(found.energy)


@pytest.mark.parametrize("kind", ["S5", "S4D", "standard form"])
def test_no_pole_becomes_slower_than_the_record_can_tell(kind):
    """Targets that never decay pull a pole to the circle; a pole that was slower before may stay."""
    item = system(kind, n=1)
    phase = np.exp(0.02j)
    u, lengths = signals(item, N=8, L=60)
    y = outputs(item.replace(poles=np.full(item.poles.shape, (1 - 1e-9) * phase)), u, lengths)
    least = 0.01 / lengths.max()
    for start, wanted in ((0.97, least), (1 - 1e-7, 1e-7)):
        found = gauss_newton(item.replace(poles=np.full(item.poles.shape, start * phase)), u, y, lengths, iterations=40)
        decay = -np.log(np.abs(found.system.poles))
        assert (decay >= wanted * (1 - 1e-6)).all()
        assert (decay < 0.03).any(), "the pole was drawn towards the circle"


def test_records_must_fit_together():
    _, small, u, y, lengths = case("S5")
    with pytest.raises(DimensionError):
        refit_output(small, u, y[:, :-1], lengths)
    with pytest.raises(DimensionError):
        refit_output(small, u, y[..., :1], lengths)


@pytest.mark.parametrize("off", [0.0, 1e-17, 1e-12, 1e-8])
@pytest.mark.parametrize("sign", [1, -1])
def test_what_is_fitted_stands_single_precision(sign: int, off: float) -> None:
    """Poles that are real but for the rounding of what stores them: kernels by ``exp(k log pole)``, as models run."""
    rng = np.random.default_rng(3)
    u, n = np.cumsum(rng.standard_normal((4, 80, 2)), axis=1), 4
    poles = np.array([0.97, 0.9, 0.5, 0.2]) * sign * np.exp(1j * off)
    B, C = rng.standard_normal((n, 2)) + 0j, gaussian(rng, 2, n)
    item = DiagonalStateSpace(poles, B, C, np.zeros((2, 2)), dt=1.0, delay=0)
    found = refit_output(item, u, rng.standard_normal((4, 80, 2)), feedthrough=False).system
    selected = recorded_selection(found, 3, recorded_reachability(found, u, None))[0]
    for one in (found, selected):
        wanted, k = outputs(one, u, np.full(4, 80)), np.arange(80)
        powers = np.exp(np.log(one.poles.astype(np.complex64))[:, None] * k).astype(np.complex64)
        h = 2 * np.einsum("pn,nl,nm->lpm", one.C.astype(np.complex64), powers, one.B.astype(np.complex64)).real
        y = np.stack([np.einsum("kpm,skm->sp", h[: t + 1], u[:, t::-1]) for t in k], axis=1)
        assert np.abs(y - wanted).max() <= 1e-3 * np.abs(wanted).max()
