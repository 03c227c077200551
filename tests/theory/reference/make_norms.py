"""Make norms.json: norms to 30 digits by a dense frequency search and golden sections in 50-digit arithmetic.

    python tests/theory/reference/make_norms.py           # the norms of the systems in systems.json
    python tests/theory/reference/make_norms.py --draw    # draw systems.json again first

The search shares no code with the library: gains come from the definition (gains.py), the grid from the poles. The
systems are read from their file, never drawn again by a test: `exp` and LAPACK round differently on other processors.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import mpmath as mp
import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
from gains import exact_gain
from stored_systems import FOLDER, read, write

from theory.systems.system import DiagonalStateSpace, StateSpace

mp.mp.dps = 50


def drawn() -> dict[str, StateSpace | DiagonalStateSpace]:
    """Small systems of every hard kind, as this processor rounds them."""
    rng = np.random.default_rng(20261122)

    def complex_normal(*shape: int) -> Any:
        return rng.normal(size=shape) + 1j * rng.normal(size=shape)

    def pole(margin: Any, angle: Any) -> Any:
        return (1 - np.asarray(margin)) * np.exp(1j * np.asarray(angle))

    found: dict[str, StateSpace | DiagonalStateSpace] = {}
    for exponent in (3, 6, 9):
        found[f"pair at margin 1e-{exponent}"] = DiagonalStateSpace(
            pole([10.0**-exponent, 0.3], [1.1, 0.4]),
            complex_normal(2, 2),
            complex_normal(2, 2),
            rng.normal(size=(2, 2)),
        )
    found["complex pole at margin 1e-9"] = DiagonalStateSpace(
        pole([1e-9, 1e-2], [2.0, -1.0]), complex_normal(2, 1), complex_normal(1, 2), conjugate_pairs=False, delay=0
    )
    found["clustered"] = DiagonalStateSpace(
        pole(1e-3 * (1 + 0.1 * rng.random(4)), 0.7 + 1e-3 * rng.random(4)), complex_normal(4, 1), complex_normal(1, 4)
    )
    found["repeated"] = DiagonalStateSpace(pole([1e-2] * 3, [0.9] * 3), complex_normal(3, 2), complex_normal(1, 3))
    found["zero poles"] = DiagonalStateSpace([0, 0, 0.5], complex_normal(3, 1), complex_normal(2, 3), delay=0)
    scale = np.array([1e-6, 1e6, 1.0])
    found["badly scaled"] = DiagonalStateSpace(
        pole([1e-2, 1e-4, 1e-1], [0.3, 1.5, 2.5]), complex_normal(3, 1) * scale[:, None], complex_normal(1, 3) / scale
    )
    found["large feedthrough"] = DiagonalStateSpace(
        pole([1e-3, 0.1], [0.3, 1.5]), complex_normal(2, 1), complex_normal(1, 2), [[1e5]]
    )
    B, C = complex_normal(1, 1), complex_normal(1, 1)
    found["nearly cancelling"] = DiagonalStateSpace(
        [0.9 * np.exp(0.5j), 0.9 * np.exp(0.5j) * (1 + 1e-5)], np.vstack([B, B]), np.hstack([C, -C])
    )
    found["bidirectional"] = DiagonalStateSpace(
        pole([1e-2, 0.2], [0.4, 1.2]),
        complex_normal(2, 1),
        complex_normal(1, 2),
        [[0.5]],
        C_reverse=complex_normal(1, 2),
        delay=0,
        delay_reverse=1,
    )
    found["continuous, lightly damped"] = DiagonalStateSpace(
        [-1e-6 + 30j, -2 + 1j], complex_normal(2, 1), complex_normal(1, 2), dt=None
    )
    found["continuous, stiff"] = DiagonalStateSpace(
        [-1e-5, -1e5], complex_normal(2, 1), complex_normal(1, 2) * [1, 1e10], dt=None, conjugate_pairs=False
    )
    found["double pole"] = StateSpace([[-1, 1], [0, -1]], [[0], [1]], [[1, 0]])
    found["triple pole, companion"] = StateSpace(
        [[-3, -3, -1], [1, 0, 0], [0, 1, 0]], [[1], [0], [0]], [[1, 2, -3]], [[0.25]]
    )
    found["nilpotent"] = StateSpace(np.diag(np.ones(3), 1), [[0], [0], [0], [1]], [[1, 2, 3, 4]], dt=1.0)
    A = rng.normal(size=(4, 4))
    found["dense discrete"] = StateSpace(
        A / (1.01 * np.abs(np.linalg.eigvals(A)).max()), rng.normal(size=(4, 2)), rng.normal(size=(2, 4)), dt=0.1
    )
    found["dense continuous"] = StateSpace(
        A - (0.01 + np.linalg.eigvals(A).real.max()) * np.eye(4), rng.normal(size=(4, 1)), rng.normal(size=(2, 4))
    )
    return found


def peak(system: StateSpace | DiagonalStateSpace) -> tuple[Any, Any]:
    """Return the norm and where: coarse grids in float64 spacing, golden sections from the best cells in 50 digits."""
    poles = np.concatenate([system.poles, system.poles.conj()])
    if system.dt is not None:
        width, centre = np.abs(1 - np.abs(poles)), np.angle(poles)
        spread = np.linspace(-np.pi, np.pi, 400)
    else:
        width, centre = np.abs(poles.real), poles.imag
        spread = np.concatenate([[0.0], *(sign * np.logspace(-7, 7, 150) for sign in (-1, 1))])
    offsets = np.concatenate([[0.0], *(sign * np.logspace(-3, 2, 40) for sign in (-1, 1))])
    grid = np.unique(np.concatenate([spread, (centre[:, None] + width[:, None] * offsets).ravel()]))
    with mp.workdps(30):
        values = [exact_gain(system, mp.mpf(float(w))) for w in grid]
    best, where = mp.mpf(0), mp.mpf(0)
    for index in np.argsort([float(v) for v in values])[::-1][:3]:
        low, high = mp.mpf(float(grid[max(index - 1, 0)])), mp.mpf(float(grid[min(index + 1, grid.size - 1)]))
        ratio = (mp.sqrt(5) - 1) / 2
        a, b = high - ratio * (high - low), low + ratio * (high - low)
        fa, fb = exact_gain(system, a), exact_gain(system, b)
        for _ in range(75):
            if fa > fb:
                high, b, fb = b, a, fa
                a = high - ratio * (high - low)
                fa = exact_gain(system, a)
            else:
                low, a, fa = a, b, fb
                b = low + ratio * (high - low)
                fb = exact_gain(system, b)
        for value, at in ((fa, a), (fb, b), (values[index], mp.mpf(float(grid[index])))):
            if value > best:
                best, where = value, at
    if system.dt is None:
        infinite = exact_gain(system, mp.inf)
        best, where = (infinite, mp.inf) if infinite > best else (best, where)
    return best, where


if __name__ == "__main__":
    if "--draw" in sys.argv[1:]:
        write(FOLDER / "systems.json", drawn())
    result = {}
    for name, system in read(FOLDER / "systems.json").items():
        norm, frequency = peak(system)
        result[name] = {"norm": mp.nstr(norm, 30), "frequency": mp.nstr(frequency, 30)}
        print(name, result[name], flush=True)
    (FOLDER / "norms.json").write_text(json.dumps(result, indent=1) + "\n")
