"""One step: the model, the optimizer and the state of a config, a training step, and how a model is measured."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn

from lra.config import Config
from lra.devices import ONE_DEVICE, Devices
from lra.errors import NotFiniteError
from lra.models import SHARED_OPTIONS, TASK_OPTIONS, build, stored_copies, stored_states
from lra.models.sharded import mean_over_devices, sum_over_devices
from lra.optimizer import optimizer, schedule
from lra.tasks import Split, Task
from lra.tasks.batches import evaluation_batches

Array = jax.Array

INITIAL_OPTIONS = ("dt_min", "dt_max")  # only needed to train


class TrainState(NamedTuple):
    """Everything that a training step reads and writes; `totals` sums loss and accuracy since the epoch began."""

    step: Array
    params: Any
    batch_stats: Any
    opt_state: Any
    totals: Array  # (3,): sum of losses, correct answers, examples


def build_model(config: Config, task: Task, params: Any = None) -> nn.Module:
    """Return the model of a config for a task; with `params`, of their sizes (a compressed model)."""
    options = {name: getattr(config, name) for name in (*SHARED_OPTIONS, *INITIAL_OPTIONS)} | config.own.to_dict()
    options |= {name: getattr(task, name) for name in TASK_OPTIONS}
    if params is not None:
        options |= {"n_ssm": stored_copies(params)} if config.model == "s4d" else {"blocks": 1}
    return build(config.model, config.P if params is None else stored_states(params), **options)


def build_optimizer(config: Config, steps_per_epoch: int) -> optax.GradientTransformation:
    """Return the optimizer of a config, its two learning rates on one curve."""

    def curve(base: float) -> Any:
        return schedule(
            base,
            steps_per_epoch,
            config.epochs,
            config.warmup_epochs,
            config.cosine,
            config.reference_schedule,
            total_steps=config.total_steps,
            warmup_steps=config.warmup_steps,
        )

    return optimizer(curve(config.ssm_lr), curve(config.lr), config.weight_decay, config.opt_config, config.dt_global)


def initial_state(config: Config, task: Task, tx: optax.GradientTransformation) -> TrainState:
    """Return the state before the first step, a function of ``config.seed`` only."""
    model = build_model(config, task)
    batch = task.batch(task.train, np.arange(1))
    variables = jax.jit(model.init)(jax.random.key(config.seed), batch["x"], batch.get("lengths"))
    return first_state(variables, tx)


def first_state(variables: Mapping[str, Any], tx: optax.GradientTransformation) -> TrainState:
    """Return the state before the first step of training the variables of a model."""
    params = variables["params"]
    opt_state = jax.jit(tx.init)(params)
    return TrainState(jnp.zeros((), jnp.int32), params, variables.get("batch_stats", {}), opt_state, jnp.zeros(3))


def make_train_step(
    model: nn.Module,
    tx: optax.GradientTransformation,
    seed: int,
    added: Any = None,
    devices: Devices = ONE_DEVICE,
) -> Any:
    """Return the compiled step ``(state, batch) -> (state, loss)``; the old state's memory is reused.

    `added` is a function of parameters and step that the gradient sees; the loss that is reported does not hold it.
    """
    key = jax.random.key(seed + 1)

    def loss_fn(params: Any, state: TrainState, batch: dict[str, Array], rng: Array) -> tuple[Array, Any]:
        variables = {"params": params, **({"batch_stats": state.batch_stats} if state.batch_stats else {})}
        log_probs, updated = model.apply(
            variables,
            batch["x"],
            batch.get("lengths"),
            training=True,
            mutable=["batch_stats"],
            rngs={"dropout": rng},
        )
        loss = -jnp.take_along_axis(log_probs, batch["y"][:, None], axis=1).mean()
        correct = (log_probs.argmax(-1) == batch["y"]).sum()
        total = loss if added is None else loss + added(params, state.step)
        return total, (loss, updated.get("batch_stats", {}), correct)

    def step(state: TrainState, batch: dict[str, Array]) -> tuple[TrainState, Array]:
        rng = jax.random.fold_in(key, state.step)
        (_, (loss, batch_stats, correct)), grads = jax.value_and_grad(loss_fn, has_aux=True)(
            state.params, state, batch, rng
        )
        loss, grads = mean_over_devices((loss, grads))
        correct, count = sum_over_devices((correct, batch["y"].shape[0]))
        updates, opt_state = tx.update(grads, state.opt_state, state.params)
        totals = state.totals + jnp.stack([loss * count, correct, jnp.asarray(count)]).astype(jnp.float32)
        params = optax.apply_updates(state.params, updates)
        return TrainState(state.step + 1, params, batch_stats, opt_state, totals), loss

    return devices.compile(step, donate=(0,))


def make_eval_step(model: nn.Module, devices: Devices = ONE_DEVICE) -> Any:
    """Return the compiled ``(variables, batch) -> (sum of losses, correct answers, examples)``."""

    def step(variables: Any, batch: dict[str, Array]) -> Array:
        log_probs = model.apply(variables, batch["x"], batch.get("lengths"))
        losses = -jnp.take_along_axis(log_probs, batch["y"][:, None], axis=1)[:, 0]
        correct, weight = log_probs.argmax(-1) == batch["y"], batch["weight"]
        return sum_over_devices(jnp.stack([(losses * weight).sum(), (correct * weight).sum(), weight.sum()]))

    return devices.compile(step)


def measure(
    eval_step: Any, variables: Any, task: Task, split: Split, batch_size: int, devices: Devices = ONE_DEVICE
) -> dict[str, float]:
    """Return mean loss and accuracy over every example of a split.

    Raises
    ------
    NotFiniteError
        The model's outputs are not finite somewhere, so that neither figure means anything.
    """
    totals, batch_size = np.zeros(3), devices.round_up(batch_size)
    for number, batch in enumerate(evaluation_batches(task, split, batch_size, devices.part(batch_size))):
        totals += np.asarray(eval_step(variables, devices.spread(batch)), np.float64)
        if not np.isfinite(totals).all():
            first = number * batch_size
            raise NotFiniteError(
                f"the loss is not finite among examples {first} to {min(first + batch_size, len(split)) - 1}; the "
                "parameters or the data hold values that are not finite, or a pole left the unit circle"
            )
    return {"loss": float(totals[0] / totals[2]), "accuracy": float(totals[1] / totals[2])}


def model_variables(state: TrainState) -> dict[str, Any]:
    """Return what the model's ``apply`` takes."""
    return {"params": state.params, **({"batch_stats": state.batch_stats} if state.batch_stats else {})}
