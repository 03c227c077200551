"""The optimizers of the S5 and S4 codes: groups of parameters on one learning-rate curve."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax.numpy as jnp
import optax

from lra.errors import ConfigError

Schedule = Callable[[Any], Any]

# Leaves at the small rate without decay ("ssm") and with decay ("ssm_decay"); all others are "regular".
_S5_STATES, _S4_STATES = (
    frozenset({"Lambda_re", "Lambda_im", "log_step"}),
    frozenset({"A_real", "A_imag", "B", "inv_dt"}),
)
GROUPS: dict[str, tuple[frozenset[str], frozenset[str]]] = {
    "standard": (_S5_STATES | {"B"}, frozenset()),
    "BandCdecay": (_S5_STATES, frozenset({"B"})),
    "BfastandCdecay": (_S5_STATES, frozenset()),
    "noBCdecay": (_S5_STATES | {"B", "C", "C1", "C2", "D"}, frozenset()),
    "s4": (_S4_STATES, frozenset()),
    "s4_slow_C": (_S4_STATES, frozenset({"C"})),
}
S4_GROUPS: tuple[str, ...] = ("s4", "s4_slow_C")


def schedule(
    base: float,
    steps_per_epoch: int,
    epochs: int,
    warmup_epochs: float = 1.0,
    cosine: bool = True,
    reference: bool = False,
    total_steps: int | None = None,
    warmup_steps: int | None = None,
) -> Schedule:
    """Return the learning rate as a function of the optimizer step (0-based).

    A linear warm-up ends at `base` after `warmup_epochs`; a half cosine then falls to 0 at the end of training.

    Parameters
    ----------
    reference : bool
        Reproduce the two quirks of the reference S5: the first step runs at the full rate (every later one at the
        rate that was meant for the step before it), and the cosine counts from the start of training, so that the
        rate drops at the end of the warm-up and is 0 during the last `warmup_epochs` epochs.
    total_steps, warmup_steps : int, optional
        Length of the curve and of its warm-up where it is counted in steps, as S4's is: the rate stays 0 after
        `total_steps`, and has not reached 0 if training ends before.
    """
    total = steps_per_epoch * epochs if total_steps is None else total_steps
    warmup = steps_per_epoch * warmup_epochs if warmup_steps is None else warmup_steps

    def ramp(k: Any) -> Any:
        return base * jnp.minimum((k + 1) / max(warmup, 1), 1)

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


def label_leaves(params: Any, opt_config: str, dt_global: bool, path: tuple[str, ...] = ()) -> Any:
    """Return the tree of `params` with each leaf replaced by its group.

    ``ssm`` (small rate, no decay), ``ssm_decay`` (small rate, decay), ``regular`` (full rate, decay) or ``plain``
    (full rate, no decay). With `dt_global` the step sizes move to the full rate; S5 lets them decay there, S4 does not.
    S4 keeps decay off the biases and norms of its layers; S5 does not.
    """
    if opt_config not in GROUPS:
        raise ConfigError(f"opt_config {opt_config!r} is not one of {', '.join(GROUPS)}")
    if isinstance(params, Mapping):
        return {key: label_leaves(value, opt_config, dt_global, (*path, key)) for key, value in params.items()}
    slow, slow_decay = GROUPS[opt_config]
    name, s4 = path[-1], opt_config in S4_GROUPS
    if name in ("log_step", "inv_dt") and dt_global:
        return "plain" if s4 else "regular"
    if s4 and name in ("scale", "bias") and any(part.startswith(("layers_", "norm")) for part in path):
        return "plain"
    return "ssm" if name in slow else "ssm_decay" if name in slow_decay else "regular"


def optimizer(
    ssm_rate: Schedule | float,
    rate: Schedule | float,
    weight_decay: float,
    opt_config: str = "standard",
    dt_global: bool = False,
) -> optax.GradientTransformation:
    """Return Adam or AdamW at `ssm_rate` or `rate` for the four groups of `label_leaves`."""
    return optax.multi_transform(
        {
            "ssm": optax.adam(ssm_rate),
            "ssm_decay": optax.adamw(ssm_rate, weight_decay=weight_decay),
            "regular": optax.adamw(rate, weight_decay=weight_decay),
            "plain": optax.adam(rate),
        },
        lambda params: label_leaves(params, opt_config, dt_global),
    )
