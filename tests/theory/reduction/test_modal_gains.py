"""Modal gains: against 50-digit maximisation, the closed-form bounds, and the symmetries of a mode."""

from __future__ import annotations

import mpmath as mp
import numpy as np
import pytest

from theory.errors import StabilityError
from theory.reduction.modal_gains import last_gains, modal_gain_bounds, modal_gains
from theory.systems.system import DiagonalStateSpace

KINDS = [  # discrete, conjugate pairs, bidirectional, delay, delay_reverse
    (True, True, False, 1, 1),
    (True, False, False, 0, 1),
    (True, True, True, 0, 1),
    (True, True, True, 0, 0),
    (True, False, True, 1, 0),
    (False, True, False, 1, 1),
    (False, False, False, 1, 1),
]


def draw(rng, kind, n, m=None, p=None):
    """Poles from the middle of the disc to 1 - 1e-9, at all angles and close to both ends of the real axis."""
    discrete, paired, bidirectional, delay, delay_reverse = kind
    m, p = m or int(rng.integers(1, 4)), p or int(rng.integers(1, 4))
    margin = 10.0 ** rng.uniform(-9, -0.01, n)
    angle = rng.uniform(-np.pi, np.pi, n) * 10.0 ** rng.choice([0, 0, -3, -8], n)
    angle[1::3] = np.pi - angle[1::3]
    poles = (1 - margin) * np.exp(1j * angle) if discrete else -margin + 1j * angle

    def gaussian(*shape):
        return rng.normal(size=shape) + 1j * rng.normal(size=shape)

    return DiagonalStateSpace(
        poles,
        gaussian(n, m),
        gaussian(p, n),
        dt=1.0 if discrete else None,
        conjugate_pairs=paired,
        C_reverse=gaussian(p, n) * rng.choice([1.0, 1e-3]) if bidirectional else None,
        delay=delay,
        delay_reverse=delay_reverse,
    )


def mp_gain(system, i):
    """Maximum over frequency of sigma_max of mode `i`, in 50 digits: samples, then golden sections."""
    pole = mp.mpc(system.poles[i])
    b = [mp.mpc(x) for x in system.B[i]]
    c = [mp.mpc(x) for x in system.C[:, i]]
    reverse = None if system.C_reverse is None else [mp.mpc(x) for x in system.C_reverse[:, i]]
    margin = 1 - abs(pole) if system.is_discrete else -pole.real

    def half(s, pole, b, c, reverse):
        lead = s if system.delay == 0 else 1
        out = [lead * x / (s - pole) for x in c]
        if reverse is not None:
            back = 1 / s if system.delay_reverse == 0 else 1
            out = [x + back * y / (1 / s - pole) for x, y in zip(out, reverse, strict=True)]
        return mp.matrix([[x * y for y in b] for x in out])

    def conj(v):
        return None if v is None else [mp.conj(x) for x in v]

    def gain(u, side):
        t = mp.tan(u / 2)
        if system.is_discrete:
            s = mp.expj(side * mp.arg(pole) + 2 * mp.atan(margin / (2 - margin) * t))
        else:
            s = mp.mpc(0, side * pole.imag + margin * t)
        G = half(s, pole, b, c, reverse)
        if system.conjugate_pairs:
            G = G + half(s, mp.conj(pole), conj(b), conj(c), conj(reverse))
        gram = G.H * G if G.cols <= G.rows else G * G.H
        trace = sum(gram[k, k].real for k in range(gram.rows))
        square = sum(abs(gram[k, h]) ** 2 for k in range(gram.rows) for h in range(gram.rows))  # rank <= 2: enough
        return mp.sqrt((trace + mp.sqrt(max(2 * square - trace**2, mp.mpf(0)))) / 2)

    best = mp.mpf(0)
    for side in (1, -1):
        grid = [mp.pi * (2 * mp.mpf(k) / 48 - 1) for k in range(1, 48)]
        values = [gain(u, side) for u in grid]
        k = max(range(len(grid)), key=values.__getitem__)
        low, high, ratio = grid[k] - mp.pi / 24, grid[k] + mp.pi / 24, (mp.sqrt(5) - 1) / 2
        for _ in range(46):
            left, right = high - ratio * (high - low), low + ratio * (high - low)
            low, high = (low, right) if gain(left, side) > gain(right, side) else (left, high)
        best = max(best, values[k], gain((low + high) / 2, side))
    return best


@pytest.mark.parametrize("kind", KINDS)
def test_gain_is_exact(kind):
    system = draw(np.random.default_rng(5), kind, 4)
    gains, bounds = modal_gains(system), modal_gain_bounds(system)
    with mp.workdps(50):
        for i in range(system.n):
            assert abs(mp.mpf(gains[i]) - mp_gain(system, i)) <= 1e-12 * bounds[i]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(5))
