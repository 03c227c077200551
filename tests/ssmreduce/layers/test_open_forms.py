"""Code bases whose parameters hold not every system: read exactly, states kept bit for bit, the rest refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from odd_checkpoints import single
from tolerance import relative, tol

import ssmreduce
from ssmreduce.command_line.parser import main
from ssmreduce.layers.formats.layer_format import NotClosedError
from ssmreduce.layers.params import layer_from_params
from theory.errors import InputError

Raw = dict[str, np.ndarray]


# --- the recurrences, as these codes run them ------------------------------------------------------------------------


def attenuate(rng: np.random.Generator, n: int = 12, m: int = 3, p: int = 4) -> Raw:
    return {
        "A": np.stack([rng.uniform(-2, 0.5, n), np.pi * np.arange(n)], axis=-1),
        "B": rng.standard_normal((n, m)),
        "C": rng.standard_normal((p, n)) / np.arange(1, n + 1),
        "log_dt": np.log(rng.uniform(0.005, 0.1, n)),
    }


def run_attenuate(raw: Raw, u: np.ndarray) -> np.ndarray:
    """Convolution with K[n, l] = exp(-l d softplus(A0)) cos(l d A1), between B d and C: all real numbers."""
    f = {key: value.astype(float) for key, value in raw.items()}
    d, lags = np.exp(f["log_dt"]), np.arange(len(u))
    K = np.exp(-np.outer(d * np.log1p(np.exp(f["A"][:, 0])), lags)) * np.cos(np.outer(d * f["A"][:, 1], lags))
    x = u @ (f["B"] * d[:, None]).T
    return np.stack([np.convolve(K[n], x[:, n])[: len(u)] for n in range(len(d))], axis=1) @ f["C"].T


def lrnnx(rng: np.random.Generator, n: int = 10, m: int = 3) -> Raw:
    raw = attenuate(rng, n, m)
    return raw | {"C": rng.standard_normal((m, n, 2)), "D": rng.standard_normal((m, m))}


def run_lrnnx(raw: Raw, u: np.ndarray, rule: str = "zoh") -> np.ndarray:
    f = {key: value.astype(float) for key, value in raw.items()}
    a = -np.log1p(np.exp(f["A"][:, 0])) + 1j * f["A"][:, 1]
    pole = np.exp(a * np.exp(f["log_dt"]))
    gamma = (pole - 1) / a if rule == "zoh" else np.ones_like(a)
    C, x, y = f["C"][..., 0] + 1j * f["C"][..., 1], np.zeros(len(a), complex), []
    for value in u:
        x = pole * x + gamma * (f["B"] @ value)
        y.append((C @ x).real + value @ f["D"])
    return np.array(y)


CASES: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "attenuate": (attenuate, run_attenuate, {}),
    "s5-lrnnx": (lrnnx, run_lrnnx, {"discretization": "zoh"}),
}


@pytest.mark.parametrize("form", list(CASES))
def test_the_layer_is_what_its_code_computes(form: str, rng: np.random.Generator) -> None:
    draw, run, options = CASES[form]
    raw = single(draw(rng))
    layer = layer_from_params(raw, **options)
    assert layer.form == form
    u = rng.standard_normal((120, layer.B.shape[1]))
    assert relative(ssmreduce.simulate(layer.system, u), run(raw, u)) < tol(120)
    assert all(value.tobytes() == raw[key].tobytes() for key, value in layer.to_params().items())
    kept = layer.keep([1, 4, 5])
    assert relative(ssmreduce.simulate(kept.system, u), run(kept.to_params(), u)) < tol(120)
    same = layer.with_system(layer.system)  # its own system it can hold
    assert relative(ssmreduce.simulate(same.system, u), run(raw, u)) < tol(120, cond=1e3, dtype=np.float32)


@pytest.mark.parametrize("form", list(CASES))
def test_selection_writes_and_balanced_truncation_says_why_not(form: str, rng: np.random.Generator) -> None:
    draw, run, options = CASES[form]
    raw = single(draw(rng))
    layer = layer_from_params(raw, **options)
    u = rng.standard_normal((120, layer.B.shape[1]))
    for method in ("modal", "last", "aire", "lamp", "magnitude", "random"):
        small = ssmreduce.reduce(layer, 5, method=method)
        assert small.layer is not None
        assert small.rounding == 0.0
        y = run(small.layer.to_params(), u)
        assert relative(ssmreduce.simulate(small.system, u), y) < tol(120)
        assert np.linalg.norm(y - run(raw, u)) <= small.error().upper * np.linalg.norm(u)
    balanced = ssmreduce.reduce(layer, 5)  # for analysis: the system, its bound and its error
    assert balanced.layer is None
    assert "real B" in balanced.diagnostics["not_written"]
    assert balanced.error().lower <= balanced.bound
    with pytest.raises(NotClosedError, match=r"method='modal'.*in_form"):
        layer.with_system(balanced.system)
    rows = ssmreduce.compare(layer, ["balanced", "modal"], [4], crosscheck="none").rows
    assert all(row.error is not None for row in rows)


@pytest.mark.parametrize("form", list(CASES))
def test_as_s5_every_system_is_held(form: str, rng: np.random.Generator) -> None:
    draw, run, options = CASES[form]
    raw = single(draw(rng))
    there = layer_from_params(raw, **options).in_form("s5")
    assert there.discretization == "zoh"
    u = rng.standard_normal((120, there.B.shape[1]))
    assert relative(ssmreduce.simulate(there.system, u), run(raw, u)) < tol(120, cond=1e3, dtype=np.float32)
    small = ssmreduce.reduce(there, 5)
    assert small.layer is not None
    assert small.layer.order == 5


@pytest.mark.parametrize("form", list(CASES))
def test_what_the_refusal_offers_works_on_the_command_line(
    form: str, tmp_path: Path, rng: np.random.Generator, capsys: pytest.CaptureFixture[str]
) -> None:
    draw, _, options = CASES[form]
    names = ["down_ssms.0.0.0", "hid_ssms.0.1", "up_ssms.1.1.1"]
    flat = {f"{name}.{key}": value for name in names for key, value in single(draw(rng)).items()}
    flat["down_ssms.0.1.weight"] = rng.standard_normal((4, 4, 2)).astype("f4")
    path, flags = tmp_path / "weights.npz", [f"--{key}={value}" for key, value in options.items()]
    np.savez(path, **flat)
    assert main(["inspect", str(path), *flags, "-q"]) == 0
    command = ["reduce", str(path), *flags, "--ratio", "0.5", "-q", "--no-certify", "-o"]
    assert main([*command, str(tmp_path / "a.npz")]) == 2
    said = capsys.readouterr().err
    assert "--method modal" in said
    assert main([*command, str(tmp_path / "a.npz"), "--method", "modal"]) == 0
    found = dict(np.load(tmp_path / "a.npz"))
    assert found.keys() == flat.keys()
    assert sum(found[f"{name}.A"].shape[0] for name in names) <= 3 * (flat["hid_ssms.0.1.A"].shape[0] // 2) + 3
    assert "ssmreduce convert FILE --form s5 -o FILE2" in said
    assert main(["convert", str(path), *flags, "--form", "s5", "-q", "-o", str(tmp_path / "s5.npz")]) == 0
    assert main(["reduce", str(tmp_path / "s5.npz"), "--ratio", "0.5", "-q", "-o", str(tmp_path / "b")]) == 0
    assert all(layer.form == "s5" for layer in ssmreduce.load(tmp_path / "b.npz").layers)


def test_of_one_input_lrnnx_holds_every_system(rng: np.random.Generator) -> None:
    raw = single(lrnnx(rng, m=1))
    layer = layer_from_params(raw, discretization="zoh")
    small = ssmreduce.reduce(layer, 4)
    assert small.layer is not None
    u = rng.standard_normal((80, 1))
    y = run_lrnnx(small.layer.to_params(), u)
    assert relative(ssmreduce.simulate(small.system, u), y) < tol(80)
    assert np.linalg.norm(y - run_lrnnx(raw, u)) <= small.bound * np.linalg.norm(u)


def test_the_reversed_bilinear_rule_of_lrnnx_is_refused(rng: np.random.Generator) -> None:
    raw = single(lrnnx(rng))
    with pytest.raises(InputError, match="outside of the circle"):
        layer_from_params(raw)
    layer = layer_from_params(raw, discretization="dirac")
    u = rng.standard_normal((80, 3))
    assert relative(ssmreduce.simulate(layer.system, u), run_lrnnx(raw, u, "dirac")) < tol(80)
    with pytest.raises(InputError, match="outside of the circle"):
        layer_from_params(raw, discretization="bilinear")


def test_a_kernel_of_version_3_is_no_layer_of_attenuate(rng: np.random.Generator) -> None:
    """Its copy of A lies beside B, C and log_dt."""
    from layer_cases import s4d_params

    raw = s4d_params(rng, "s4d-v3") | {"kernel.kernel.A": rng.standard_normal((2, 5, 2)).astype("f4")}
    (layer,) = ssmreduce.read_layers({f"net.0.{key}": value for key, value in raw.items()}, discretization="zoh")
    assert layer.form == "s4d-v3"
