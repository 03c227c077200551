"""Time-limited Gramians are finite sums; exact ones are their limit."""

from __future__ import annotations

import mpmath as mp
import numpy as np
import pytest
from recorded_cases import KINDS, matrices, system
from strategies import gaussian

from theory.errors import InputError, TimeBaseError
from theory.gramians.gramians import gramians, stacked_output
from theory.gramians.time_limited import time_limited_gramians
from theory.systems.system import DiagonalStateSpace


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("horizon", [1, 2, 37])
def test_they_are_finite_sums(kind, horizon):
    item = system(kind)
    P, Q = time_limited_gramians(item, horizon)
    for index in np.ndindex(item.batch_shape):
        one = item[index] if index else item
        A, B, C = matrices(one, stacked_output(one))
        powers = [np.linalg.matrix_power(A, k) for k in range(horizon)]
        wanted_P = sum(M @ B @ B.conj().T @ M.conj().T for M in powers)
        wanted_Q = sum(M.conj().T @ C.conj().T @ C @ M for M in powers)
        assert np.allclose(P[index], wanted_P, rtol=1e-12, atol=1e-12 * np.abs(wanted_P).max())
        assert np.allclose(Q[index], wanted_Q, rtol=1e-12, atol=1e-12 * np.abs(wanted_Q).max())


@pytest.mark.parametrize("kind", KINDS)
def test_exact_gramians_are_the_limit(kind):
    item = system(kind)
    for found, exact in zip(time_limited_gramians(item, 10**7), gramians(item), strict=True):
        assert np.allclose(found, exact, rtol=1e-12, atol=1e-13 * np.abs(exact).max())


def test_poles_on_and_next_to_the_circle_keep_their_digits():
    rng = np.random.default_rng(3)
    margin = np.array([0.0, 1e-12, 1e-7, 1e-3])
    poles = (1 - margin) * np.array([1, -1, 1, 1])
    item = DiagonalStateSpace(poles, gaussian(rng, 4, 1), gaussian(rng, 1, 4), conjugate_pairs=False)
    P, _ = time_limited_gramians(item, 1000)
    with mp.workdps(40):
        for i in range(4):
            for j in range(4):
                ratio = mp.mpf(item.poles[i].real) * mp.mpf(item.poles[j].real)
                total = mp.mpf(1000) if ratio == 1 else (1 - ratio**1000) / (1 - ratio)
                weight = item.B[i, 0] * item.B[j, 0].conj()  # one term of the sum; alternating ones cancel
                assert abs(P[i, j] - complex(total) * weight) <= 1e-12 * max(abs(total), 1) * abs(weight)


def test_what_has_no_horizon_is_refused():
    item = system("S5")
    for horizon in (0, -1, 2.0, True, "3"):
        with pytest.raises(InputError):
            time_limited_gramians(item, horizon)
    with pytest.raises(TimeBaseError):
        time_limited_gramians(DiagonalStateSpace([-1], [[1]], [[1]], dt=None), 3)
    with pytest.raises(InputError):
        time_limited_gramians(item.replace(poles=item.poles / np.abs(item.poles) * 1.1), 3)
