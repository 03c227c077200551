"""Mixed precision: what is short, what is not, and that training does not suffer."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from lra.checkpoint import read_tensors
from lra.config import load_config
from lra.errors import ConfigError
from lra.models import S5SSM, s4d_model, s5_model
from lra.train import train_and_evaluate

pytestmark = pytest.mark.jax

SMALL = {"d_model": 6, "n_layers": 2, "d_input": 5, "n_classes": 3}
MODELS = {
    "s5": lambda precision: s5_model(**SMALL, P=4, activation="full_glu", precision=precision),
    "s5, layer norm after": lambda precision: s5_model(
        **SMALL, P=4, batchnorm=False, prenorm=False, bidirectional=True, precision=precision
    ),
    "s4d": lambda precision: s4d_model(**SMALL, N=8, precision=precision),
}
SHORT = {"Dense", "BatchNorm", "Block", "S4Block"}
LONG = {"S5SSM", "S4DSSM", "Encoder", "Classifier"}


def seen(model, variables, x, run=jax.eval_shape):
    """Every module's output in training, by class of module and path: its type, or its value if it is run."""
    found = {}

    def note(next_function, arguments, keywords, context):
        result = next_function(*arguments, **keywords)
        if context.method_name == "__call__":
            found[type(context.module).__name__, context.module.path] = result
        return result

    def train(variables, x):
        return model.apply(variables, x, None, True, mutable=["batch_stats"], rngs={"dropout": jax.random.key(0)})

    with nn.intercept_methods(note):
        _, updated = run(train, variables, x)
    return found, updated


@pytest.mark.parametrize("name", sorted(MODELS))
def test_activations_are_short_and_all_else_is_not(rng, name):
    x = rng.normal(size=(2, 12, 5)).astype(np.float32)
    short, long = MODELS[name]("bfloat16"), MODELS[name]("float32")
    variables = jax.jit(short.init)(jax.random.key(0), x)
    shapes = jax.eval_shape(long.init, jax.random.key(0), x)
    assert jax.tree.map(jnp.shape, variables) == jax.tree.map(jnp.shape, shapes)
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype("float32")}

    found, updated = seen(short, variables, x)
    assert {leaf.dtype for leaf in jax.tree.leaves(updated)} <= {jnp.dtype("float32")}
    for (kind, path), value in found.items():
        inside = "layers_" in "".join(path) or path[-1:] == ("norm",)
        if kind in LONG or not inside:
            assert value.dtype == jnp.float32, (kind, path)
        elif kind in SHORT:
            assert value.dtype == jnp.bfloat16, (kind, path)
    assert {kind for kind, _ in found} >= {"Dense", "Encoder", "Classifier"}

    gap = np.abs(jax.jit(short.apply)(variables, x) - jax.jit(long.apply)(variables, x)).max()
    assert 0 < gap < 0.05  # some roundings of 2**-9 of numbers of order 1


def test_the_state_space_layer_computes_in_float32(rng):
    """The very bits of the layer alone on the short input, with poles that bfloat16 would put on the circle."""
    x = rng.normal(size=(2, 400, 5)).astype(np.float32)
    model = s5_model(**{**SMALL, "n_layers": 1}, P=4, precision="bfloat16")
    variables = jax.jit(model.init)(jax.random.key(0), x)
    seq = variables["params"]["encoder"]["layers_0"]["seq"]
    seq["Lambda_re"], seq["log_step"] = jnp.full(4, -1e-2), jnp.full((4, 1), np.log(1e-3, dtype=np.float32))
    found, _ = seen(model, variables, x, lambda train, *inputs: train(*inputs))
    values = {kind: value for (kind, path), value in found.items() if "layers_0" in path}
    alone = S5SSM(H=6, P=4).apply({"params": seq}, values["BatchNorm"].astype(jnp.float32))
    np.testing.assert_array_equal(values["S5SSM"], alone)
    assert jnp.bfloat16(np.exp(-1e-5)) == 1


def test_training_in_bfloat16_learns_what_float32_learns(tmp_path):
    config = load_config("digits", {"n_layers": 1, "epochs": 8, "precision": "bfloat16"})
    short = train_and_evaluate(config, tmp_path / "short", quiet=True)
    long = train_and_evaluate(config.replace(precision="float32"), tmp_path / "long", quiet=True)
    assert long.test["accuracy"] > 0.8
    assert abs(short.test["accuracy"] - long.test["accuracy"]) < 0.05  # 18 of 360 images
    tensors, _ = read_tensors(tmp_path / "short" / "last.safetensors")
    floats = {array.dtype for array in tensors.values() if array.dtype.kind not in "iu"}
    assert floats == {np.dtype("float32")}


def test_an_unknown_precision_is_a_typed_error():
    with pytest.raises(ConfigError, match="float16"):
        load_config("digits", {"precision": "float16"})