def test_gain_is_below_the_sound_bound_and_above_samples(kind, seed):
    rng = np.random.default_rng(seed)
    system = draw(rng, kind, 300)
    gains, bounds = modal_gains(system), modal_gain_bounds(system)
    assert (gains <= bounds).all()
    for i in rng.integers(0, 300, 20):
        lone = system.keep([int(i)])
        centre, width = (np.angle(lone.poles[0]) if kind[0] else lone.poles[0].imag), lone.margin[0]
        omega = np.concatenate([centre + width * rng.normal(size=50), rng.uniform(-np.pi, np.pi, 20)])
        s = np.exp(1j * omega) if kind[0] else 1j * omega

        def half(pole, B, C, R, s=s, lone=lone):
            out = C[:, 0, None] * (s if lone.delay == 0 else 1.0) / (s - pole)
            if R is not None:
                out = out + R[:, 0, None] * (1 / s if lone.delay_reverse == 0 else 1.0) / (1 / s - pole)
            return out.T[:, :, None] * B[0][None, None, :]

        G = half(lone.poles[0], lone.B, lone.C, lone.C_reverse)
        if lone.conjugate_pairs:
            reverse = None if lone.C_reverse is None else lone.C_reverse.conj()
            G = G + half(lone.poles[0].conj(), lone.B.conj(), lone.C.conj(), reverse)
        # s - pole loses up to eps / margin here, in this test's own evaluation
        slack = 1 + 8 * np.finfo(float).eps * (1 + abs(centre)) / width
        assert np.linalg.norm(G, 2, axis=(1, 2)).max() <= gains[i] * slack


@pytest.mark.parametrize("kind", KINDS)
def test_gain_does_not_see_how_b_and_c_share_scale_and_phase(kind):
    rng = np.random.default_rng(11)
    system = draw(rng, kind, 200)
    factor = np.exp(rng.normal(size=200) * 4 + 2j * np.pi * rng.random(200))
    reverse = None if system.C_reverse is None else system.C_reverse / factor
    other = system.replace(B=system.B * factor[:, None], C=system.C / factor, C_reverse=reverse)
    assert (np.abs(modal_gains(other) - modal_gains(system)) <= 1e-13 * modal_gain_bounds(system)).all()


@pytest.mark.parametrize("kind", KINDS)
def test_gain_of_a_conjugated_or_mirrored_mode_is_the_same(kind):
    system = draw(np.random.default_rng(12), kind, 200)
    reverse = None if system.C_reverse is None else system.C_reverse.conj()
    conjugated = system.replace(poles=system.poles.conj(), B=system.B.conj(), C=system.C.conj(), C_reverse=reverse)
    assert (np.abs(modal_gains(conjugated) - modal_gains(system)) <= 1e-13 * modal_gain_bounds(system)).all()
    if kind[0] and not kind[2]:
        mirrored = system.replace(poles=-system.poles)  # z -> -z
        assert (np.abs(modal_gains(mirrored) - modal_gains(system)) <= 1e-13 * modal_gain_bounds(system)).all()


def test_batch_is_the_loop():
    rng = np.random.default_rng(13)
    single = [draw(rng, KINDS[2], 6, 1, 1) for _ in range(5)]
    fields = {name: np.stack([getattr(s, name) for s in single]) for name in ("poles", "B", "C", "C_reverse")}
    batch = DiagonalStateSpace(**fields, delay=0, delay_reverse=1)
    assert np.array_equal(modal_gains(batch), np.stack([modal_gains(s) for s in single]))


def test_two_inputs_can_double_and_a_real_pole_can_cancel():
    alike = DiagonalStateSpace([0.9], [[1.0]], [[1.0]])
    assert modal_gains(alike) == pytest.approx(20.0, rel=1e-14)  # 2 / (1 - 0.9): the factor 2 is attained
    assert modal_gain_bounds(alike) == pytest.approx(2 * last_gains(alike))
    silent = DiagonalStateSpace([0.9], [[1.0]], [[1j]])
    assert modal_gains(silent) == pytest.approx(0.0, abs=1e-14)
    assert modal_gains(DiagonalStateSpace([0.0], [[2.0]], [[3.0]])) == pytest.approx(12.0, rel=1e-14)
    assert modal_gains(DiagonalStateSpace([0.5], [[0.0]], [[3.0]])) == 0.0


def test_unstable_pole_is_named():
    system = DiagonalStateSpace([0.5, 1.5j], np.ones((2, 1)), np.ones((1, 2)))
    for function in (modal_gains, modal_gain_bounds, last_gains):
        with pytest.raises(StabilityError) as caught:
            function(system)
        assert caught.value.poles == [1.5j]
