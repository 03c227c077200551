"""The level proofs at the edge: the lowest level that is accepted is not below any gain, in 60 digits.

Two proofs: of one point of the boundary by a Cholesky factorization, where the level is bisected; and of the whole
boundary arc by arc, where the level is put below the largest gain by all amounts, and must not be proved.
"""

from __future__ import annotations

import sys
from pathlib import Path

import mpmath as mp
import numpy as np
import pytest

from theory.norms.peaks.locate import Located
from theory.norms.proofs.level_test import LevelTest
from theory.norms.proofs.levels import LevelCover
from theory.norms.responses.diagonal import diagonal_modes
from theory.norms.responses.modes import ModalSum
from theory.systems.system import DiagonalStateSpace

sys.path.insert(0, str(Path(__file__).parents[2]))
from exact import DIGITS, draws, matrix, positive_definite
from reference.gains import exact_gain

ROUTES = ("inputs beyond states", "feedthrough", "modes that cancel", "columns that cancel")


def point(rng: np.random.Generator, route: str) -> tuple[ModalSum, np.ndarray]:
    """A modal sum, and the values of its mode functions at some point."""
    n, p, m = 3, 2, 5 if route == "columns that cancel" else 2
    if route == "inputs beyond states":
        m = 7

    def gaussian(*shape: int) -> np.ndarray:
        return rng.normal(size=shape) + 1j * rng.normal(size=shape)

    B, C, r = gaussian(n, m), gaussian(p, n), gaussian(n)
    if route == "columns that cancel":  # two modes with nearly the same output, far larger than what they leave
        C[:, 1] = C[:, 0] * (1 + 1e-6 * rng.normal())
        B[1], r[1] = -B[0] + 10.0 ** rng.uniform(-9, -3) * gaussian(m), r[0]
    if route == "modes that cancel":
        B[1], C[:, 1], r[1] = -B[0], C[:, 0], r[0] * (1 + 1e-9)
        B[2] *= 10.0 ** rng.uniform(-9, -5)
    D = gaussian(p, m) if route == "feedthrough" else np.zeros((p, m))
    if route == "feedthrough" and rng.random() < 0.5:  # D cancels what the modes give
        D = -(C * r) @ B * (1 + 1e-9 * rng.normal())
    poles = 0.5 * np.exp(1j * np.arange(n))
    system = DiagonalStateSpace(poles, B, C, D, conjugate_pairs=False)
    modes = diagonal_modes(system)
    return modes, r


def gram_below(modes: ModalSum, r: np.ndarray, level: float) -> bool:
    """Whether ``|D + C diag(r) B| <= level``, in 60 digits."""
    with mp.workdps(DIGITS):
        G = matrix(modes.D) + matrix(modes.C) * mp.diag(list(matrix(r[:, None]))) * matrix(modes.B)
        G = G if G.rows >= G.cols else G.H
        return positive_definite(mp.mpf(level) ** 2 * (1 + mp.mpf("1e-40")) * mp.eye(G.cols) - G.H * G)


@pytest.mark.parametrize("route", ROUTES)
def test_the_lowest_level_accepted_at_a_point_is_true(route: str) -> None:
    for seed in range(draws(25)):
        modes, r = point(np.random.default_rng([ROUTES.index(route), seed]), route)
        test = LevelTest(modes)
        high = float((np.abs(r) @ modes.weights + np.linalg.norm(modes.D)) * 2)
        assert test.below(r, high)
        low = 0.0
        while (middle := 0.5 * (low + high)) not in (low, high) and high - low > 1e-15 * high:
            low, high = (low, middle) if test.below(r, middle) else (middle, high)
        assert gram_below(modes, r, high), (route, seed)


def test_the_kernel_of_the_inputs_is_below_their_inverse_gram_matrix() -> None:
    """``B^H S B <= I``, exactly, also where B is nearly singular."""
    seen = 0
    for seed in range(draws(40)):
        rng = np.random.default_rng(seed)
        n = int(rng.integers(2, 4))
        B = rng.normal(size=(2, n, n + int(rng.integers(0, 2))))
        B = B[0] + 1j * B[1]
        B[-1] = B[:-1].T @ rng.normal(size=n - 1) + 10.0 ** rng.uniform(-6, -3) * B[-1]
        poles = np.arange(1, n + 1) / 10
        modes = diagonal_modes(DiagonalStateSpace(poles, B, np.ones((1, n)), conjugate_pairs=False))
        kernel = LevelTest(modes).kernel
        if kernel is None:
            continue
        seen += 1
        with mp.workdps(DIGITS):
            B = matrix(modes.B)
            assert positive_definite(mp.eye(B.cols) * (1 + mp.mpf("1e-40")) - B.H * matrix(kernel) * B), seed
    assert seen >= draws(5)


def flat_peak(rng: np.random.Generator) -> tuple[DiagonalStateSpace, float]:
    """``D + c / (z - l)`` with small c: the gain is ``|D| + Re(...)``, and its curvature all that an arc is bounded by.

    The peak is halfway between two points of the grid: the arc about it has the samples farthest away.
    """
    spacing = 2 * np.pi / 64
    where = spacing * (int(rng.integers(-20, 20)) + 0.5)
    pole, size = -float(rng.uniform(0.0, 0.1)) * np.exp(1j * where), 10.0 ** rng.uniform(-3, -1.5)
    # the mode is real at z = e^{j where} and nearly z^{-1}; its pole, next to which a sample lies, is on the other side
    system = DiagonalStateSpace([pole], [[1.0]], [[size * np.exp(1j * where)]], [[1.0]], conjugate_pairs=False)
    return system, where


@pytest.mark.parametrize("below", [0.6, 0.3, 0.1])
def test_no_level_below_a_gain_is_proved(below: float) -> None:
    """`below` is relative to what the gain loses from the peak to the next points of the grid."""
    for seed in range(draws(6)):
        system, where = flat_peak(np.random.default_rng(seed))
        with mp.workdps(40):
            peak = exact_gain(system, where)
            drop = float(peak - exact_gain(system, where + np.pi / 64))
        assert below * drop > 1e-8  # what a level may be above the gain
        found = Located(diagonal_modes(system), 1e-8)
        found.locate()
        found.best = float(peak) - below * drop
        assert LevelCover(found).prove().upper >= peak
