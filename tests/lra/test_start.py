"""A run that begins with another model's parameters: the same function, at any sizes, and nothing that does not fit."""

from __future__ import annotations

import json
from pathlib import Path

import jax
import numpy as np
import pytest

import ssmreduce
from lra.checkpoint import load_model, save_model
from lra.config import load_config
from lra.errors import CheckpointError, CheckpointIOError
from lra.evaluate import evaluate, export
from lra.models import stored_states
from lra.start import started
from lra.step import build_model, build_optimizer, make_eval_step, measure, model_variables
from lra.tasks import load_task
from lra.train import Run, train_and_evaluate

pytestmark = pytest.mark.jax

SMALL = {
    "n_layers": 2,
    "d_model": 4,
    "ssm_size": 8,
    "epochs": 1,
    "warmup_epochs": 0.2,
    "batch_size": 50,
    "eval_batch_size": 180,
}
KINDS = {
    "s5": SMALL,
    "s5, both directions": SMALL | {"bidirectional": True, "clip_eigs": True},
    "s4d": SMALL | {"model": "s4d"},
    "s4d, shared": SMALL | {"model": "s4d", "n_ssm": 2, "bidirectional": True},
}


@pytest.fixture(scope="module", params=KINDS)
def trained(request, tmp_path_factory):
    """A config, a model that was trained by it, and the same model reduced to half of its states."""
    folder = tmp_path_factory.mktemp("start")
    config = load_config("digits", KINDS[request.param])
    train_and_evaluate(config, folder / "run", quiet=True)
    export(folder / "run", folder / "whole.safetensors")
    half = ssmreduce.reduce_model(ssmreduce.load(folder / "whole.safetensors"), ratio=0.5, allocation="uniform")
    half.save(folder / "half.safetensors")
    return config, folder


@pytest.mark.parametrize("name", ["whole", "half"])
def test_the_run_begins_with_the_function_of_the_file(trained, name):
    config, folder = trained
    path = folder / f"{name}.safetensors"
    config = config.replace(start=str(path))
    task = load_task("digits")
    state, record = started(config, task, build_optimizer(config, 25))
    model = build_model(config, task, state.params)
    found = measure(make_eval_step(model), model_variables(state), task, task.test, 180)
    wanted = evaluate(path)
    assert found["accuracy"] == wanted["accuracy"]
    assert found["loss"] == pytest.approx(wanted["loss"], rel=1e-5)
    assert record["file"] == path.name
    assert stored_states(state.params) == ((4, 4) if name == "whole" else (2, 2))


def test_without_a_learning_rate_training_keeps_every_array(trained, tmp_path):
    """Through the path of users: start, train, export; and the record names the file, not a folder of this machine."""
    config, folder = trained
    path = folder / "half.safetensors"
    still = config.replace(start=str(path), lr=0.0, ssm_lr=0.0)
    train_and_evaluate(still, tmp_path / "run", quiet=True)
    record = export(tmp_path / "run", tmp_path / "same.safetensors")
    before, after = (load_model(where)[0]["params"] for where in (path, tmp_path / "same.safetensors"))
    jax.tree.map(np.testing.assert_array_equal, before, after)
    assert record["training"]["start"]["file"] == "half.safetensors"
    assert str(folder) not in json.dumps(record)


def test_a_reduced_model_learns_again_what_it_lost(tmp_path):
    """Not a theorem: modal truncation to a quarter leaves digits near chance, four epochs bring most of it back."""
    path = Path(ssmreduce.__file__).parent / "checkpoints" / "digits_s5.safetensors"
    small = ssmreduce.reduce_model(ssmreduce.load(path), ratio=0.75, method="modal", allocation="uniform")
    small.save(tmp_path / "small.safetensors")
    config = load_config("digits", {"start": str(tmp_path / "small.safetensors"), "epochs": 4})
    outcome = train_and_evaluate(config, tmp_path / "run", quiet=True)
    assert evaluate(tmp_path / "small.safetensors")["accuracy"] < 0.3
    assert outcome.test["accuracy"] > 0.6
    export(tmp_path / "run", tmp_path / "again.safetensors")
    assert evaluate(tmp_path / "again.safetensors")["accuracy"] == outcome.test["accuracy"]
    assert evaluate(tmp_path / "again.safetensors")["states"] == [4, 4]


