"""Runs: deterministic, resumable, honest about the test set, stopped by NaN."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from lra.checkpoint import read_tensors
from lra.errors import CheckpointError, DivergenceError
from lra.train import train_and_evaluate

pytestmark = pytest.mark.jax


def tensors(workdir):
    return {
        name: {key: value.tobytes() for key, value in read_tensors(workdir / f"{name}.safetensors")[0].items()}
        for name in ("best", "last")
    }


def losses(workdir):
    records = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in record.items() if key != "seconds"} for record in records]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The uninterrupted run that all others are compared with."""
    from lra.config import load_config

    config = load_config("digits", SMOKE)
    workdir = tmp_path_factory.mktemp("whole")
    return config, workdir, train_and_evaluate(config, workdir, quiet=True)


SMOKE = {
    "epochs": 3,
    "warmup_epochs": 1,
    "train_limit": 150,
    "validation_limit": 30,
    "n_layers": 1,
    "d_model": 8,
    "ssm_size": 8,
    "dropout": 0.1,
    "log_every": 1,
    "checkpoint_every": 2,
}


def test_files_of_a_run(whole):
    config, workdir, outcome = whole
    names = {path.name for path in workdir.iterdir()}
    assert names == {".lock", "best.safetensors", "last.safetensors", "config.json", "metrics.jsonl", "result.json"}
    assert json.loads((workdir / "config.json").read_text()) == config.to_dict()
    result = json.loads((workdir / "result.json").read_text())
    assert result["test"] == outcome.test
    assert 0 <= outcome.test["accuracy"] <= 1
    records = losses(workdir)
    assert [record["step"] for record in records if "train_loss" in record] == list(range(1, 10))
    epochs = [record for record in records if "validation_accuracy" in record]
    assert [record["epoch"] for record in epochs] == [1, 2, 3]
    best = max(epochs, key=lambda record: record["validation_accuracy"])
    assert outcome.best_epoch == best["epoch"]
    assert outcome.validation["accuracy"] == best["validation_accuracy"]


def test_training_changes_every_parameter(whole):
    import jax

    from lra.step import build_optimizer, initial_state
    from lra.tasks import load_task

    config, workdir, _ = whole
    start = initial_state(config, load_task("digits"), build_optimizer(config, 3)).params
    last, _ = read_tensors(workdir / "last.safetensors")
    for path, leaf in jax.tree_util.tree_leaves_with_path(start):
        name = "params/" + "/".join(key.key for key in path)
        assert not np.array_equal(leaf, last[name]), f"{name} never moved"


def test_the_same_run_twice_gives_the_same_bits(whole, tmp_path):
    config, workdir, outcome = whole
    again = train_and_evaluate(config, tmp_path, quiet=True)
    assert tensors(tmp_path) == tensors(workdir)
    assert losses(tmp_path) == losses(workdir)
    assert again.test == outcome.test


def test_another_seed_gives_another_run(whole, tmp_path):
    config, workdir, _ = whole
    train_and_evaluate(config.replace(seed=1), tmp_path, quiet=True)
    assert losses(tmp_path)[0] != losses(workdir)[0]


def test_a_run_stopped_anywhere_goes_on_to_the_same_bits(whole, tmp_path, monkeypatch):
    """Stopped by an exception after 5 of 9 steps: the step after the last checkpoint is run again."""
    import lra.train

    config, workdir, outcome = whole
    make = lra.train.make_train_step

    def failing(*arguments):
        step, calls = make(*arguments), []

        def run(state, batch):
            calls.append(0)
            if len(calls) == 6:
                raise KeyboardInterrupt
            return step(state, batch)

        return run

    monkeypatch.setattr(lra.train, "make_train_step", failing)
    with pytest.raises(KeyboardInterrupt):
        train_and_evaluate(config, tmp_path, quiet=True)
    assert losses(tmp_path)[-1]["step"] == 5
    monkeypatch.setattr(lra.train, "make_train_step", make)
    with open(tmp_path / "metrics.jsonl", "a") as file:
        file.write('{"step": 6, "trai')  # a line cut short by a power failure
    resumed = train_and_evaluate(config, tmp_path, quiet=True)
    assert tensors(tmp_path) == tensors(workdir)
    assert losses(tmp_path) == losses(workdir)
    assert resumed.test == outcome.test


