"""Streams: after every sample what the model says of the sequence up to there, whole and reduced, in any pieces."""

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
from lra.errors import ConfigError
from lra.evaluate import rebuild
from lra.models import build
from lra.streaming import Stream

pytestmark = pytest.mark.jax

SHARED = {
    "d_model": 4, "n_layers": 2, "discretization": "zoh", "step_rescale": 1.0, "prenorm": True, "batchnorm": True,
    "bn_momentum": 0.9, "d_input": 3, "n_classes": 3, "mode": "pool", "mask_padding": False, "tokens": False,
    "padded": False, "retrieval": False, "precision": "float32", "bidirectional": False,
}  # fmt: skip
S5 = {"C_init": "lecun_normal", "conj_sym": True, "clip_eigs": True, "activation": "half_glu1"}
S4D = {"n_ssm": None, "A_init": "lin", "dt_transform": "softplus"}
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "s5": ("s5", S5),
    "s5 last, layer norm after": ("s5", S5 | {"mode": "last", "batchnorm": False, "prenorm": False}),
    "s5 tokens, padded": ("s5", S5 | {"tokens": True, "padded": True, "mask_padding": True, "d_input": 5}),
    "s5 without pairs, bilinear": ("s5", S5 | {"conj_sym": False, "discretization": "bilinear"}),
    "s4d": ("s4d", S4D),
    "s4d shared copies": ("s4d", S4D | {"n_ssm": 2, "discretization": "bilinear"}),
}
N, L = 3, 7


def model_of(folder: Path, architecture: str, options: dict[str, Any]) -> ssmreduce.Model:
    """Initial values and statistics moved a little, through a file."""
    rng = np.random.default_rng(7)
    module = build(architecture, 6, **options, dropout=0.0, **({"blocks": 1} if architecture == "s5" else {}))
    x = inputs(options)
    lengths = np.full(N, L, np.int32) if options["padded"] else None
    variables = jax.jit(module.init)(jax.random.key(1), jnp.asarray(x), lengths)
    variables = jax.tree.map(lambda leaf: leaf + 0.1 * rng.standard_normal(leaf.shape).astype(leaf.dtype), variables)
    if "batch_stats" in variables:
        variables["batch_stats"] = jax.tree.map(jnp.abs, variables["batch_stats"])
    save_model(folder / "model.safetensors", variables, {"architecture": architecture, "P": 6, **options}, {})
    return ssmreduce.load(folder / "model.safetensors")


def inputs(options: dict[str, Any]) -> np.ndarray:
    rng = np.random.default_rng(3)
    if options["tokens"]:
        return rng.integers(0, options["d_input"], (N, L)).astype(np.int32)
    return rng.standard_normal((N, L, options["d_input"])).astype(np.float32)


def by_the_module(model: ssmreduce.Model, x: np.ndarray) -> np.ndarray:
    """The model on whole sequences, as `lra evaluate` runs it."""
    variables = {"params": model.params} | ({"batch_stats": model.batch_stats} if model.batch_stats else {})
    lengths = jnp.full(len(x), x.shape[1], jnp.int32) if model.options["padded"] else None
    module = rebuild(model.architecture, variables, model.options)
    return np.asarray(jax.jit(module.apply)(variables, jnp.asarray(x), lengths))


@pytest.fixture(scope="module", params=KINDS)
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> ssmreduce.Model:
    architecture, own = KINDS[request.param]
    return model_of(tmp_path_factory.mktemp("stream"), architecture, SHARED | own)


@pytest.mark.parametrize("reduced", [False, True])
def test_after_every_sample_it_says_what_the_model_says_of_the_beginning(model: ssmreduce.Model, reduced: bool) -> None:
    if reduced:
        model = ssmreduce.reduce_model(model, orders=[2, 3], method="modal")
    x, stream = inputs(dict(model.options)), Stream(model)
    state, said = stream.run(stream.start(N), x)
    for k in (L,) if reduced else (1, L):  # every length is compiled
        assert relative(np.asarray(said[:, k - 1]), by_the_module(model, x[:, :k])) <= tol(L, cond=10, dtype=np.float32)
    one = stream.start(N)
    for k in range(L):
        one, last = stream.step(one, x[:, k])
        assert relative(np.asarray(last), np.asarray(said[:, k])) <= tol(L, cond=10, dtype=np.float32)
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(state), strict=True):
        assert relative(np.asarray(a), np.asarray(b)) <= tol(L, cond=10, dtype=np.float32)


def test_it_goes_on_where_it_was(tmp_path: Path) -> None:
    """In two pieces, and streams do not see each other."""
    options = SHARED | S5
    stream, x = Stream(model_of(tmp_path, "s5", options)), inputs(options)
    _, whole = stream.run(stream.start(N), x)
    state, first = stream.run(stream.start(N), x[:, :3])
    _, second = stream.run(state, x[:, 3:])
    limit = tol(L, cond=10, dtype=np.float32)
    assert relative(np.concatenate([first, second], axis=1), np.asarray(whole)) <= limit
    _, alone = stream.run(stream.start(1), x[1:2])
    assert relative(np.asarray(alone[0]), np.asarray(whole[1])) <= limit


def test_what_must_see_the_end_is_refused(tmp_path: Path) -> None:
    both = model_of(tmp_path, "s5", SHARED | S5 | {"bidirectional": True})
    with pytest.raises(ConfigError, match="both directions"):
        Stream(both)
    options = SHARED | S5 | {"retrieval": True, "padded": True}
    module = build("s5", 6, **options, dropout=0.0, blocks=1)
    variables = jax.jit(module.init)(jax.random.key(0), jnp.zeros((4, L, 3)), jnp.full(4, L))
    save_model(tmp_path / "pairs.safetensors", variables, {"architecture": "s5", "P": 6, **options}, {})
    with pytest.raises(ConfigError, match="pairs"):
        Stream(ssmreduce.load(tmp_path / "pairs.safetensors"))
