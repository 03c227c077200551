"""The benchmark script runs and records what it promises; it does not judge times."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

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
