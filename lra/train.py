"""Training: one entry, `train_and_evaluate`; resumable at any moment, deterministic given the seed."""

from __future__ import annotations

import dataclasses
import json
import os
import platform
import time
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn

from lra.checkpoint import load_state, save_state, write_atomically
from lra.compression import compress, compression_steps, resized, stored_shapes
from lra.config import Config
from lra.devices import ONE_DEVICE, Devices, choose
from lra.errors import CheckpointError, DivergenceError
from lra.metrics import cut, log
from lra.models import OWN_OPTIONS, SHARED_OPTIONS, TASK_OPTIONS, build, stored_copies, stored_states
from lra.models.sharded import mean_over_devices, sum_over_devices
from lra.optimizer import optimizer, schedule
from lra.penalties import layer_sums, penalty
from lra.progress import Progress
from lra.tasks import Split, Task, load_task
from lra.tasks.batches import evaluation_batches, training_batches

Array = jax.Array


class TrainState(NamedTuple):
    """Everything that a training step reads and writes; `totals` sums loss and accuracy since the epoch began."""

    step: Array
    params: Any
    batch_stats: Any
    opt_state: Any
    totals: Array  # (3,): sum of losses, correct answers, examples


def build_model(config: Config, task: Task, params: Any = None) -> nn.Module:
    """Return the model of a config for a task; with `params`, of their sizes (a compressed model)."""
    names = (*SHARED_OPTIONS, *OWN_OPTIONS[config.model], *INITIAL_OPTIONS[config.model])
    options = {name: getattr(config, name) for name in names} | {name: getattr(task, name) for name in TASK_OPTIONS}
    if params is not None:
        options |= {"n_ssm": stored_copies(params)} if config.model == "s4d" else {"blocks": 1}
    return build(config.model, config.P if params is None else stored_states(params), **options)


INITIAL_OPTIONS = {  # only needed to train
    "s5": ("dt_min", "dt_max", "blocks", "scan", "scan_chunk"),
    "s4d": ("dt_min", "dt_max"),
}


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


def compile_steps(
    config: Config, task: Task, tx: optax.GradientTransformation, params: Any, devices: Devices
) -> tuple[Any, Any]:
    """Return the training and the evaluation step of a model with the sizes of `params`."""
    model = build_model(config, task, params if config.compressions else None)
    return make_train_step(model, tx, config.seed, penalty(config), devices), make_eval_step(model, devices)


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
    """Return mean loss and accuracy over every example of a split."""
    totals, batch_size = np.zeros(3), devices.round_up(batch_size)
    for batch in evaluation_batches(task, split, batch_size, devices.part(batch_size)):
        totals += np.asarray(eval_step(variables, devices.spread(batch)), np.float64)
    return {"loss": float(totals[0] / totals[2]), "accuracy": float(totals[1] / totals[2])}


def model_variables(state: TrainState) -> dict[str, Any]:
    """Return what the model's ``apply`` takes."""
    return {"params": state.params, **({"batch_stats": state.batch_stats} if state.batch_stats else {})}


LARGE_STEP = 10.0  # a hundred times the largest initial step size


