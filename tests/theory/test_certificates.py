"""The bounded-real certificate: feasible above the norm, with a matrix whose eigenvalues prove it; infeasible below."""

from __future__ import annotations

import numpy as np
import pytest
from strategies import gaussian, stable_poles

from theory.certificates import bounded_real_certificate, bounded_real_matrix
from theory.errors import InputError, MissingDependencyError, StabilityError
from theory.norms import hinf_norm
from theory.realization import dense
from theory.system import DiagonalStateSpace, StateSpace


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
