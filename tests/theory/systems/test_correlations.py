"""Sums and outputs of scalar channels without their states are those of plain loops, wherever the poles lie."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from recorded_cases import loop, outputs, parts, signals, system
from tolerance import tol

from theory.gramians.recorded import recorded_reachability
from theory.reduction.gauss_newton import gauss_newton
from theory.reduction.recorded_refit import recorded_outputs, refit_output
from theory.systems import correlations
from theory.systems.correlations import Channels, convolved, divisible, powers
from theory.systems.scan import Record
from theory.systems.system import DiagonalStateSpace

CASES = [(delay, paired) for delay in (0, 1) for paired in (True, False)]


def channels(seed: int, delay: int = 0, paired: bool = True, n: int = 3) -> DiagonalStateSpace:
    item = system("S4D", seed=seed, n=n)
    return item.replace(delay=delay, conjugate_pairs=paired)


def states(item: DiagonalStateSpace, u: np.ndarray) -> np.ndarray:
    """What the output sees, by the plain loop: (L, k)."""
    found = loop(item, u)[0]
    return np.concatenate([np.zeros_like(found[:1]), found[:-1]]) if item.delay else found


@given(st.integers(0, 20), st.sampled_from(CASES), st.booleans())
def test_sums_are_those_of_the_states(seed: int, case: tuple[int, bool], turned: bool) -> None:
    item = channels(seed, *case)
    u, lengths = signals(item, seed=seed)
    y = signals(item, seed=seed + 1)[0] * (1j if turned and not item.conjugate_pairs else 1)
    heard, wanted = (Channels.of(Record(values=part, lengths=lengths)) for part in (u, y))
    square, own, along = heard.sums(item, heard.own, heard.lags(wanted))
    for h, (one, part, target) in enumerate(parts(item, u, y)):
        x = [states(one, part[i, :length]) for i, length in enumerate(lengths)]
        total = sum(s.T @ s.conj() for s in x)
        cond = 1 / one.margin.min() ** 2  # the division, of terms that the inputs away from a pole cancel
        assert np.abs(square[h] - total).max() <= tol(30, cond) * np.abs(total).max()
        for found, other in ((own, part), (along, target)):
            exact = sum(s.conj().T @ other[i, : lengths[i], 0] for i, s in enumerate(x))
            scale = np.sqrt(np.abs(total).max() * (np.abs(other) ** 2).sum())
            assert np.abs(found[h] - exact).max() <= tol(30, 1 / one.margin.min()) * scale


@given(st.integers(0, 20), st.sampled_from(["S4D", "S4D bidirectional"]), st.booleans(), st.sampled_from([1e-2, 1e-9]))
def test_outputs_are_those_of_the_loop(seed: int, kind: str, paired: bool, slow: float) -> None:
    item = system(kind, seed=seed).replace(conjugate_pairs=paired)
    item = item.replace(poles=np.where(np.arange(item.n) == 0, 1 - slow, item.poles))
    u, lengths = signals(item, seed=seed)
    exact = outputs(item, u, lengths)
    found = convolved(item, Record(values=u, lengths=lengths))
    assert np.abs(found - exact).max() <= tol(30, item.n) * max(np.abs(exact).max(), np.abs(u).max())
    assert not found[np.arange(u.shape[1]) >= lengths[:, None]].any()


@pytest.mark.parametrize("count", [1, 2, 3, 16, 17, 1000])
def test_powers_are_powers(count: int) -> None:
    poles = np.array([0.0, 1e-200, -0.5, 0.999 * np.exp(1j), 1j])
    exact = poles[:, None] ** np.arange(count)
    np.testing.assert_allclose(powers(poles, count), exact, rtol=tol(count), atol=0)


def nearly_on_the_circle() -> tuple[DiagonalStateSpace, np.ndarray, np.ndarray]:
    """Three channels, the middle one with a pole that the division would not survive."""
    item = channels(0)
    poles = np.array(item.poles)
    poles[1, 0] = (1 - 1e-12) * np.exp(0.3j)
    return item.replace(poles=poles), *signals(item, N=6, L=40)


def test_poles_near_the_circle_keep_all_digits() -> None:
    item, u, lengths = nearly_on_the_circle()
    assert divisible(item, Record(values=u, lengths=lengths)).tolist() == [True, False, True]
    P = recorded_reachability(item, u, lengths)
    inside = np.arange(u.shape[1]) < lengths[:, None]
    y = outputs(item, u, lengths) + 0.1 * u * inside[..., None]
    fit = refit_output(item, u, y, lengths)
    for h, (one, part) in enumerate(parts(item, u)):
        exact = sum(s.T @ s for s in (states(one, part[i, :length]) for i, length in enumerate(lengths)))
        assert np.abs(P[h] - exact / lengths.sum()).max() <= tol(40, 1e4) * np.abs(P[h]).max()
    error = (np.abs(outputs(fit.system, u, lengths) - y) ** 2).sum(axis=(0, 1)) / lengths.sum()
    np.testing.assert_allclose(fit.after, error, rtol=1e-6, atol=1e-9 * fit.energy.max())
    assert (fit.after < 0.01 * fit.before).all(), "the feedthrough is found"


@pytest.mark.parametrize("turn", [0.0, 1e-20, 1e-11, 1e-7, 1e-4, 1e-2])
def test_almost_real_poles_are_fitted_as_well_as_real_ones(turn: float) -> None:
    """The imaginary part of such a state is rounding; a fit that believed it would put anything into C."""
    item = channels(1, n=2)
    item = item.replace(B=np.abs(item.B))
    poles = np.abs(item.poles) * np.exp(1j * turn)
    u, lengths = signals(item, N=8, L=60)
    y = outputs(item, u, lengths)
    fits = [refit_output(item.replace(poles=one), u, y, lengths) for one in (poles, np.abs(poles))]
    errors = [(np.abs(outputs(fit.system, u, lengths) - y) ** 2).sum(axis=(0, 1)) / lengths.sum() for fit in fits]
    lost = 1e-6 * np.maximum(fits[0].energy, fits[0].before)  # the largest term: what is taken for zero says less
    assert (np.abs(fits[0].after - errors[0]) <= lost).all()
    assert (errors[0] <= errors[1] + lost).all()
    assert np.abs(fits[0].system.C).max() < 1e4 * np.abs(item.C).max()


def test_chunks_and_padding_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    item, u, lengths = nearly_on_the_circle()
    found = [recorded_reachability(item, u, lengths), recorded_outputs(item, u, lengths)]
    monkeypatch.setattr(correlations, "CHUNK_BYTES", 1)
    noisy = np.where((np.arange(u.shape[1]) < lengths[:, None])[..., None], u, 1e3)
    for one, other in zip(found, [recorded_reachability(item, noisy, lengths), recorded_outputs(item, noisy, lengths)]):
        np.testing.assert_allclose(one, other, rtol=tol(40), atol=tol(40) * np.abs(one).max())


def test_complex_signals_of_real_systems_go_by_states() -> None:
    item = channels(0)
    u, lengths = signals(item)
    assert not divisible(item, Record(values=u * 1j, lengths=lengths)).any()


def test_gauss_newton_leaves_b_of_scalar_channels() -> None:
    """C does what B could do: the columns of both sensitivities span the same."""
    item = channels(3)
    u, lengths = signals(item, N=8, L=60)
    y = outputs(item, u, lengths)
    found = gauss_newton(item.replace(poles=item.poles * 0.95), u, y, lengths, iterations=6)
    assert np.array_equal(found.system.B, item.B)
    assert np.sum(found.errors[-1]) < 0.1 * np.sum(found.errors[1])


def test_a_real_pole_with_complex_b_has_an_imaginary_part_that_c_sees() -> None:
    item = channels(1, n=2)
    item = item.replace(poles=np.abs(item.poles))
    u, lengths = signals(item, N=8, L=60)
    y = outputs(item, u, lengths)
    wrong = item.replace(C=0.5 * item.C)
    fit = refit_output(wrong, u, y, lengths)
    error = (np.abs(outputs(fit.system, u, lengths) - y) ** 2).sum(axis=(0, 1)) / lengths.sum()
    np.testing.assert_allclose(fit.after, error, rtol=1e-6, atol=1e-12 * fit.energy.max())
    assert (error < 1e-6 * fit.energy).all()


def test_channels_without_states_are_their_feedthrough() -> None:
    item = channels(0).keep([])
    u, lengths = signals(item)
    inside = (np.arange(u.shape[1]) < lengths[:, None])[..., None]
    np.testing.assert_allclose(recorded_outputs(item, u, lengths), u * inside * item.D[:, 0, 0], rtol=tol())
    assert recorded_reachability(item, u, lengths).shape == (3, 0, 0)
    fit = refit_output(item.replace(D=0 * item.D), u, u * inside * item.D[:, 0, 0], lengths)
    np.testing.assert_allclose(fit.system.D, item.D, rtol=1e-5)
