"""Layers of other code bases: each is read as its own recurrence, written from the formula in this file, runs it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from layer_cases import S4D_OPTIONS, s4d_params, s5_params

import ssmreduce
from ssmreduce.layers.params import layer_from_params
from theory.errors import DimensionError, InputError

Raw = dict[str, np.ndarray]
P, H = 6, 3


def run(pole: np.ndarray, B: np.ndarray, C: np.ndarray, D: np.ndarray, u: np.ndarray, *, delayed: bool = False) -> Any:
    """x_k = pole x_(k-1) + B u_k, y_k = Re(C x) + D u_k, of the updated state or the one before; step by step."""
    x, y = np.zeros(len(pole), complex), []
    for sample in u:
        before, x = x, pole * x + B @ sample
        y.append((C @ (before if delayed else x)).real + D @ sample)
    return np.array(y)


def outputs(layer: ssmreduce.SSMLayer, u: np.ndarray) -> np.ndarray:
    """What the layer's system answers; one channel each for S4D."""
    if layer.family.is_batch:
        return ssmreduce.simulate(layer.system, u.T[..., None])[..., 0].T
    return ssmreduce.simulate(layer.system, u)


def normal(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.standard_normal(shape)


def complex_normal(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return (normal(rng, *shape) + 1j * normal(rng, *shape)).astype(np.complex64)


# --- s5-pytorch ------------------------------------------------------------------------------------------------------


def torch_s5(rng: np.random.Generator, directions: int = 1) -> Raw:
    return {
        "Lambda": (-rng.uniform(0.1, 2, P) + 1j * rng.uniform(-9, 9, P)).astype(np.complex64),
        "B": normal(rng, P, H, 2).astype("f4"),
        "C": complex_normal(rng, H, directions * P),
        "D": normal(rng, H).astype("f4"),
        "log_step": np.log(rng.uniform(0.01, 0.1, P)).astype("f4"),
    }


def run_torch_s5(raw: Raw, u: np.ndarray, rule: str = "zoh") -> np.ndarray:
    Lambda, d = raw["Lambda"].astype(complex), np.exp(raw["log_step"].astype(float))
    n = len(Lambda)
    if rule == "zoh":
        pole = np.exp(Lambda * d)
        B = ((pole - 1) / Lambda)[:, None] * (raw["B"][..., 0].astype(float) + 1j * raw["B"][..., 1])
    else:
        pole = (1 + d / 2 * Lambda) / (1 - d / 2 * Lambda)
        B = (d / (1 - d / 2 * Lambda))[:, None] * (raw["B"][..., 0].astype(float) + 1j * raw["B"][..., 1])
    C, D = raw["C"].astype(complex), np.diag(raw["D"].astype(float))
    y = run(pole, B, C[:, :n], D, u)
    return y if C.shape[1] == n else y + run(pole, B, C[:, n:], 0 * D, u[::-1])[::-1]


# --- LRU with complex arrays and a dense D ---------------------------------------------------------------------------


def dense_lru(rng: np.random.Generator, name: str = "B", inputs: int = H, outputs: int = H) -> Raw:
    radius = rng.uniform(0.6, 0.99, P)
    return {
        "nu_log": np.log(-np.log(radius)).astype("f4"),
        "theta_log": np.log(rng.uniform(0.01, np.pi, P)).astype("f4"),
        "gamma_log": (0.5 * np.log(1 - radius**2)).astype("f4"),
        name: complex_normal(rng, P, inputs),
        "C": complex_normal(rng, outputs, P),
        "D": normal(rng, outputs, inputs).astype("f4"),
    }


def run_lru(raw: Raw, u: np.ndarray) -> np.ndarray:
    f = {key: value.astype(complex) for key, value in raw.items()}
    pole = np.exp(-np.exp(f["nu_log"]) + 1j * np.exp(f["theta_log"]))
    B = np.exp(f["gamma_log"])[:, None] * f["Bp" if "Bp" in f else "B"]
    return run(pole, B, f["C"], f["D"].real, u, delayed="Bp" in f)


# --- event-ssm -------------------------------------------------------------------------------------------------------


def event_ssm(rng: np.random.Generator, inputs: int = 2, outputs: int = 4) -> Raw:
    raw = s5_params(rng, P, inputs) | {"C": normal(rng, outputs, P, 2), "D": normal(rng, outputs, inputs)}
    return {key: value.astype("f4") for key, value in raw.items()}


def run_event(raw: Raw, u: np.ndarray, rule: str = "dirac") -> np.ndarray:
    f = {key: value.astype(float) for key, value in raw.items()}
    Lambda = f["Lambda_re"] + 1j * f["Lambda_im"]
    pole = np.exp(Lambda * np.exp(f["log_step"][:, 0]))
    B = f["B"][..., 0] + 1j * f["B"][..., 1]
    B = B if rule == "dirac" else ((pole - 1) / Lambda)[:, None] * B
    D = f.get("D", np.zeros((len(f["C"]), B.shape[1])))
    return run(pole, B, 2 * (f["C"][..., 0] + 1j * f["C"][..., 1]), np.diag(D) if D.ndim == 1 else D, u)


# --- discretax, linax ------------------------------------------------------------------------------------------------


def discretax_s4d(rng: np.random.Generator) -> Raw:
    raw = s4d_params(rng, "s4d-minimal", H=H, N=P)
    raw["kernel.log_a_real"] = raw.pop("kernel.log_A_real")
    del raw["D"]
    return raw | {"kernel.C": complex_normal(rng, H, P)}


def run_discretax(raw: Raw, u: np.ndarray) -> np.ndarray:
    step = np.exp(raw["kernel.log_dt"].astype(float))[:, None]
    a = -np.exp(raw["kernel.log_a_real"].astype(float)) + 1j * raw["kernel.A_imag"]
    C = 2 * raw["kernel.C"].astype(complex) * (np.exp(a * step) - 1) / a
    kernel = (C[..., None] * np.exp(a * step)[..., None] ** np.arange(len(u))).sum(axis=1).real
    return np.stack([np.convolve(kernel[h], u[:, h])[: len(u)] for h in range(len(kernel))], axis=1)


CASES: dict[str, tuple[Callable[..., Raw], dict[str, Any], Callable[..., np.ndarray], dict[str, Any]]] = {
    "s5-torch": (torch_s5, {}, run_torch_s5, {"discretization": "zoh"}),
    "s5-torch, both directions": (torch_s5, {"directions": 2}, run_torch_s5, {"discretization": "zoh"}),
    "lru-dense": (dense_lru, {}, run_lru, {}),
    "lru-dense, rectangular": (dense_lru, {"inputs": 2, "outputs": 5}, run_lru, {}),
    "lru-delayed": (dense_lru, {"name": "Bp", "inputs": 4, "outputs": 2}, run_lru, {}),
    "s5": (event_ssm, {}, run_event, {"conj_sym": True, "discretization": "dirac"}),
    "s4d-discretax": (discretax_s4d, {}, run_discretax, {}),
}


@pytest.mark.parametrize("case", list(CASES))
def test_the_system_is_the_recurrence(case: str, tmp_path: Path, rng: np.random.Generator) -> None:
    draw, shape, recurrence, options = CASES[case]
    raw = draw(rng, **shape)
    layer = layer_from_params(raw, **options)
    assert layer.form == case.split(",")[0]
    assert layer.dtype == np.float32
    inputs = H if layer.family.is_batch else layer.B.shape[1]
    u = rng.standard_normal((40, inputs))
    y = recurrence(raw, u)
    assert np.abs(outputs(layer, u) - y).max() < 1e-12 * np.abs(y).max()
    held = layer.to_params()
    assert held.keys() == raw.keys()
    assert all(held[key].tobytes() == raw[key].tobytes() and held[key].dtype == raw[key].dtype for key in raw)
    kept = layer.keep([0, 3, 5])
    y = recurrence(kept.to_params(), u)
    assert np.abs(outputs(kept, u) - y).max() < 1e-12 * np.abs(y).max()
    with pytest.raises(InputError, match="unknown option"):
        layer_from_params(raw, **options, sample_time=1.0)

    np.savez(tmp_path / "net.npz", **{f"blocks.0.{key}": value for key, value in raw.items()})
    for method in ("balanced", "last"):
        small = ssmreduce.reduce_model(ssmreduce.load(tmp_path / "net.npz", **options), orders=3, method=method)
        written = dict(np.load(small.save(tmp_path / "small.npz")))
        found = {key.removeprefix("blocks.0."): value for key, value in written.items()}
        assert {key: value.dtype for key, value in found.items()} == {key: value.dtype for key, value in raw.items()}
        y = recurrence(found, u)
        again = ssmreduce.load(tmp_path / "small.npz").layers[0]
        assert again.order == 3
        for each in (again, small.layers[0]):
            assert np.abs(outputs(each, u) - y).max() < 1e-12 * np.abs(y).max()


def test_bilinear_and_scaled_steps_of_s5_pytorch(rng: np.random.Generator) -> None:
    raw, u = torch_s5(rng), rng.standard_normal((40, H))
    y = run_torch_s5(raw, u, "bilinear")
    layer = layer_from_params(raw, discretization="bilinear")
    assert np.abs(outputs(layer, u) - y).max() < 1e-12 * np.abs(y).max()
    doubled = layer_from_params(raw, discretization="zoh", step_rescale=2.0)
    y = run_torch_s5({**raw, "log_step": raw["log_step"].astype(float) + np.log(2.0)}, u)
    assert np.abs(outputs(doubled, u) - y).max() < 1e-12 * np.abs(y).max()
    with pytest.raises(InputError, match="conj_sym=False"):
        layer_from_params(raw, conj_sym=True, discretization="zoh")
    with pytest.raises(DimensionError, match="C must have shape"):
        layer_from_params({**raw, "C": raw["C"][:, :5]})


def test_the_error_of_a_delayed_and_a_dense_layer_is_certified(rng: np.random.Generator) -> None:
    layer = layer_from_params(dense_lru(rng, "Bp", 2, 3))
    assert layer.system.delay == 1
    assert np.array_equal(layer.system.D, layer.D)
    result = ssmreduce.reduce(layer, 3)
    assert result.layer.delay == 1
    assert result.error().lower <= result.bound
    with pytest.raises(InputError, match="delay"):
        layer.with_system(layer.system.replace(delay=0))


def test_the_discretization_of_a_dense_layer_is_asked_for(rng: np.random.Generator) -> None:
    raw, u = event_ssm(rng, 3, 3), rng.standard_normal((30, 3))
    with pytest.raises(InputError, match="'dirac'"):
        layer_from_params(raw, conj_sym=True)
    for rule in ("dirac", "zoh"):
        layer, y = layer_from_params(raw, conj_sym=True, discretization=rule), run_event(raw, u, rule)
        assert np.abs(outputs(layer, u) - y).max() < 1e-12 * np.abs(y).max()
    with pytest.raises(InputError, match="dirac"):
        layer_from_params(raw, conj_sym=True, discretization="async")


@pytest.mark.parametrize("form", ["s5", "s4d-minimal"])
def test_a_layer_without_feedthrough_has_none(form: str, tmp_path: Path, rng: np.random.Generator) -> None:
    raw = s5_params(rng) if form == "s5" else s4d_params(rng, form)
    del raw["D"]
    options = {"conj_sym": True, "discretization": "zoh"} if form == "s5" else {}
    layer = layer_from_params(raw, **options)
    assert not layer.D.any()
    assert layer.to_params().keys() == raw.keys()
    np.savez(tmp_path / "net.npz", **{f"net.{key}": value for key, value in raw.items()})
    model = ssmreduce.load(tmp_path / "net.npz", **options)
    small = ssmreduce.reduce_model(model, orders=2)
    assert {key.removeprefix("net.") for key in np.load(small.save(tmp_path / "small.npz"))} == raw.keys()
    with pytest.raises(InputError, match="no D"):
        model.replace_layers([model.layers[0].replace(D=np.ones(model.layers[0].n_channels))])


@pytest.mark.parametrize("form", ["s5", "s5-wide", "s4d-minimal", "s4d-v4", "s4d-v4-exp", "s4d-jax"])
def test_pairs_may_be_complex_arrays(form: str, rng: np.random.Generator) -> None:
    if form.startswith("s5"):
        raw, options = (
            s5_params(rng, bidirectional="wide" if "wide" in form else "C1C2"),
            {"conj_sym": True, "discretization": "zoh"},
        )
    else:
        raw, options = s4d_params(rng, form), S4D_OPTIONS[form]
    plain = layer_from_params(raw, **options)
    keys = [key for key in raw if key.rpartition(".")[2] in ("B", "C", "C1", "C2")]
    folded = raw | {key: (raw[key][..., 0] + 1j * raw[key][..., 1]).astype(np.complex64) for key in keys}
    layer = layer_from_params(folded, **options)
    assert layer.form == f"{form}-complex"
    assert np.array_equal(layer.system.C, plain.system.C)
    assert np.array_equal(layer.system.B, plain.system.B)
    assert all(value.tobytes() == folded[key].tobytes() for key, value in layer.to_params().items())
    kept, expected = layer.keep([0, 2]).to_params(), plain.keep([0, 2]).to_params()
    again, one = layer.with_system(layer.system).to_params(), plain.with_system(plain.system).to_params()
    for key in folded:
        for ours, theirs in ((kept, expected), (again, one)):
            value = np.stack([ours[key].real, ours[key].imag], axis=-1) if key in keys else ours[key]
            assert np.array_equal(value, theirs[key])
    with pytest.raises(InputError, match="real numbers"):
        layer_from_params(raw | {"D": raw["D"].astype(complex)}, **options)
