"""A training step of S5 as the reference code takes it, for timing beside ours; written anew from the description.

What makes it the reference's: the model sees one sequence and is mapped over the batch; eigenvalues are tiled to one
copy a sample and go through `jax.lax.associative_scan` as complex numbers, twice when bidirectional; tokens become
one-hot vectors; batch norm averages over time first and over the mapped batch axis then; learning rates are injected
into the state of the optimizer; no buffer is given back. Parameters: the tree of our model.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from lra.optimizer import label_leaves

Array = jax.Array
Tree = Any


def combine(first: tuple[Array, Array], second: tuple[Array, Array]) -> tuple[Array, Array]:
    """The associative operation of the recurrence."""
    return second[0] * first[0], second[0] * first[1] + second[1]


def ssm(p: Tree, u: Array, bidirectional: bool) -> Array:
    """The S5 system on one sequence (L, H); zero-order hold, conjugate pairs."""
    Lambda = p["Lambda_re"] + 1j * p["Lambda_im"]
    Lambda_bar = jnp.exp(Lambda * jnp.exp(p["log_step"][:, 0]))
    B_bar = ((Lambda_bar - 1) / Lambda)[:, None] * (p["B"][..., 0] + 1j * p["B"][..., 1])
    elements = Lambda_bar * jnp.ones((u.shape[0], Lambda_bar.shape[0]))
    drive = jax.vmap(lambda v: B_bar @ v)(u)
    _, x = jax.lax.associative_scan(combine, (elements, drive))
    C = jnp.concatenate([p["C1"], p["C2"]], axis=1) if "C1" in p else p["C"]
    if bidirectional:
        _, reverse = jax.lax.associative_scan(combine, (elements, drive), reverse=True)
        x = jnp.concatenate([x, reverse], axis=-1)
    C = C[..., 0] + 1j * C[..., 1]
    return jax.vmap(lambda state: 2 * (C @ state).real)(x) + jax.vmap(lambda v: p["D"] * v)(u)


def dense(p: Tree, x: Array) -> Array:
    return x @ p["kernel"] + p["bias"]


def forward(
    options: dict[str, Any], params: Tree, stats: Tree, x: Array, length: Array | None, training: bool
) -> tuple[Array, Tree]:
    """Log-probabilities of one sequence and the new running statistics; batch norm is over the mapped axis too."""
    encoder, new_stats = params["encoder"], {}
    if options["tokens"]:
        x = jax.nn.one_hot(x, options["d_input"])
    x = dense(encoder["encoder"], x)
    for i in range(options["n_layers"]):
        layer, name = encoder[f"layers_{i}"], f"layers_{i}"
        skip, old = x, stats["encoder"][name]["norm"]
        if training:
            mean, square = jax.lax.pmean((x.mean(0), (x * x).mean(0)), "batch")
            var, momentum = jnp.maximum(square - mean * mean, 0), options["bn_momentum"]
            kept = {"mean": momentum * old["mean"] + (1 - momentum) * mean}
            new_stats[name] = {"norm": {**kept, "var": momentum * old["var"] + (1 - momentum) * var}}
        else:
            mean, var = old["mean"], old["var"]
        x = (x - mean) * jax.lax.rsqrt(var + 1e-5) * layer["norm"]["scale"] + layer["norm"]["bias"]
        x = ssm(layer["seq"], x, options["bidirectional"])
        g = jax.nn.gelu(x)
        value = x if options["activation"] == "half_glu2" else g
        x = skip + value * jax.nn.sigmoid(dense(layer["out2"], g))
    if length is None:
        pooled = x.mean(0)
    else:
        pooled = jnp.where((jnp.arange(len(x)) < length)[:, None], x, 0).sum(0) / length
    return jax.nn.log_softmax(dense(params["decoder"], pooled)), {"encoder": new_stats}


def optimizer(config: Any) -> optax.GradientTransformation:
    """Adam and AdamW by group, learning rates in the state; constant here, the reference writes them every step."""
    adam, adamw = optax.inject_hyperparams(optax.adam), optax.inject_hyperparams(optax.adamw)
    return optax.multi_transform(
        {
            "ssm": adam(learning_rate=config.ssm_lr),
            "ssm_decay": adamw(learning_rate=config.ssm_lr, weight_decay=config.weight_decay),
            "regular": adamw(learning_rate=config.lr, weight_decay=config.weight_decay),
        },
        lambda params: label_leaves(params, config.opt_config, config.dt_global),
    )


def make_train_step(options: dict[str, Any], tx: optax.GradientTransformation) -> Callable[..., Any]:
    """The compiled ``(params, stats, opt_state, batch) -> (params, stats, opt_state, loss)``."""

    def loss_fn(params: Tree, stats: Tree, batch: dict[str, Array]) -> tuple[Array, Tree]:
        def one(x: Array, length: Array | None) -> tuple[Array, Tree]:
            return forward(options, params, stats, x, length, True)

        run = jax.vmap(one, axis_name="batch", out_axes=(0, None))
        log_probs, new_stats = run(batch["x"], batch.get("lengths"))
        return -jnp.take_along_axis(log_probs, batch["y"][:, None], axis=1).mean(), new_stats

    def step(params: Tree, stats: Tree, opt_state: Any, batch: dict[str, Array]) -> tuple[Tree, Tree, Any, Array]:
        (loss, stats), grads = jax.value_and_grad(loss_fn, has_aux=True)(params, stats, batch)
        updates, opt_state = tx.update(grads, opt_state, params)
        return optax.apply_updates(params, updates), stats, opt_state, loss

    return jax.jit(step)


def make_eval_step(options: dict[str, Any]) -> Callable[..., Any]:
    """The compiled ``(params, stats, batch) -> log-probabilities``."""

    def step(params: Tree, stats: Tree, batch: dict[str, Array]) -> Array:
        def one(x: Array, length: Array | None) -> Array:
            return forward(options, params, stats, x, length, False)[0]

        return jax.vmap(one)(batch["x"], batch.get("lengths"))

    return jax.jit(step)
