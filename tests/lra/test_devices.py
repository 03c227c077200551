"""Training on several devices, and in several processes, is the training on one."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from tolerance import relative, tol

from lra.checkpoint import read_tensors
from lra.devices import Devices, choose, connect
from lra.errors import ConfigError

pytestmark = pytest.mark.jax

ROOT = Path(__file__).parents[2]
STEPS = 4  # of both runs


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """What tests/lra/two_devices.py writes."""
    folder = tmp_path_factory.mktemp("devices")
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=2"
    script = str(Path(__file__).with_name("two_devices.py"))
    environment = {**os.environ, "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(
        [sys.executable, "-W", "error", script, str(folder)], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return folder


def cores():
    """Those that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def leaves(path, *parts):
    """The arrays of a training state whose names hold one of `parts`."""
    return {name: value for name, value in read_tensors(path)[0].items() if any(part in name for part in parts)}


def test_two_devices_learn_what_one_learns(runs):
    """Up to rounding: sums over the batch are taken in another order. Dropout masks and batch norms are the same."""
    names = ("params/", "batch_stats/", "totals")
    one, two = (leaves(runs / name / "last.safetensors", *names) for name in ("one", "two"))
    assert one.keys() == two.keys()
    for name, value in one.items():
        assert relative(two[name], value) <= tol(STEPS, dtype=np.float32), name


def test_gradients_of_padded_pairs_on_two_devices_are_those_on_one(runs):
    """Both documents of a pair stay together, masked batch norms count over all devices.

    Rounding is relative to the largest gradient: some are zero in exact arithmetic (a bias before a batch norm).
    """
    one, two = (leaves(runs / f"pairs_{name}.safetensors", "/mu/") for name in ("one", "two"))
    assert one.keys() == two.keys()
    flat = [np.concatenate([tree[name].ravel() for name in one]) for tree in (two, one)]
    assert relative(*flat) <= tol(dtype=np.float32)
    one, two = (leaves(runs / f"pairs_{name}.safetensors", "batch_stats/", "totals") for name in ("one", "two"))
    for name, value in one.items():
        assert relative(two[name], value) <= tol(dtype=np.float32), name


def test_two_devices_hold_the_same_metrics(runs):
    one, two = (json.loads((runs / name / "result.json").read_text()) for name in ("one", "two"))
    assert two["test"]["accuracy"] == one["test"]["accuracy"]
    assert two["test"]["loss"] == pytest.approx(one["test"]["loss"], rel=tol(STEPS, dtype=np.float32))
    assert two["hardware"].startswith("2 devices")
    assert not one["hardware"].startswith("2 devices")


def test_two_processes_resume_to_the_bits_of_two_devices(runs):
    """Both go on from the checkpoint of a stopped run, each feeds half of every batch, the first writes the files.

    Bit for bit where there is a core for each device. On a single core XLA divides the work of a process with two
    devices among two threads, of a process with one among one, and sums in another order: up to rounding there.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    sys.path.insert(0, str(Path(__file__).parent))
    from two_devices import DIGITS

    overrides = [piece for key, value in DIGITS.items() for piece in ("--set", f"{key}={value}")]
    command = [sys.executable, "-W", "error", "-m", "lra", "train", "digits", "--workdir", str(runs / "stopped")]
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "JAX_COORDINATOR_BIND_ADDRESS": address, "GLIBC_TUNABLES": ""}
    environment |= {"JAX_COORDINATOR_ADDRESS": address, "JAX_NUM_PROCESSES": "2"}
    processes = [
        subprocess.Popen(
            [*command, "--quiet", "--process", str(i), *overrides],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for i in range(2)
    ]
    outputs = [process.communicate(timeout=200) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    assert "best epoch" in outputs[0][0]
    assert "best epoch" not in outputs[1][0]
    for name in ("best", "last"):
        found, wanted = (read_tensors(runs / f / f"{name}.safetensors")[0] for f in ("stopped", "two"))
        if cores() > 1:
            assert {k: v.tobytes() for k, v in found.items()} == {k: v.tobytes() for k, v in wanted.items()}
        assert found.keys() == wanted.keys()
        for key in (key for key in wanted if key.startswith(("params/", "batch_stats/", "totals"))):
            assert relative(found[key], wanted[key]) <= tol(STEPS, dtype=np.float32), key
    lines = [json.loads(line) for line in (runs / "stopped" / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "train_loss" in line] == list(range(1, STEPS + 1))


def test_a_batch_that_does_not_split_is_an_error_that_says_what_to_do():
    four = Devices(SimpleNamespace(size=4))
    with pytest.raises(ConfigError, match=r"50 .* 4 devices; set batch_size to a multiple \(48 or 52\).*--devices"):
        four.part(50)
    assert four.part(48) == slice(None)
    assert four.round_up(50) == 52


def test_impossible_devices_and_processes_are_typed_errors():
    with pytest.raises(ConfigError, match="--devices 9"):
        choose(9)
    with pytest.raises(ConfigError, match="need --coordinator"):
        connect(None, 2, 0)
    with pytest.raises(ConfigError, match="needs --processes"):
        connect("localhost:1", None, 0)
    with pytest.raises(ConfigError, match="from 0"):
        connect("localhost:1", 2, 2)
    with pytest.raises(ConfigError, match="HOST:PORT"):
        connect("localhost", 2, 1)
    assert connect(None, None, None) is None
