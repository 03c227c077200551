"""Our S4D equals the S4 code on its golden numbers; its recurrent mode equals its convolution."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lra.models.classifier import Encoder
from lra.models.s4d import S4DSSM, S4Block, S4DKernel, initial_A, s4_norm

pytestmark = pytest.mark.jax

TOLERANCE = 2e-5
NAMES = ["s4d_v4_lin_zoh_softplus_bi_bn_prenorm", "s4d_v4_lin_zoh_softplus_bi_bn_prenorm_lengths"]


def from_torch(state: dict[str, np.ndarray]) -> dict[str, Any]:
    """The S4 code's state dict of a backbone as our encoder's variables, without its dense map."""
    from lra.checkpoint import nest

    flat = {"params/encoder/kernel": np.eye(8, dtype=np.float32), "params/encoder/bias": np.zeros(8, np.float32)}
    for key, value in state.items():
        name = key.replace("layers.", "layers_").replace(".layer.layer.", ".seq.").replace("norm.norm", "norm")
        name = name.replace("layer.output_linear.0", "output_linear").replace(".", "/")
        if name.endswith("num_batches_tracked"):
            continue
        if "running" in name:
            flat["batch_stats/" + name.replace("running_", "")] = value
        elif name.endswith("output_linear/weight"):
            flat["params/" + name.replace("weight", "kernel")] = value.T
        else:
            flat["params/" + name.replace("norm/weight", "norm/scale")] = value
    return nest(flat)


def state_dict(case: Any, prefix: str = "sd/") -> dict[str, np.ndarray]:
    return {key[len(prefix) :]: value for key, value in case.arrays.items() if key.startswith(prefix)}


def backbone() -> Encoder:
    ssm = functools.partial(S4DSSM, H=8, N=4, n_ssm=1, bidirectional=True)
    block = functools.partial(S4Block, ssm=ssm, H=8)
    return Encoder(blocks=(block, block), H=8, d_input=8, final_norm=functools.partial(s4_norm, True, 0.9))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("training", [False, True])
def test_backbone(golden_file, name, training):
    case = golden_file(name)
    x = np.swapaxes(case["x"], 0, 1)
    mask = np.arange(len(x))[:, None] < case["lengths"] if "lengths" in case.arrays else None
    variables = from_torch(state_dict(case))
    run = jax.jit(lambda v: backbone().apply(v, x, training, mask, mutable=["batch_stats"]))
    y, updated = run(variables)
    np.testing.assert_allclose(np.swapaxes(y, 0, 1), case["y_trainmode" if training else "y"], rtol=0, atol=TOLERANCE)
    if training:
        after = from_torch(state_dict(case) | state_dict(case, "sd_after_train_fwd/"))["batch_stats"]
        for new, wanted in zip(jax.tree.leaves(updated["batch_stats"]), jax.tree.leaves(after)):
            np.testing.assert_allclose(new, wanted, rtol=0, atol=TOLERANCE)


def test_kernel_and_convolution(golden_file):
    case = golden_file(NAMES[0])
    seq = from_torch(state_dict(case))["params"]["layers_0"]["seq"]
    kernel = S4DKernel(H=8, N=4, n_ssm=1, bidirectional=True)
    np.testing.assert_allclose(
        kernel.apply({"params": seq["kernel"]}, 10), case["layer0_kernel"], rtol=0, atol=TOLERANCE
    )
    layer = S4DSSM(H=8, N=4, n_ssm=1, bidirectional=True)
    y = layer.apply({"params": seq}, np.swapaxes(case["fftconv_in"], 0, 1))
    np.testing.assert_allclose(np.swapaxes(y, 0, 1), case["fftconv_out"], rtol=0, atol=TOLERANCE)


def test_the_minimal_s4d_is_a_case_of_ours(golden_file):
    """The stand-alone s4d.py: no B, step sizes by exp, frequencies of the other sign, GLU in the layer, no norm."""
    case = golden_file("s4d_minimal")
    H, half = case["sd/kernel.A_imag"].shape
    L = case["k"].shape[1]
    kernel = {
        "inv_dt": case["sd/kernel.log_dt"][:, None],
        "A_real": case["sd/kernel.log_A_real"],
        "A_imag": -case["sd/kernel.A_imag"],
        "B": np.stack([np.ones((1, H, half)), np.zeros((1, H, half))], axis=-1).astype(np.float32),
        "C": case["sd/kernel.C"][None],
    }
    options = {"H": H, "N": 2 * half, "dt_transform": "exp"}
    found = S4DKernel(**options).apply({"params": kernel}, L)
    np.testing.assert_allclose(found[0], case["k"], rtol=0, atol=TOLERANCE)

    block = S4Block(ssm=functools.partial(S4DSSM, **options), H=H)
    weight = case["sd/output_linear.0.weight"][..., 0].T
    params = {
        "seq": {"kernel": kernel, "D": case["sd/D"][None]},
        "output_linear": {"kernel": weight, "bias": case["sd/output_linear.0.bias"]},
        "norm": {"scale": np.ones(H, np.float32), "bias": np.zeros(H, np.float32)},
    }
    identity = {"norm": {"mean": np.zeros(H, np.float32), "var": np.full(H, 1 - 1e-5, np.float32)}}
    u = np.moveaxis(case["u"], 1, 0)  # (L, batch, H)
    y = block.apply({"params": params, "batch_stats": identity}, u) - u  # without norm and skip connection
    np.testing.assert_allclose(np.moveaxis(y, 0, 1), case["y"], rtol=0, atol=TOLERANCE)


def in_numpy(params: Any, u: np.ndarray, discretization: str, dt_transform: str, rescale: float) -> np.ndarray:
    """The layer in float64: both directions as sums over all lags, from the formulas of the S4 code."""
    k = {key: np.asarray(value, np.float64) for key, value in params["kernel"].items()}
    L, _, H = u.shape
    copy = np.arange(H) % len(k["A_real"])  # channel h uses copy h mod n_ssm
    dt = rescale * (np.log1p(np.exp(k["inv_dt"])) if dt_transform == "softplus" else np.exp(k["inv_dt"]))
    A = (-np.exp(k["A_real"]) - 1j * k["A_imag"])[copy]
    w = (k["B"][0, ..., 0] + 1j * k["B"][0, ..., 1])[copy] * (k["C"][..., 0] + 1j * k["C"][..., 1])
    if discretization == "zoh":
        base, w = np.exp(A * dt), w * (np.exp(A * dt) - 1) / A
    else:
        base, w = (1 + A * dt / 2) / (1 - A * dt / 2), w * dt / (1 - A * dt / 2)
    K = 2 * np.einsum("chn,lhn->clh", w, base ** np.arange(L)[:, None, None]).real
    y = np.asarray(params["D"])[0] * u
    for t in range(L):
        for s in range(L):
            if s <= t:
                y[t] += K[0, t - s] * u[s]
            elif len(K) == 2:  # the reverse kernel starts at the next sample
                y[t] += K[1, s - t - 1] * u[s]
    return y


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize(
    ("A_init", "discretization", "dt_transform", "n_ssm", "rescale"),
    [("lin", "zoh", "exp", None, 1.0), ("inv", "bilinear", "softplus", 2, 2.0), ("legs", "bilinear", "exp", 1, 1.0)],
)
def test_the_layer_is_its_sum_over_all_lags(rng, A_init, discretization, dt_transform, n_ssm, rescale, bidirectional):
    options = {"A_init": A_init, "discretization": discretization, "dt_transform": dt_transform, "n_ssm": n_ssm}
    layer = S4DSSM(H=4, N=8, bidirectional=bidirectional, step_rescale=rescale, **options)
    u = rng.normal(size=(9, 2, 4))
    params = jax.tree.map(np.asarray, jax.jit(layer.init)(jax.random.key(0), u.astype(np.float32))["params"])
    params["kernel"]["A_imag"] = params["kernel"]["A_imag"] + rng.normal(size=params["kernel"]["A_imag"].shape)
    params = jax.tree.map(lambda leaf: np.asarray(leaf, np.float32), params)  # the copies are no longer equal
    expected = in_numpy(params, u, discretization, dt_transform, rescale)
    y = jax.jit(layer.apply)({"params": params}, u.astype(np.float32))
    np.testing.assert_allclose(y, expected, rtol=0, atol=TOLERANCE)


def test_initial_values():
    layer = S4DSSM(H=256, N=64, n_ssm=2, bidirectional=True, dt_min=1e-3, dt_max=1e-1)
    params = jax.jit(layer.init)(jax.random.key(0), jnp.zeros((1, 1, 256)))["params"]
    kernel = params["kernel"]
    assert np.std(kernel["C"]) == pytest.approx(np.sqrt(0.5), rel=0.02)
    assert np.std(params["D"]) == pytest.approx(1, rel=0.15)
    np.testing.assert_allclose(np.exp(kernel["A_real"]), 0.5, rtol=1e-6)
    np.testing.assert_allclose(kernel["A_imag"], np.maximum(np.pi * np.arange(32), 1e-4) * np.ones((2, 1)), rtol=1e-6)
    np.testing.assert_array_equal(kernel["B"], np.broadcast_to([1.0, 0.0], (1, 2, 32, 2)))
    log_dt = np.log(np.log1p(np.exp(np.asarray(kernel["inv_dt"], np.float64))))
    assert np.log(1e-3) - 1e-4 <= log_dt.min() <= log_dt.max() <= np.log(1e-1) + 1e-4
    assert log_dt.mean() == pytest.approx(np.log(1e-2), abs=0.3)  # uniform: 0.083 is its standard deviation
    assert log_dt.std() == pytest.approx(np.log(100) / np.sqrt(12), rel=0.1)


@pytest.mark.parametrize("discretization", ["zoh", "bilinear"])
@pytest.mark.parametrize("dt_transform", ["softplus", "exp"])
def test_one_sample_at_a_time_equals_the_convolution(rng, discretization, dt_transform):
    layer = S4DSSM(H=3, N=8, n_ssm=1, A_init="legs", discretization=discretization, dt_transform=dt_transform)
    u = jnp.asarray(rng.normal(size=(9, 2, 3)), jnp.float32)
    variables = jax.jit(layer.init)(jax.random.key(0), u)
    step = jax.jit(lambda x, sample: layer.apply(variables, x, sample, method="step"))
    x, outputs = jnp.zeros((2, 3, 4), jnp.complex64), []
    for sample in u:
        x, y = step(x, sample)
        outputs.append(y)
    np.testing.assert_allclose(jnp.stack(outputs), jax.jit(layer.apply)(variables, u), rtol=0, atol=1e-4)


def test_initial_eigenvalues():
    np.testing.assert_allclose(initial_A(6, "lin").imag, np.pi * np.arange(3))
    np.testing.assert_allclose(initial_A(4, "inv").imag, 4 / np.pi * np.array([3, 1 / 3]))
    np.testing.assert_allclose(initial_A(16, "legs").imag[:2], [80.966, 25.629], atol=1e-3)
    with pytest.raises(ValueError, match="is not one of"):
        initial_A(4, "random")
