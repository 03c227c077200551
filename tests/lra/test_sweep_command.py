"""``python -m lra sweep``, and what a sweep refuses: before anything runs, or in a row that says why."""

from __future__ import annotations

import csv
import dataclasses
import io
from pathlib import Path
from typing import Any

import joblib
import pytest
from sweep_cases import CHECKPOINT

import lra.sweep.reducing
import ssmreduce
from lra.__main__ import main
from lra.errors import CheckpointError, ConfigError
from lra.sweep import sweep
from lra.sweep.grid import checked_ratios
from theory.errors import InputError

pytestmark = pytest.mark.jax


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["sweep", str(CHECKPOINT), "--ratios", "0.5", "--methods", "last", "--examples", "40", "--time"]
    assert main([*arguments, "--jobs", "2", "--split", "validation", "-o", str(tmp_path / "out")]) == 0
    told = capsys.readouterr().out
    assert "40 examples of the validation split" in told
    (row,) = csv.DictReader(io.StringIO((tmp_path / "out" / "sweep.csv").read_text()))
    assert float(row["step_ms"]) > 0
    assert (tmp_path / "out" / "sweep.png").read_bytes().startswith(b"\x89PNG")
    assert main([*arguments, "-o", str(CHECKPOINT)]) == 2
    assert main(["sweep", str(tmp_path / "none.safetensors"), *arguments[2:], "-o", str(tmp_path / "none")]) == 2


def test_a_method_that_refuses_has_a_row_that_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise InputError("not with\nthis layer")

    monkeypatch.setattr(lra.sweep.reducing, "at_most", refuse)
    with joblib.parallel_config(backend="threading", n_jobs=2):
        result = sweep(CHECKPOINT, methods=["last"], ratios=[0.5], examples=10)
    (row,) = result.rows
    assert (row.accuracy, row.error_upper, row.states) == (None, None, None)
    assert row.status == "not with this layer"
    assert "refused: last: not with this layer" in str(result)
    assert result.plot() is not None


BAD = [
    ({"ratios": "50"}, "give 0.5"),
    ({"ratios": "1.0"}, "0 <= ratio < 1"),
    ({"ratios": "-0.1"}, "0 <= ratio < 1"),
    ({"ratios": "0.1:0.9"}, "start:stop:step"),
    ({"ratios": "0.9:0.1:0.1"}, "start:stop:step"),
    ({"ratios": "0:0.9:1e-9"}, "start:stop:step"),
    ({"ratios": "half"}, "start:stop:step"),
    ({"ratios": "nan"}, "0 <= ratio < 1"),
    ({"ratios": ""}, "no ratio"),
    ({"methods": "best"}, "recorded"),
    ({"methods": "balanced(limit=2)"}, "condition_limit"),
    ({"methods": "recorded(steps=2)"}, "polish"),
    ({"methods": " , "}, "at least one method"),
    ({"allocations": "fair"}, "'own'"),
    ({"seeds": 0}, "at least 1"),
    ({"split": "train"}, "test, validation"),
    ({"examples": 0}, "at least 1"),
    ({"recorded": -1}, "at least 1"),
]


@pytest.mark.parametrize(("change", "advice"), BAD)
def test_what_cannot_be_is_refused_before_anything_runs(change: dict[str, Any], advice: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=advice):
        sweep(CHECKPOINT, **{"methods": "last", "ratios": "0.5", **change}, folder=tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_model_without_a_task_is_refused(tmp_path: Path) -> None:
    model = ssmreduce.load(CHECKPOINT)
    bare = dataclasses.replace(model, options={key: value for key, value in model.options.items() if key != "task"})
    with pytest.raises(CheckpointError, match="task"):
        sweep(bare.save(tmp_path / "bare.safetensors"), methods="last", ratios="0.5")


def test_ratios() -> None:
    assert checked_ratios("0.1:0.9:0.1") == (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
    assert checked_ratios("0.75, 0.5,0.5") == (0.5, 0.75)
    assert checked_ratios([0.3]) == (0.3,)
    assert checked_ratios("0:0.5:0.2,0.9") == (0.0, 0.2, 0.4, 0.9)
