"""Factors of one channel: products with their adjoints against the Gramian's own entries in 40 digits."""

import mpmath as mp
import numpy as np
import pytest
from strategies import POLE_KINDS, gaussian, stable_poles
from tolerance import EPS

from theory.equations.kautz import channel_factor, pair_functions

N = 9


def kernel(z: complex, w: complex, discrete: bool) -> mp.mpc:
    """1 / (1 - z conj(w)), in continuous time -1 / (z + conj(w))."""
    z, w = mp.mpc(z), mp.conj(mp.mpc(w))
    return 1 / (1 - z * w) if discrete else -1 / (z + w)


def gram(rows: np.ndarray) -> list[list[mp.mpc]]:
    exact = [[mp.mpc(complex(x)) for x in row] for row in rows]
    return [[mp.fsum(a * mp.conj(b) for a, b in zip(one, two)) for two in exact] for one in exact]


def drawn(kind: str, discrete: bool, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, list[mp.mpf]]:
    poles = stable_poles(rng, kind, (N,), 1e-9, discrete)
    if kind == "clustered":  # around 1, where both halves of the pairs meet, too
        poles[::2] = poles[::2].real + 1e-3j * poles[::2].imag
    g = gaussian(rng, N) * 10.0 ** rng.uniform(-6, 6, N)
    with mp.workdps(40):
        size = [mp.sqrt(abs(g[i]) ** 2 * kernel(poles[i], poles[i], discrete).real) for i in range(N)]
    return poles, g, size


@pytest.mark.parametrize("discrete", [True, False])
@pytest.mark.parametrize("kind", POLE_KINDS)
def test_a_factor_of_the_complex_system(kind: str, discrete: bool, rng: np.random.Generator) -> None:
    poles, g, size = drawn(kind, discrete, rng)
    L = channel_factor(poles, g, discrete)
    assert not np.triu(L, 1).any()
    with mp.workdps(40):
        product = gram(L)
        for i in range(N):
            for j in range(N):
                wanted = mp.mpc(complex(g[i])) * mp.conj(mp.mpc(complex(g[j]))) * kernel(poles[i], poles[j], discrete)
                assert abs(product[i][j] - wanted) <= 8 * N * EPS * size[i] * size[j]


@pytest.mark.parametrize("discrete", [True, False])
@pytest.mark.parametrize("kind", POLE_KINDS)
def test_a_real_factor_of_conjugate_pairs(kind: str, discrete: bool, rng: np.random.Generator) -> None:
    poles, g, size = drawn(kind, discrete, rng)
    F = pair_functions(poles, g, discrete)
    with mp.workdps(40):
        product = gram(np.concatenate([F.real, F.imag]))
        for i in range(N):
            for j in range(N):
                b, c = mp.mpc(complex(g[i])), mp.mpc(complex(g[j]))
                direct = b * mp.conj(c) * kernel(poles[i], poles[j], discrete)  # E[x_i conj(x_j)]
                mixed = b * c * kernel(poles[i], poles[j].conjugate(), discrete)  # E[x_i x_j]
                room = 8 * N * EPS * size[i] * size[j]
                assert abs(product[i][j] - (direct + mixed).real / 2) <= room
                assert abs(product[N + i][N + j] - (direct - mixed).real / 2) <= room
                assert abs(product[N + i][j] - (direct + mixed).imag / 2) <= room


@pytest.mark.parametrize("discrete", [True, False])
def test_small_entries_of_a_cluster_are_right_to_the_last_digits(discrete: bool, rng: np.random.Generator) -> None:
    """The last column is a product of pole differences: 1e-5 of each other, it is 1e-19 of the first."""
    centre = 0.9 * np.exp(0.7j) if discrete else -0.1 + 0.7j
    poles = centre * (1 + 1e-5 * gaussian(rng, 6))
    L = channel_factor(poles, np.ones(6) + 0j, discrete)
    with mp.workdps(60):
        value = mp.sqrt(1 / kernel(poles[5], poles[5], discrete).real) * kernel(poles[5], poles[5], discrete)
        for s in range(5):
            inner = (mp.mpc(poles[5]) - mp.mpc(poles[s])) * kernel(poles[5], poles[s], discrete)
            value *= inner
        assert abs(mp.mpc(complex(L[5, 5])) - value) <= 64 * EPS * abs(value)
        assert abs(value) < 1e-18


@pytest.mark.parametrize("discrete", [True, False])
def test_a_batch_is_one_system_after_another(discrete: bool, rng: np.random.Generator) -> None:
    poles, g = stable_poles(rng, "spread", (2, 3, 4), 1e-3, discrete), gaussian(rng, 2, 3, 4)
    for function in (channel_factor, pair_functions):
        many = function(poles, g, discrete)
        for index in np.ndindex(2, 3):
            assert np.array_equal(many[index], function(poles[index], g[index], discrete))


def test_extreme_rates_neither_overflow_nor_vanish() -> None:
    poles = np.array([-1e150 + 1e150j, -1e-150 + 2e-150j])
    F = pair_functions(poles, np.sqrt(np.abs(poles)) + 0j, False)
    assert np.isfinite(F).all()
    energy = (np.abs(F) ** 2).sum(axis=1)
    assert energy == pytest.approx(np.abs(poles) / (-2 * poles.real), rel=1e-13)


def test_pieces_of_rows_make_no_difference(rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    poles, g = stable_poles(rng, "spread", (7,), 1e-3, True), gaussian(rng, 7)
    whole = [function(poles, g, True) for function in (channel_factor, pair_functions)]
    monkeypatch.setattr("theory.equations.kautz.ENTRIES", 15)
    for function, wanted in zip((channel_factor, pair_functions), whole, strict=True):
        assert np.array_equal(function(poles, g, True), wanted)
