"""Code bases whose parameters hold not every system: read exactly, states kept bit for bit, the rest refused."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from odd_checkpoints import single
from tolerance import relative, tol

import ssmreduce
from ssmreduce.command_line.parser import main
from ssmreduce.layers.formats import LAYER_FORMATS
from ssmreduce.layers.formats.layer_format import NotClosedError
from ssmreduce.layers.options import OptionError
from ssmreduce.layers.params import layer_from_params
from theory.errors import InputError, StabilityError

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


def linoss(rng: np.random.Generator, P: int = 7, m: int = 3, *, damped: bool = False) -> Raw:
    """As they start: damped ones with poles of modulus 0.9 to 1 at any angle."""
    steps = rng.standard_normal(P)
    raw = {
        "A_diag": rng.uniform(0.05, 4.0, P),
        "B": rng.standard_normal((P, m, 2)),
        "C": rng.standard_normal((m, P, 2)),
        "D": rng.standard_normal(m),
        "steps": steps,
    }
    return raw | {"G_diag": rng.uniform(0.05, 0.5, P)} if damped else raw


def run_linoss(raw: Raw, u: np.ndarray) -> np.ndarray:
    """The two-by-two recurrence of each oscillator, state (velocity, position), driven by the complex B u."""
    f = {key: value.astype(float) for key, value in raw.items()}
    d, A = 1 / (1 + np.exp(-f["steps"])), f["A_diag"]
    if "G_diag" in f:
        S = 1 + d * np.maximum(f["G_diag"], 0)
        low, high = ((1 + S + sign * 2 * np.sqrt(S)) / d**2 for sign in (-1, 1))
        A = low + np.maximum(A - low, 0) - np.maximum(A - high, 0)
        M, force = np.array([[1 / S, -d * A / S], [d / S, 1 - d**2 * A / S]]), np.array([d / S, d**2 / S])
    else:
        A = np.maximum(A, 0)
        s = 1 / (1 + d**2 * A)
        M, force = np.array([[1 - d**2 * A * s, -d * A * s], [d * s, s]]), np.array([(1 - d**2 * A * s) * d, d**2 * s])
    B, C = f["B"][..., 0] + 1j * f["B"][..., 1], f["C"][..., 0] + 1j * f["C"][..., 1]
    x, y = np.zeros((2, len(d)), complex), []
    for value in u:
        x = np.einsum("ijp,jp->ip", M, x) + force * (B @ value)
        y.append((C @ x[1]).real + f["D"] * value)
    return np.array(y)


def l2n(rng: np.random.Generator, N: int = 5, m: int = 3, p: int = 2) -> Raw:
    return {
        "rho_raw": rng.uniform(0, 4, N),
        "theta": rng.uniform(-3, 3, N),
        "K12_raw": rng.standard_normal((2 * N, m)),
        "K21_raw": rng.standard_normal((p, 2 * N)),
        "K22_raw": rng.standard_normal((p, m)),
        "log_gamma": np.array(0.7),
        "S": rng.standard_normal((2 * N, 2 * N)),
    }


def run_l2n(raw: Raw, u: np.ndarray) -> np.ndarray:
    """The contraction as it is built and stepped, dense and real."""
    f = {key: value.astype(float) for key, value in raw.items()}
    n, rho = 2 * len(f["theta"]), 0.999 / (1 + np.exp(-f["rho_raw"]))
    K = np.block([[np.zeros((n, n)), f["K12_raw"]], [f["K21_raw"], f["K22_raw"]]])
    for i, (r, t) in enumerate(zip(rho, f["theta"])):
        K[2 * i : 2 * i + 2, 2 * i : 2 * i + 2] = r * np.array([[np.cos(t), -np.sin(t)], [np.sin(t), np.cos(t)]])
    K = K / (np.linalg.svd(K, compute_uv=False)[0] + 0.002)
    x, y = np.zeros(n), []
    for value in np.exp(f["log_gamma"]) * u:
        x, out = K[:n, :n] @ x + K[:n, n:] @ value, K[n:, :n] @ x + K[n:, n:] @ value
        y.append(out)
    return np.array(y)


CASES: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "attenuate": (attenuate, run_attenuate, {}),
    "s5-lrnnx": (lrnnx, run_lrnnx, {"discretization": "zoh"}),
    "linoss": (linoss, run_linoss, {"linoss": "im"}),
    "linoss-damped": (lambda rng: linoss(rng, damped=True), run_linoss, {}),
}
REASON = {"attenuate": "real B", "s5-lrnnx": "real B", "linoss": "real matrix", "linoss-damped": "real matrix"}


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
    if form.startswith("linoss"):
        return
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
    assert REASON[form] in balanced.diagnostics["not_written"]
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
    assert main(["inspect", str(path), *flags, "--no-certify"]) == 0
    assert f"layers:   {LAYER_FORMATS[form].title}\n" in capsys.readouterr().out
    command = ["reduce", str(path), *flags, "--ratio", "0.5", "-q", "--no-certify", "-o"]
    assert main([*command, str(tmp_path / "a.npz")]) == 2
    said = capsys.readouterr().err
    assert "--method modal" in said
    assert main([*command, str(tmp_path / "a.npz"), "--method", "modal"]) == 0
    found = dict(np.load(tmp_path / "a.npz"))
    assert found.keys() == flat.keys()
    before, after = (ssmreduce.load(file, **options) for file in (path, tmp_path / "a.npz"))
    assert after.n_states == before.n_states // 2
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


def test_a_part_of_an_oscillator_may_stay(rng: np.random.Generator) -> None:
    """Each oscillator is two states, of the real and the imaginary parts; either can be kept."""
    raw = single(linoss(rng, damped=True))
    layer = layer_from_params(raw)
    assert layer.order == 14
    kept = layer.keep([0, 5, 8, 9])
    held = kept.to_params()
    assert held["A_diag"].tolist() == raw["A_diag"][[0, 2, 4]].tolist()
    assert kept.order == 4
    wanted, found = layer.system, kept.system
    index = [0, 5, 8, 9]
    assert np.array_equal(found.poles, wanted.poles[index])
    assert np.array_equal(found.B, wanted.B[index])
    assert np.array_equal(found.C, wanted.C[:, index])


def test_the_margin_of_an_oscillator_is_exact(rng: np.random.Generator) -> None:
    """1 - |pole| of slow oscillators, against 40 digits."""
    import mpmath

    raw = linoss(rng) | {"steps": np.full(7, -9.0), "A_diag": np.geomspace(1e-1, 4, 7)}
    layer = layer_from_params(raw, linoss="im")
    with mpmath.workdps(40):
        d = 1 / (1 + mpmath.exp(9))
        exact = [1 - 1 / mpmath.sqrt(1 + d**2 * mpmath.mpf(a)) for a in raw["A_diag"]]
        assert max(abs(m / e - 1) for m, e in zip(layer.margin[::2], exact)) < tol()


def test_oscillators_that_have_no_norm_or_no_modes_are_refused(rng: np.random.Generator) -> None:
    raw = linoss(rng)
    with pytest.raises(OptionError, match=r"--linoss im\|imex") as asked:
        layer_from_params(raw)
    assert asked.value.option == "linoss"
    with pytest.raises(StabilityError, match=r"^layer deep/er: .*symplectic"):
        layer_from_params(raw, name="deep/er", linoss="imex")
    with pytest.raises(InputError, match="oscillator 2 of 7 does not oscillate"):
        layer_from_params(raw | {"A_diag": np.where(np.arange(7) == 2, -0.5, raw["A_diag"])}, linoss="im")
    damped = linoss(rng, damped=True)
    for held in (1e-9, 1e9):  # at either bound the code holds A, and the poles meet
        with pytest.raises(InputError, match="double pole"):
            layer_from_params(damped | {"A_diag": np.full(7, held)})


def test_l2n_is_analysed_and_written_as_s5_only(rng: np.random.Generator) -> None:
    raw = single(l2n(rng))
    layer = layer_from_params(raw)
    u = rng.standard_normal((60, 3))
    y = run_l2n(raw, u)
    assert relative(ssmreduce.simulate(layer.system, u), y) < tol(60)
    assert all(value.tobytes() == raw[key].tobytes() for key, value in layer.to_params().items())
    norm = ssmreduce.hinf_norm(layer.system)
    assert norm.upper <= np.exp(0.7)  # the gain that it promises
    for method in ("balanced", "modal"):
        small = ssmreduce.reduce(layer, 3, method=method)
        assert small.layer is None
        assert "norm of the whole" in small.diagnostics["not_written"]
        assert small.error().lower <= small.bound
    there = layer.in_form("s5")
    assert there.delay == 0
    slow = 1.0 / np.abs(layer.system.poles).min()
    assert relative(ssmreduce.simulate(there.system, u), y) < tol(60, cond=10 * slow, dtype=np.float32)


def test_mamba_is_refused_with_the_reason_and_passed_by_beside_others(rng: np.random.Generator) -> None:
    mamba = {f"backbone.layers.0.mixer.{key}": rng.standard_normal(shape).astype("f4") for key, shape in {
        "A_log": (8, 4), "D": (8,), "x_proj.weight": (10, 8), "dt_proj.weight": (8, 2), "in_proj.weight": (16, 4),
    }.items()}  # fmt: skip
    with pytest.raises(InputError, match="computed from the input at every sample"):
        ssmreduce.read_layers(mamba)
    hybrid = mamba | {f"backbone.layers.1.{key}": value for key, value in single(attenuate(rng)).items()}
    (layer,) = ssmreduce.read_layers(hybrid)
    assert layer.name == "backbone/layers/1"


def test_who_has_another_layer_is_told_the_way_in(rng: np.random.Generator) -> None:
    with pytest.raises(InputError) as caught:
        ssmreduce.read_layers({"cell.A": np.eye(3), "cell.H0": np.ones(3)})
    (call,) = re.findall(r"ssmreduce\.DiagonalStateSpace\([^)]*\)", str(caught.value))
    poles, B, C, D = 0.9 * np.exp(1j * np.arange(4)), rng.standard_normal((4, 2)), np.ones((1, 4)), np.zeros((1, 2))
    system = eval(call, {"ssmreduce": ssmreduce, "poles": poles, "B": B, "C": C, "D": D})
    assert ssmreduce.reduce(system, 2).error().upper > 0
