"""Laws of the pieces that large layers need: level tests, compression, accurate products, and the whole search."""

from __future__ import annotations

from typing import Any

import mpmath as mp
import numpy as np
import pytest

from theory.arithmetic.products import product
from theory.arithmetic.singular_value import gain_of, largest_gain
from theory.norms import error_norm, hinf_norm
from theory.norms.proofs.level_test import LevelTest
from theory.norms.responses.compression import compress
from theory.norms.responses.diagonal import diagonal_modes
from theory.systems.realization import dense
from theory.systems.system import DiagonalStateSpace

mp.mp.dps = 50


def layer(rng: np.random.Generator, n: int, m: int, p: int, **options: Any) -> DiagonalStateSpace:
    """A layer like S5's: log-uniform margins, frequencies over half the circle."""
    discrete = options.get("dt", 1.0) is not None
    margin, angle = 10.0 ** rng.uniform(-3, -0.5, n), rng.uniform(0, 3, n)
    poles = (1 - margin) * np.exp(1j * angle) if discrete else -margin + 1j * angle
    B = rng.normal(size=(n, m)) + 1j * rng.normal(size=(n, m))
    C = rng.normal(size=(p, n)) + 1j * rng.normal(size=(p, n))
    return DiagonalStateSpace(poles, B * margin[:, None], C, **options)


def gains(system: DiagonalStateSpace, x: np.ndarray) -> np.ndarray:
    z = np.exp(1j * x) if system.is_discrete else 1j * x
    result = []
    for point in z:
        forward = (point if system.delay == 0 else 1) / (point - system.poles)
        G = (system.C * forward) @ system.B
        mirrored = (point if system.delay == 0 else 1) / (point - system.poles.conj())
        G = G + (system.C.conj() * mirrored) @ system.B.conj() + system.D
        if system.C_reverse is not None:
            y = 1 / point
            G = G + (system.C_reverse * ((y if system.delay_reverse == 0 else 1) / (y - system.poles))) @ system.B
            other = (y if system.delay_reverse == 0 else 1) / (y - system.poles.conj())
            G = G + (system.C_reverse.conj() * other) @ system.B.conj()
        result.append(np.linalg.norm(G, 2))
    return np.array(result)


