"""Run by test_devices.py in a process with two CPU devices: the same training on one of them and on both.

    python tests/lra/two_devices.py OUTPUT

Writes OUTPUT/one, OUTPUT/two (runs of the digits task), OUTPUT/stopped (the files of the latter after three steps), and
OUTPUT/pairs_{one,two}.safetensors (one step of S4D on pairs of padded documents).
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

import numpy as np

import lra.train
from lra.checkpoint import save_state
from lra.config import Config, load_config
from lra.devices import Devices, choose
from lra.step import build_model, build_optimizer, initial_state, make_train_step
from lra.tasks.ragged import Pairs, Ragged
from lra.tasks.task import Split, Task
from lra.train import train_and_evaluate

DIGITS = {
    "epochs": 2,
    "train_limit": 100,
    "validation_limit": 30,
    "n_layers": 1,
    "d_model": 8,
    "ssm_size": 8,
    "bidirectional": True,
    "dropout": 0.1,
    "hankel_penalty": 1e-3,
    "log_every": 1,
    "checkpoint_every": 1,
}


STOP = 3  # of four steps


def documents() -> Task:
    """Eight random pairs of documents of three to twelve tokens."""
    rng = np.random.default_rng(5)
    offsets = np.concatenate([[0], np.cumsum(rng.integers(3, 13, 16))])
    rows = Ragged(rng.integers(1, 7, offsets[-1]), offsets, 12)
    pairs = Pairs(rows, rng.permutation(16).reshape(8, 2))
    split = Split(x=pairs, y=rng.integers(0, 2, 8), indices=np.arange(8), lengths=pairs.lengths)

    def prepare(x: np.ndarray) -> np.ndarray:
        return x.swapaxes(0, 1).reshape(-1, 12).astype(np.int32)

    facts: dict[str, Any] = {"tokens": True, "padded": True, "retrieval": True}
    return Task(
        name="pairs", train=split, validation=split, test=split, d_input=7, n_classes=2, L=12, prepare=prepare, **facts
    )


def one_step(config: Config, devices: Devices) -> Any:
    """The state after a step on all eight pairs; the first moments of the optimizer are a tenth of the gradients."""
    task = documents()
    tx = build_optimizer(config, 1)
    state = devices.replicate(initial_state(config, task, tx))
    step = make_train_step(build_model(config, task), tx, config.seed, devices=devices)
    return step(state, devices.spread(task.batch(task.train, np.arange(8))))[0]


def main(output: Path) -> None:
    config = load_config("digits", DIGITS)
    train_and_evaluate(config, output / "one", quiet=True, devices=1)

    def save_and_copy(path: Path, state: Any, info: Any) -> None:
        save_state(path, state, info)
        if path.name == "last.safetensors" and int(state.step) == STOP:
            shutil.copytree(output / "two", output / "stopped")

    lra.train.save_state = save_and_copy
    train_and_evaluate(config, output / "two", quiet=True)
    pairs = Config(task="pairs", model="s4d", opt_config="s4", n_layers=1, d_model=4, ssm_size=4, mask_padding=True)
    for name, devices in (("one", choose(1)), ("two", choose(2))):
        save_state(output / f"pairs_{name}.safetensors", one_step(pairs.replace(bidirectional=True), devices), {})


if __name__ == "__main__":
    main(Path(sys.argv[1]))
