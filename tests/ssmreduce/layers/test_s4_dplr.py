"""S4 in, S4D out: the kernel of a dense recurrence on the doubled state, from the stored arrays alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from layer_cases import s4_params, s4d_params

import ssmreduce
from ssmreduce.command_line.parser import main
from ssmreduce.layers.params import layer_from_params
from theory.errors import DimensionError, InputError

SHARED = Path(__file__).resolve().parents[4] / "shared" / "data" / "checkpoints"
EPS = np.finfo(np.float64).eps


def kernels(raw: dict[str, np.ndarray], transform: str, length: int) -> np.ndarray:
    """K_l = C dA^l dB of every channel, step by step; (channels, H, length)."""
    f = {key: value.astype(np.float64) for key, value in raw.items()}
    complex_of = {key: f[f"kernel.{key}"][..., 0] + 1j * f[f"kernel.{key}"][..., 1] for key in ("P", "B", "C")}
    step = np.log1p(np.exp(f["kernel.inv_dt"])) if transform == "softplus" else np.exp(f["kernel.inv_dt"])
    channels, H, N = complex_of["C"].shape
    found = np.zeros((channels, H, length))
    for h in range(H):
        a = h % len(f["kernel.A_real"])

        def doubled(v: np.ndarray) -> np.ndarray:
            return np.concatenate([v, v.conj()])

        A = np.diag(doubled(-np.exp(f["kernel.A_real"][a]) - 1j * f["kernel.A_imag"][a]))
        for p in complex_of["P"][:, a]:
            A = A - np.outer(doubled(p), doubled(p).conj())
        one = np.eye(2 * N)
        dA = np.linalg.solve(one - step[h, 0] / 2 * A, one + step[h, 0] / 2 * A)
        dB = np.linalg.solve(one - step[h, 0] / 2 * A, step[h, 0] * doubled(complex_of["B"][0, a]))
        L = int(f["kernel.l_kernel"])
        back = np.linalg.inv(one - np.linalg.matrix_power(dA, L)) if L else one
        for c in range(channels):
            C, x = doubled(complex_of["C"][c, h]) @ back, dB
            for k in range(length):
                found[c, h, k] = (C @ x).real
                x = dA @ x
    return found


def responses(layer: ssmreduce.SSMLayer, length: int) -> np.ndarray:
    """2 Re sum c b pole^l of both directions, as S4D's code evaluates it."""
    s = layer.system
    powers = s.poles[..., None] ** np.arange(length)
    both = [s.C] if s.C_reverse is None else [s.C, s.C_reverse]
    return np.stack([2 * np.einsum("hn,hnl->hl", C[:, 0] * s.B[..., 0], powers).real for C in both])


@pytest.mark.parametrize("transform", ["softplus", "exp"])
@pytest.mark.parametrize(
    "shape", [{}, {"rank": 2, "channels": 2}, {"copies": 2}, {"copies": 1, "L": 0}, {"N": 1}], ids=str
)
def test_the_kernel_is_that_of_the_dense_recurrence(transform: str, shape: dict, rng: np.random.Generator) -> None:
    raw = s4_params(rng, **shape)
    layer = layer_from_params(raw, dt_transform=transform)
    expected = kernels(raw, transform, 100)
    condition = layer.remarks["eigenvector_condition"]
    assert condition >= 1
    room = 1e3 * EPS * condition * np.abs(expected).max()
    assert np.abs(responses(layer, 100) - expected).max() < room
    assert all(value.tobytes() == raw[key].tobytes() for key, value in layer.to_params().items())
    assert layer.to_params().keys() == raw.keys()
    written = layer.replace(D=layer.D).to_params()  # as S4D of version 4
    assert written.keys() == raw.keys() - {"kernel.P", "kernel.l_kernel"}
    again = layer_from_params(written, dt_transform=transform, discretization="bilinear")
    assert again.form == {"softplus": "s4d-v4", "exp": "s4d-v4-exp"}[transform]
    assert np.abs(responses(again, 100) - expected).max() < 10 * room
    refitted = layer.with_outputs(layer.system)  # of the diagonal layer, not of the arrays that came
    assert np.abs(responses(refitted, 100) - expected).max() < 10 * room
    kept = layer.keep(np.arange(layer.order))
    assert np.abs(responses(kept, 100) - expected).max() < 10 * room
    assert not kept.remarks


