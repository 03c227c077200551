"""What a form of a system leaves out: the bounds hold, and are attained by one mode whose errors all point one way."""

from __future__ import annotations

import mpmath as mp
import numpy as np
import pytest

from theory.norms.responses.modes import ModalSum, Perturbation
from theory.norms.responses.resolvent import Resolvent


def gaussian(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.normal(size=shape) + 1j * rng.normal(size=shape)


def modal(rng: np.random.Generator, n: int, size: float) -> ModalSum:
    """A sum of n modes, scalar, of which entries of F, B and C may be off by about `size`."""
    poles = 0.9 * np.exp(1j * rng.uniform(-3, 3, n))
    return ModalSum(
        poles=poles,
        margin=1 - np.abs(poles),
        B=gaussian(rng, n, 1),
        C=gaussian(rng, 1, n),
        D=np.zeros((1, 1)),
        reverse=np.zeros(n, bool),
        direct=np.zeros(n, bool),
        discrete=True,
        real=False,
        perturbation=Perturbation(
            F=size * rng.uniform(0.1, 1, (n, n)),
            b_error=size * rng.uniform(0.1, 1, n),
            c_error=size * rng.uniform(0.1, 1, n),
        ),
    )


def turned(size: np.ndarray, like: np.ndarray) -> np.ndarray:
    """Entries of these sizes and the phases of others."""
    return size * like / np.abs(like)


def missed(modes: ModalSum, r: np.ndarray, F: np.ndarray, b: np.ndarray, c: np.ndarray) -> float:
    """``|(C + c)(diag(1/r) - F)^{-1}(B + b) - C diag(r) B|``, in 40 digits."""
    with mp.workdps(40):
        exact = lambda x: mp.matrix(np.asarray(x).tolist())  # noqa: E731
        inverse = mp.diag([1 / mp.mpc(complex(x)) for x in r]) - exact(F)
        B, C, c = exact(modes.B), exact(modes.C), exact(c[None])
        state = mp.lu_solve(inverse, B + exact(b[:, None]))
        known = sum(C[0, i] * mp.mpc(complex(r[i])) * B[i, 0] for i in range(len(r)))
        return float(abs(((C + c) * state)[0, 0] - known))


@pytest.mark.parametrize("size", [1e-9, 1e-4, 0.02])
def test_what_one_mode_leaves_out_is_its_bound(size: float) -> None:
    rng = np.random.default_rng(3)
    for _ in range(10):
        modes = modal(rng, 1, size)
        assert modes.perturbation is not None
        r = gaussian(rng, 1) * 5
        worst = missed(
            modes,
            r,
            turned(modes.perturbation.F, r.conj()[None]),
            turned(modes.perturbation.b_error, modes.B[:, 0]),
            turned(modes.perturbation.c_error, modes.C[0]),
        )
        bound = float(modes.loss(np.abs(r)[None]).absolute[0])
        assert worst * (1 - 1e-9) <= bound
        if np.abs(r[0]) * modes.perturbation.F[0, 0] < 0.5:
            assert bound <= worst * (1 + 1e-6)


@pytest.mark.parametrize("n", [2, 3])
def test_what_several_modes_leave_out_is_below_the_bound(n: int) -> None:
    rng = np.random.default_rng(n)
    for _ in range(20):
        modes = modal(rng, n, 0.01)
        assert modes.perturbation is not None
        r = gaussian(rng, n) * 5
        got = missed(
            modes,
            r,
            turned(modes.perturbation.F, gaussian(rng, n, n)),
            turned(modes.perturbation.b_error, gaussian(rng, n)),
            turned(modes.perturbation.c_error, gaussian(rng, n)),
        )
        assert got <= float(modes.loss(np.abs(r)[None]).absolute[0])


@pytest.mark.parametrize("chart", ["circle", "axis", "infinity"])
@pytest.mark.parametrize("size", [1e-9, 1e-4, 0.02])
def test_what_the_errors_of_matrices_do_is_nearly_their_bound(chart: str, size: float) -> None:
    """One state, and the errors of A, B and C that do the most."""
    rng = np.random.default_rng(7)
    for _ in range(10):
        pole = complex(0.5 * np.exp(1j * rng.uniform(-3, 3)) if chart == "circle" else -0.5 + 1j * rng.normal())
        b, c, x = complex(gaussian(rng, 1)[0]), complex(gaussian(rng, 1)[0]), float(rng.uniform(0.2, 1.0))
        boundary = Resolvent(
            A=np.array([[pole]]),
            B=np.array([[b]]),
            C=np.array([[c]]),
            D=np.zeros((1, 1)),
            poles=np.array([pole]),
            discrete=chart == "circle",
            real=False,
            A_error=size,
            B_error=2 * size,
            C_error=3 * size,
        )
        s = {"circle": np.exp(1j * x), "axis": 1j * x, "infinity": 1j / x}[chart]
        R = 1 / (s - pole)
        near, *_, loss = boundary.response(chart, np.array([x]))
        assert abs(near[0, 0, 0] - c * R * b) <= 1e-12 * abs(c * R * b)
        worst = (abs(c) + 3 * size) * abs(R) / (1 - abs(R) * size) * (abs(b) + 2 * size) - abs(c * R * b)
        assert worst * (1 - 1e-6) <= loss.absolute[0] <= worst * 1.05 + 1e-6 * size
