"""Layers for the tests, and what they must compute: plain scans and kernels written from the papers' formulas alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import strategies as st

from ssmreduce.layers.layer import SSMLayer

GOLDEN = Path(__file__).parent / "golden"

TINY = {
    "s5_tiny_trunc_halfglu1_standard.npz": {"conj_sym": True, "clip_eigs": False},
    "s5_tiny_complex_fullglu_standard_dtglobal_clip.npz": {"conj_sym": True, "clip_eigs": True},
}


def s5_params(
    rng: np.random.Generator,
    P: int = 5,
    H: int = 3,
    *,
    bidirectional: str = "",
    dtype: type = np.float32,
    dt_min: float = 1e-2,
    decay: tuple[float, float] = (0.1, 2.0),
) -> dict[str, np.ndarray]:
    """Stored arrays of a reference S5 layer; `bidirectional` is "", "C1C2" or "wide"."""
    raw = {
        "Lambda_re": -rng.uniform(*decay, P),
        "Lambda_im": -rng.uniform(0.0, 20.0, P),
        "B": rng.standard_normal((P, H, 2)),
        "D": rng.standard_normal(H),
        "log_step": np.log(rng.uniform(dt_min, 0.1, (P, 1))),
    }
    if bidirectional == "C1C2":
        raw |= {"C1": rng.standard_normal((H, P, 2)), "C2": rng.standard_normal((H, P, 2))}
    else:
        raw["C"] = rng.standard_normal((H, P * (2 if bidirectional == "wide" else 1), 2))
    return {key: value.astype(dtype) for key, value in raw.items()}


def s4d_params(rng: np.random.Generator, form: str, H: int = 4, N: int = 5, dtype: type = np.float32) -> dict[str, Any]:
    """Stored arrays of an S4D layer under the keys of one of the codes."""

    def normal(*shape: int) -> np.ndarray:
        return rng.standard_normal(shape)

    imag = np.pi * np.arange(N) * np.ones((H, 1))
    decay, log_dt = np.log(0.5) + 0.3 * normal(H, N), np.log(rng.uniform(1e-2, 0.1, H))
    if form == "s4d-minimal":
        raw = {
            "kernel.C": normal(H, N, 2),
            "kernel.log_dt": log_dt,
            "kernel.log_A_real": decay,
            "kernel.A_imag": imag,
            "D": normal(H),
        }
    elif form == "s4d-jax":
        raw = {
            "A_re": -np.exp(decay).T,
            "A_im": imag.T,
            "B_re": normal(N, H),
            "B_im": normal(N, H),
            "C": normal(N, H, 2),
            "D": normal(1, H),
            "log_step": log_dt[None],
        }
    elif form == "s4d-v3":
        key = "kernel.kernel."
        raw = {
            key + "C": normal(2, H, N, 2),
            key + "log_dt": log_dt,
            key + "B": normal(2, N, 2),
            key + "inv_A_real": decay[:2],
            key + "A_imag": imag[:2],
            "D": normal(H),
        }
    else:
        raw = {
            "kernel.C": normal(2, H, N, 2),
            "kernel.inv_dt": log_dt[:, None],
            "kernel.B": normal(1, 2, N, 2),
            "kernel.A_real": decay[:2],
            "kernel.A_imag": imag[:2],
            "D": normal(1, H),
        }
    return {key: value.astype(dtype) for key, value in raw.items()}


def s4_params(
    rng: np.random.Generator, H: int = 4, N: int = 4, *, copies: int = 4, rank: int = 1, channels: int = 1, L: int = 60
) -> dict[str, np.ndarray]:
    """Poles on a line as the code starts with; a low-rank term large enough to make some of them real."""
    imag = np.pi * np.arange(N) * np.ones((copies, 1)) * rng.uniform(0.5, 1.0, (copies, 1))
    return {
        "kernel.inv_dt": np.log(rng.uniform(0.05, 0.2, (H, 1))),
        "kernel.A_real": np.log(0.5) + 0.2 * rng.standard_normal((copies, N)),
        "kernel.A_imag": imag,
        "kernel.P": rng.standard_normal((rank, copies, N, 2)) * np.linspace(0.2, 3.0, copies)[:, None, None],
        "kernel.B": rng.standard_normal((1, copies, N, 2)),
        "kernel.C": rng.standard_normal((channels, H, N, 2)),
        "kernel.l_kernel": np.array(L),
        "D": rng.standard_normal((1, H)),
    }


S4D_OPTIONS: dict[str, dict[str, Any]] = {
    "s4d-minimal": {},
    "s4d-jax": {},
    "s4d-v3": {"discretization": "bilinear"},
    "s4d-v4": {"discretization": "zoh", "dt_transform": "softplus"},
    "s4d-v4-exp": {"discretization": "bilinear", "dt_transform": "exp"},
}


def s5_scan(
    raw: dict[str, np.ndarray],
    u: np.ndarray,
    *,
    conj_sym: bool,
    discretization: str = "zoh",
    clip_eigs: bool = False,
    step_rescale: float = 1.0,
) -> np.ndarray:
    """The reference S5 layer on one sequence (L, H), step by step, from its stored arrays."""
    f = {key: value.astype(np.float64) for key, value in raw.items()}
    real = np.minimum(f["Lambda_re"], -1e-4) if clip_eigs else f["Lambda_re"]
    Lambda = real + 1j * f["Lambda_im"]
    step = step_rescale * np.exp(f["log_step"][:, 0])
    B = f["B"][..., 0] + 1j * f["B"][..., 1]
    if discretization == "zoh":
        pole = np.exp(Lambda * step)
        B = ((pole - 1) / Lambda)[:, None] * B
    else:
        lead = 1 / (1 - step / 2 * Lambda)
        pole, B = lead * (1 + step / 2 * Lambda), (lead * step)[:, None] * B
    if "C1" in f:
        C = np.concatenate([f["C1"], f["C2"]], axis=1)
    else:
        C = f["C"]
    C = C[..., 0] + 1j * C[..., 1]
    P, L = len(pole), len(u)

    def run(sequence: np.ndarray) -> np.ndarray:
        x, states = np.zeros(P, complex), np.zeros((L, P), complex)
        for k in range(L):
            x = pole * x + B @ sequence[k]
            states[k] = x
        return states

    states = run(u)
    if C.shape[1] == 2 * P and P:
        states = np.concatenate([states, run(u[::-1])[::-1]], axis=1)
    return (2 if conj_sym else 1) * (states @ C.T).real + f["D"] * u


def two_sided(system: Any, u: np.ndarray) -> np.ndarray:
    """Output of a (bidirectional) diagonal system for one sequence (L, m), by its own definition, step by step."""
    k = 2.0 if system.conjugate_pairs else 1.0

    def run(sequence: np.ndarray, C: np.ndarray, delay: int) -> np.ndarray:
        x, y = np.zeros(system.n, complex), np.zeros((len(sequence), system.p), complex)
        for t, value in enumerate(sequence):
            before = x
            x = system.poles * x + system.B @ value
            y[t] = C @ (before if delay else x)
        return y

    y = run(u, system.C, system.delay)
    if system.C_reverse is not None:
        y = y + run(u[::-1], system.C_reverse, system.delay_reverse)[::-1]
    return k * y.real + u @ system.D.T


@st.composite
def s5_layers(draw: Any, *, conj_sym: bool | None = None, max_P: int = 6, max_H: int = 4) -> SSMLayer:
    """A stable S5 layer with every option drawn."""
    from ssmreduce.layers.params import layer_from_params

    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    raw = s5_params(
        rng,
        draw(st.integers(1, max_P)),
        draw(st.integers(1, max_H)),
        bidirectional=draw(st.sampled_from(["", "C1C2", "wide"])),
        dtype=draw(st.sampled_from([np.float32, np.float64])),
        dt_min=draw(st.sampled_from([1e-4, 1e-2])),
    )
    return layer_from_params(
        raw,
        conj_sym=draw(st.booleans()) if conj_sym is None else conj_sym,
        discretization=draw(st.sampled_from(["zoh", "bilinear"])),
        clip_eigs=draw(st.booleans()),
        step_rescale=draw(st.sampled_from([1.0, 2.0])),
    )