def test_a_run_that_dies_between_any_two_writes_goes_on_to_the_same_bits(whole, tmp_path, monkeypatch):
    """Killed after 1, 2, 3... writes to its folder, each time the same run: before the first checkpoint too."""
    import lra.train
    import lra.workdir

    config, workdir, outcome = whole
    left = 0

    def mortal(write):
        def run(*arguments):
            nonlocal left
            if left == 0:
                raise KeyboardInterrupt
            left -= 1
            return write(*arguments)

        return run

    writers = [(lra.train, name) for name in ("log", "save_state", "write_atomically")]
    for module, name in [*writers, (lra.workdir, "write_atomically")]:
        monkeypatch.setattr(module, name, mortal(getattr(module, name)))
    for lifetime in range(1, 20):
        left = lifetime
        try:
            resumed = train_and_evaluate(config, tmp_path, quiet=True)
            break
        except KeyboardInterrupt:
            continue
    assert lifetime > 4  # it did die
    assert resumed == dataclasses.replace(outcome, workdir=tmp_path)
    assert tensors(tmp_path) == tensors(workdir)
    assert losses(tmp_path) == losses(workdir)


def test_a_finished_run_is_not_tested_again(whole, monkeypatch):
    config, workdir, outcome = whole
    import lra.train

    monkeypatch.setattr(lra.train, "measure", None)
    assert train_and_evaluate(config, workdir, quiet=True) == outcome


def test_a_folder_may_be_older_than_a_config_key(whole):
    """And older than the two groups: then the options of S5 and S4D stand among the others."""
    config, workdir, outcome = whole
    older = {key: value for key, value in config.flat().items() if key not in ("task_options", "total_steps")}
    (workdir / "config.json").write_text(json.dumps(older))
    assert train_and_evaluate(config, workdir, quiet=True) == outcome
    assert json.loads((workdir / "config.json").read_text()) == config.to_dict()


@pytest.mark.parametrize("text", ["", "[]", "3", "{}", '{"task": "digits", "lr": "x"}', '{"task": "digits", "q": 1}'])
def test_a_damaged_config_is_a_typed_error(smoke, tmp_path, text):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(CheckpointError, match=r"config\.json"):
        train_and_evaluate(smoke, tmp_path, quiet=True)


def test_a_folder_of_another_config_is_refused(whole):
    config, workdir, _ = whole
    with pytest.raises(CheckpointError, match="seed"):
        train_and_evaluate(config.replace(seed=7), workdir, quiet=True)


def test_a_damaged_last_checkpoint_is_a_typed_error(smoke, tmp_path):
    (tmp_path / "last.safetensors").write_bytes(b"\x80\x04nonsense")
    with pytest.raises(CheckpointError, match="damaged"):
        train_and_evaluate(smoke, tmp_path, quiet=True)


def test_nan_stops_the_run_and_says_why(smoke, tmp_path):
    with pytest.raises(DivergenceError, match="lower lr") as caught:
        train_and_evaluate(smoke.replace(lr=1e30, ssm_lr=1e30), tmp_path, quiet=True)
    assert caught.value.step >= 1
    assert any("largest parameter" in line for line in caught.value.diagnosis)
    assert not (tmp_path / "result.json").exists()


def test_a_pole_that_left_the_unit_circle_is_named(smoke):
    from lra.train import diagnose

    seq = {"Lambda_re": np.array([-1.0, 0.1]), "log_step": np.zeros((2, 1))}
    params = {"encoder": {"encoder": {"kernel": np.ones((1, 2))}, "layers_0": {"seq": seq}}}
    assert "layers_0 has 1 poles on or outside the unit circle" in diagnose(params, smoke)[0]
    assert "outside" not in " ".join(diagnose(params, smoke.replace(clip_eigs=True)))
