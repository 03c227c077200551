"""crosscheck: every source agrees with a right bracket, and a wrong one is told apart from a wrong peer."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from strategies import gaussian, stable_poles

from ssmreduce import Opinion, crosscheck
from ssmreduce.comparison.asking import TOLERANCE
from ssmreduce.comparison.peers import gain, peer_matrices, rescaled, response
from ssmreduce.comparison.referee import judged
from ssmreduce.comparison.second_opinions import SOURCES
from theory.errors import InputError, StabilityError
from theory.norms import hinf_norm, linf_norm
from theory.norms.bracket import Bracket
from theory.systems.realization import dense
from theory.systems.response import frequency_response
from theory.systems.system import DiagonalStateSpace, StateSpace


def diagonal(
    seed: int, n: int = 3, m: int = 2, p: int = 2, discrete: bool = True, **options: Any
) -> DiagonalStateSpace:
    rng = np.random.default_rng(seed)
    reverse = options.pop("reverse", False)
    return DiagonalStateSpace(
        stable_poles(rng, "spread", (n,), 1e-2, discrete),
        gaussian(rng, n, m),
        gaussian(rng, p, n),
        rng.standard_normal((p, m)),
        dt=0.5 if discrete else None,
        C_reverse=gaussian(rng, p, n) if reverse else None,
        **options,
    )


KINDS = {
    "S5": diagonal(1, delay=0),
    "S5 bidirectional": diagonal(2, reverse=True, delay=0, delay_reverse=0),
    "S4D bidirectional": diagonal(3, m=1, p=1, reverse=True, delay=0, delay_reverse=1),
    "complex": diagonal(4, conjugate_pairs=False),
    "continuous": diagonal(5, discrete=False),
    "continuous complex": diagonal(6, discrete=False, conjugate_pairs=False),
    "dense": dense(diagonal(7)),
    "static": StateSpace([], [], [], [[3.0, 4.0]]),
}


def assert_told_exactly(row: Opinion, bracket: Bracket) -> None:
    """Inside means inside, and outside comes with the distance, however small."""
    if row.verdict == "agrees" and row.source.endswith(("linfnorm", "ab13dd")):
        assert bracket.lower <= row.value <= bracket.upper
        assert row.gap == 0
    if row.verdict == "below":
        assert row.value < bracket.lower
        assert row.gap == row.value / bracket.lower - 1
        assert -TOLERANCE <= row.gap < 0


@pytest.mark.parametrize("kind", KINDS)
def test_all_sources_agree(kind: str) -> None:
    for package in ("slycot", "control", "cvxpy"):
        pytest.importorskip(package)
    opinions = crosscheck(KINDS[kind], sweep_points=400)
    assert opinions.agree
    assert [row.source for row in opinions.rows] == list(SOURCES)
    expected = {"agrees"} | ({"not available"} if "bidirectional" in kind else set())
    assert {row.verdict for row in opinions.rows} <= expected | {"below"}, str(opinions)
    for row in opinions.rows:
        assert_told_exactly(row, opinions.bracket)
    assert "agrees" in str(opinions)
    assert opinions.to_dict()["agree"] is True


@pytest.mark.parametrize("kind", KINDS)
def test_the_two_routes_to_the_response_agree(kind: str) -> None:
    system, omega = KINDS[kind], np.array([0.0, 0.3, 1.1, 2.9])
    np.testing.assert_allclose(response(system, omega), frequency_response(system, omega), rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_what_other_programs_get_has_the_same_gain(kind: str) -> None:
    system = KINDS[kind]
    A, B, C, D, E = peer_matrices(system)
    assert all(array.dtype == float for array in (A, B, C, D, E))
    for omega in (0.2, 1.7):
        point = np.exp(1j * omega) if system.is_discrete else 1j * omega
        value = C @ np.linalg.solve(point * E - A, B) + D if A.size else D
        both = max(gain(system, omega)[0], gain(system, -omega)[0])  # the real embedding has both
        assert np.linalg.norm(value, 2) == pytest.approx(both, rel=1e-10)


def test_rescaling_keeps_the_response_and_evens_the_modes() -> None:
    system = diagonal(8)
    scale = np.array([1e6, 1.0, 1e-6])
    skewed = system.replace(B=system.B * scale[:, None], C=system.C / scale)
    even = rescaled(skewed)
    np.testing.assert_allclose(response(even, [0.4]), response(system, [0.4]), rtol=1e-12)
    np.testing.assert_allclose(np.linalg.norm(even.B, axis=1), np.linalg.norm(even.C, axis=0), rtol=1e-12)


def test_the_difference_of_two_systems() -> None:
    system = diagonal(9)
    opinions = crosscheck(system, system.keep([0, 2]), sweep_points=100)
    assert opinions.agree
    lone = hinf_norm(system.keep([1]).replace(D=None))
    assert opinions.bracket.lower <= lone.upper
    assert opinions.bracket.upper >= lone.lower


def test_the_worst_channel_of_a_batch() -> None:
    rng = np.random.default_rng(10)
    batch = DiagonalStateSpace(
        stable_poles(rng, "spread", (3, 2), 1e-2, True),
        gaussian(rng, 3, 2, 1),
        gaussian(rng, 3, 1, 2) * [[[1]], [[9]], [[1]]],
    )
    opinions = crosscheck(batch, sweep_points=100)
    assert "channel [1]" in opinions.subject
    assert opinions.agree


def test_who_is_wrong_is_decided_by_a_witness() -> None:
    system = diagonal(11)
    ours = hinf_norm(system, 1e-8)
    low = judged("peer", system, 0.95 * ours.lower, 0.0, ours, 1e-6, 0.0)
    assert (low.verdict, low.wrong) == ("disagrees", "theirs")
    assert "5 % too low" in low.detail
    high = judged("peer", system, 1.05 * ours.upper, 0.0, ours, 1e-6, 0.0)
    assert high.wrong == "theirs"
    assert not high.in_conflict
    too_small = Bracket(0.5 * ours.lower, 0.6 * ours.upper, ours.frequency)
    caught = judged("peer", system, ours.lower, ours.frequency, too_small, 1e-6, 0.0)
    assert caught.in_conflict
    assert "exceeded" in caught.detail
    not_attained = Bracket(2 * ours.upper, 3 * ours.upper, ours.frequency)
    caught = judged("peer", system, ours.lower, ours.frequency, not_attained, 1e-6, 0.0)
    assert caught.in_conflict
    assert "not attained" in caught.detail


def test_a_wrong_bracket_of_ours_is_reported_by_the_table() -> None:
    system = diagonal(12)
    ours = hinf_norm(system)
    opinions = crosscheck(system, bracket=Bracket(0.1 * ours.lower, 0.2 * ours.upper, ours.frequency), sweep_points=200)
    assert not opinions.agree
    assert "disagrees" in str(opinions)


def test_missing_packages_are_opinions_too(monkeypatch: pytest.MonkeyPatch) -> None:
    for package in ("control", "slycot", "cvxpy"):
        monkeypatch.setitem(__import__("sys").modules, package, None)
    opinions = crosscheck(diagonal(13, n=2), sweep_points=50)
    assert opinions["dense sweep"].verdict == "agrees"
    for source in ("python-control", "slycot", "bounded-real"):
        assert opinions[source].verdict == "not available"
        assert "pip install 'ssmreduce[control]'" in opinions[source].detail
    assert "ssmreduce[control]" in str(opinions)
    with pytest.raises(KeyError):
        opinions["oracle"]


def test_large_systems_do_without_the_matrix_inequality() -> None:
    opinion = crosscheck(diagonal(14, n=4), lmi_states=7, sweep_points=50)["bounded-real"]
    assert opinion.verdict == "not available"
    assert "8 real states" in opinion.detail


def badly_scaled_modes() -> DiagonalStateSpace:
    """Three pairs with b and c of very different size: slycot's level iteration misses the peak by per cents."""
    rng = np.random.default_rng(60)

    def complex_normal(*shape: int) -> np.ndarray:
        return rng.normal(size=shape) + 1j * rng.normal(size=shape)

    n = int(rng.choice([2, 3, 4, 6, 10, 20]))
    rng.random()
    margin = 10.0 ** rng.uniform(-5, -0.5, n)
    poles = (1 - margin) * np.exp(1j * rng.uniform(0, 3, n))
    skew = 10.0 ** rng.uniform(-rng.uniform(2, 10), 8, n)
    return DiagonalStateSpace(poles, complex_normal(n, 2) * (skew * margin)[:, None], complex_normal(2, n) / skew)


