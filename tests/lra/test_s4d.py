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
