"""The bounded-real certificate: feasible above the norm, with a matrix whose eigenvalues prove it; infeasible below."""

from __future__ import annotations

import mpmath as mp
import numpy as np
import pytest
from strategies import gaussian, stable_poles

from theory.certificates.bounded_real import bounded_real_certificate, bounded_real_matrix
from theory.certificates.riccati import riccati_candidates
from theory.errors import InputError, MissingDependencyError, StabilityError
from theory.norms import hinf_norm
from theory.systems.realization import dense
from theory.systems.system import DiagonalStateSpace, StateSpace


def system(seed: int, *, discrete: bool, pairs: bool, n: int = 3) -> DiagonalStateSpace:
    rng = np.random.default_rng(seed)
    poles = stable_poles(rng, "spread", (n,), 1e-2, discrete)
    D = rng.standard_normal((2, 2))
    dt = 1.0 if discrete else None
    return DiagonalStateSpace(poles, gaussian(rng, n, 2), gaussian(rng, 2, n), D, dt=dt, conjugate_pairs=pairs)


@pytest.mark.parametrize("discrete", [True, False], ids=["discrete", "continuous"])
@pytest.mark.parametrize("pairs", [True, False], ids=["real", "complex"])
def test_feasible_above_and_infeasible_below(discrete: bool, pairs: bool) -> None:
    pytest.importorskip("cvxpy")
    given = system(1, discrete=discrete, pairs=pairs)
    norm = hinf_norm(given, 1e-8)
    above = bounded_real_certificate(given, norm.upper * 1.001)
    assert above.feasible
    assert above.smallest > above.rounding
    assert above.largest < -above.rounding
    assert np.linalg.eigvalsh(above.P)[0] > 0
    assert np.linalg.eigvalsh(bounded_real_matrix(given, above.P, above.gamma))[-1] < 0
    assert np.iscomplexobj(above.P) != pairs
    assert not bounded_real_certificate(given, norm.lower * 0.999).feasible


def test_dense_and_static_systems() -> None:
    pytest.importorskip("cvxpy")
    given = dense(system(2, discrete=False, pairs=True, n=2))
    assert bounded_real_certificate(given, hinf_norm(given).upper * 1.01).feasible
    static = StateSpace([], [], [], [[3.0, 4.0]])
    assert bounded_real_certificate(static, 5.01).feasible
    assert not bounded_real_certificate(static, 4.99).feasible


def test_what_cannot_be_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    given = system(3, discrete=True, pairs=True)
    with pytest.raises(InputError, match="gamma"):
        bounded_real_certificate(given, 0.0)
    with pytest.raises(StabilityError):
        bounded_real_certificate(given.replace(poles=given.poles / np.abs(given.poles)), 1.0)
    with pytest.raises(InputError, match="bidirectional"):
        bounded_real_certificate(given.replace(C_reverse=given.C), 1.0)
    monkeypatch.setitem(__import__("sys").modules, "cvxpy", None)
    with pytest.raises(MissingDependencyError, match="control"):
        bounded_real_certificate(given, 100.0)


def hard(kind: str) -> StateSpace | DiagonalStateSpace:
    """Lightly damped or badly scaled modes, where interior-point methods stop before the proof."""
    rng = np.random.default_rng(60)
    margin = np.array([2e-5, 0.3, 0.08])
    poles, B, C = (1 - margin) * np.exp(1j * np.array([2.9, 1.0, 2.0])), gaussian(rng, 3, 2), gaussian(rng, 2, 3)
    skew = np.array([1e-6, 1.0, 1e7])
    match kind:
        case "lightly damped":
            return DiagonalStateSpace([(1 - 1e-9) * np.exp(1j)], [[1]], [[1]])
        case "badly scaled":
            return DiagonalStateSpace(poles, B * (skew * margin)[:, None], C / skew)
        case "badly scaled, dense":
            return dense(DiagonalStateSpace(poles, B * (skew * margin)[:, None], C / skew))
        case "continuous":
            return dense(DiagonalStateSpace(-margin + 1j * np.array([3.0, 1, 2]), B, C / skew, np.eye(2), dt=None))
    raise AssertionError(kind)


def definite(matrix: mp.matrix) -> bool:
    """Whether a Hermitian matrix of mpmath numbers is positive definite, by Cholesky in 60 digits."""
    try:
        mp.cholesky(matrix)
    except ValueError:
        return False
    return True


@pytest.mark.parametrize("kind", ["lightly damped", "badly scaled", "badly scaled, dense", "continuous"])
def test_a_certificate_holds_in_sixty_digits(kind: str) -> None:
    pytest.importorskip("cvxpy")
    given = hard(kind)
    norm = hinf_norm(given, 1e-8)
    above = bounded_real_certificate(given, norm.upper * 1.001)
    assert above.feasible
    plain = dense(given)
    with mp.workdps(60):
        A, B, C, D, P = (mp.matrix(x.tolist()) for x in (plain.A, plain.B, plain.C, plain.D, above.P))
        n, m = plain.n, plain.m
        blocks = (
            (A.T * P * A - P, A.T * P * B, B.T * P * B) if plain.is_discrete else (A.T * P + P * A, P * B, mp.zeros(m))
        )
        M = mp.matrix(n + m, n + m)
        M[:n, :n] = -(blocks[0] + C.T * C)
        M[:n, n:] = -(blocks[1] + C.T * D)
        M[n:, :n] = M[:n, n:].T
        M[n:, n:] = -(blocks[2] + D.T * D - mp.mpf(above.gamma) ** 2 * mp.eye(m))
        assert definite(P)
        assert definite(M)
    assert not bounded_real_certificate(given, norm.lower * 0.999).feasible


@pytest.mark.parametrize("discrete", [True, False])
def test_riccati_candidates_are_proofs_by_themselves(discrete: bool) -> None:
    given = dense(system(4, discrete=discrete, pairs=True))
    level = hinf_norm(given).upper * 1.01
    scaled = StateSpace(given.A, given.B / np.sqrt(level), given.C / np.sqrt(level), given.D / level, dt=given.dt)
    P = next(riccati_candidates(scaled))
    assert np.linalg.eigvalsh(P)[0] > 0
    assert np.linalg.eigvalsh(bounded_real_matrix(scaled, P, 1.0))[-1] < 0
