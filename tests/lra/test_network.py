"""The network protocol for our models: what is recorded is what the layers see, what is pulled back is the gradient."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tolerance import relative, tol

import ssmreduce
from lra.checkpoint import save_model
from lra.evaluate import rebuild
from lra.network import LraNetwork
from ssmreduce.network import Network, Parts, log_softmax

pytestmark = pytest.mark.jax

SHARED = {
    "d_model": 4, "n_layers": 2, "discretization": "zoh", "step_rescale": 1.0, "dropout": 0.0, "prenorm": True,
    "batchnorm": True, "bn_momentum": 0.9, "d_input": 3, "n_classes": 3, "mode": "pool", "mask_padding": False,
    "tokens": False, "padded": False, "retrieval": False, "precision": "float32",
}  # fmt: skip
S5 = {"C_init": "lecun_normal", "conj_sym": True, "clip_eigs": True, "activation": "half_glu1", "bidirectional": False}
S4D = {"n_ssm": None, "A_init": "lin", "dt_transform": "softplus", "bidirectional": False}
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "s5 masked, both directions": ("s5", S5 | {"bidirectional": True, "padded": True, "mask_padding": True}),
    "s5 retrieval": ("s5", S5 | {"padded": True, "retrieval": True}),
    "s5 last, layer norm": ("s5", S5 | {"mode": "last", "batchnorm": False}),
    "s4d both directions, padded": ("s4d", S4D | {"bidirectional": True, "padded": True}),
    "s4d shared copies": ("s4d", S4D | {"n_ssm": 2, "bidirectional": True, "discretization": "bilinear"}),
}
N, L = 5, 12


@pytest.fixture(scope="module", params=sorted(KINDS))
def network(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> LraNetwork:
    architecture, own = KINDS[request.param]
    options = SHARED | own
    rng = np.random.default_rng(7)
    rows = 2 * N if options["retrieval"] else N
    x = rng.standard_normal((rows, L, 3)).astype(np.float32)
    lengths = rng.integers(4, L + 1, rows).astype(np.int32) if options["padded"] else None
    from lra.models import build

    module = build(architecture, 6, **options, **({"blocks": 1} if architecture == "s5" else {}))
    variables = jax.jit(module.init)(jax.random.key(1), jnp.asarray(x), lengths)
    variables = jax.tree.map(lambda leaf: leaf + 0.1 * rng.standard_normal(leaf.shape).astype(leaf.dtype), variables)
    if "batch_stats" in variables:
        variables["batch_stats"] = jax.tree.map(jnp.abs, variables["batch_stats"])
    path = tmp_path_factory.mktemp("network") / "model.safetensors"
    stored = {key: value for key, value in options.items() if key != "dropout"}
    save_model(path, variables, {"architecture": architecture, "P": 6, **stored}, {})
    return LraNetwork(ssmreduce.load(path), x, lengths, batch=N)


def whole(network: LraNetwork, parts: Parts) -> Any:
    """The model applied by hand at its own sizes: (module, variables)."""
    model = network.with_parts(parts)
    variables = {"params": model.params, **({"batch_stats": model.batch_stats} if model.batch_stats else {})}
    return rebuild(model.architecture, variables, network.options), variables


def test_it_is_a_network(network: LraNetwork) -> None:
    assert isinstance(network, Network)
    assert network.count == N
    assert len(network.parts.layers) == 2


def test_logits_and_decoder(network: LraNetwork) -> None:
    module, variables = whole(network, network.parts)
    direct = np.asarray(module.apply(variables, network.x, network.lengths))
    found = network.run(network.parts, np.arange(N))
    np.testing.assert_allclose(found.logits, direct, atol=2e-5)
    kernel, bias = network.parts.decoder
    assert found.features is not None
    np.testing.assert_allclose(log_softmax(found.features @ kernel + bias), found.logits, atol=2e-5)


def test_rows_are_the_rows_that_were_asked_for(network: LraNetwork) -> None:
    everything = network.run(network.parts, np.arange(N), record=(0, 1))
    some = network.run(network.parts, np.array([4, 1, 2]), record=(1,))
    np.testing.assert_allclose(some.logits, everything.logits[[4, 1, 2]], atol=2e-5)
    which = [4, 1, 2] + ([4 + N, 1 + N, 2 + N] if network.pairs else [])
    np.testing.assert_allclose(some.inputs[1], everything.inputs[1][which], atol=2e-5)
    if everything.lengths is not None:
        np.testing.assert_array_equal(some.lengths, everything.lengths[which])
        beyond = np.arange(L) >= everything.lengths[:, None]
        assert np.all(everything.inputs[0][beyond] == 0)


def test_a_reduced_layer_runs_padded_as_it_runs_alone(network: LraNetwork) -> None:
    layers = tuple(ssmreduce.reduce(layer, 2, method="modal").layer for layer in network.parts.layers)
    parts = Parts(layers=layers, norms=network.parts.norms, decoder=network.parts.decoder)
    module, variables = whole(network, parts)
    assert network.with_parts(parts).layers[0].order == 2
    direct = np.asarray(module.apply(variables, network.x, network.lengths))
    np.testing.assert_allclose(network.run(parts, np.arange(N)).logits, direct, atol=2e-5)
    assert np.abs(network.run(network.parts, np.arange(N)).logits - direct).max() > 1e-3


def test_recorded_inputs_give_the_outputs_of_the_layers(network: LraNetwork) -> None:
    """Replace the last layer by D alone: what it did besides is what its system makes of the recorded inputs."""
    found = network.run(network.parts, np.arange(N), record=(0, 1))
    from ssmreduce import simulate

    layer = network.parts.layers[0]
    u = found.inputs[0]
    length = L if found.lengths is None else int(found.lengths[0])
    y = simulate(layer.system, u[0, :length].T[:, :, None] if layer.system.batch_shape else u[0, :length])
    y = y[..., 0].T if layer.system.batch_shape else y
    captured: list[np.ndarray] = []
    from flax import linen as nn

    def watch(following: Any, args: Any, kwargs: Any, context: Any) -> Any:
        result = following(*args, **kwargs)
        if context.module.name == "seq" and context.method_name == "__call__":
            captured.append(np.asarray(result))
        return result

    module, variables = whole(network, network.parts)
    with nn.intercept_methods(watch):
        module.apply(variables, network.x, network.lengths)
    np.testing.assert_allclose(y, captured[0][:length, 0], atol=2e-4 * np.abs(y).max())


def test_moments_are_those_of_what_enters_the_norms(network: LraNetwork) -> None:
    """Running statistics of one training pass with momentum 0 are the moments of the same examples."""
    if not network.parts.norms:
        assert network.run(network.parts, np.arange(N)).moments == ()
        return
    options = network.options | {"bn_momentum": 0.0}
    variables = {"params": network.model.params, "batch_stats": network.model.batch_stats}
    module = rebuild(network.model.architecture, variables, options)
    _, changed = module.apply(variables, network.x, network.lengths, training=True, mutable=["batch_stats"])
    found = network.run(network.parts, np.arange(N)).moments
    first = changed["batch_stats"]["encoder"]["layers_0"]["norm"]
    np.testing.assert_allclose(found[0][0], first["mean"], atol=1e-5)
    np.testing.assert_allclose(found[0][1], first["var"], rtol=0.05)  # PyTorch's are unbiased
    assert len(found) == len(network.parts.norms)


def test_moments_of_short_activations_are_summed_in_float32(rng: np.random.Generator) -> None:
    from lra.passes import moments

    x = jnp.asarray(rng.normal(3.0, 0.1, (400, 5, 2)), jnp.bfloat16)
    mean, square, count = moments(x)
    exact = np.asarray(x, np.float64)
    np.testing.assert_allclose(mean, exact.mean((0, 1)), rtol=1e-5)
    np.testing.assert_allclose(square, (exact**2).mean((0, 1)), rtol=1e-5)
    assert count == 2000


def test_gradients_are_differences(network: LraNetwork) -> None:
    """Pushing D of the last layer pushes its output by D u: the gradient says what that does to the logits."""
    v = np.random.default_rng(0).standard_normal((N, network.run(network.parts, np.arange(N)).logits.shape[1]))
    gradients = network.gradients(network.parts, np.arange(N), v.astype(np.float32))
    found = network.run(network.parts, np.arange(N), record=(0, 1))
    for index, layer in enumerate(network.parts.layers):
        assert gradients[index].shape == found.inputs[index].shape
        push = np.random.default_rng(1).standard_normal(layer.n_channels)
        u = found.inputs[index].astype(float)
        if found.lengths is not None:
            u = np.where((np.arange(L) < found.lengths[:, None])[..., None], u, 0)
        predicted = float((gradients[index] * u * push).sum())
        step, values = 1e-2, []
        for sign in (1, -1):
            moved = layer.replace(D=layer.D + sign * step * push)
            logits = network.run(network.parts.with_layer(index, moved), np.arange(N)).logits
            values.append(float((v * logits).sum()))
        assert predicted == pytest.approx((values[0] - values[1]) / (2 * step), rel=2e-2, abs=2e-3)


def test_all_at_once_is_one_after_the_other(network: LraNetwork, rng: np.random.Generator) -> None:
    """Inputs, logits and the gradients of three combinations, of four of the examples, in batches of two."""
    network = LraNetwork(network.model, network.x, network.lengths, batch=2)
    rows, parts = np.array([4, 0, 3, 1]), network.parts.with_layer(1, network.parts.layers[1].keep(range(3)))
    v = rng.standard_normal((len(rows), 3, 3)).astype(np.float32)
    seen, felt = network.along(parts, rows, v, record=(1,))
    ran = network.run(parts, rows, record=(1,))
    assert relative(seen.logits, ran.logits) <= tol(L, dtype=np.float32)
    assert list(seen.inputs) == [1]
    assert relative(seen.inputs[1], ran.inputs[1]) <= tol(L, dtype=np.float32)
    assert (seen.lengths is None) == (ran.lengths is None)
    assert seen.lengths is None or np.array_equal(seen.lengths, ran.lengths)
    assert len(felt) == 3
    for r, gradients in enumerate(felt):
        for mine, alone in zip(gradients, network.gradients(parts, rows, v[..., r]), strict=True):
            assert relative(mine, alone) <= tol(L, dtype=np.float32)


@pytest.mark.parametrize("network", ["s5 retrieval", "s4d both directions, padded"], indirect=True)
def test_a_recording_in_a_file_is_what_the_network_gave(network: LraNetwork, tmp_path: Path) -> None:
    """Three examples at a time, of pairs both documents; compiled for another batch, so rounded otherwise."""
    found = ssmreduce.save_recording(network, tmp_path / "x", batch=3, seed=1)
    rows = np.arange(network.count)
    wanted = network.run(network.parts, rows, record=(0, 1))
    v = np.random.default_rng(1).standard_normal(wanted.logits.shape)
    v -= v.mean(axis=-1, keepdims=True)
    gradients = network.gradients(network.parts, rows, v.astype(np.float32))
    for index in (0, 1):
        assert relative(found.inputs[index], wanted.inputs[index]) <= tol(L, dtype=np.float32)
        assert relative(found.gradients[index], gradients[index]) <= tol(L, cond=10, dtype=np.float32)
    assert (found.lengths is None) == (wanted.lengths is None)
    assert found.lengths is None or np.array_equal(found.lengths, wanted.lengths)
