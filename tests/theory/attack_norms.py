"""Attack the brackets: random ill-conditioned systems, gains from an independent route, no tolerance.

    python tests/theory/attack_norms.py [draws] [seed]

Every draw is sampled at pole angles, around them, at random frequencies, and at the witness; the largest gains are
evaluated in 50 digits. A gain above ``upper``, or a ``lower`` that its witness does not attain, is printed and counted.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import mpmath as mp
import numpy as np

sys.path.insert(0, str(Path(__file__).parent / "reference"))
from gains import exact_gain

from theory.errors import AccuracyError, StabilityError
from theory.norms import hinf_norm, linf_norm
from theory.system import DiagonalStateSpace, StateSpace

mp.mp.dps = 50


def draw_poles(rng: np.random.Generator, n: int, *, discrete: bool) -> np.ndarray:
    """Poles near the boundary, clustered, repeated, zero, real, or spread."""
    margin = 10.0 ** rng.uniform(rng.choice([-9, -6, -3, -1]), 0, n)
    angle = rng.choice([0.0, np.pi, 1.0]) + rng.uniform(-1, 1, n) * 10.0 ** rng.uniform(-9, 0.5)
    if discrete:
        poles = (1 - margin) * np.exp(1j * angle)
    else:
        scale = 10.0 ** rng.uniform(-6, 6, n) if rng.random() < 0.3 else 10.0 ** rng.uniform(-6, 6)
        poles = scale * (-margin + 1j * rng.uniform(-1, 1, n) * 10.0 ** rng.uniform(-3, 1))
    if n > 1 and rng.random() < 0.3:
        poles[1:] = poles[0] * (1 - 10.0 ** rng.uniform(-12, -1) * rng.random(n - 1))
    if n > 1 and rng.random() < 0.2:
        poles[-1] = poles[0]
    if discrete and rng.random() < 0.2:
        poles[0] = 0
    if rng.random() < 0.2:
        poles = poles.real.astype(complex)
    return poles


def normal(rng: np.random.Generator, *shape: int, complex_: bool = True) -> np.ndarray:
    value = rng.normal(size=shape)
    return value + 1j * rng.normal(size=shape) if complex_ else value


def draw_system(rng: np.random.Generator) -> StateSpace | DiagonalStateSpace:
    n = int(rng.choice([1, 2, 3, 4, 6, 9]))
    m, p = int(rng.choice([1, 1, 2, 3])), int(rng.choice([1, 1, 2, 3]))
    discrete = bool(rng.random() < 0.6)
    dt = 1.0 if discrete else None
    D_size = rng.choice([0.0, 1.0, 10.0 ** rng.uniform(-6, 6)])
    if rng.random() < 0.6:
        poles = draw_poles(rng, n, discrete=discrete)
        B, C = normal(rng, n, m), normal(rng, p, n)
        pairs = bool(rng.random() < 0.5)
        if rng.random() < 0.4:
            B *= 10.0 ** rng.uniform(-8, 8, (n, 1))
        if rng.random() < 0.4:
            C *= 10.0 ** rng.uniform(-8, 8, n)
        if n > 1 and rng.random() < 0.2:  # nearly cancelling modes
            poles[1], B[1], C[:, 1] = poles[0] * (1 - 10.0 ** rng.uniform(-12, -3)), B[0], -C[:, 0]
        bidirectional = discrete and rng.random() < 0.3
        return DiagonalStateSpace(
            poles,
            B,
            C,
            D_size * normal(rng, p, m, complex_=not pairs and rng.random() < 0.5),
            dt=dt,
            conjugate_pairs=pairs,
            C_reverse=normal(rng, p, n) if bidirectional else None,
            delay=int(rng.integers(2)) if discrete else 1,
            delay_reverse=int(rng.integers(2)),
        )
    kind = rng.choice(["random", "companion", "jordan", "modal", "scaled"])
    if kind == "companion":
        roots = draw_poles(rng, n, discrete=discrete).real
        A = np.diag(np.ones(n - 1), -1)
        A[0] = -np.poly(roots)[1:]
    elif kind == "jordan":
        pole = float(draw_poles(rng, 1, discrete=discrete)[0].real)
        A = pole * np.eye(n) + 10.0 ** rng.uniform(-3, 1) * np.diag(np.ones(n - 1), 1)
    else:
        A = rng.normal(size=(n, n))
        values = np.linalg.eigvals(A)
        gap = 10.0 ** rng.uniform(-7, 0)
        A = A * (1 - gap) / np.abs(values).max() if discrete else A - (values.real.max() + gap) * np.eye(n)
        if kind == "scaled":
            s = 10.0 ** rng.uniform(-5, 5, n)
            A = A * s[:, None] / s
    return StateSpace(
        A,
        normal(rng, n, m, complex_=bool(rng.random() < 0.2)),
        normal(rng, p, n, complex_=False),
        D_size * normal(rng, p, m, complex_=False),
        dt=dt,
    )


def frequencies(
    rng: np.random.Generator, system: StateSpace | DiagonalStateSpace, witness: float, count: int
) -> np.ndarray:
    poles = system.poles
    if system.dt is not None:
        base = np.concatenate([np.angle(poles), -np.angle(poles)])
        width = np.tile(np.abs(1 - np.abs(poles)), 2)
        spread = rng.uniform(-np.pi, np.pi, count)
    else:
        base = np.concatenate([poles.imag, -poles.imag])
        width = np.tile(np.abs(poles.real), 2)
        spread = rng.choice([-1, 1], count) * 10.0 ** rng.uniform(-8, 8, count)
    pick = rng.integers(base.size, size=count)
    near = base[pick] + width[pick] * rng.normal(size=count) * 10.0 ** rng.uniform(-4, 1, count)
    tuned = witness + (np.min(width) + 1e-300) * rng.normal(size=count // 2) * 10.0 ** rng.uniform(-6, 0, count // 2)
    chosen = np.concatenate([base, near, spread[: count // 2], tuned, [witness, 0.0]])
    return chosen[np.isfinite(chosen)]


def fast_gains(system: StateSpace | DiagonalStateSpace, x: np.ndarray) -> np.ndarray:
    """Float64 gains: good enough to find suspects."""
    z = np.exp(1j * x) if system.dt is not None else 1j * x
    if isinstance(system, StateSpace):
        G = np.stack([system.C @ np.linalg.solve(s * np.eye(system.n) - system.A, system.B) + system.D for s in z])
    else:
        poles, B, C, R = system.poles, system.B, system.C, system.C_reverse
        if system.conjugate_pairs:
            poles, B, C = np.concatenate([poles, poles.conj()]), np.concatenate([B, B.conj()]), np.hstack([C, C.conj()])
            R = None if R is None else np.hstack([R, R.conj()])
        r = (z[:, None] if system.delay == 0 else 1) / (z[:, None] - poles)
        G = (C[None] * r[:, None]) @ B + system.D
        if R is not None:
            y = 1 / z[:, None]
            G = G + (R[None] * ((y if system.delay_reverse == 0 else 1) / (y - poles))[:, None]) @ B
    return np.asarray(np.linalg.norm(G, 2, axis=(1, 2)))


def attack(rng: np.random.Generator, *, samples: int = 60, exact: int = 2, rtol: float = 1e-8) -> dict[str, Any] | None:
    """Draw one system; return what happened."""
    system = draw_system(rng)
    norm = linf_norm if rng.random() < 0.2 else hinf_norm
    start = time.perf_counter()
    try:
        bracket = norm(system, rtol)
    except (StabilityError, AccuracyError) as error:
        return {
            "kind": type(error).__name__,
            "system": system,
            "seconds": time.perf_counter() - start,
            "message": str(error),
        }
    seconds = time.perf_counter() - start
    result = {"kind": bracket.status, "width": bracket.width, "system": system, "bracket": bracket, "seconds": seconds}
    if np.isinf(bracket.upper):
        return result | {"kind": "infinite"}
    x = frequencies(rng, system, bracket.frequency, samples)
    try:
        gains = fast_gains(system, x)
    except np.linalg.LinAlgError:
        return result
    top = x[np.argsort(gains)[::-1][:exact]]
    value = max(exact_gain(system, float(w)) for w in top)
    if value > mp.mpf(bracket.upper):
        result |= {"failure": f"gain {mp.nstr(value, 20)} above upper {bracket.upper!r}"}
    attained = exact_gain(system, bracket.frequency)
    if attained < mp.mpf(bracket.lower):
        result |= {"failure": f"lower {bracket.lower!r} not attained: {mp.nstr(attained, 20)}"}
    return result


def main(draws: int, seed: int) -> int:
    failures, kinds, slow, wide = 0, {}, [], []
    start = time.perf_counter()
    for index in range(draws):
        rng = np.random.default_rng([seed, index])
        try:
            result = attack(rng)
        except Exception as error:
            failures += 1
            print(f"draw {seed},{index}: crashed: {type(error).__name__}: {error}", flush=True)
            continue
        if index % 500 == 499:
            print(f"{index + 1} draws, {failures} failures, {kinds}, {time.perf_counter() - start:.0f} s", flush=True)
        kinds[result["kind"]] = kinds.get(result["kind"], 0) + 1
        slow.append((result["seconds"], index))
        if "width" in result:
            wide.append((result["width"], index))
        if "failure" in result:
            failures += 1
            print(f"draw {seed},{index}: {result['system']}: {result['failure']}", flush=True)
    print(f"{draws} draws, {failures} failures, {kinds}, {time.perf_counter() - start:.0f} s")
    print("slowest", sorted(slow)[-6:], "widest", sorted(wide)[-12:])
    return failures


if __name__ == "__main__":
    sys.exit(bool(main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000, int(sys.argv[2]) if len(sys.argv) > 2 else 0)))
