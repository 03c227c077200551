"""Dense systems: a number is right, or it is refused. Judged by the Gramians in 120 digits.

``SSMREDUCE_DENSE_CASES=500`` draws that many of each kind; the default is a few.
"""

import os

import numpy as np
import pytest
import scipy.signal
from dense_cases import DRAWS, companion, exact

from theory.arithmetic.fixed_point import Work
from theory.errors import AccuracyError, SSMReduceError, StabilityError
from theory.gramians import dense
from theory.gramians.dense import ENERGY_RTOL, HSV_RTOL, dense_gramians
from theory.gramians.float_proof import FloatGramians
from theory.gramians.gramians import gramians
from theory.gramians.h2 import h2_norm
from theory.gramians.hankel import hankel_singular_values
from theory.norms import hinf_norm
from theory.reduction.balanced_truncation import balanced_truncation
from theory.systems.system import StateSpace

CASES = int(os.environ.get("SSMREDUCE_DENSE_CASES", "8"))
ORDERS = (3, 11) if CASES > 8 else (3, 8)


def drawn(kind, seed):
    rng = np.random.default_rng([seed, 9])
    return DRAWS[kind](rng, ORDERS) if kind == "filter" else DRAWS[kind](rng)


@pytest.mark.parametrize("seed", range(CASES))
@pytest.mark.parametrize("kind", DRAWS)
def test_right_or_refused(kind, seed):
    system = drawn(kind, seed)
    truth = exact(system)
    if not truth.stable:
        for function in (h2_norm, hankel_singular_values, gramians):
            with pytest.raises((StabilityError, AccuracyError)):
                function(system)
        return
    found = dense_gramians(system).spectrum
    assert np.array_equal(found.hsv, hankel_singular_values(system))
    # 1e-14: the last digits of the reference, rounded to float64 itself
    assert np.all(np.abs(found.hsv - truth.hsv) <= found.error * (1 + 1e-9) + 1e-14 * truth.hsv)
    assert found.error.max() <= HSV_RTOL * truth.hsv[0]
    assert h2_norm(system) == pytest.approx(truth.h2, rel=ENERGY_RTOL)


def test_nine_in_ten_filters_are_answered():
    answered = stable = 0
    for seed in range(3 * CASES):
        system = drawn("filter", 1000 + seed)
        try:
            hankel_singular_values(system)
            answered += 1
        except StabilityError:
            continue
        except SSMReduceError:
            pass
        stable += 1
    assert answered >= 0.9 * stable > 0


def test_an_unstable_filter_is_refused_everywhere():
    """Elliptic, order 10: Schur-Cohn in exact arithmetic says unstable, the computed eigenvalues say stable."""
    system = companion(*scipy.signal.ellip(10, 1, 60, 0.03658536033143143))
    assert not exact(system).stable
    for function in (h2_norm, hankel_singular_values, gramians, hinf_norm, lambda G: balanced_truncation(G, order=5)):
        with pytest.raises((StabilityError, AccuracyError)):
            function(system)


def test_a_stable_filter_whose_poles_float64_does_not_know():
    system = companion(*scipy.signal.butter(4, [0.002, 0.02], btype="band"))
    truth = exact(system)
    assert truth.stable
    assert dense_gramians(system).is_exact
    assert np.abs(hankel_singular_values(system) - truth.hsv).max() <= 1e-12
    assert h2_norm(system) == pytest.approx(truth.h2, rel=1e-12)


@pytest.mark.parametrize("spoilt", ["Lc", "Lo"])
def test_a_wrong_factor_is_noticed(spoilt):
    """The error bounds are of the factor at hand: spoil it, and they cover what it is off by."""
    system = drawn("random", 3)
    truth = exact(system)
    right = dense_gramians(system).in_floats
    fields = {name: getattr(right, name) for name in right.__dataclass_fields__}
    from theory.gramians import float_proof

    scaled, L = right.scaled, fields[spoilt] * (1 + 1e-5)
    A, B, W = (scaled.A, scaled.B, right.Wc) if spoilt == "Lc" else (scaled.A.T, scaled.C.T, right.Wo)
    error, turn = float_proof._errors(A, B, L, W, scaled.discrete)
    side = spoilt[1]
    wrong = FloatGramians(**{**fields, spoilt: L, f"{side}_error": error, f"{side}_turn": turn})
    _, hsv, bound, _ = wrong.balanced
    hsv, bound = scaled.gain(hsv), scaled.gain(bound)
    assert np.abs(hsv - truth.hsv).max() > 1e-6 * truth.hsv[0]
    assert np.all(np.abs(hsv - truth.hsv) <= bound)
    energy, missing = wrong.energy()
    if spoilt == "Lc":
        assert abs(scaled.norm(energy**0.5) ** 2 - truth.h2**2) <= scaled.norm(missing**0.5) ** 2