@pytest.mark.parametrize("trained", ["s4d, shared"], indirect=True)
def test_a_stopped_run_goes_on_without_the_file(trained, tmp_path, monkeypatch):
    config, folder = trained
    path = tmp_path / "half.safetensors"
    for suffix in (".safetensors", ".json"):
        path.with_suffix(suffix).write_bytes((folder / "half").with_suffix(suffix).read_bytes())
    config = config.replace(start=str(path), epochs=2, checkpoint_every=7, log_every=3)
    train_and_evaluate(config, tmp_path / "straight", quiet=True)

    look = Run._look

    def stopping(self, done, loss, progress):
        if done == 9:
            raise KeyboardInterrupt
        look(self, done, loss, progress)

    monkeypatch.setattr(Run, "_look", stopping)
    with pytest.raises(KeyboardInterrupt):
        train_and_evaluate(config, tmp_path / "stopped", quiet=True)
    monkeypatch.setattr(Run, "_look", look)
    with pytest.raises(CheckpointError, match="start"):
        train_and_evaluate(config.replace(start="other.safetensors"), tmp_path / "stopped", quiet=True)
    path.unlink()
    train_and_evaluate(config, tmp_path / "stopped", quiet=True)
    models = []
    for name in ("straight", "stopped"):
        record = export(tmp_path / name, tmp_path / f"{name}.safetensors")
        assert record["training"]["start"]["file"] == path.name
        models.append(load_model(tmp_path / f"{name}.safetensors")[0])
    jax.tree.map(np.testing.assert_array_equal, *models)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": "s4d"}, "holds an s5 model"),
        ({"n_layers": 3}, "its n_layers is 2, that of this run 3"),
        ({"d_model": 5}, "d_model"),
        ({"bidirectional": True}, "bidirectional"),
        ({"discretization": "bilinear"}, "discretization is 'zoh'"),
        ({"clip_eigs": True}, "clip_eigs"),
        ({"activation": "full_glu"}, "activation"),
        ({"step_rescale": 2.0}, "step_rescale"),
        ({"mode": "last"}, r"\(--set mode='pool', or another file\)"),
        ({"start": ""}, "directory"),
    ],
)
def test_another_kind_of_model_is_refused_before_anything_runs(changes, message, tmp_path):
    path = Path(ssmreduce.__file__).parent / "checkpoints" / "digits_s5.safetensors"
    config = load_config("digits", {"start": str(path), **changes})
    with pytest.raises(CheckpointError, match=message):
        train_and_evaluate(config, tmp_path / "run", quiet=True)


def test_after_a_name_that_is_wrong_the_right_one_is_taken(trained, tmp_path):
    config, folder = trained
    with pytest.raises(CheckpointIOError, match="hlaf"):
        train_and_evaluate(config.replace(start=str(folder / "hlaf.safetensors")), tmp_path, quiet=True)
    train_and_evaluate(config.replace(start=str(folder / "half.safetensors")), tmp_path, quiet=True)
    assert export(tmp_path, tmp_path / "one.safetensors")["training"]["start"]["file"] == "half.safetensors"


def test_files_that_do_not_fit_are_refused(tmp_path):
    path = Path(ssmreduce.__file__).parent / "checkpoints" / "digits_s5.safetensors"
    variables, description = load_model(path)
    options = {**description["options"], "architecture": "s5"}
    task, broken = load_task("digits"), tmp_path / "broken.safetensors"
    config = load_config("digits", {"start": str(broken)})
    tx = build_optimizer(config, 25)
    with pytest.raises(CheckpointIOError):
        started(config, task, tx)
    save_model(broken, {"params": variables["params"]}, options, {})
    with pytest.raises(CheckpointError, match=r"batch_stats.*has the shape None there"):
        started(config, task, tx)
    decoder = {**variables["params"]["decoder"], "bias": np.zeros(11, np.float32)}
    save_model(broken, {**variables, "params": {**variables["params"], "decoder": decoder}}, options, {})
    with pytest.raises(CheckpointError, match=r"decoder/bias has the shape \(11,\) there and \(10,\)"):
        started(config, task, tx)
    for value, message in ((np.nan, "decoder/bias is not finite"), (1j, "decoder/bias is complex64")):
        decoder = {**variables["params"]["decoder"], "bias": np.full(10, value, np.result_type(value, np.float32))}
        save_model(broken, {**variables, "params": {**variables["params"], "decoder": decoder}}, options, {})
        with pytest.raises(CheckpointError, match=f"broken.*{message}"):
            started(config, task, tx)
    save_model(broken, variables, {**options, "n_classes": 2}, {})
    with pytest.raises(CheckpointError, match=r"n_classes is 2, that of this run 10.*use a model of a task like this"):
        started(config, task, tx)
    save_model(broken, {**variables, "params": {"decoder": decoder}}, options, {})
    with pytest.raises(CheckpointError, match=r"broken.*not a whole s5 model"):
        started(config, task, tx)
    save_model(broken, variables, options, {})
    broken.write_bytes(broken.read_bytes()[:-1] + b"?")
    with pytest.raises(CheckpointError):
        started(config, task, tx)
