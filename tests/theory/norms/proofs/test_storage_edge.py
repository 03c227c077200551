"""The storage proof at the edge: what is handed to Cholesky lies below M(P), exactly, whatever P is.

P need not come from a Riccati equation here. It is drawn so that one thing at a time cancels or is rounded all in one
direction: P times B, the Gram matrices of C and D, the two parts of a pair, the level against D. Then every term that
pays for rounding is needed: without the terms of the first block, the Gram matrices, the products with P, S, the corner
or the share between the blocks, some of these matrices are indefinite (`make mutants`).
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import mpmath as mp
import numpy as np
import pytest

from theory.norms.loss import Loss
from theory.norms.proofs.storage_function import StorageProof
from theory.norms.proofs.supply import Form

sys.path.insert(0, str(Path(__file__).parents[2]))
from exact import DIGITS, draws, matrix, number, positive_definite

LOST = 2.0**-27
"""Beside 1, a row of this size adds 2^-54 to a sum of squares: rounded away, wherever it is added on its own."""

KINDS = ("P B cancels", "poles side by side", "Gram matrix of C", "feedthrough", "two-sided")

Parts = tuple[np.ndarray, ...]


def drawn(rng: np.random.Generator, kind: str, *, solvable: bool = False) -> tuple[Form, Parts, np.ndarray, float]:
    """A form, the parts of a P, the slack, and a level that is about what P allows.

    `solvable`: the first block of M(P) is positive definite, so that M(P) is at some level.
    """
    two_sided, side_by_side = kind == "two-sided", kind == "poles side by side"
    paired = bool(rng.random() < 0.4) and not side_by_side
    h = int(rng.integers(1 if paired else 2, 3))
    real = not paired and bool(rng.random() < 0.5)
    N, rows = 2 * h if paired else h, 300 if kind in ("Gram matrix of C", "feedthrough") else 1

    def gaussian(*shape: int) -> np.ndarray:
        return rng.normal(size=shape) + (0.0 if real or paired else 1j * rng.normal(size=shape))

    def tall(columns: int) -> np.ndarray:
        row = gaussian(1, columns)
        return np.concatenate([row, np.full((rows - 1, 1), LOST) * row])

    margin, angle = 10.0 ** rng.uniform(-9, -0.3, h), rng.uniform(0, 3, 1 if side_by_side else h)
    poles = (1 - margin) * (1.0 if real else np.exp(1j * angle))
    size = 10.0 ** rng.uniform(-9, 0)
    B, C, D = gaussian(N, 2 if two_sided else 1), gaussian(2, N) if two_sided else tall(N), np.zeros((rows, 1))
    C = C if two_sided or kind == "Gram matrix of C" else 1e-12 * size * C
    if two_sided:
        D = gaussian(1, 1) * 10.0 ** rng.uniform(-8, 0)
    if kind == "feedthrough":
        B, D = 1e-6 * B, tall(1)
    U = np.linalg.qr(gaussian(N, N))[0]
    W = (U * 10.0 ** rng.uniform(-14, 0, N)) @ U.conj().T
    cancels = kind in ("P B cancels", "poles side by side")
    wanted = W if cancels else (0.0 if two_sided else C.conj().T @ C) + size * W
    form = Form(poles=poles, paired=paired, B=B, C=C, D=D, loss=Loss(), two_sided=two_sided)
    P = form.parts(wanted)
    if solvable or not cancels:
        P = tuple(part / gap for part, gap in zip(P, form.gaps, strict=True))
    if cancels:
        form = replace(form, B=np.linalg.svd(form.whole(P))[0][:, -1:] * gaussian(1, 1))
    P = (0.5 * (P[0] + P[0].conj().T), *(0.5 * (part + part.T) for part in P[1:]))
    change = max(float(np.abs(part * gap).max()) for part, gap in zip(P, form.gaps, strict=True))
    slack = change * 10.0 ** rng.uniform(-18, 0) * (form.weights / form.weights.max()) ** 2
    used = float(np.linalg.norm(form.B.conj().T @ form.whole(P) @ form.B, 2))
    level = float(np.linalg.norm(D, 2)) + (used if two_sided else np.sqrt(used))
    return form, P, slack, level * (1 + 10.0 ** rng.uniform(-15, 0))


def storage_matrix(form: Form, P: Parts, level: float) -> mp.matrix:
    """M(P) from the definition: ``[P - A^*PA - Q, -(A^*PB + S); ., R - B^*PB]``."""
    (N, m), h = form.B.shape, form.poles.size
    A, B, C, D = (matrix(x) for x in (form.state_matrix, form.B, form.C, form.D))
    whole = mp.matrix(N, N)
    for i in range(h):
        for j in range(h):
            one = number(P[0][i, j])
            if not form.paired:
                whole[i, j] = one
                continue
            two = number(P[1][i, j])
            whole[i, j], whole[h + i, h + j] = mp.re(one) + mp.re(two), mp.re(one) - mp.re(two)
            whole[i, h + j] = whole[h + j, i] = -mp.im(one) - mp.im(two)
    M, moved = mp.matrix(N + m, N + m), whole * B
    M[:N, :N], M[:N, N:] = whole - A.H * whole * A, -(A.H * moved)
    M[N:, N:] = mp.mpf(level) ** (1 if form.two_sided else 2) * mp.eye(m) - B.H * moved
    if form.two_sided:
        p = D.rows
        M[:N, N:] += C.H
        M[N : N + p, N + p :] += D
        M[N + p :, N : N + p] += D.H
    else:
        M[:N, :N] -= C.H * C
        M[:N, N:] -= C.H * D
        M[N:, N:] -= D.H * D
    M[N:, :N] = M[:N, N:].H
    return M


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_factorized_lies_below_the_matrix(kind: str) -> None:
    checked = 0
    for seed in range(draws(40)):
        form, P, slack, level = drawn(np.random.default_rng([KINDS.index(kind), seed]), kind)
        below = StorageProof(form).below(P, level, slack, np.inf)
        if below is None:  # more was taken off the diagonal than there is
            continue
        with mp.workdps(DIGITS):
            assert positive_definite(storage_matrix(form, P, level) - matrix(below)), (kind, seed)
        checked += 1
    assert checked >= draws(8)


@pytest.mark.parametrize("kind", KINDS)
def test_the_lowest_level_that_is_accepted_is_true(kind: str) -> None:
    """Bisect the level until it is just accepted: M(P) is positive definite there, and not far below."""
    accepted = 0
    for seed in range(draws(20)):
        form, P, slack, level = drawn(np.random.default_rng([KINDS.index(kind), seed, 1]), kind, solvable=True)
        proof = StorageProof(form)
        low, high = 0.0, 4.0**20 * level
        if not proof._certain(P, high, slack, np.inf):  # the first block alone is not certain
            continue
        for _ in range(100):
            middle = float(np.sqrt(low * high)) if low else high / 4.0
            if not low < middle < high or middle < 1e-12 * level:
                break
            low, high = (low, middle) if proof._certain(P, middle, slack, np.inf) else (middle, high)
        with mp.workdps(DIGITS):
            assert positive_definite(storage_matrix(form, P, high)), (kind, seed)
        accepted += 1
    assert accepted >= draws(1)
