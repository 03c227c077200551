"""Laws of the proof for the whole circle: the Riccati guess, what is accepted, and what never may be."""

from __future__ import annotations

from typing import Any

import mpmath as mp
import numpy as np
import pytest

from theory.equations.riccati import stabilizing_solution
from theory.norms import error_norm, hinf_norm
from theory.norms.loss import Loss
from theory.norms.peaks.locate import Located
from theory.norms.proofs.levels import LevelCover
from theory.norms.proofs.storage_function import StorageProof
from theory.norms.proofs.supply import Form, storage_form
from theory.norms.responses.diagonal import diagonal_modes
from theory.norms.responses.modes import ModalSum
from theory.reduction.balanced_truncation import balanced_truncation
from theory.systems.boundary import CIRCLE
from theory.systems.system import DiagonalStateSpace

KINDS: dict[str, dict[str, Any]] = {
    "pairs": {},
    "pairs, updated state": {"delay": 0, "D": "diagonal"},
    "pairs, feedthrough": {"D": "full"},
    "complex": {"conjugate_pairs": False},
    "complex, updated state": {"conjugate_pairs": False, "delay": 0, "D": "full"},
    "real modes": {"conjugate_pairs": False, "real": True},
    "many channels": {"m": 40, "p": 50},
    "two-sided": {"reverse": True, "delay": 1, "delay_reverse": 1},
    "two-sided, updated state": {"reverse": True, "delay": 0, "delay_reverse": 0, "D": "diagonal"},
    "two-sided, mixed": {"reverse": True, "delay": 0, "delay_reverse": 1, "D": "full"},
    "two-sided, complex": {"reverse": True, "delay": 1, "delay_reverse": 0, "conjugate_pairs": False},
    "two-sided, real modes": {"reverse": True, "conjugate_pairs": False, "real": True},
}
TWO_SIDED = [kind for kind in KINDS if kind.startswith("two-sided")]


def layer(rng: np.random.Generator, n: int, kind: dict[str, Any], *, least: float = 1e-4) -> DiagonalStateSpace:
    options = dict(kind)
    m, p, form = options.pop("m", 9), options.pop("p", 8), options.pop("D", None)
    margin, angle = 10.0 ** rng.uniform(np.log10(least), -0.5, n), rng.uniform(0, 3, n)
    real = options.pop("real", False)
    poles = (1 - margin) * (rng.choice([-1, 1], n) if real else np.exp(1j * angle))
    B, C = rng.normal(size=(n, m)) * np.sqrt(margin)[:, None], rng.normal(size=(p, n)) * np.sqrt(margin)
    if not real:
        B, C = B + 1j * rng.normal(size=(n, m)) * np.sqrt(margin)[:, None], C * np.exp(1j * rng.uniform(0, 6, n))
    if rng.random() < 0.5:  # the same system in other units of its states
        scale = 10.0 ** rng.uniform(-3, 3, n)
        B, C = B * scale[:, None], C / scale
    if options.pop("reverse", False):
        reverse = C * rng.uniform(-2, 2, n)
        options["C_reverse"] = reverse if real else reverse * np.exp(1j * rng.uniform(0, 6, n))
    D = {None: None, "diagonal": np.eye(p, m) * rng.normal(), "full": rng.normal(size=(p, m))}[form]
    return DiagonalStateSpace(poles, B, C, D, **options)


def located(system: DiagonalStateSpace) -> tuple[ModalSum, Located, Form]:
    modes = diagonal_modes(system)
    search = Located(modes, 1e-8)
    search.locate(thorough=True)
    form = storage_form(modes)
    assert form is not None
    return modes, search, form


@pytest.mark.parametrize("kind", KINDS)
def test_the_form_has_the_gain_of_the_modes(kind: str, rng: np.random.Generator) -> None:
    system = layer(rng, 6, KINDS[kind])
    modes, _, form = located(system)
    for theta in rng.uniform(-3, 3, 5):
        z = np.exp(1j * theta)
        state = np.linalg.solve(z * np.eye(form.B.shape[0]) - form.state_matrix, form.B)
        want = np.linalg.norm(gains(modes, theta), 2)
        got = form.C @ state
        if form.two_sided:
            p = form.D.shape[0]
            got = got[:p, p:] + got[p:, :p].conj().T
        np.testing.assert_allclose(np.linalg.norm(got + form.D, 2), want, rtol=1e-11)


