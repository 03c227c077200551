"""The folder of a run belongs to one process and one config; what is measured there is a number."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from lra.checkpoint import load_state, save_state
from lra.config import load_config
from lra.devices import ONE_DEVICE
from lra.errors import BusyError, CheckpointError, ConfigError, DivergenceError, NotFiniteError
from lra.lock import locked
from lra.tasks import load_task
from lra.train import Run, train_and_evaluate
from lra.workdir import LOCK, claimed, restore

pytestmark = pytest.mark.jax

ROOT = Path(__file__).parents[2]
HOLD = """
import sys, time
from pathlib import Path
from lra.config import load_config
from lra.workdir import claimed
with claimed(Path(sys.argv[1]), load_config("digits")):
    print("held", flush=True)
    time.sleep(600)
"""


def test_a_second_training_in_the_folder_is_refused(smoke, tmp_path):
    with claimed(tmp_path, smoke):
        before = sorted(path.name for path in tmp_path.iterdir())
        with pytest.raises(BusyError, match=f"process {os.getpid()} "):
            train_and_evaluate(smoke, tmp_path, quiet=True)
        assert sorted(path.name for path in tmp_path.iterdir()) == before
    with claimed(tmp_path, smoke):  # free again
        pass


def test_the_lock_names_its_process_and_dies_with_it(tmp_path):
    """Killed without a chance to clean up: the file stays, the lock does not."""
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    config = load_config("digits")
    with pytest.raises(BusyError, match=f"process {process.pid} "), claimed(tmp_path, config):
        pass
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert (tmp_path / LOCK).is_file()
    with claimed(tmp_path, config):
        assert f"process {os.getpid()} " in (tmp_path / LOCK).read_text()


def test_who_waits_gets_the_lock_when_it_is_free(tmp_path):
    path = tmp_path / "lock"
    script = "import sys\nfrom pathlib import Path\nfrom lra.lock import locked\nprint('asks', flush=True)\n"
    script += "with locked(Path(sys.argv[1]), wait=True):\n    print('has it', flush=True)\n"
    with locked(path, wait=False):
        process = subprocess.Popen(
            [sys.executable, "-c", script, str(path)], cwd=ROOT, stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        assert process.stdout.readline() == "asks\n"
        time.sleep(0.2)
        assert process.poll() is None
    assert process.stdout.read() == "has it\n"
    assert process.wait() == 0
    process.stdout.close()


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    """A finished run of one step: its config, its folder, a state like the one of its checkpoint."""
    changes = {"epochs": 1, "warmup_epochs": 0, "train_limit": 50, "validation_limit": 20, "n_layers": 1}
    config = load_config("digits", {**changes, "d_model": 4, "ssm_size": 4})
    workdir = tmp_path_factory.mktemp("run")
    train_and_evaluate(config, workdir, quiet=True)
    return config, workdir, Run(config, workdir, ONE_DEVICE).state


def retold(path: Path, template, change) -> None:
    """Write a checkpoint again with something else in its info."""
    state, info = load_state(path, template)
    info = {key: value for key, value in info.items() if key not in ("format", "version")}
    change(info)
    save_state(path, state, info)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda info: info["config"]["s5"].update(clip_eigs=True), "whose clip_eigs is True"),
        (lambda info: info["task"].update(n_classes=3), "n_classes differs"),
        (lambda info: info.update(config=3), "damaged"),
        (lambda info: info.pop("config"), "damaged"),
        (lambda info: info.update(seconds="long"), "damaged"),
        (lambda info: info.update(best=[]), "damaged"),
    ],
)
def test_a_checkpoint_of_another_run_is_not_restored(stopped, tmp_path, change, message):
    config, workdir, template = stopped
    path = tmp_path / "last.safetensors"
    path.write_bytes((workdir / path.name).read_bytes())
    task = load_task("digits")
    assert restore(path, template, config, task, ONE_DEVICE)[1]["best"]["epoch"] == 1
    retold(path, template, change)
    with pytest.raises(CheckpointError, match=message):
        restore(path, template, config, task, ONE_DEVICE)


def test_a_run_is_not_resumed_from_the_checkpoint_of_another(stopped, tmp_path):
    """Even where ``config.json`` says what was asked for: the checkpoint remembers its own config."""
    config, workdir, template = stopped
    for name in ("last.safetensors", "config.json"):
        (tmp_path / name).write_bytes((workdir / name).read_bytes())
    retold(tmp_path / "last.safetensors", template, lambda info: info["config"].update(lr=1.0))
    with pytest.raises(CheckpointError, match="whose lr is"):
        train_and_evaluate(config, tmp_path, quiet=True)


def test_an_old_checkpoint_with_flat_options_is_resumed(stopped, tmp_path):
    config, workdir, template = stopped
    for path in workdir.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    retold(tmp_path / "last.safetensors", template, lambda info: info.update(config=config.flat()))
    outcome = train_and_evaluate(config, tmp_path, quiet=True)
    assert outcome.test == json.loads((workdir / "result.json").read_text())["test"]


def test_a_loss_that_is_not_finite_is_an_error(stopped, tmp_path):
    from lra.checkpoint import load_model, save_model
    from lra.evaluate import evaluate, export

    config, workdir, _ = stopped
    path = tmp_path / "m.safetensors"
    export(workdir, path)
    assert evaluate(path)["examples"] == 360
    variables, meta = load_model(path)
    kernel = variables["params"]["encoder"]["encoder"]["kernel"] = np.full((1, config.d_model), np.nan, np.float32)
    assert np.isnan(kernel).all()
    save_model(path, variables, {"architecture": "s5", **meta["options"]}, meta["training"])
    with pytest.raises(NotFiniteError, match="examples 0 to 99"):
        evaluate(path)


@pytest.mark.parametrize("size", [0, -5])
def test_a_batch_has_an_example(stopped, tmp_path, size):
    from lra.evaluate import evaluate, export

    export(stopped[1], tmp_path / "m.safetensors")
    with pytest.raises(ConfigError, match="batch_size"):
        evaluate(tmp_path / "m.safetensors", batch_size=size)


def test_a_validation_that_is_not_finite_stops_the_run(stopped, tmp_path, monkeypatch):
    """The running variances overflow before a training loss does: nothing is kept as the best epoch."""
    import lra.train

    def overflow(state):
        stats = {"encoder": {"layers_0": {"norm": {"mean": np.full(4, np.nan, "f4"), "var": np.ones(4, "f4")}}}}
        return {"params": state.params, "batch_stats": stats}

    monkeypatch.setattr(lra.train, "model_variables", overflow)
    with pytest.raises(DivergenceError, match="examples 0 to 19"):
        train_and_evaluate(stopped[0], tmp_path, quiet=True)
    assert not (tmp_path / "best.safetensors").exists()
