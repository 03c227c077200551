"""Dropout whose masks belong to the examples, so that they are the same however the batch is spread over devices."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import linen as nn

from lra.models.sharded import first_example

Array = jax.Array


class Dropout(nn.Module):
    """Zero entries at random and scale the others by ``1 / (1 - rate)``; sequences have time first (L, batch, H).

    Each example draws from a key of its own, folded from the rng ``dropout`` and the example's position in the batch.

    Attributes
    ----------
    rate : float
        Probability of a zero, in [0, 1).
    tied : bool
        One mask (H,) for all samples of a sequence, else one for each sample.
    """

    rate: float
    tied: bool = True

    @nn.compact
    def __call__(self, x: Array, training: bool) -> Array:
        """Return `x`, thinned out in training."""
        if not training or self.rate == 0:
            return x
        L, batch, H = x.shape
        key = self.make_rng("dropout")
        keys = jax.vmap(lambda i: jax.random.fold_in(key, i))(first_example(batch) + jnp.arange(batch))
        shape = (1, H) if self.tied else (L, H)
        keep = jax.vmap(lambda k: jax.random.bernoulli(k, 1 - self.rate, shape), out_axes=1)(keys)
        return jnp.where(keep, x / (1 - self.rate), 0)
