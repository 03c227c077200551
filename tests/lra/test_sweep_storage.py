"""A sweep's folder: files hold the rows, a sweep that was stopped ends as one that was not, others are kept apart."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import joblib
import pytest
from sweep_cases import CHECKPOINT, SMALL

import lra.sweep.running
from lra.errors import BusyError, ConfigError, DataError
from lra.lock import locked
from lra.sweep import Sweep, sweep

pytestmark = pytest.mark.jax


def without_seconds(text: str) -> Any:
    if text.startswith("{"):
        data = json.loads(text)
        return {**data, "rows": [{**row, "seconds": 0} for row in data["rows"]]}
    return [{**row, "seconds": 0} for row in csv.DictReader(io.StringIO(text))]


def test_files_hold_the_rows(swept: Sweep, swept_folder: Path) -> None:
    text = (swept_folder / "sweep.json").read_text()
    assert text == swept.to_json()
    assert Sweep.from_json(text) == swept
    rows = list(csv.DictReader(io.StringIO((swept_folder / "sweep.csv").read_text())))
    assert [float(row["accuracy"]) for row in rows] == [row.accuracy for row in swept.rows]
    assert [row["method"] for row in rows] == [row.method for row in swept.rows]
    assert rows[0]["step_ms"] == ""
    assert rows[0]["split"] == "test"
    assert rows[0]["orders"] == "16 16"
    with pytest.raises(DataError):
        Sweep.from_json(text.replace("lra-sweep", "else"))


def test_a_stopped_sweep_goes_on_and_ends_as_an_uninterrupted_one(swept: Sweep, tmp_path: Path) -> None:
    told: list[str] = []

    def stop(done: int, total: int, what: str) -> None:
        told.append(what)
        if done >= 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sweep(CHECKPOINT, **SMALL, folder=tmp_path, progress=stop)
    kept = Sweep.from_json((tmp_path / "sweep.json").read_text())
    assert 0 < len(kept.rows) < len(swept.rows)
    before = {row.point: row.seconds for row in kept.rows}
    again = sweep(CHECKPOINT, **SMALL, folder=tmp_path)
    assert {row.point: row.seconds for row in again.rows if row.point in before} == before  # not computed twice
    for mine, theirs in ((again.to_json(), swept.to_json()), (again.to_csv(), swept.to_csv())):
        assert without_seconds(mine) == without_seconds(theirs)


def test_a_finished_sweep_computes_nothing_and_others_are_kept_apart(
    swept: Sweep, swept_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: Any) -> None:
        raise AssertionError("nothing was missing")

    before = (swept_folder / "sweep.csv").read_bytes()
    monkeypatch.setattr(lra.sweep.running, "Bench", never)
    assert sweep(CHECKPOINT, **SMALL, folder=swept_folder) == swept
    for change in ({"split": "validation"}, {"examples": 50}, {"recorded": 21}, {"time": True}):
        with pytest.raises(ConfigError, match="another folder"):
            sweep(CHECKPOINT, **SMALL | change, folder=swept_folder)
    assert (swept_folder / "sweep.csv").read_bytes() == before
    with locked(swept_folder / "sweep.lock", wait=False), pytest.raises(BusyError):
        sweep(CHECKPOINT, **SMALL, folder=swept_folder)


class Elsewhere(joblib.parallel.ThreadingBackend):
    """A backend that counts what it is given, as dask's or ray's is given it."""

    given = 0

    def submit(self, *arguments: Any, **options: Any) -> Any:
        type(self).given += 1
        return super().submit(*arguments, **options)


def test_errors_do_not_depend_on_where_they_are_certified(swept: Sweep) -> None:
    """joblib's context manager says where: both layers go there."""
    joblib.register_parallel_backend("elsewhere", Elsewhere)
    with joblib.parallel_config(backend="elsewhere", n_jobs=2):
        other = sweep(CHECKPOINT, methods="last", ratios="0.5", examples=5)
    (row,) = [row for row in swept.rows if row.method == "last" and row.ratio == 0.5]
    assert other.rows[0].error_upper == pytest.approx(row.error_upper, rel=1e-12)
    assert Elsewhere.given == 2