def diagnose(params: Any, config: Config) -> list[str]:
    """Say what in the last healthy parameters may have blown up: poles, step sizes, large values."""
    found = []
    for name, layer in sorted(params["encoder"].items()):
        seq = layer.get("seq", {})
        unstable = int((np.asarray(seq.get("Lambda_re", -1)) >= 0).sum())
        if unstable and not config.clip_eigs:
            found.append(f"{name} has {unstable} poles on or outside the unit circle (clip_eigs=True forbids them)")
        with np.errstate(over="ignore"):  # a step size of inf is a finding, not a fault of the diagnosis
            step = float(np.exp(np.asarray(seq.get("log_step", -np.inf)).max()))
        if step > LARGE_STEP:
            found.append(f"{name} has a step size of {step:.3g}")
    size, where = max(
        (float(np.abs(leaf).max()), jax.tree_util.keystr(path))
        for path, leaf in jax.tree_util.tree_flatten_with_path(params)[0]
    )
    found.append(f"the largest parameter of the last healthy state is {size:.3g} in {where}")
    return [*found, "lower lr and ssm_lr, or warm up longer"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a finished run hands back.

    Attributes
    ----------
    best_epoch : int
        The epoch (1-based) of the best validation accuracy, whose parameters were tested.
    validation, test : dict
        ``loss`` and ``accuracy``; the test split was looked at once.
    workdir : Path
        Holds ``best.safetensors``, ``last.safetensors``, ``metrics.jsonl``, ``config.json``, ``result.json``.
    """

    best_epoch: int
    validation: dict[str, float]
    test: dict[str, float]
    workdir: Path


def train_and_evaluate(
    config: Config, workdir: str | Path, *, quiet: bool = False, devices: int | None = None
) -> Outcome:
    """Train, keep the parameters of the best validation accuracy, test them once.

    Called again on the same `workdir` it goes on from the last checkpoint, to the very bits that an uninterrupted run
    gives on the same machine and the same number of devices.

    Parameters
    ----------
    config : Config
        The run.
    workdir : str or Path
        Folder of the run's files.
    quiet : bool
        No progress display.
    devices : int, optional
        Devices to use of each process; default: all. With `lra.devices.connect` several processes train one model:
        all call this function, the first one reads and writes the files.

    Raises
    ------
    ConfigError
        The batch does not split over the devices, or there are fewer devices.
    CheckpointError
        The folder holds a run of another config, or a damaged checkpoint.
    DivergenceError
        The loss stopped being finite.
    """
    workdir, mesh = Path(workdir), choose(devices)
    part = mesh.part(config.batch_size)
    mesh.lead(lambda: _claim(workdir, config))
    task = load_task(config.task, config.data, config.task_options)
    train, validation = task.train.limit(config.train_limit), task.validation.limit(config.validation_limit)
    task = dataclasses.replace(task, train=train, validation=validation)
    per_epoch = len(train) // config.batch_size
    if per_epoch == 0:
        raise CheckpointError(f"{len(train)} training examples do not fill one batch of {config.batch_size}")
    total = per_epoch * config.epochs

    tx = build_optimizer(config, per_epoch)
    state = initial_state(config, task, tx)
    info: dict[str, Any] = {"best": None, "seconds": 0.0}
    compressing = compression_steps(config, per_epoch)
    if mesh.lead((workdir / "last.safetensors").exists):
        shapes = mesh.lead(lambda: stored_shapes(workdir / "last.safetensors")) if compressing else {}
        state, info = _restore(workdir / "last.safetensors", resized(state, shapes, tx), mesh)
    mesh.lead(lambda: cut(workdir, int(state.step)))  # also of a run killed before it saved
    state = mesh.replicate(state)
    train_step, eval_step = compile_steps(config, task, tx, state.params, mesh)
    started = time.monotonic() - info["seconds"]
    first, healthy = int(state.step), jax.device_get(state.params)
    facts = {"config": config.to_dict(), "task": task.facts()}
    penalized = jax.jit(layer_sums(config))

    with Progress(total, per_epoch, config.batch_size * task.L, first, quiet or not mesh.leads) as progress:
        for step, batch in training_batches(task, config.batch_size, config.seed, first, total, part):
            state, loss = train_step(state, mesh.spread(batch))
            done, epoch_done = step + 1, (step + 1) % per_epoch == 0
            save_now = epoch_done or done % config.checkpoint_every == 0
            if done in compressing:
                state, record = compress(state, tx, config, mesh)
                if mesh.leads:
                    log(workdir, {"step": done, "epoch": done / per_epoch, **record})
                if record["states"] != record["states_before"]:
                    train_step, eval_step = compile_steps(config, task, tx, state.params, mesh)
                    info["best"] = None  # the epochs of the larger model do not compete
            if save_now or done % config.log_every == 0:
                value, sums = float(loss), np.asarray(state.totals, np.float64)
                if not np.isfinite(value):
                    raise DivergenceError(done, diagnose(healthy, config))
                healthy = jax.device_get(state.params)
                progress.update(done, value, sums[1] / sums[2])
                found = {name: float(total) for name, total in penalized(state.params).items()}
                if mesh.leads:
                    log(workdir, {"step": done, "epoch": done / per_epoch, "train_loss": value, **found})
            if epoch_done:
                state = state._replace(totals=mesh.replicate(jnp.zeros(3)))
                result = measure(eval_step, model_variables(state), task, validation, config.eval_batch_size, mesh)
                record = {
                    "step": done,
                    "epoch": done // per_epoch,
                    "train_loss_mean": sums[0] / sums[2],
                    "train_accuracy": sums[1] / sums[2],
                    "validation_loss": result["loss"],
                    "validation_accuracy": result["accuracy"],
                    "seconds": time.monotonic() - started,
                }
                if mesh.leads:
                    log(workdir, record)
                progress.epoch(record)
                if info["best"] is None or result["accuracy"] > info["best"]["accuracy"]:
                    info["best"] = {**result, "epoch": done // per_epoch, "step": done}
                    if mesh.leads:
                        save_state(workdir / "best.safetensors", model_variables(state), {**info, **facts})
            if save_now and mesh.leads:
                info["seconds"] = time.monotonic() - started
                save_state(workdir / "last.safetensors", state, {**info, **facts})

    best, info = _restore(workdir / "best.safetensors", model_variables(state), mesh)
    finished = mesh.lead(lambda: _read_result(workdir))
    if finished is not None:  # the test set is not looked at again
        return Outcome(**finished, workdir=workdir)
    test = measure(eval_step, mesh.replicate(best), task, task.test, config.eval_batch_size, mesh)
    outcome = Outcome(
        best_epoch=info["best"]["epoch"],
        validation={key: info["best"][key] for key in ("loss", "accuracy")},
        test=test,
        workdir=workdir,
    )
    result = {
        "best_epoch": outcome.best_epoch,
        "epochs": config.epochs,
        "validation": outcome.validation,
        "test": outcome.test,
        "seconds": time.monotonic() - started,
        "hardware": hardware(mesh),
    }
    if mesh.leads:
        write_atomically(workdir / "result.json", (json.dumps(result, indent=2) + "\n").encode())
    return outcome


def hardware(devices: Devices = ONE_DEVICE) -> str:
    """Return a short description of the devices and of the versions that computed."""
    device = jax.devices()[0]
    kind = f"{os.cpu_count()} CPU cores ({platform.machine()})" if device.platform == "cpu" else device.device_kind
    return f"{f'{devices.count} devices of ' if devices.count > 1 else ''}{kind}, jax {jax.__version__}"


def _restore(path: Path, template: Any, devices: Devices) -> tuple[Any, dict[str, Any]]:
    """Return state and info of a checkpoint that the first process reads for all."""
    held = [template]

    def read() -> dict[str, Any]:
        held[0], info = load_state(path, template)
        return info

    info = devices.lead(read)
    return devices.from_leader(held[0]), info


def _read_result(workdir: Path) -> dict[str, Any] | None:
    path = workdir / "result.json"
    if not path.exists():
        return None
    try:
        result = json.loads(path.read_text())
        return {name: result[name] for name in ("best_epoch", "validation", "test")}
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path} is damaged ({error!r}); remove it to test again") from error


def _claim(workdir: Path, config: Config) -> None:
    workdir.mkdir(parents=True, exist_ok=True)
    path = workdir / "config.json"
    mine = {key: value for key, value in config.to_dict().items() if key not in _FREE_KEYS}
    if path.exists():
        try:
            theirs = json.loads(path.read_text())
        except ValueError as error:
            raise CheckpointError(f"{path} is damaged; use a new --workdir") from error
        defaults = Config(task=config.task).to_dict()  # of keys younger than the run
        odd = sorted(key for key in mine if theirs.get(key, defaults[key]) != mine[key])
        if odd:
            raise CheckpointError(
                f"{workdir} holds a run whose {odd[0]} is {theirs.get(odd[0])!r}, not {mine[odd[0]]!r}; "
                "use a new --workdir, or the same config to resume"
            )
    write_atomically(path, (json.dumps(config.to_dict(), indent=2) + "\n").encode())


_FREE_KEYS = ("data", "log_every", "checkpoint_every", "eval_batch_size")  # may change when a run is resumed
