"""Gramians of recorded signals are the second moments of what plain loops give, in every form of system."""

from __future__ import annotations

import numpy as np
import pytest
from recorded_cases import KINDS, loop, matrices, parts, signals, system

from theory.errors import DimensionError, InputError, StabilityError, TimeBaseError
from theory.gramians.gramians import gramians
from theory.gramians.recorded import recorded_observability, recorded_reachability
from theory.systems.system import DiagonalStateSpace, StateSpace


@pytest.mark.parametrize("kind", KINDS)
def test_reachability_is_the_second_moment_of_the_states(kind):
    item = system(kind)
    u, lengths = signals(item)
    found = recorded_reachability(item, u, lengths)
    blocks = found if item.batch_shape else found[None]
    for (one, part), P in zip(parts(item, u), blocks, strict=True):
        total = np.zeros_like(P)
        for i, length in enumerate(lengths):
            forward, backward, _ = loop(one, part[i, :length])
            total += forward.T @ forward.conj() + (backward.T @ backward.conj() if one.is_bidirectional else 0)
        assert np.allclose(P, total / lengths.sum(), rtol=1e-12, atol=1e-12 * np.abs(total).max())


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in ("standard form",)])
def test_observability_is_the_second_moment_of_the_gradients(kind):
    """a_t is what a change of the state at t does to sum_s Re(g_s^* y_s), by powers of A, not by a recursion."""
    item = system(kind)
    g, lengths = signals(item, seed=2, N=3, L=12)
    if kind == "complex":
        g = g + 1j * signals(item, seed=3, N=3, L=12)[0]
    found = recorded_observability(item, g, lengths)
    blocks = found if item.batch_shape else found[None]
    for (one, part), Q in zip(parts(item, g), blocks, strict=True):
        total = np.zeros_like(Q)
        for i, length in enumerate(lengths):
            for C, sign in ((one.C, 1), (one.C_reverse, -1)):
                if C is None:
                    continue
                A, _, output = matrices(one, C)
                for t in range(length):
                    a = np.zeros(A.shape[0], dtype=Q.dtype)
                    for s in range(t, length) if sign > 0 else range(t, -1, -1):
                        a = a + (output @ np.linalg.matrix_power(A, abs(s - t))).conj().T @ part[i, s]
                    total += np.outer(a, a.conj())
        assert np.allclose(Q, total / len(lengths), rtol=1e-11, atol=1e-11 * np.abs(total).max())


def test_white_inputs_give_the_reachability_gramian():
    item = system("S5", n=3)
    u = np.random.default_rng(0).standard_normal((40, 4000, item.m))
    P = gramians(item)[0]
    # 160,000 samples of correlation time 1 / margin: a few percent
    assert np.linalg.norm(recorded_reachability(item, u) - P) < 0.1 * np.linalg.norm(P)


def test_padding_does_not_count_and_one_sequence_may_come_without_its_axis():
    item = system("S5 bidirectional")
    u, _ = signals(item, N=1)
    padded = np.concatenate([u, 1e3 * np.ones_like(u)], axis=1)
    assert np.allclose(recorded_reachability(item, padded, [u.shape[1]]), recorded_reachability(item, u[0]), rtol=1e-13)


def test_what_cannot_be_recorded_is_refused():
    item = system("S5")
    u, lengths = signals(item)
    cases = [
        (DimensionError, item, u[..., :1], None), (InputError, item, u[:, :0], None),
        (InputError, item, u * np.nan, None), (InputError, item, u, lengths * 0),
        (InputError, item, u, lengths + 100), (DimensionError, item, u, lengths[:2]),
        (DimensionError, item, u, lengths + 0.5), (InputError, item, [["a", "b"]], None),
        (StabilityError, item.replace(poles=item.poles * 10), u, None),
        (TimeBaseError, DiagonalStateSpace([-1], [[1, 1]], [[1], [1]], dt=None), u, None),
        (InputError, StateSpace(0.5, [[1, 1]], [[1], [1]], dt=1), u, None),
    ]  # fmt: skip
    for error, what, values, counts in cases:
        for function in (recorded_reachability, recorded_observability):
            with pytest.raises(error):
                function(what, values, counts)
