"""Training: one entry, `train_and_evaluate`; resumable at any moment, deterministic given the seed."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import platform
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lra.checkpoint import save_state, write_atomically
from lra.compression import compress, compression_steps, resized, stored_shapes
from lra.config import Config
from lra.devices import ONE_DEVICE, Devices, choose
from lra.errors import CheckpointError, DivergenceError, NotFiniteError
from lra.metrics import cut, log
from lra.penalties import layer_sums, penalty
from lra.progress import Progress
from lra.start import started
from lra.step import (
    TrainState,
    build_model,
    build_optimizer,
    initial_state,
    make_eval_step,
    make_train_step,
    measure,
    model_variables,
)
from lra.tasks import Task, load_task
from lra.tasks.batches import training_batches
from lra.workdir import LAST, claimed, read_result, restore


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


class Run:
    """A run on its way: what a step reads and changes, and a short method for each thing that happens.

    Made from the last checkpoint of its folder if there is one.

    Attributes
    ----------
    state : TrainState
        After the last step.
    info : dict
        ``best`` (figures of the best epoch so far), ``seconds``, and ``start`` (the file of ``config.start``): what a
        checkpoint holds beside the arrays.
    healthy : pytree
        The last parameters whose loss was looked at and finite.
    """

    def __init__(self, config: Config, workdir: Path, devices: Devices) -> None:
        self.config, self.workdir, self.devices = config, workdir, devices
        self.task = limited(load_task(config.task, config.data, config.task_options), config)
        self.per_epoch = len(self.task.train) // config.batch_size
        if self.per_epoch == 0:
            held = len(self.task.train)
            raise CheckpointError(f"{held} training examples do not fill one batch of {config.batch_size}")
        self.tx = build_optimizer(config, self.per_epoch)
        self.compressing = compression_steps(config, self.per_epoch)
        self.penalized = jax.jit(layer_sums(config))
        self.facts = {"config": config.to_dict(), "task": self.task.facts()}
        self.state, self.info = self._begin()
        self.started = time.monotonic() - self.info["seconds"]
        self.healthy = jax.device_get(self.state.params)
        self._compile()

    def _begin(self) -> tuple[TrainState, dict[str, Any]]:
        """Return the state to go on from, and what is known of it; later lines of the log are dropped."""
        config, devices, last = self.config, self.devices, self.workdir / LAST
        info: dict[str, Any] = {"best": None, "seconds": 0.0}
        if devices.lead(last.exists):
            state = initial_state(config, self.task, self.tx)
            shapes = devices.lead(lambda: stored_shapes(last)) if config.sized_by_arrays else {}
            state, info = restore(last, resized(state, shapes, self.tx), config, self.task, devices)
        elif config.start is not None:
            state, info["start"] = started(config, self.task, self.tx, devices)
        else:
            state = initial_state(config, self.task, self.tx)
        devices.lead(lambda: cut(self.workdir, int(state.step)))  # also of a run killed before it saved
        return devices.replicate(state), info

    def _compile(self) -> None:
        """Compile the steps of a model with the sizes of the parameters."""
        config, devices = self.config, self.devices
        model = build_model(config, self.task, self.state.params if config.sized_by_arrays else None)
        self.train_step = make_train_step(model, self.tx, config.seed, penalty(config), devices)
        self.eval_step = make_eval_step(model, devices)

    def train(self, quiet: bool) -> None:
        """Take all steps that are left."""
        config, first, total = self.config, int(self.state.step), self.per_epoch * self.config.epochs
        tokens, part = config.batch_size * self.task.L, self.devices.part(config.batch_size)
        with Progress(total, self.per_epoch, tokens, first, quiet or not self.devices.leads) as progress:
            for step, batch in training_batches(self.task, config.batch_size, config.seed, first, total, part):
                self.state, loss = self.train_step(self.state, self.devices.spread(batch))
                self._after(step + 1, loss, progress)

    def _after(self, done: int, loss: Any, progress: Progress) -> None:
        """Do what is due after `done` steps."""
        epoch_done = done % self.per_epoch == 0
        save_now = epoch_done or done % self.config.checkpoint_every == 0
        if done in self.compressing:
            self._compress(done)
        if save_now or done % self.config.log_every == 0:
            self._look(done, float(loss), progress)
        if epoch_done:
            self._validate(done, progress)
        if save_now:
            self._save()

    def _log(self, done: int, record: dict[str, Any]) -> None:
        if self.devices.leads:
            log(self.workdir, {"step": done, **record})

    def _compress(self, done: int) -> None:
        """Reduce the layers; the epochs of the larger model do not compete."""
        self.state, record = compress(self.state, self.tx, self.config, self.devices)
        self._log(done, {"epoch": done / self.per_epoch, **record})
        if record["states"] != record["states_before"]:
            self._compile()
            self.info["best"] = None

    def _look(self, done: int, loss: float, progress: Progress) -> None:
        """Stop if the loss is not finite, else note it."""
        if not np.isfinite(loss):
            raise DivergenceError(done, diagnose(self.healthy, self.config))
        self.healthy = jax.device_get(self.state.params)
        progress.update(done, loss, self._epoch_means()[1])
        sums = {name: float(value) for name, value in self.penalized(self.state.params).items()}
        self._log(done, {"epoch": done / self.per_epoch, "train_loss": loss, **sums})

    def _epoch_means(self) -> tuple[float, float]:
        """Return loss and accuracy over the training examples since the epoch began."""
        loss, correct, count = np.asarray(self.state.totals, np.float64)
        return loss / count, correct / count

    def _validate(self, done: int, progress: Progress) -> None:
        """Measure on the validation split, and keep the parameters if they are the best so far."""
        loss, accuracy = self._epoch_means()
        self.state = self.state._replace(totals=self.devices.replicate(jnp.zeros(3)))
        try:
            result = self._measure(model_variables(self.state), "validation")
        except NotFiniteError as error:
            raise DivergenceError(done, [str(error), *diagnose(self.healthy, self.config)]) from error
        record = {
            "epoch": done // self.per_epoch,
            "train_loss_mean": loss,
            "train_accuracy": accuracy,
            "validation_loss": result["loss"],
            "validation_accuracy": result["accuracy"],
            "seconds": time.monotonic() - self.started,
        }
        self._log(done, record)
        progress.epoch(record)
        if self.info["best"] is None or result["accuracy"] > self.info["best"]["accuracy"]:
            self.info["best"] = {**result, "epoch": record["epoch"], "step": done}
            if self.devices.leads:
                save_state(self.workdir / "best.safetensors", model_variables(self.state), {**self.info, **self.facts})

    def _measure(self, variables: Any, split: str) -> dict[str, float]:
        rows, size = getattr(self.task, split), self.config.eval_batch_size
        return measure(self.eval_step, variables, self.task, rows, size, self.devices)

    def _save(self) -> None:
        if self.devices.leads:
            self.info["seconds"] = time.monotonic() - self.started
            save_state(self.workdir / LAST, self.state, {**self.info, **self.facts})

    def test(self) -> Outcome:
        """Measure the best parameters on the test split, unless that was done before."""
        template = model_variables(self.state)
        best, info = restore(self.workdir / "best.safetensors", template, self.config, self.task, self.devices)
        finished = self.devices.lead(lambda: read_result(self.workdir))
        if finished is not None:
            return Outcome(**finished, workdir=self.workdir)
        found = {
            "best_epoch": info["best"]["epoch"],
            "validation": {key: info["best"][key] for key in ("loss", "accuracy")},
            "test": self._measure(self.devices.replicate(best), "test"),
        }
        result = {
            **found,
            "epochs": self.config.epochs,
            "seconds": time.monotonic() - self.started,
            "hardware": hardware(self.devices),
        }
        if self.devices.leads:
            write_atomically(self.workdir / "result.json", (json.dumps(result, indent=2) + "\n").encode())
        return Outcome(**found, workdir=self.workdir)


def limited(task: Task, config: Config) -> Task:
    """Return a task whose training and validation splits are cut to the config's limits."""
    train, validation = task.train.limit(config.train_limit), task.validation.limit(config.validation_limit)
    return dataclasses.replace(task, train=train, validation=validation)


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
    BusyError
        Another process trains in the folder.
    CheckpointError
        The folder holds a run of another config or of other data, or a damaged checkpoint.
    DivergenceError
        The loss stopped being finite.
    """
    workdir, mesh = Path(workdir), choose(devices)
    mesh.part(config.batch_size)  # refused before there is a folder
    with contextlib.ExitStack() as held:
        mesh.lead(lambda: held.enter_context(claimed(workdir, config)))
        run = Run(config, workdir, mesh)
        run.train(quiet)
        return run.test()


LARGE_STEP = 10.0  # a hundred times the largest initial step size


def diagnose(params: Any, config: Config) -> list[str]:
    """Say what in the last healthy parameters may have blown up: poles, step sizes, large values."""
    found = []
    for name, layer in sorted(params["encoder"].items()):
        seq = layer.get("seq", {})
        unstable = int((np.asarray(seq.get("Lambda_re", -1)) >= 0).sum())
        if unstable and not config.clips:
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


def hardware(devices: Devices = ONE_DEVICE) -> str:
    """Return a short description of the devices and of the versions that computed."""
    device = jax.devices()[0]
    kind = f"{os.cpu_count()} CPU cores ({platform.machine()})" if device.platform == "cpu" else device.device_kind
    return f"{f'{devices.count} devices of ' if devices.count > 1 else ''}{kind}, jax {jax.__version__}"
