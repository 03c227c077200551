"""The residual block around a state space layer: norm, layer, activation with its gate, dropout, skip connection."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import linen as nn

from lra.models.dropout import Dropout
from lra.models.norm import norm
from lra.models.precision import wide

Array = jax.Array

ACTIVATIONS: tuple[str, ...] = ("full_glu", "half_glu1", "half_glu2", "gelu")


class Block(nn.Module):
    """One layer of the stack, for sequences with time first (L, batch, H).

    Attributes
    ----------
    ssm : Callable
        Makes the state space layer; called with ``name="seq"``.
    H : int
        Channels.
    activation : {"full_glu", "half_glu1", "half_glu2", "gelu"}
        With g = dropout(gelu(x)): ``full_glu`` out1(g) * sigmoid(out2(g)), ``half_glu1`` g * sigmoid(out2(g)),
        ``half_glu2`` x * sigmoid(out2(g)), ``gelu`` g. GELU is the tanh approximation.
    dropout : float
        Rate; a mask is drawn per sequence and channel and shared by all samples of the sequence.
    prenorm : bool
        Normalise before the layer instead of after the skip connection.
    batchnorm : bool
        Batch norm over batch and time, else layer norm.
    bn_momentum : float
        Weight of the old value in the running statistics.
    """

    ssm: Callable[..., nn.Module]
    H: int
    activation: str = "half_glu1"
    dropout: float = 0.0
    prenorm: bool = True
    batchnorm: bool = True
    bn_momentum: float = 0.95

    @nn.compact
    def __call__(self, x: Array, training: bool = False, mask: Array | None = None) -> Array:
        """Return the output for `x` (L, batch, H); where `mask` (L, batch) fails, `x` is padding and enters as 0."""
        if self.activation not in ACTIVATIONS:
            raise ValueError(f"activation {self.activation!r} is not one of {', '.join(ACTIVATIONS)}")
        normalize = norm(self.batchnorm, self.bn_momentum)
        dropout = Dropout(self.dropout)

        def drop(x: Array) -> Array:
            return dropout(x, training)

        skip = x
        if self.prenorm:
            x = normalize(x, training, mask)
        if mask is not None:
            x = jnp.where(mask[..., None], x, 0)
        x = self.ssm(name="seq")(wide(x)).astype(x.dtype)
        shape = x.shape
        g = drop(nn.gelu(x))

        def gate(name: str) -> Array:  # two-axis products: XLA on a CPU is slow to differentiate others
            return nn.Dense(self.H, dtype=g.dtype, name=name)(g.reshape(-1, self.H)).reshape(shape)

        if self.activation == "full_glu":
            x = drop(gate("out1") * nn.sigmoid(gate("out2")))
        elif self.activation == "half_glu1":
            x = drop(g * nn.sigmoid(gate("out2")))
        elif self.activation == "half_glu2":
            x = drop(x * nn.sigmoid(gate("out2")))
        else:
            x = g
        x = skip + x
        return x if self.prenorm else normalize(x, training, mask)
