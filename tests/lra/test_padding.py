"""With `mask_padding` neither the amount of padding nor its content changes a result; without it, both do."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lra.models import build

pytestmark = pytest.mark.jax

LENGTHS = np.array([5, 9, 2, 7])
WIDTHS = (9, 16)  # columns that the same four sequences are padded to
OPTIONS = {"d_model": 6, "n_layers": 1, "d_input": 11, "n_classes": 2, "tokens": True, "padded": True}
TOLERANCE = 5e-6  # S4D: transforms of different lengths round differently


def padded(rng: np.random.Generator, width: int, fill: str) -> np.ndarray:
    """Sequences of one fixed content, padded with id 0 or with anything."""
    valid = np.arange(width) < LENGTHS[:, None]
    ids = np.where(fill == "zeros", 0, rng.integers(0, 11, (len(LENGTHS), width)))
    content = np.random.default_rng(1).integers(3, 11, LENGTHS.sum())
    ids[valid] = content
    return ids


def results(model: Any, variables: Any, inputs: list[np.ndarray], training: bool) -> list[Any]:
    """Log-probabilities of each input and, in training, the new running statistics and the gradients of a loss."""
    if not training:
        run = jax.jit(model.apply)
        return [run(variables, ids, LENGTHS) for ids in inputs]

    def loss(params: Any, ids: Any) -> Any:
        y, updated = model.apply({**variables, "params": params}, ids, LENGTHS, True, mutable=["batch_stats"])
        return y[:, 0].sum(), (y, updated)

    step = jax.jit(jax.value_and_grad(loss, has_aux=True))
    return [(y, gradients) for (_, y), gradients in (step(variables["params"], ids) for ids in inputs)]


def spread(trees: list[Any]) -> float:
    """Largest difference between the first tree and the others."""
    return max(
        float(jnp.abs(a - b).max())
        for tree in trees[1:]
        for a, b in zip(jax.tree.leaves(trees[0]), jax.tree.leaves(tree), strict=True)
    )


CASES = [
    pytest.param("s5", {"bidirectional": True, "n_layers": 2}, id="s5"),
    pytest.param("s5", {"bidirectional": True, "prenorm": False}, id="s5-postnorm"),
    pytest.param("s5", {"bidirectional": True, "batchnorm": False}, id="s5-layer-norm"),
    pytest.param("s5", {"bidirectional": True, "retrieval": True}, id="s5-retrieval"),
    pytest.param("s4d", {"bidirectional": True, "n_layers": 2}, id="s4d"),
    pytest.param("s4d", {"bidirectional": True, "prenorm": False, "retrieval": True}, id="s4d-postnorm-retrieval"),
]


@pytest.mark.parametrize(("architecture", "options"), CASES)
def test_results_do_not_depend_on_padding(rng, architecture, options):
    check(rng, build(architecture, 4, **{**OPTIONS, **options}, mask_padding=True), training=False)


@pytest.mark.parametrize("architecture", ["s5", "s4d"])
def test_training_does_not_depend_on_padding(rng, architecture):
    options = {**OPTIONS, "prenorm": False}  # the norm comes last: it could see what the layer leaks
    check(rng, build(architecture, 4, **options, bidirectional=True, mask_padding=True), training=True)


def check(rng: np.random.Generator, model: Any, training: bool) -> None:
    inputs = [padded(rng, width, fill) for width in WIDTHS for fill in ("zeros", "anything")]
    variables = jax.jit(model.init)(jax.random.key(0), inputs[0], LENGTHS)
    assert spread(results(model, variables, inputs, training)) < TOLERANCE


def test_the_references_padding_reaches_the_states_and_the_norms(rng):
    """The published behaviour, kept for its checkpoints: the option must do something."""
    options = {**OPTIONS, "bidirectional": True, "mask_padding": False}
    inputs = [padded(rng, width, "zeros") for width in WIDTHS]
    for architecture, training, depends in (("s5", False, True), ("s4d", False, False), ("s4d", True, True)):
        model = build(architecture, 4, **options)
        variables = jax.jit(model.init)(jax.random.key(0), inputs[0], LENGTHS)
        difference = spread(results(model, variables, inputs, training))
        assert difference > 1e-3 if depends else difference < TOLERANCE  # S4D always masks its systems


@pytest.mark.parametrize("architecture", ["s5", "s4d"])
def test_a_sequence_without_padding_is_the_same_alone(rng, architecture):
    """The masked model is the plain model of each sequence cut to its length."""
    options = {**OPTIONS, "bidirectional": True}
    model = build(architecture, 4, **options, mask_padding=True)
    plain = build(architecture, 4, **{**options, "padded": False})
    ids = padded(rng, 16, "anything")
    variables = jax.jit(model.init)(jax.random.key(0), ids, LENGTHS)
    together = jax.jit(model.apply)(variables, ids, LENGTHS)
    alone = jax.jit(plain.apply)(variables, ids[:1, : LENGTHS[0]])
    np.testing.assert_allclose(together[:1], alone, rtol=0, atol=TOLERANCE)