@pytest.mark.parametrize("exponent", [-150, 150])
def test_units_do_not_matter(exponent):
    system = drawn("random", 5)
    moved = StateSpace(system.A, system.B * 2.0**exponent, system.C * 2.0**exponent, dt=system.dt)
    factor = 2.0 ** (2 * exponent)
    assert np.array_equal(hankel_singular_values(moved), factor * hankel_singular_values(system))
    assert h2_norm(moved) == factor * h2_norm(system)


def test_triangular_matrices_are_taken_at_their_word():
    """A pole of 2^-60 beside one of 1e6: written down, so it is stable; in any other matrix it would be rounding."""
    slow, fast = 2.0**-60, 1e6
    system = StateSpace([[-slow, 3.0], [0.0, -fast]], [[0.0], [1.0]], [[1.0, 0.0]])
    truth = exact(system)
    assert np.abs(hankel_singular_values(system) - truth.hsv).max() <= 1e-12 * truth.hsv[0]
    with pytest.raises(StabilityError):
        hankel_singular_values(StateSpace([[0.0, 3.0], [0.0, -fast]], [[0.0], [1.0]], [[1.0, 0.0]]))


def test_complex_systems(rng):
    """A complex system and its real form have the same values, the latter twice."""
    n = 3
    A = rng.normal(size=(n, n)) + 1j * rng.normal(size=(n, n))
    A *= (1 - 1e-6) / np.abs(np.linalg.eigvals(A)).max()
    B, C = rng.normal(size=(n, 1)) + 1j, rng.normal(size=(1, n)) - 2j
    real = StateSpace(
        np.block([[A.real, -A.imag], [A.imag, A.real]]),
        np.block([[B.real, -B.imag], [B.imag, B.real]]),
        np.block([[C.real, -C.imag], [C.imag, C.real]]),
        dt=1.0,
    )
    found, proved = hankel_singular_values(StateSpace(A, B, C, dt=1.0)), dense_gramians(StateSpace(A, B, C, dt=1.0))
    twice = exact(real).hsv
    assert np.abs(found - twice[::2]).max() <= 1e-6 * found[0]
    exactly = proved._proved(lambda plant: plant)  # the real form in integers
    assert exactly.A.shape == (2 * n, 2 * n)


def test_time_scales_at_both_ends_of_float64() -> None:
    # r/(s+r) for each rate: no coupling is left between them, and each has the Hankel singular value 1/2
    rates = np.array([1e-100, 1e100])
    root = np.sqrt(rates)
    for A, B in ((-np.diag(rates), root), (-np.diag(rates[::-1]), root[::-1])):
        np.testing.assert_allclose(hankel_singular_values(StateSpace(A, B[:, None], B[None])), 0.5, rtol=1e-14)


def test_work_in_integers_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    # two poles at 1 - 2^-30 behind each other: float64 cannot tell, integers need some thirty squarings
    system = StateSpace([[1 - 2.0**-30, 0.0], [1e6, 1 - 2.0**-30]], [[1.0], [0.0]], [[0.0, 1.0]], dt=1.0)
    needed = Work(1e12)
    monkeypatch.setattr(dense, "Work", lambda: needed)
    hankel_singular_values(system)
    spent = 1e12 - needed.left
    assert spent > 0.0
    for share, fits in ((1.01, True), (0.99, False), (0.2, False), (0.0, False)):
        monkeypatch.setattr(dense, "Work", lambda share=share: Work(share * spent))
        dense.dense_gramians.cache_clear()
        if fits:
            hankel_singular_values(system)
        else:
            with pytest.raises(AccuracyError, match="modal"):
                hankel_singular_values(system)
