"""A network on two devices gives the numbers of one: passes, inputs of layers, statistics, gradients."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from tolerance import relative, tol

import ssmreduce
from lra.devices import Devices
from lra.errors import ConfigError
from lra.network import LraNetwork

pytestmark = pytest.mark.jax

L = 6


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What tests/lra/two_devices_network.py writes."""
    folder = tmp_path_factory.mktemp("networks")
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=2"
    script = str(Path(__file__).with_name("two_devices_network.py"))
    environment = {**os.environ, "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(
        [sys.executable, "-W", "error", script, str(folder)], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.parametrize("case", ["eight", "five"])
@pytest.mark.parametrize("kind", ["pairs", "s4d"])
def test_two_devices_give_what_one_gives(folder: Path, kind: str, case: str) -> None:
    """To float32 rounding, in the order of the examples; five do not split over two devices, and eight do."""
    arrays = dict(np.load(folder / f"{kind}.npz"))
    names = [name for name in arrays if name.startswith(f"one/{case}/")]
    assert len(names) >= 6
    for name in names:
        other = arrays[name.replace("one/", "two/", 1)]
        assert relative(other, arrays[name]) <= tol(L, cond=10, dtype=np.float32), name


@pytest.mark.parametrize("kind", ["pairs", "s4d"])
def test_examples_lie_on_both_devices(folder: Path, kind: str) -> None:
    assert np.load(folder / f"{kind}.npz")["devices"].tolist() == [2, 4, 2]  # four examples of a batch, two on each


def test_several_processes_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    model = ssmreduce.load(ssmreduce.shipped_checkpoint("digits_s5"))
    mesh: Any = SimpleNamespace(size=2)
    monkeypatch.setattr("jax.process_count", lambda: 2)
    with pytest.raises(ConfigError, match="one process"):
        LraNetwork(model, np.zeros((2, 64, 1), np.float32), devices=Devices(mesh))