def test_channels_with_unlike_numbers_of_real_poles_are_filled_up(rng: np.random.Generator) -> None:
    raw = s4_params(rng)
    raw["kernel.A_imag"] += 1.0  # no real eigenvalue but by the low-rank term,
    raw["kernel.P"][:, 0] *= 1e-3  # which the first channel hardly has
    layer = layer_from_params(raw, dt_transform="exp")
    assert np.abs(responses(layer, 50) - kernels(raw, "exp", 50)).max() < 1e-11
    empty = ((layer.B == 0) & (layer.C == 0)).sum(axis=1)
    real = ((layer.Lambda.imag == 0) & (layer.B != 0)).sum(axis=1)
    assert len(set(real.tolist())) > 1  # or the draw tests nothing
    assert np.array_equal(layer.order - empty, 4 + real // 2)


def test_what_is_written_is_an_s4d_file(
    tmp_path: Path, rng: np.random.Generator, capsys: pytest.CaptureFixture[str]
) -> None:
    raw = {
        key: value if key.endswith("l_kernel") else value.astype(np.float32) for key, value in s4_params(rng).items()
    }
    np.savez(tmp_path / "s4.npz", **{f"layers.{i}.layer.{key}": value for i in range(2) for key, value in raw.items()})
    assert main(["inspect", str(tmp_path / "s4.npz"), "--dt-transform", "exp"]) == 0
    assert "condition number of eigenvectors at most" in capsys.readouterr().out
    model = ssmreduce.load(tmp_path / "s4.npz", dt_transform="exp")
    assert model.layers[0].dtype == np.float32  # the length, an integer, has no say
    for method in ("balanced", "last"):
        small = ssmreduce.reduce_model(model, orders=3, method=method)
        again = ssmreduce.load(small.save(tmp_path / "small.npz"))
        assert again.layers[1].discretization == "bilinear"
        assert "layers.0.layer.kernel.P" not in again.tree
        assert np.array_equal(responses(again.layers[1], 50), responses(small.layers[1], 50))
        twice = model.replace_layers(again.layers)  # the S4D of the same code lies where S4 lay
        assert all(value.tobytes() == again.tree[key].tobytes() for key, value in twice.tree.items())
        assert twice.tree.keys() == again.tree.keys()
        assert np.array_equal(responses(twice.layers[1], 50), responses(small.layers[1], 50))
    for form in ("s4d-v3", "s4d-minimal"):
        others = [layer.in_form(form) for layer in model.layers]
        with pytest.raises(InputError, match=rf"layer.in_form\('s4d-v4-exp'\), or .* model.in_form\('{form}'\)"):
            model.replace_layers(others)
        assert model.in_form(form).replace_layers(others).layers[0].form == form
    layers = [layer.in_form("s4d-v4-exp") for layer in model.layers]
    assert model.replace_layers(layers).layers[0].form == "s4d-v4-exp"


def test_options_and_arrays_that_contradict_are_refused(rng: np.random.Generator) -> None:
    raw = s4_params(rng)
    with pytest.raises(InputError, match="dt_transform"):
        layer_from_params(raw)
    with pytest.raises(InputError, match="dt_transform"):
        layer_from_params(raw, dt_transform="sigmoid")
    with pytest.raises(InputError, match="discretization=bilinear"):
        layer_from_params(raw, dt_transform="exp", discretization="zoh")
    with pytest.raises(InputError, match="l_kernel"):
        layer_from_params({key: value for key, value in raw.items() if "l_k" not in key}, dt_transform="exp")
    with pytest.raises(InputError, match="length"):
        layer_from_params({**raw, "kernel.l_kernel": np.array(-3)}, dt_transform="exp")
    with pytest.raises(DimensionError, match="P"):
        layer_from_params({**raw, "kernel.P": raw["kernel.P"][:, :3]}, dt_transform="exp")


def test_one_that_no_diagonal_layer_stands_for_is_refused() -> None:
    """HiPPO-LegS as S4 starts with it: a triangular matrix, its eigenvectors as good as dependent."""
    N = 16
    i = np.arange(2 * N)
    root = np.sqrt(2 * i + 1.0)
    skew = 0.5 * np.outer(root, root) * np.sign(i[None, :] - i[:, None])
    imag, V = np.linalg.eigh(-1j * skew)
    P = (V.conj().T @ np.sqrt(i + 0.5))[imag < 0]
    raw = {
        "kernel.inv_dt": np.log([[0.01]]),
        "kernel.A_real": np.full((1, N), np.log(0.5)),
        "kernel.A_imag": -imag[imag < 0][None],
        "kernel.P": np.stack([P.real, P.imag], axis=-1)[None, None],
        "kernel.B": np.ones((1, 1, N, 2)),
        "kernel.C": np.ones((1, 1, N, 2)),
        "kernel.l_kernel": np.array(0),
        "D": np.ones((1, 1)),
    }
    with pytest.raises(InputError, match=r"channel 0 have condition number .* past the limit 1e\+08: .* train A"):
        layer_from_params(raw, dt_transform="exp")


@pytest.mark.data
def test_a_trained_s4() -> None:
    torch = pytest.importorskip("torch")
    file = SHARED / "s4_dplr_ppg.pth"
    if not file.exists():
        pytest.skip("needs ../shared/data")
    weights = torch.load(file, map_location="cpu", weights_only=True)["model"]
    layer = ssmreduce.load(file, dt_transform="exp").layers[2]
    place = "s4_layers.2.layer."
    raw = {key[len(place) :]: value.numpy() for key, value in weights.items() if key.startswith(place)}
    expected = kernels(raw, "exp", 40)
    assert np.abs(responses(layer, 40) - expected).max() < 1e3 * EPS * 300 * np.abs(expected).max()


@pytest.mark.parametrize("decay", ["inv_w_real", "log_w_real"])
def test_earlier_versions_have_the_same_content(decay: str, rng: np.random.Generator) -> None:
    """The names of versions 2 and 3, the imaginary part with the other sign; a Q of its own is refused."""
    raw = s4_params(rng)
    plain = layer_from_params(raw, dt_transform="exp")
    key = "kernel.kernel."
    old = {
        key + "log_dt": raw["kernel.inv_dt"][:, 0],
        key + decay: raw["kernel.A_real"],
        key + "w_imag": -raw["kernel.A_imag"],
        key + "L": raw["kernel.l_kernel"],
        "D": raw["D"],
    } | {key + name: raw[f"kernel.{name}"] for name in ("P", "B", "C")}
    layer = layer_from_params(old)
    assert np.array_equal(responses(layer, 50), responses(plain, 50))
    assert layer.remarks == plain.remarks
    refitted = layer.with_outputs(layer.system)
    assert np.abs(responses(refitted, 50) - responses(layer, 50)).max() < 1e-12
    kept = layer.keep([0, 1])
    assert key + "inv_A_real" in kept.to_params()
    again = layer_from_params(kept.to_params(), discretization="bilinear")
    assert again.form == "s4d-v3"
    assert np.array_equal(responses(again, 50), responses(kept, 50))
    Q = raw["kernel.P"] * [1.0, -1.0]
    assert np.array_equal(responses(layer_from_params(old | {key + "Q": Q}), 50), responses(layer, 50))
    with pytest.raises(InputError, match="Q of its own"):
        layer_from_params(old | {key + "Q": 1.5 * Q})


def test_a_diagonal_layer_before_version_3(rng: np.random.Generator) -> None:
    raw = s4d_params(rng, "s4d-v3")
    plain = layer_from_params(raw, discretization="zoh")
    for decay in ("inv_w_real", "log_w_real"):
        names = {"inv_A_real": decay, "A_imag": "w_imag"}
        old = {".".join([*k.split(".")[:-1], names.get(k.split(".")[-1], k.split(".")[-1])]): v for k, v in raw.items()}
        layer = layer_from_params(old, discretization="zoh")
        assert np.array_equal(layer.system.poles, plain.system.poles)
        assert layer.keep([0, 2]).to_params().keys() == old.keys()
