"""LRU layers: what is read runs as their own recurrence does, and so does what is written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import ssmreduce
from ssmreduce.layers.params import layer_from_params
from theory.errors import InputError


def lru_params(rng: np.random.Generator, N: int = 6, H: int = 3, dtype: type = np.float32) -> dict[str, np.ndarray]:
    radius, angle = rng.uniform(0.6, 0.99, N), rng.uniform(0.01, np.pi, N)
    raw = {
        "nu_log": np.log(-np.log(radius)),
        "theta_log": np.log(angle),
        "gamma_log": 0.5 * np.log(1 - radius**2),
        "B_re": rng.standard_normal((N, H)),
        "B_im": rng.standard_normal((N, H)),
        "C_re": rng.standard_normal((H, N)),
        "C_im": rng.standard_normal((H, N)),
        "D": rng.standard_normal(H),
    }
    return {key: value.astype(dtype) for key, value in raw.items()}


def recurrence(raw: dict[str, np.ndarray], u: np.ndarray) -> np.ndarray:
    """x_k = pole x_(k-1) + e^gamma B u_k, y_k = Re(C x_k) + D u_k, step by step, from the stored arrays."""
    f = {key: value.astype(np.float64) for key, value in raw.items()}
    pole = np.exp(-np.exp(f["nu_log"]) + 1j * np.exp(f["theta_log"]))
    B = np.exp(f["gamma_log"])[:, None] * (f["B_re"] + 1j * f["B_im"])
    x, y = np.zeros(len(pole), complex), np.zeros((len(u), len(f["D"])))
    for k, sample in enumerate(u):
        x = pole * x + B @ sample
        y[k] = ((f["C_re"] + 1j * f["C_im"]) @ x).real + f["D"] * sample
    return y


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_system_is_the_recurrence(dtype: type, rng: np.random.Generator) -> None:
    raw, u = lru_params(rng, dtype=dtype), rng.standard_normal((40, 3))
    layer = layer_from_params(raw)
    y = recurrence(raw, u)
    assert np.abs(ssmreduce.simulate(layer.system, u) - y).max() < 1e-12 * np.abs(y).max()
    assert all(value.tobytes() == raw[key].tobytes() for key, value in layer.to_params().items())
    half = layer.keep([0, 3]).to_params()
    assert all(np.array_equal(half[key], raw[key][[0, 3]]) for key in ("nu_log", "B_re", "B_im"))
    y = recurrence(half, u)
    assert np.abs(ssmreduce.simulate(layer.keep([0, 3]).system, u) - y).max() < 1e-12 * np.abs(y).max()


@pytest.mark.parametrize("method", ["balanced", "last"])
def test_what_is_written_runs_in_the_recurrence(method: str, tmp_path: Path, rng: np.random.Generator) -> None:
    np.savez(tmp_path / "net.npz", **{f"blocks/0/{key}": value for key, value in lru_params(rng).items()})
    smaller = ssmreduce.reduce_model(ssmreduce.load(tmp_path / "net.npz"), orders=3, method=method)
    written = dict(np.load(smaller.save(tmp_path / "small.npz")))
    raw, u = {key.rpartition("/")[2]: value for key, value in written.items()}, rng.standard_normal((40, 3))
    assert raw["B_re"].shape == (3, 3)
    assert {value.dtype for value in raw.values()} == {np.dtype(np.float32)}
    y = recurrence(raw, u)
    assert np.abs(ssmreduce.simulate(smaller.layers[0].system, u) - y).max() < 1e-12 * np.abs(y).max()


def test_real_poles_and_negative_angles_can_be_written(rng: np.random.Generator) -> None:
    """An angle of 0 has no logarithm and is written as 2 pi; a negative one is brought into (0, 2 pi]."""
    layer = layer_from_params(lru_params(rng, N=4, dtype=np.float64))
    system = layer.system.replace(poles=np.array([0.9, -0.5, 0.7 * np.exp(-1j), 0.3 * np.exp(2j)]))
    written = layer.with_system(system)
    u = rng.standard_normal((30, 3))
    y = recurrence(written.to_params(), u)
    assert np.isfinite(written.to_params()["theta_log"]).all()
    assert np.abs(ssmreduce.simulate(system, u) - y).max() < 1e-12 * np.abs(y).max()


def test_other_spellings_are_named(rng: np.random.Generator) -> None:
    raw = lru_params(rng)
    other = {key: raw[key] for key in ("nu_log", "theta_log", "gamma_log")} | {"B": raw["B_re"], "D": np.ones((3, 3))}
    with pytest.raises(InputError, match="LRU-pytorch"):
        layer_from_params(other)
    with pytest.raises(InputError, match="step_rescale"):
        layer_from_params(raw, step_rescale=2.0)
