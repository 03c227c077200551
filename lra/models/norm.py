"""Batch norm over batch and time, with the conventions of either framework, blind to padding where a mask is given."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import linen as nn

from lra.models.precision import wide
from lra.models.sharded import mean_over_devices, sum_over_devices

Array = jax.Array


class BatchNorm(nn.Module):
    """Normalise each channel over batch and time; sequences have time first (L, batch, H).

    Parameters ``scale, bias (H,)``; running statistics ``mean, var (H,)`` in ``batch_stats``.

    Attributes
    ----------
    momentum : float
        Weight of the old value in the running statistics (PyTorch counts the other way: its 0.1 is 0.9 here).
    epsilon : float
        Added to the variance.
    unbiased : bool
        The running variance is the unbiased one, as PyTorch keeps it; Flax keeps the biased one.
    """

    momentum: float = 0.95
    epsilon: float = 1e-5
    unbiased: bool = False

    @nn.compact
    def __call__(self, x: Array, training: bool = False, mask: Array | None = None) -> Array:
        """Return `x` normalised; in training by the statistics of the entries where `mask` (L, batch) holds."""
        H, dtype = x.shape[-1], x.dtype
        x = wide(x)
        scale = self.param("scale", nn.initializers.ones_init(), (H,))
        bias = self.param("bias", nn.initializers.zeros_init(), (H,))
        mean_old = self.variable("batch_stats", "mean", jnp.zeros, (H,))
        var_old = self.variable("batch_stats", "var", jnp.ones, (H,))
        if training:
            if mask is None:
                count: Array | float = sum_over_devices(float(x.shape[0] * x.shape[1]))
                mean, square = mean_over_devices((x.mean((0, 1)), (x * x).mean((0, 1))))
            else:
                count = jnp.maximum(sum_over_devices(mask.sum()), 2).astype(x.dtype)
                valid = jnp.where(mask[..., None], x, 0)
                total, total_square = sum_over_devices((valid.sum((0, 1)), (valid * valid).sum((0, 1))))
                mean, square = total / count, total_square / count
            var = jnp.maximum(square - mean * mean, 0)
            if not self.is_initializing():
                kept = var * (count / jnp.maximum(count - 1, 1)) if self.unbiased else var
                mean_old.value = self.momentum * mean_old.value + (1 - self.momentum) * mean
                var_old.value = self.momentum * var_old.value + (1 - self.momentum) * kept
        else:
            mean, var = mean_old.value, var_old.value
        return ((x - mean) * (jax.lax.rsqrt(var + self.epsilon) * scale) + bias).astype(dtype)


def norm(
    batchnorm: bool, momentum: float, *, unbiased: bool = False, layer_epsilon: float = 1e-6, name: str = "norm"
) -> Callable[..., Array]:
    """Return batch or layer norm as a function of ``(x, training, mask)``, to be called inside a compact method."""
    if batchnorm:
        return BatchNorm(momentum, unbiased=unbiased, name=name)
    layer = nn.LayerNorm(epsilon=layer_epsilon, name=name)
    return lambda x, training=False, mask=None: layer(wide(x)).astype(x.dtype)