def gains(modes: ModalSum, theta: float) -> np.ndarray:
    """G at a point of the circle, from the definition."""
    z = np.where(modes.reverse, np.exp(-1j * theta), np.exp(1j * theta))
    return (modes.C * (np.where(modes.direct, z, 1.0) / (z - modes.poles))) @ modes.B + modes.D


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("n", "size"), [(1, 1e-3), (2, 1.0), (5, 1e-2)])
def test_estimates_stay_below_the_gain(kind: str, n: int, size: float, rng: np.random.Generator) -> None:
    """Also where fewer directions matter than the estimate takes steps: few modes, few channels, small modes."""
    system = layer(rng, n, KINDS[kind] | {"m": 3, "p": 2})
    system = system.replace(C=size * system.C)
    modes, search, _ = located(system)
    x = rng.uniform(-3, 3, 40)
    _, vectors = search.gains.estimate(CIRCLE, x, None, 8)
    estimates, vectors = search.gains.estimate(CIRCLE, x, vectors, 8)  # starts where it ends
    for theta, estimate, v in zip(x, estimates, vectors.T):
        G = gains(modes, theta)
        assert estimate <= np.linalg.norm(G, 2) * (1 + 1e-9)
        assert np.linalg.norm(G @ v) >= estimate * (1 - 1e-6)


def test_complex_poles_with_real_arrays_keep_their_complex_denominators(rng: np.random.Generator) -> None:
    poles = 0.9 * np.exp(1j * rng.uniform(-3, 3, 4))
    form = Form(
        poles=poles, paired=False, B=rng.normal(size=(4, 3)), C=rng.normal(size=(2, 4)), D=np.zeros((2, 3)),
        loss=Loss(),
    )  # fmt: skip
    np.testing.assert_allclose(form.gaps[0], 1 - np.outer(poles.conj(), poles), rtol=1e-13)


@pytest.mark.parametrize("ready", [1e-3, np.inf])  # with cyclic reduction, and without
@pytest.mark.parametrize("width", [2, 90])  # G of low rank, and far from singular
@pytest.mark.parametrize("n", [3, 60])  # 60: with the low-rank end of the iteration
@pytest.mark.parametrize("complex_", [False, True])
def test_the_guess_solves_the_riccati_equation(
    n: int, complex_: bool, width: int, ready: float, rng: np.random.Generator
) -> None:
    A = rng.normal(size=(n, n)) + (1j * rng.normal(size=(n, n)) if complex_ else 0)
    A = A * (0.999 / np.abs(np.linalg.eigvals(A)).max())
    B, C = rng.normal(size=(n, width)), rng.normal(size=(width, n))
    grid = np.exp(1j * np.concatenate([np.linspace(-np.pi, np.pi, 101), np.angle(np.linalg.eigvals(A))]))
    peak = max(np.linalg.norm(C @ np.linalg.solve(z * np.eye(n) - A, B), 2) for z in grid)
    G, H = B @ B.T / (1.05 * peak) ** 2, C.T @ C
    X = stabilizing_solution(A, G, H, ready=ready)
    assert X is not None
    loop = np.linalg.solve(np.eye(n) - G @ X, A)
    residual = X - A.conj().T @ X @ loop - H
    assert np.linalg.norm(residual) <= 1e-9 * np.linalg.norm(X)
    assert np.abs(np.linalg.eigvals(loop)).max() < 1
    assert np.linalg.eigvalsh(X).min() >= -1e-9 * np.linalg.norm(X)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n", [1, 7, 24])
def test_levels_above_the_norm_are_proved_and_levels_below_are_not(kind: str, n: int, rng: np.random.Generator) -> None:
    for _ in range(2):
        system = layer(rng, n, KINDS[kind])
        _, search, form = located(system)
        proof, gain = StorageProof(form), search.best
        for rtol in (1e-2, 1e-5, 1e-8):
            level = form.loss.target(gain * (1 + rtol))
            assert proof.prove(level, gain, search.state()), (kind, n, rtol)
        for rtol in (1e-12, 1e-8, 1e-4, 1e-1):
            assert not proof.prove(gain * (1 - rtol), gain * (1 - 2 * rtol), search.state())