def test_slycot_is_told_that_it_is_too_low_on_badly_scaled_modes() -> None:
    for package in ("slycot", "control", "cvxpy"):
        pytest.importorskip(package)
    layer = badly_scaled_modes()
    told = crosscheck(dense(layer))
    assert told.agree
    for source in ("slycot", "python-control"):
        row = told[source]
        assert (row.verdict, row.wrong) == ("disagrees", "theirs")
        assert f"{row.source} is wrong" in row.detail
        assert "3.2 % too low" in row.detail
        # the witness is in the sentence, and anyone can evaluate it
        attained = gain(layer, told.bracket.frequency)[0]
        assert attained > 1.02 * row.value
    assert told["dense sweep"].verdict == told["bounded-real"].verdict == "agrees"
    # of a diagonal system the modes are rescaled first, and all agree
    assert {row.verdict for row in crosscheck(layer).rows} <= {"agrees", "below"}


def test_the_certificate_is_returned_with_its_eigenvalues() -> None:
    pytest.importorskip("cvxpy")
    system = diagonal(15)
    row = crosscheck(system, sweep_points=50)["bounded-real"]
    above, below = row.evidence["above"], row.evidence["below"]
    assert above.feasible
    assert not below.feasible
    assert above.P.shape == (6, 6)
    assert above.smallest > above.rounding > 0
    assert above.largest < -above.rounding
    assert above.gamma > hinf_norm(system).upper
    assert below.gamma < hinf_norm(system).lower


