"""The benchmark script runs and records what it promises; it does not judge times."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tolerance import tol

SCRIPT = Path(__file__).with_name("run.py")


@pytest.mark.benchmark
def test_quick_run_writes_a_complete_record(tmp_path):
    path = tmp_path / "record.json"
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(SCRIPT), "--quick", "--json", str(path)]
    subprocess.run(command, check=True, env=environment, capture_output=True)
    record = json.loads(path.read_text())
    assert {"date", "seed", "machine", "load", "rows", "growth"} <= set(record)
    assert all(row["failure"] is None for row in record["rows"] if row["package"] == "ssmreduce")
    assert all(series["exponent"] is not None for series in record["growth"])


@pytest.mark.benchmark
def test_training_steps_are_recorded_and_compute_the_same_loss(tmp_path):
    path = tmp_path / "steps.json"
    size = ["--batch", "2", "--length", "64", "--layers", "1", "--repeats", "2"]
    command = [sys.executable, str(SCRIPT.with_name("train_step.py")), "--only", "listops", "image_s4d", *size]
    subprocess.run([*command, "--json", str(path)], check=True, capture_output=True)
    record = json.loads(path.read_text())
    assert {"date", "command", "clock", "machine", "load", "rows"} <= set(record)
    assert all(row["seconds"] > 0 and row["temporary_mib"] > 0 and len(row["turns"]) == 2 for row in record["rows"])
    losses = [row["value"] for row in record["rows"] if (row["config"], row["kind"]) == ("listops", "training")]
    assert len(losses) == 4
    assert losses == pytest.approx([losses[0]] * 4, rel=tol(64, dtype=np.float32))
