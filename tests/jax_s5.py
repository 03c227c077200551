"""S5's layer in JAX, from its paper's formulas alone: what a network that is loaded from a file computes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np


def run(raw: Mapping[str, Any], u: np.ndarray) -> np.ndarray:
    """Outputs (L, H) of inputs (L, H); one eigenvalue of each conjugate pair is stored, zoh, float32."""
    import jax
    import jax.numpy as jnp

    poles = jax.lax.complex(jnp.asarray(raw["Lambda_re"]), jnp.asarray(raw["Lambda_im"]))
    B, C = (jax.lax.complex(jnp.asarray(raw[key])[..., 0], jnp.asarray(raw[key])[..., 1]) for key in "BC")
    stepped = jnp.exp(poles * jnp.exp(jnp.asarray(raw["log_step"])[:, 0]))
    driven = ((stepped - 1) / poles)[:, None] * B

    def step(x: Any, sample: Any) -> tuple[Any, Any]:
        x = stepped * x + driven @ sample
        return x, 2 * (C @ x).real + jnp.asarray(raw["D"]) * sample

    return np.asarray(jax.lax.scan(step, jnp.zeros(len(poles), C.dtype), jnp.asarray(u))[1])
