"""The optimizer of the S5 paper: three groups of parameters, one learning-rate curve."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax.numpy as jnp
import optax

from lra.errors import ConfigError

Schedule = Callable[[Any], Any]

# Leaves at the small rate without decay ("ssm") and with decay ("ssm_decay"); all others are "regular".
GROUPS: dict[str, tuple[frozenset[str], frozenset[str]]] = {
    "standard": (frozenset({"B", "Lambda_re", "Lambda_im", "log_step"}), frozenset()),
    "BandCdecay": (frozenset({"Lambda_re", "Lambda_im", "log_step"}), frozenset({"B"})),
    "BfastandCdecay": (frozenset({"Lambda_re", "Lambda_im", "log_step"}), frozenset()),
    "noBCdecay": (
        frozenset({"B", "C", "C1", "C2", "D", "Lambda_re", "Lambda_im", "log_step"}),
        frozenset(),
    ),
}


def schedule(
    base: float,
    steps_per_epoch: int,
    epochs: int,
    warmup_epochs: float = 1.0,
    cosine: bool = True,
    reference: bool = False,
) -> Schedule:
    """Return the learning rate as a function of the optimizer step (0-based).

    A linear warm-up ends at `base` after `warmup_epochs`; a half cosine then falls to 0 at the end of training.

    Parameters
    ----------
    reference : bool
        Reproduce the two quirks of the reference S5: the first step runs at the full rate (every later one at the
        rate that was meant for the step before it), and the cosine counts from the start of training, so that the
        rate drops at the end of the warm-up and is 0 during the last `warmup_epochs` epochs.
    """
    total, warmup = steps_per_epoch * epochs, steps_per_epoch * warmup_epochs

    def ramp(k: Any) -> Any:
        return base * (k + 1) / max(warmup, 1)

    def decay(k: Any, start: float) -> Any:
        if not cosine:
            return base
        return base * 0.5 * (1 + jnp.cos(jnp.pi * jnp.clip((k - start) / max(total - warmup, 1), 0, 1)))

    def fixed(step: Any) -> Any:
        return jnp.where(step < warmup, ramp(step), decay(step, warmup))

    def quirky(step: Any) -> Any:
        k = step - 1
        return jnp.where(step == 0, base, jnp.where(k < warmup, ramp(k), decay(k, 0)))

    return quirky if reference else fixed


def label_leaves(params: Any, opt_config: str, dt_global: bool, name: str = "") -> Any:
    """Return the tree of `params` with each leaf replaced by its group: ``ssm``, ``ssm_decay`` or ``regular``."""
    if opt_config not in GROUPS:
        raise ConfigError(f"opt_config {opt_config!r} is not one of {', '.join(GROUPS)}")
    if isinstance(params, Mapping):
        return {key: label_leaves(value, opt_config, dt_global, key) for key, value in params.items()}
    slow, slow_decay = GROUPS[opt_config]
    if name == "log_step" and dt_global:
        return "regular"
    return "ssm" if name in slow else "ssm_decay" if name in slow_decay else "regular"


def optimizer(
    ssm_rate: Schedule | float,
    rate: Schedule | float,
    weight_decay: float,
    opt_config: str = "standard",
    dt_global: bool = False,
) -> optax.GradientTransformation:
    """Return Adam at `ssm_rate`, AdamW at `ssm_rate` and AdamW at `rate` for the three groups of `label_leaves`.

    As in the reference, biases and norm parameters are in the regular group and decay.
    """
    return optax.multi_transform(
        {
            "ssm": optax.adam(ssm_rate),
            "ssm_decay": optax.adamw(ssm_rate, weight_decay=weight_decay),
            "regular": optax.adamw(rate, weight_decay=weight_decay),
        },
        lambda params: label_leaves(params, opt_config, dt_global),
    )
