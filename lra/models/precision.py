"""Mixed precision: which numbers may be short.

With ``precision="bfloat16"`` the activations between the layers are bfloat16, and so are the products of the gates,
GELU and what the norms return. Everything else stays float32: the parameters and their gradients, eigenvalues and their
discretization, the state space layer with its products and its state, the statistics of the norms, the features that
are averaged over time, the head and the loss. bfloat16 has 8 significant bits: a pole within 1e-5 of the unit circle
would round to 1, and a state that sums thousands of samples would stop at a few hundred of them.

Blocks follow the type of their input, so that nothing but the encoder knows of the option.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

Array = jax.Array

PRECISIONS: tuple[str, ...] = ("float32", "bfloat16")


def narrow(x: Array, precision: str) -> Array:
    """Return the activations `x` as the blocks see them.

    Raises
    ------
    ValueError
        Unknown `precision`.
    """
    if precision not in PRECISIONS:
        raise ValueError(f"precision {precision!r} is not one of {', '.join(PRECISIONS)}")
    return x.astype(jnp.bfloat16) if precision == "bfloat16" else x


def wide(x: Array) -> Array:
    """Return `x` in float32, or in float64 if that is what it is."""
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))