KINDS = {
    "error": {"n": 20, "m": 60, "p": 50},
    "layer": {"n": 20, "m": 30, "p": 30, "D": "diagonal", "delay": 0},
    "few states": {"n": 3, "m": 70, "p": 60, "D": "full"},
    "continuous": {"n": 15, "m": 12, "p": 12, "D": "full", "dt": None},
    "bidirectional": {"n": 12, "m": 20, "p": 20, "D": "diagonal", "delay": 0, "delay_reverse": 0, "reverse": True},
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rtol", [1e-8, 1e-3])
def test_the_bracket_of_a_layer_with_many_channels(kind: str, rtol: float, rng: np.random.Generator) -> None:
    options: dict[str, Any] = dict(KINDS[kind])
    n, m, p = options.pop("n"), options.pop("m"), options.pop("p")
    form = options.pop("D", None)
    options["D"] = {None: None, "diagonal": np.diag(rng.normal(size=min(m, p))), "full": rng.normal(size=(p, m))}[form]
    if options.pop("reverse", False):
        options["C_reverse"] = rng.normal(size=(p, n)) + 1j * rng.normal(size=(p, n))
    system = layer(rng, n, m, p, **options)
    bracket = hinf_norm(system, rtol)
    assert bracket.status == "closed"
    x = np.concatenate([np.angle(system.poles) if system.is_discrete else system.poles.imag, rng.uniform(0, 3.1, 200)])
    x = np.concatenate([x, bracket.frequency + 1e-4 * rng.normal(size=100)])
    rounding = 1e-12 * bracket.upper  # of the float64 gains here
    assert gains(system, x).max() <= bracket.upper + rounding
    assert gains(system, np.array([bracket.frequency]))[0] >= bracket.lower - rounding


def test_a_dense_system_with_many_channels(rng: np.random.Generator) -> None:
    system = layer(rng, 8, 10, 9)
    first, second = hinf_norm(system), hinf_norm(dense(system))
    assert second.status == "closed"
    assert abs(first.lower - second.lower) <= 3e-8 * first.upper


def test_the_error_of_a_truncated_layer(rng: np.random.Generator) -> None:
    system = layer(rng, 20, 30, 30, D=np.eye(30), delay=0)
    error = error_norm(system, system.keep(np.arange(15)), 1e-3)
    assert gains(system.keep(np.arange(15, 20)).replace(D=None), np.linspace(0, np.pi, 300)).max() <= error.upper


@pytest.mark.parametrize("feedthrough", [False, True])
def test_a_level_test_never_passes_below_the_gain(feedthrough: bool, rng: np.random.Generator) -> None:
    D = np.diag(rng.normal(size=24)) if feedthrough else None
    modes = compress(diagonal_modes(layer(rng, 16, 24, 24, D=D)))
    test = LevelTest(modes)
    for x in np.linspace(0.01, 3, 15):
        r = modes.local("circle", np.array([x])).a[0]
        gain = np.linalg.norm((modes.C * r) @ modes.B + modes.D, 2)
        assert not test.below(r, gain * (1 - 1e-9))
        assert test.below(r, gain * (1 + 1e-6))


def test_compression_keeps_every_gain(rng: np.random.Generator) -> None:
    modes = diagonal_modes(layer(rng, 5, 40, 30))
    short = compress(modes)
    assert short.D.shape == (10, 10)
    for x in (0.1, 1.0, 2.0):
        r = modes.local("circle", np.array([x])).a[0]
        full, small = (np.linalg.norm((item.C * r) @ item.B, 2) for item in (modes, short))
        assert full <= small * (1 + short.relative_loss) + np.abs(r) @ short.mode_losses + 1e-13 * full
        assert small <= full * (1 + 1e-12)


@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 5, 2), (6, 40, 3)])
@pytest.mark.parametrize("complex_", [False, True])
def test_accurate_products_keep_their_bound(shape: tuple[int, ...], complex_: bool, rng: np.random.Generator) -> None:
    a, b, c = shape
    X = rng.normal(size=(a, b)) * 10.0 ** rng.uniform(-8, 8, (a, b))
    Y = rng.normal(size=(b, c)) + (1j * rng.normal(size=(b, c)) if complex_ else 0)
    value, bound = product(X, Y)
    for i in range(a):
        for j in range(c):
            exact = mp.fsum(mp.mpf(float(X[i, k])) * mp.mpc(complex(Y[k, j])) for k in range(b))
            high = complex(value[i, j])
            low = complex(value[i, j] - np.clongdouble(high))
            assert abs(exact - mp.mpc(high) - mp.mpc(low)) <= bound[i, j]
            assert bound[i, j] <= 1e-15 * float(np.abs(X[i]) @ np.abs(Y[:, j]))


@pytest.mark.parametrize("shape", [(1, 1), (1, 4), (5, 3), (7, 7)])
def test_largest_gain_encloses_the_singular_value(shape: tuple[int, int], rng: np.random.Generator) -> None:
    stack = rng.normal(size=(20, *shape)) + 1j * rng.normal(size=(20, *shape))
    estimate, upper = largest_gain(stack)
    for G, low, high in zip(stack, estimate, upper, strict=True):
        H = mp.matrix(G.tolist())
        exact = mp.sqrt(max(mp.eighe(H.H * H, eigvals_only=True)))
        assert exact <= high <= exact * (1 + mp.mpf("1e-12"))
        assert abs(low - exact) <= high - exact * (1 - mp.mpf("1e-13"))
        assert gain_of(G) <= exact
        assert gain_of(G) >= exact * (1 - mp.mpf("1e-12"))