@pytest.mark.parametrize("kind", ["pairs", "complex", "pairs, updated state", "real modes", *TWO_SIDED])
def test_what_is_accepted_is_positive_in_fifty_digits(
    kind: str, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Spoil the guess by noise of all sizes: whatever is accepted makes M(P) positive semidefinite, exactly."""
    system = layer(rng, 3, KINDS[kind] | {"m": 2, "p": 2}, least=1e-6)
    _, search, form = located(system)
    proof, seen = StorageProof(form), []
    certain = proof._certain
    monkeypatch.setattr(proof, "_certain", lambda *given: seen.append(given) or certain(*given))
    assert proof.prove(search.best * (1 + 1e-8), search.best, search.state())
    P, level, slack, room = seen[0]
    accepted = refused = 0
    for size in 10.0 ** np.arange(-18.0, -2.0):
        noise = rng.normal(size=P[0].shape) + 1j * rng.normal(size=P[0].shape)
        noise = noise + noise.conj().T
        noise = noise if np.iscomplexobj(P[0]) else noise.real
        spoiled = (P[0] + size * np.abs(P[0]).max() * noise, *P[1:])
        if not certain(spoiled, level, slack, room):
            refused += 1
            continue
        accepted += 1
        assert smallest_eigenvalue(form, spoiled, level) > 0
    assert accepted
    assert refused


def smallest_eigenvalue(form: Form, P: tuple[np.ndarray, ...], level: float) -> Any:
    """Of M(P), in 50 digits, from the definition."""
    with mp.workdps(50):
        N, m = form.B.shape
        A, B, C, D = (mp.matrix(np.asarray(x).tolist()) for x in (form.state_matrix, form.B, form.C, form.D))
        whole = mp.matrix(N, N)
        h = form.poles.size
        for i in range(h):
            for j in range(h):
                one = mp.mpmathify(complex(P[0][i, j]))
                if not form.paired:
                    whole[i, j] = one
                    continue
                two = mp.mpmathify(complex(P[1][i, j]))
                whole[i, j], whole[h + i, h + j] = one.real + two.real, one.real - two.real
                whole[i, h + j] = whole[h + j, i] = -one.imag - two.imag
        M = mp.matrix(N + m, N + m)
        M[:N, :N] = whole - A.H * whole * A
        M[:N, N:] = -(A.H * whole * B)
        M[N:, N:] = mp.mpf(level) * (1 if form.two_sided else mp.mpf(level)) * mp.eye(m) - B.H * whole * B
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
        return min(mp.eigh(M, eigvals_only=True))


@pytest.mark.parametrize("kind", ["pairs, updated state", "complex", "many channels", *TWO_SIDED])
def test_both_proofs_agree(kind: str, rng: np.random.Generator) -> None:
    system = layer(rng, 10, KINDS[kind])
    whole = hinf_norm(system)
    assert whole.diagnostics["proof"] == "storage"
    _, search, _ = located(system)
    upper = LevelCover(search).prove().upper
    assert upper >= whole.lower
    assert whole.upper >= search.best * (1 - 1e-12)
    np.testing.assert_allclose(upper, whole.upper, rtol=2e-8)


def test_the_error_of_a_reduction_is_proved_at_once(rng: np.random.Generator) -> None:
    system = layer(rng, 16, KINDS["pairs, updated state"])
    reduced = balanced_truncation(system, order=6)
    error = error_norm(system, reduced.system)
    assert error.diagnostics["proof"] == "storage"
    assert error.status == "closed"
    assert reduced.floor <= error.upper
    assert error.lower <= reduced.bound


def test_what_the_proof_does_not_cover_is_left_to_the_other(rng: np.random.Generator) -> None:
    system = layer(rng, 5, KINDS["pairs"])
    continuous = DiagonalStateSpace(system.poles - 1.0, system.B, system.C, dt=None)
    assert storage_form(diagonal_modes(continuous)) is None
    assert hinf_norm(continuous).status == "closed"


@pytest.mark.parametrize("kind", ["pairs", "two-sided"])
def test_a_proof_that_fails_gets_more_tries(
    kind: str, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def guess(*given: Any, ready: float, **options: Any) -> Any:
        asked.append(ready)
        return None if ready < np.inf else stabilizing_solution(*given, ready=ready, **options)

    monkeypatch.setattr("theory.norms.proofs.storage_function.stabilizing_solution", guess)
    assert hinf_norm(layer(rng, 9, KINDS[kind])).diagnostics["proof"] == "storage"
    assert asked[-1] == np.inf


def test_a_gain_that_was_missed_is_found_before_the_second_try(monkeypatch: pytest.MonkeyPatch) -> None:
    """Modes that interfere have their peak beside their resonances; without a second look this is the slow proof."""
    missed = 0
    locate = Located.locate

    def counted(self: Located, *, thorough: bool = False) -> None:
        nonlocal missed
        before = self.best
        locate(self, thorough=thorough)
        missed += thorough and self.best > before * (1 + 1e-3)

    monkeypatch.setattr(Located, "locate", counted)
    for seed in range(60):
        bracket = hinf_norm(layer(np.random.default_rng(seed), 7, KINDS["two-sided, mixed"]))
        assert bracket.status == "closed"
        assert bracket.diagnostics["proof"] == "storage"
    assert missed


def test_a_singular_step_gives_no_guess_and_no_warning() -> None:
    """Warnings are errors in the tests: this would raise."""
    one = np.ones((1, 1))
    assert stabilizing_solution(0.5 * one, one, one) is None
