"""Systems drawn to be hard on a norm: what `attack_norms` attacks with, one function a kind.

Near the boundary, clustered, repeated, defective, badly scaled in states, units or time, nearly cancelling, rounded to
float32, with many channels, in batches, as differences.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from theory.systems.realization import dense, with_conjugates
from theory.systems.system import DiagonalStateSpace, StateSpace

System = StateSpace | DiagonalStateSpace


@dataclass(frozen=True, kw_only=True)
class Case:
    """A system, or ``first - second``; `rtol` is the tolerance to ask for."""

    kind: str
    first: System
    second: System | None = None
    rtol: float = 1e-8

    @property
    def parts(self) -> list[tuple[int, System]]:
        """The systems with their signs."""
        return [(1, self.first)] + ([] if self.second is None else [(-1, self.second)])


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


def sizes(rng: np.random.Generator) -> tuple[int, int, int]:
    """States, inputs, outputs: few."""
    return int(rng.choice([1, 2, 3, 4, 6, 9])), int(rng.choice([1, 1, 2, 3])), int(rng.choice([1, 1, 2, 3]))


def draw_diagonal(rng: np.random.Generator) -> DiagonalStateSpace:
    n, m, p = sizes(rng)
    discrete = bool(rng.random() < 0.6)
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
    D_size = rng.choice([0.0, 1.0, 10.0 ** rng.uniform(-6, 6)])
    return DiagonalStateSpace(
        poles,
        B,
        C,
        D_size * normal(rng, p, m, complex_=not pairs and rng.random() < 0.5),
        dt=1.0 if discrete else None,
        conjugate_pairs=pairs,
        C_reverse=normal(rng, p, n) if bidirectional else None,
        delay=int(rng.integers(2)) if discrete else 1,
        delay_reverse=int(rng.integers(2)),
    )


def stabilised(rng: np.random.Generator, A: np.ndarray, *, discrete: bool) -> np.ndarray:
    """Scale or shift to a stability margin of 1e-7 to 1."""
    values, gap = np.linalg.eigvals(A), 10.0 ** rng.uniform(-7, 0)
    if discrete:
        return A * (1 - gap) / max(np.abs(values).max(), 1e-6)
    return A - (values.real.max() + gap) * np.eye(A.shape[0])


def completed(rng: np.random.Generator, A: np.ndarray, m: int, p: int, *, discrete: bool) -> StateSpace:
    """Random B, C and D for a state matrix."""
    n = A.shape[0]
    D = rng.choice([0.0, 1.0, 10.0 ** rng.uniform(-6, 6)]) * normal(rng, p, m, complex_=False)
    B = normal(rng, n, m, complex_=bool(rng.random() < 0.2))
    return StateSpace(A, B, normal(rng, p, n, complex_=False), D, dt=1.0 if discrete else None)


def draw_dense(rng: np.random.Generator) -> StateSpace:
    n, m, p = sizes(rng)
    discrete = bool(rng.random() < 0.6)
    kind = rng.choice(["random", "companion", "jordan", "scaled"])
    if kind == "companion":
        roots = draw_poles(rng, n, discrete=discrete).real
        A = np.diag(np.ones(n - 1), -1)
        A[0] = -np.poly(roots)[1:]
    elif kind == "jordan":
        pole = float(draw_poles(rng, 1, discrete=discrete)[0].real)
        A = pole * np.eye(n) + 10.0 ** rng.uniform(-3, 1) * np.diag(np.ones(n - 1), 1)
    else:
        A = stabilised(rng, rng.normal(size=(n, n)), discrete=discrete)
        if kind == "scaled":
            s = 10.0 ** rng.uniform(-5, 5, n)
            A = A * s[:, None] / s
    return completed(rng, A, m, p, discrete=discrete)


def draw_system(rng: np.random.Generator) -> System:
    return draw_diagonal(rng) if rng.random() < 0.6 else draw_dense(rng)


def small(rng: np.random.Generator) -> Case:
    return Case(kind="small", first=draw_system(rng))


def float32(rng: np.random.Generator) -> Case:
    """Data that went through float32: poles may land on the boundary or outside."""
    system = draw_system(rng)

    def short(x: np.ndarray) -> np.ndarray:
        with np.errstate(over="ignore", under="ignore"):
            return np.nan_to_num(x.astype(np.complex64 if x.dtype.kind == "c" else np.float32)).astype(x.dtype)

    if isinstance(system, StateSpace):
        first: System = StateSpace(*(short(x) for x in (system.A, system.B, system.C, system.D)), dt=system.dt)
    else:
        first = system.replace(poles=short(system.poles), B=short(system.B), C=short(system.C), D=short(system.D))
    return Case(kind="float32", first=first)


def frobenius(rng: np.random.Generator) -> Case:
    """Companion matrices of real polynomials with complex roots: all four arrangements, numerators of any size."""
    n, discrete = int(rng.integers(1, 6)), bool(rng.random() < 0.6)
    roots = draw_poles(rng, n, discrete=discrete)
    if not discrete:
        roots = roots / np.abs(roots).max()
    A = np.diag(np.ones(2 * n - 1), -1)
    A[0] = -np.poly(np.concatenate([roots, roots.conj()])).real[1:]
    B, C = np.eye(2 * n)[:, :1], normal(rng, 1, 2 * n, complex_=False) * 10.0 ** rng.uniform(-3, 3, 2 * n)
    if rng.random() < 0.5:
        A, B, C = A.T, C.T, B.T
    if rng.random() < 0.5:
        A, B, C = A[::-1, ::-1], B[::-1], C[:, ::-1]
    return Case(kind="frobenius", first=StateSpace(A, B, C, dt=1.0 if discrete else None))


def larger(rng: np.random.Generator) -> Case:
    """10 to 60 states: rotated blocks of lightly damped pairs, random matrices, long diagonals."""
    n, (_, m, p) = int(rng.integers(10, 61)), sizes(rng)
    discrete = bool(rng.random() < 0.5)
    if rng.random() < 0.5:
        poles = draw_poles(rng, n, discrete=discrete)
        pairs = bool(rng.random() < 0.5)
        return Case(
            kind="larger",
            first=DiagonalStateSpace(
                poles, normal(rng, n, m), normal(rng, p, n), dt=1.0 if discrete else None, conjugate_pairs=pairs
            ),
        )
    n //= 2
    if rng.random() < 0.5:
        A = stabilised(rng, rng.normal(size=(n, n)), discrete=discrete)
    else:
        poles = draw_poles(rng, n // 2, discrete=discrete)
        blocks = dense(DiagonalStateSpace(poles, np.zeros((n // 2, 1)), np.zeros((1, n // 2)))).A
        Q = np.linalg.qr(rng.normal(size=blocks.shape))[0]
        A = Q @ blocks @ Q.T
    return Case(kind="larger", first=completed(rng, A, m, p, discrete=discrete))


def spread(rng: np.random.Generator) -> Case:
    """Residues of very different sizes whose peaks are alike, or the other way round."""
    system = draw_diagonal(rng)
    power, jitter = rng.choice([0.5, 1.0, 2.0]), 10.0 ** rng.uniform(-3, 3, system.n)
    weight = np.abs(system.margin) ** power * (jitter if rng.random() < 0.5 else 1.0)
    skew = 10.0 ** rng.uniform(-12, 12, system.n)
    reverse = None if system.C_reverse is None else system.C_reverse / skew
    C, B = system.C / skew, system.B * (weight * skew)[:, None]
    return Case(kind="spread", first=system.replace(C=C, B=B, C_reverse=reverse))


def units(rng: np.random.Generator) -> Case:
    """Gains and times of 1e-150 to 1e150."""
    system, b, c, t = draw_system(rng), *(10.0 ** rng.uniform(-140, 140, 3))
    b, c = (b, c) if 1e-200 < b * c < 1e200 else (b, 1 / b)
    t = 1.0 if system.is_discrete else t
    C, B, D = system.C * c, system.B * b, system.D * (b * c)
    if isinstance(system, StateSpace):
        return Case(kind="units", first=StateSpace(system.A * t, B, C * t, D, dt=system.dt))
    reverse = None if system.C_reverse is None else system.C_reverse * c
    return Case(kind="units", first=system.replace(poles=system.poles * t, B=B, C=C * t, D=D, C_reverse=reverse))


def near(rng: np.random.Generator) -> Case:
    """Poles 1e-10 to 1e-16 from the boundary, diagonal or as rotations."""
    n, discrete = int(rng.integers(1, 4)), bool(rng.random() < 0.6)
    margin, angle = 10.0 ** rng.uniform(-16, -10, n), rng.uniform(-3.1, 3.1, n)
    poles = (1 - margin) * np.exp(1j * angle) if discrete else -margin + 1j * angle
    system = DiagonalStateSpace(poles, normal(rng, n, 1), normal(rng, 1, n), dt=1.0 if discrete else None)
    return Case(kind="near", first=dense(system) if rng.random() < 0.5 else system)


def wide(rng: np.random.Generator) -> Case:
    """Up to 40 inputs and outputs: levels are proved instead of sampled."""
    n, m, p = int(rng.integers(5, 30)), int(rng.integers(9, 41)), int(rng.integers(9, 41))
    discrete = bool(rng.random() < 0.6)
    poles = draw_poles(rng, n, discrete=discrete)
    B, C = normal(rng, n, m), normal(rng, p, n)
    if rng.random() < 0.6:  # peaks of like size
        B *= np.abs(1 - np.abs(poles) if discrete else poles.real)[:, None]
    if rng.random() < 0.3:
        C *= 10.0 ** rng.uniform(-6, 6, n)
    if rng.random() < 0.2:  # few directions
        B, C = normal(rng, n, 2) @ normal(rng, 2, m), normal(rng, p, 3) @ normal(rng, 3, n)
    form = rng.choice(["none", "diagonal", "full"])
    D = {"none": np.zeros((p, m)), "diagonal": np.eye(p, m) * rng.normal(), "full": rng.normal(size=(p, m))}[form]
    both = discrete and rng.random() < 0.3
    system: System = DiagonalStateSpace(
        poles, B, C, D, dt=1.0 if discrete else None, conjugate_pairs=bool(rng.random() < 0.6),
        C_reverse=normal(rng, p, n) if both else None, delay=int(rng.integers(2)) if discrete else 1,
    )  # fmt: skip
    if not both and n < 12 and rng.random() < 0.3:
        system = dense(system)
    return Case(kind="wide", first=system, rtol=float(rng.choice([1e-8, 1e-3])))


def difference(rng: np.random.Generator) -> Case:
    """Two systems that nearly cancel: perturbed copies, truncations, other forms of the same."""
    G = draw_system(rng)
    size = 10.0 ** rng.uniform(-15, -1)

    def moved(x: np.ndarray) -> np.ndarray:
        return x * (1 + size * rng.normal(size=x.shape))

    second: System
    if isinstance(G, StateSpace):
        second = StateSpace(G.A, moved(G.B), moved(G.C), G.D, dt=G.dt)
        if rng.random() < 0.3 and np.abs(np.tril(G.A, -1)).max(initial=0.0) > 0:
            T = np.linalg.qr(rng.normal(size=G.A.shape))[0]
            second = StateSpace(T @ G.A @ T.T, T @ G.B, G.C @ T.T, G.D, dt=G.dt)
        return Case(kind="difference", first=G, second=second)
    way = rng.choice(["moved", "kept", "conjugates", "dense"])
    if way == "moved":
        second = G.replace(B=moved(G.B), C=moved(G.C))
    elif way == "kept":
        second = G.keep(rng.random(G.n) < 0.7)
    else:
        second = with_conjugates(G.replace(C=moved(G.C)))
        if way == "dense" and not G.is_bidirectional and G.delay == 1:
            second = dense(G.replace(C=moved(G.C)))
    return Case(kind="difference", first=G, second=second)


def batch(rng: np.random.Generator) -> Case:
    """Scalar channels with a common number of states, in one call."""
    count, n, discrete = int(rng.integers(1, 6)), int(rng.integers(1, 7)), bool(rng.random() < 0.6)
    poles = np.stack([draw_poles(rng, n, discrete=discrete) for _ in range(count)])
    B, C = normal(rng, count, n, 1), normal(rng, count, 1, n)
    if rng.random() < 0.4:
        C *= 10.0 ** rng.uniform(-8, 8, (count, 1, n))
    if n > 1 and rng.random() < 0.3:
        poles[:, 1], B[:, 1], C[:, :, 1] = poles[:, 0] * (1 - 10.0 ** rng.uniform(-12, -3)), B[:, 0], -C[:, :, 0]
    if rng.random() < 0.2:
        unit = 10.0 ** rng.uniform(-100, 100, (count, 1, 1))
        C = C * unit
    pairs, both = bool(rng.random() < 0.6), discrete and rng.random() < 0.4
    D = rng.choice([0.0, 1.0, 10.0 ** rng.uniform(-6, 6)]) * normal(rng, count, 1, 1, complex_=not pairs)
    return Case(
        kind="batch",
        first=DiagonalStateSpace(
            poles, B, C, D, dt=1.0 if discrete else None, conjugate_pairs=pairs,
            C_reverse=normal(rng, count, 1, n) if both else None, delay=int(rng.integers(2)) if discrete else 1,
            delay_reverse=int(rng.integers(2)),
        ),
    )  # fmt: skip


KINDS = {
    small: 0.28, float32: 0.08, frobenius: 0.08, larger: 0.06, spread: 0.1, units: 0.08, near: 0.06, wide: 0.06,
    difference: 0.1, batch: 0.1,
}  # fmt: skip


def draw_case(rng: np.random.Generator, only: str | None = None) -> Case:
    """Draw a kind, then a case of it."""
    kinds = list(KINDS)
    weights = np.array([KINDS[kind] * (only is None or kind.__name__ == only) for kind in kinds])
    return kinds[rng.choice(len(kinds), p=weights / weights.sum())](rng)