def test_zero_systems_and_systems_without_inputs_have_little_to_check() -> None:
    zero = crosscheck(StateSpace(-1, 0, 0), sweep_points=20)
    assert zero["bounded-real"].verdict == "not available"
    assert zero["dense sweep"].verdict == "agrees"
    assert zero.agree
    nothing = crosscheck(StateSpace([[-1.0]], np.zeros((1, 0)), [[1.0]]), sweep_points=20)
    assert nothing["python-control"].verdict == "not available"
    assert nothing.agree


def test_an_empty_batch_is_refused() -> None:
    empty = DiagonalStateSpace(np.zeros((0, 2)), np.zeros((0, 2, 1)), np.zeros((0, 1, 2)))
    with pytest.raises(InputError, match="empty"):
        crosscheck(empty)


def test_an_unstable_system_is_checked_in_the_l_infinity_norm() -> None:
    system = StateSpace([[1, 2], [0, -3]], [[1], [1]], [[1, 1]])
    with pytest.raises(StabilityError, match="linf_norm"):
        crosscheck(system)
    opinions = crosscheck(system, bracket=linf_norm(system), sweep_points=100)
    assert opinions.agree
    assert opinions["dense sweep"].verdict == "agrees"
    assert opinions["bounded-real"].verdict == "not available"


def test_a_pole_at_zero_has_no_reverse_realization_for_others() -> None:
    rng = np.random.default_rng(3)
    system = DiagonalStateSpace([0, 0.5], gaussian(rng, 2, 2), gaussian(rng, 2, 2), C_reverse=gaussian(rng, 2, 2))
    opinions = crosscheck(system, sweep_points=100)
    assert opinions["slycot"].verdict == "not available"
    assert opinions["dense sweep"].verdict == "agrees"
