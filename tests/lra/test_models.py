"""Blocks and heads: activations, norms, dropout, masked pooling, embeddings, retrieval."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import erf

from lra.models import s4d_model, s5_model, stored_states
from lra.models.classifier import RetrievalHead

pytestmark = pytest.mark.jax

SMALL = {"d_model": 6, "n_layers": 2, "P": 4, "d_input": 5, "n_classes": 3}


def run(model, variables, *inputs):
    """Apply a model, compiled: one compilation is quicker than dispatching its operations one by one."""
    return jax.jit(model.apply)(variables, *inputs)


def built(x, lengths=None, **options):
    model = s5_model(**{**SMALL, **options})
    return model, jax.jit(model.init)(jax.random.key(0), x, lengths)


@pytest.mark.parametrize("activation", ["full_glu", "half_glu1", "half_glu2", "gelu"])
@pytest.mark.parametrize("prenorm", [True, False])
@pytest.mark.parametrize("batchnorm", [True, False])
def test_every_block_gives_probabilities(rng, activation, prenorm, batchnorm):
    x = rng.normal(size=(2, 7, 5)).astype(np.float32)
    options = {"n_layers": 1, "activation": activation, "prenorm": prenorm, "batchnorm": batchnorm}
    model = s5_model(**{**SMALL, **options})
    outputs, variables = model.init_with_output(jax.random.key(0), x)  # operations that all cases share: not compiled
    assert ("batch_stats" in variables) == batchnorm
    gates = {name for name in variables["params"]["encoder"]["layers_0"] if name.startswith("out")}
    assert gates == {"full_glu": {"out1", "out2"}, "gelu": set()}.get(activation, {"out2"})
    np.testing.assert_allclose(jnp.exp(outputs).sum(-1), 1, atol=1e-5)


def test_dropout_is_tied_along_the_sequence_and_differs_between_sequences():
    x = np.ones((2, 6, 5), np.float32)
    model, variables = built(x, n_layers=1, activation="gelu", dropout=0.5, batchnorm=False)
    variables["params"]["encoder"]["layers_0"]["seq"]["C"] = jnp.zeros((6, 4, 2))  # the layer is D u: constant in time

    encoder = model.encoder_maker()
    features = encoder.apply(
        {"params": variables["params"]["encoder"]},
        jnp.swapaxes(x, 0, 1),
        True,
        rngs={"dropout": jax.random.key(3)},
    )
    np.testing.assert_allclose(features[0], features[-1], atol=1e-6)
    assert not np.allclose(features[0, 0], features[0, 1])


def test_masked_pooling_reads_the_valid_samples_only(rng):
    x = rng.normal(size=(2, 9, 5)).astype(np.float32)
    lengths = np.array([4, 9])
    model, variables = built(x, lengths, padded=True)
    changed = x.copy()
    changed[0, 4:] += 1  # causal layers: later samples cannot reach the first four
    np.testing.assert_allclose(run(model, variables, x, lengths), run(model, variables, changed, lengths), atol=1e-6)
    whole = run(s5_model(**SMALL), variables, x[:1, :4])
    np.testing.assert_allclose(run(model, variables, x, lengths)[:1], whole, atol=1e-6)
    with pytest.raises(ValueError, match="lengths"):
        run(model, variables, x)


def test_the_last_sample_can_be_read_unless_it_may_be_padding(rng):
    x = rng.normal(size=(2, 9, 5)).astype(np.float32)
    model, variables = built(x, mode="last")
    assert run(model, variables, x).shape == (2, 3)
    with pytest.raises(ValueError, match="padding"):
        built(x, np.array([4, 9]), mode="last", padded=True)


def test_rows_of_the_kernel_equal_products_with_one_hot_vectors(rng):
    ids = rng.integers(0, 5, size=(2, 7))
    model, variables = built(ids, tokens=True)
    one_hot = np.eye(5, dtype=np.float32)[ids]
    np.testing.assert_allclose(run(model, variables, ids), run(s5_model(**SMALL), variables, one_hot), atol=1e-6)


def test_retrieval_pairs_first_and_second_documents(rng):
    x = rng.normal(size=(6, 7, 5)).astype(np.float32)
    lengths = np.full(6, 7)
    model, variables = built(x, lengths, retrieval=True, padded=True, n_classes=2)
    assert variables["params"]["decoder"]["layer1"]["kernel"].shape == (24, 6)
    assert variables["params"]["decoder"]["layer2"]["kernel"].shape == (6, 2)
    together = run(model, variables, x, lengths)
    alone = run(model, variables, x[[1, 4]], lengths[:2])
    np.testing.assert_allclose(together[1:2], alone, atol=1e-6)


def test_layers_may_differ_in_size(rng):
    x = rng.normal(size=(2, 7, 5)).astype(np.float32)
    _, variables = built(x, P=(4, 1))
    assert stored_states(variables["params"]) == (4, 1)


def test_unknown_options_are_errors(rng):
    x = rng.normal(size=(2, 7, 5)).astype(np.float32)
    for option in ({"activation": "relu"}, {"mode": "max"}):
        with pytest.raises(ValueError, match="is not one of"):
            built(x, **option)


def test_the_s4_head_and_its_embeddings_are_the_s4_codes(rng):
    ids = rng.integers(0, 40, size=(4, 7))
    lengths = np.full(4, 7)
    model = s4d_model(d_model=24, n_layers=1, N=4, d_input=40, n_classes=2, tokens=True, retrieval=True, padded=True)
    params = jax.jit(model.init)(jax.random.key(0), ids, lengths)["params"]
    kernel = np.asarray(params["encoder"]["encoder"]["kernel"])
    assert abs(kernel.std() - 1) < 0.1  # torch's Embedding: N(0, 1); 960 draws

    features = rng.normal(size=(2, 3, 5)).astype(np.float32)
    for exact in (False, True):  # the hidden layer is the identity on the first block, the readout sums the units
        head = RetrievalHead(5, 2, exact_gelu=exact)
        weights = {"kernel": np.eye(20, 5, dtype=np.float32), "bias": np.zeros(5, np.float32)}
        readout = {"kernel": np.ones((5, 2), np.float32), "bias": np.zeros(2, np.float32)}
        logits = head.apply({"params": {"layer1": weights, "layer2": readout}}, *features)
        a = features[0].astype(np.float64)
        inner = erf(a / np.sqrt(2)) if exact else np.tanh(np.sqrt(2 / np.pi) * (a + 0.044715 * a**3))
        np.testing.assert_allclose(logits[:, 0], (a * (1 + inner) / 2).sum(-1), rtol=0, atol=2e-6)
