"""Options of training: runs that were stopped or killed go on to the bits of one that was not; exports hold up."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest

import ssmreduce
from lra.checkpoint import flatten, load_state, nest, read_tensors
from lra.compression import resized, stored_shapes
from lra.config import load_config
from lra.errors import CheckpointError
from lra.evaluate import evaluate, export
from lra.models import stored_states
from lra.penalties import layer_sums
from lra.step import build_optimizer, initial_state
from lra.tasks import load_task
from lra.train import train_and_evaluate

pytestmark = pytest.mark.jax

ROOT = Path(__file__).parents[2]
SMOKE = {
    "epochs": 3,
    "warmup_epochs": 2,
    "train_limit": 150,
    "validation_limit": 30,
    "n_layers": 1,
    "d_model": 8,
    "ssm_size": 8,
    "dropout": 0.1,
    "log_every": 1,
    "checkpoint_every": 2,
}
OPTIONS = {
    "s5": {
        "hankel_penalty": 1e-3,
        "modal_penalty": 1e-3,
        "penalty_every": 2,
        "compressions": 1,
        "precision": "bfloat16",
    },
    "s4d": {"model": "s4d", "compressions": 1},
}


def bits(workdir):
    return {
        name: {key: value.tobytes() for key, value in read_tensors(workdir / f"{name}.safetensors")[0].items()}
        for name in ("best", "last")
    }


def records(workdir):
    lines = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key != "seconds"} for line in lines]


@pytest.fixture(scope="module", params=sorted(OPTIONS))
def whole(request, tmp_path_factory):
    """The uninterrupted run of a set of options: its name, config, folder, outcome."""
    config = load_config("digits", {**SMOKE, "compression_tolerance": 0.3, **OPTIONS[request.param]})
    workdir = tmp_path_factory.mktemp(request.param)
    return request.param, config, workdir, train_and_evaluate(config, workdir, quiet=True)


def test_the_last_checkpoint_is_read_at_its_own_sizes(whole):
    _, config, workdir, _ = whole
    task, tx = load_task("digits"), build_optimizer(config, 3)
    state = initial_state(config, task, tx)
    with pytest.raises(CheckpointError, match="asks for"):
        load_state(workdir / "last.safetensors", state)
    template = resized(state, stored_shapes(workdir / "last.safetensors"), tx)
    found, _ = load_state(workdir / "last.safetensors", template)
    assert jax.tree.structure(found) == jax.tree.structure(state)
    assert flatten(found).keys() == flatten(state).keys()
    assert stored_states(found.params) < stored_states(state.params)


@pytest.mark.parametrize("whole", ["s5"], indirect=True)
def test_a_killed_process_goes_on_to_the_same_bits(whole, tmp_path):
    """SIGKILL at random moments of another process, before and after the compression; then the same command again."""
    _, config, workdir, _ = whole
    values = {key: value for key, value in config.to_dict().items() if value is not None and key != "task"}
    overrides = [piece for key, value in values.items() for piece in ("--set", f"{key}={value}")]
    command = [sys.executable, "-m", "lra", "train", "digits", "--workdir", str(tmp_path), "--quiet", *overrides]
    environment = {**os.environ, "GLIBC_TUNABLES": os.environ.get("GLIBC_TUNABLES", "")}
    for step in (1, 4):
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 120
        while reached(tmp_path) < step and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(random.uniform(0, 0.5))
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert reached(tmp_path) >= step
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert bits(tmp_path) == bits(workdir)
    assert records(tmp_path) == records(workdir)


def reached(workdir):
    """The last step of the log so far."""
    try:
        return max((line["step"] for line in records(workdir)), default=0)
    except (FileNotFoundError, ValueError):  # not there yet, or a line half written
        return 0


def test_layers_shrink_when_told_to(whole):
    _, config, workdir, _ = whole
    lines = [line for line in records(workdir) if "states" in line]
    (line,) = lines
    assert line["step"] == 3  # in the middle of a warm-up of 6
    assert line["states_before"] == [config.P]
    assert line["states"][0] < config.P
    assert line["bounds"][0] > 0
    assert line["skipped"] == {}


def test_the_sums_that_are_penalized_are_logged(whole):
    name, config, workdir, _ = whole
    last = [line for line in records(workdir) if "train_loss" in line][-1]
    params = nest(read_tensors(workdir / "last.safetensors")[0])["params"]
    found = jax.jit(layer_sums(config))(params)
    assert set(found) == ({"hankel_sum", "modal_sum"} if name == "s5" else set())
    for key, value in found.items():
        np.testing.assert_array_equal(value, np.float32(last[key]))


def test_the_export_is_the_small_model(whole, tmp_path):
    _, config, workdir, outcome = whole
    export(workdir, tmp_path / "m.safetensors")
    size = [line["states"][0] for line in records(workdir) if "states" in line][-1]
    assert [layer.order for layer in ssmreduce.load(tmp_path / "m.safetensors").layers] == [size]
    found = evaluate(tmp_path / "m.safetensors", batch_size=config.eval_batch_size)
    assert found["states"] == [size]
    assert {key: found[key] for key in outcome.test} == outcome.test


def test_a_run_from_before_an_option_is_resumed(whole):
    _, config, workdir, outcome = whole
    text = (workdir / "config.json").read_text()
    old = config.flat()
    del old["clip_eigs"]
    (workdir / "config.json").write_text(json.dumps(old))
    assert train_and_evaluate(config, workdir, quiet=True) == outcome
    assert (workdir / "config.json").read_text() == text
