"""Stacks of state space blocks with a classification or a retrieval head."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import linen as nn

from lra.models.precision import narrow, wide

Array = jax.Array

MODES: tuple[str, ...] = ("pool", "last")


def padding_mask(L: int, lengths: Array) -> Array:
    """Return (L, batch): whether a sample is one of the first ``lengths`` (batch,)."""
    return jnp.arange(L)[:, None] < lengths[None, :]


def pool_mean(x: Array, lengths: Array | None) -> Array:
    """Return the mean over time (batch, H) of `x` (L, batch, H), over the first `lengths` (batch,) samples if given."""
    if lengths is None:
        return x.mean(axis=0)
    return jnp.where(padding_mask(len(x), lengths)[..., None], x, 0).sum(axis=0) / lengths[:, None]


class Encoder(nn.Module):
    """A dense map (or a table of embeddings) to H channels, then the blocks ``layers_0, layers_1, ...``.

    Attributes
    ----------
    blocks : tuple of Callable
        One maker per block, called with its ``name``.
    H : int
        Channels.
    tokens : bool
        Inputs are token ids: row gathers of the same kernel instead of products with one-hot vectors.
    d_input : int
        Input channels, or size of the vocabulary.
    final_norm : Callable, optional
        Makes the norm after the last block (S4 has one, S5 has none).
    token_std : float, optional
        Standard deviation of the initial embeddings (S4's is 1); default: a dense layer's, 1 / sqrt(d_input), as S5's.
    precision : {"float32", "bfloat16"}
        Type of the activations between the blocks, see `lra.models.precision`.
    """

    blocks: tuple[Callable[..., nn.Module], ...]
    H: int
    d_input: int
    tokens: bool = False
    final_norm: Callable[[], Callable[..., Array]] | None = None
    token_std: float | None = None
    precision: str = "float32"

    @nn.compact
    def __call__(self, x: Array, training: bool = False, mask: Array | None = None) -> Array:
        """Return the features (L, batch, H) of `x` (L, batch, d_input), or of ids (L, batch); `mask` as in `Block`."""
        if self.tokens:
            x = TokenDense(self.H, self.d_input, self.token_std, name="encoder")(x)
        else:
            x = nn.Dense(self.H, name="encoder")(x)
        x = narrow(x, self.precision)
        for i, block in enumerate(self.blocks):
            x = block(name=f"layers_{i}")(x, training, mask)
        return wide(self.final_norm()(x, training, mask) if self.final_norm else x)


class TokenDense(nn.Module):
    """A dense layer on one-hot vectors, computed as a gather of its kernel's rows."""

    H: int
    size: int
    std: float | None = None

    @nn.compact
    def __call__(self, ids: Array) -> Array:
        """Return (..., H) for `ids` (...)."""
        init = nn.initializers.lecun_normal() if self.std is None else nn.initializers.normal(self.std)
        kernel = self.param("kernel", init, (self.size, self.H))
        bias = self.param("bias", nn.initializers.zeros_init(), (self.H,))
        return kernel[ids] + bias


class Classifier(nn.Module):
    """Sequences to the logarithms of class probabilities.

    Attributes
    ----------
    encoder_maker : Callable
        Makes the `Encoder`; called with ``name="encoder"``.
    n_classes : int
        Classes.
    mode : {"pool", "last"}
        Read the mean over time, or the last sample.
    padded : bool
        The mean runs over the first ``lengths`` samples only.
    mask_padding : bool
        Keep padding out of the state space layers and of the batch norms as well, so that the outputs do not depend
        on how far a sequence was padded. Off, as in the reference S5: padding is embedded like any other token.
    """

    encoder_maker: Callable[..., Encoder]
    n_classes: int
    mode: str = "pool"
    padded: bool = False
    mask_padding: bool = False

    @nn.compact
    def __call__(self, x: Array, lengths: Array | None = None, training: bool = False) -> Array:
        """Return log-probabilities (batch, n_classes) for `x` (batch, L, d_input), or ids (batch, L)."""
        if self.mode not in MODES:
            raise ValueError(f"mode {self.mode!r} is not one of {', '.join(MODES)}")
        if self.padded and self.mode == "last":
            raise ValueError('mode "last" cannot be used with padded sequences: the last sample may be padding')
        if self.padded and lengths is None:
            raise ValueError("a padded model needs the lengths of its sequences")
        x = jnp.swapaxes(x, 0, 1)
        mask = padding_mask(len(x), lengths) if self.padded and self.mask_padding else None
        x = self.encoder_maker(name="encoder")(x, training, mask)
        features = x[-1] if self.mode == "last" else pool_mean(x, lengths if self.padded else None)
        return nn.log_softmax(nn.Dense(self.n_classes, name="decoder")(features))


class RetrievalHead(nn.Module):
    """Two feature vectors to two logits through ``[a, b, a - b, a * b]`` and one hidden layer.

    Attributes
    ----------
    H, n_classes : int
        Hidden units, classes.
    exact_gelu : bool
        GELU as S4 computes it, through the error function; False: the tanh approximation, as S5 does.
    """

    H: int
    n_classes: int = 2
    exact_gelu: bool = False

    @nn.compact
    def __call__(self, a: Array, b: Array) -> Array:
        """Return logits (batch, n_classes) for features `a`, `b` (batch, H)."""
        x = jnp.concatenate([a, b, a - b, a * b], axis=-1)
        x = nn.gelu(nn.Dense(self.H, name="layer1")(x), approximate=not self.exact_gelu)
        return nn.Dense(self.n_classes, name="layer2")(x)


class RetrievalClassifier(nn.Module):
    """Pairs of documents, stacked on the batch axis (all first ones, then all second ones), to log-probabilities."""

    encoder_maker: Callable[..., Encoder]
    H: int
    n_classes: int = 2
    padded: bool = True
    mask_padding: bool = False
    exact_gelu: bool = False

    @nn.compact
    def __call__(self, x: Array, lengths: Array | None = None, training: bool = False) -> Array:
        """Return log-probabilities (batch, n_classes) for `x` (2 batch, L, ...)."""
        x = jnp.swapaxes(x, 0, 1)
        mask = padding_mask(len(x), lengths) if self.padded and self.mask_padding else None
        x = self.encoder_maker(name="encoder")(x, training, mask)
        features = pool_mean(x, lengths if self.padded else None)
        half = features.shape[0] // 2
        head = RetrievalHead(self.H, self.n_classes, self.exact_gelu, name="decoder")
        return nn.log_softmax(head(features[:half], features[half:]))
