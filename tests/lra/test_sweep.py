"""Sweeps: rows that mean what they say, by routes that the sweep does not take; resumed = uninterrupted."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest

import lra.sweep.examples
import lra.sweep.reducing
import lra.sweep.running
import ssmreduce
from lra.__main__ import main
from lra.errors import BusyError, CheckpointError, ConfigError, DataError
from lra.evaluate import evaluate
from lra.lock import locked
from lra.network import LraNetwork
from lra.sweep import OWN, WHOLE_MODEL, Grid, Sweep, sweep
from lra.sweep.examples import Inputs, drawn
from lra.sweep.grid import checked_ratios
from lra.sweep.whole_models import WHOLE_MODELS, WholeModel
from lra.tasks import Split, Task, load_task
from ssmreduce.files.shipped import shipped_checkpoint
from theory.errors import InputError

pytestmark = pytest.mark.jax

CHECKPOINT = shipped_checkpoint("digits_s5")
METHODS = ("last", "random", "empirical")
SMALL: dict[str, Any] = {"methods": METHODS, "ratios": (0.0, 0.5), "seeds": 2, "recorded": 20}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("sweep")


@pytest.fixture(scope="module")
def found(folder: Path) -> Sweep:
    return sweep(CHECKPOINT, **SMALL, folder=folder)


def measured(model: Any, path: Path) -> float:
    """Accuracy of the really smaller model, as `lra evaluate` finds it."""
    return float(evaluate(model.save(path / "smaller.safetensors"))["accuracy"])


def without_seconds(text: str) -> Any:
    if text.startswith("{"):
        data = json.loads(text)
        return {**data, "rows": [{**row, "seconds": 0} for row in data["rows"]]}
    return [{**row, "seconds": 0} for row in csv.DictReader(io.StringIO(text))]


def test_without_removal_a_row_is_the_whole_model(found: Sweep) -> None:
    whole = evaluate(CHECKPOINT)["accuracy"]
    assert found.whole["accuracy"] == whole
    rows = [row for row in found.rows if row.ratio == 0]
    assert len(rows) == 5
    for row in rows:
        assert (row.accuracy, row.changed, row.divergence) == (whole, 0.0, 0.0)
        assert (row.error_upper, row.recorded_error) == (0.0, 0.0)
        assert row.states == row.budget == 32
        assert row.bytes == found.whole["bytes"]


def test_there_is_a_row_for_every_point_and_seeds_where_something_is_drawn(found: Sweep) -> None:
    assert [row.point for row in found.rows] == list(Grid.of((0.0, 0.5), METHODS, seeds=2).points)
    assert [row.seed for row in found.rows if row.method == "last"] == [0, 0]
    assert [row.seed for row in found.rows if row.method == "random"] == [0, 1, 0, 1]
    by_seed = {row.seed: row.accuracy for row in found.rows if row.method == "random" and row.ratio == 0.5}
    assert by_seed[0] != by_seed[1]


def test_rows_of_one_budget_and_allocation_have_the_same_orders(found: Sweep) -> None:
    for row in found.rows:
        assert row.states == row.budget == sum(row.orders) == (32 if row.ratio == 0 else 16)
        assert row.rule == row.allocation == "uniform"
    assert len({row.orders for row in found.rows}) == 2
    assert len({(row.parameters, row.bytes) for row in found.rows}) == 2


@pytest.mark.parametrize(("method", "seed"), [("last", 0), ("random", 1)])
def test_a_row_is_what_the_smaller_model_does(found: Sweep, method: str, seed: int, tmp_path: Path) -> None:
    """Padded in one compilation, as here, or alone at its own size, as `lra evaluate` runs it: the same answers."""
    smaller = ssmreduce.reduce_model(ssmreduce.load(CHECKPOINT), 0.5, method, "uniform", seed=seed)
    (row,) = [row for row in found.rows if row.point == (method, "uniform", 0.5, seed)]
    assert row.accuracy == measured(smaller, tmp_path)
    assert row.orders == tuple(layer.order for layer in smaller.layers)
    arrays = [np.asarray(leaf) for leaf in smaller.tree.values()]
    assert row.parameters == sum(leaf.size for leaf in arrays)
    assert row.bytes == sum(leaf.nbytes for leaf in arrays)


def gain(layer: Any, z: np.ndarray) -> np.ndarray:
    """Responses of a layer with conjugate pairs and delay 0, summed mode by mode."""
    system = layer.system
    modes = 1 / (1 - system.poles / z[:, None])
    conjugate = 1 / (1 - system.poles.conj() / z[:, None])
    return np.einsum("pn,fn,nm->fpm", system.C, modes, system.B) + np.einsum(
        "pn,fn,nm->fpm", system.C.conj(), conjugate, system.B.conj()
    )


def test_certified_errors_hold_what_a_sweep_over_frequencies_finds(found: Sweep) -> None:
    model = ssmreduce.load(CHECKPOINT)
    smaller = ssmreduce.reduce_model(model, 0.5, "last", "uniform")
    z = np.exp(1j * np.concatenate([np.linspace(0, np.pi, 800), np.geomspace(1e-4, 0.1, 200)]))
    shares = []
    (row,) = [row for row in found.rows if row.method == "last" and row.ratio == 0.5]
    for whole, reduced, told in zip(model.layers, smaller.layers, row.layers, strict=True):
        size = np.linalg.norm(gain(whole, z) + np.diag(whole.D), 2, axis=(1, 2)).max()
        sampled = np.linalg.norm(gain(whole, z) - gain(reduced, z), 2, axis=(1, 2)).max()
        assert 0.98 * told["error"]["lower"] <= sampled <= told["error"]["upper"]
        shares.append(sampled / size)
    assert row.error_lower is not None
    assert row.error_upper is not None
    assert 0.97 * row.error_lower <= max(shares) <= 1.03 * row.error_upper


def test_changed_predictions_are_at_least_the_accuracy_lost(found: Sweep) -> None:
    for row in found.rows:
        assert row.changed is not None
        assert row.divergence is not None
        assert abs(row.accuracy - found.whole["accuracy"]) <= row.changed + 1e-12 <= 1
        assert (row.divergence > 0) == (row.ratio > 0)


def outputs(layer: Any, inputs: np.ndarray) -> np.ndarray:
    """Sample by sample: x = A x + B u, y = 2 Re(C x) + D u, all sequences at once."""
    system = layer.system
    state, found = np.zeros((len(inputs), system.n), complex), []
    for u in inputs.astype(float).swapaxes(0, 1):
        state = system.poles * state + u @ system.B.T
        found.append(2 * (state @ system.C.T).real + u @ system.D.T)
    return np.stack(found, axis=1)


def test_recorded_errors_are_those_of_the_recurrence_on_the_judged_examples(found: Sweep) -> None:
    model, task = ssmreduce.load(CHECKPOINT), load_task("digits")
    rows = drawn(len(task.train), 20, 1000, 0)[0]
    x = task.batch(task.train, rows)["x"]
    network = LraNetwork(model, x)
    inputs = network.run(network.parts, np.arange(len(x)), record=(0, 1)).inputs
    smaller = ssmreduce.reduce_model(model, 0.5, "last", "uniform")
    (row,) = [row for row in found.rows if row.method == "last" and row.ratio == 0.5]
    for index, (whole, reduced) in enumerate(zip(model.layers, smaller.layers, strict=True)):
        wanted = outputs(whole, inputs[index])
        error = np.linalg.norm(outputs(reduced, inputs[index]) - wanted) / np.linalg.norm(wanted)
        assert row.layers[index]["recorded_error"] == pytest.approx(error, rel=1e-4)
    assert row.recorded_error == max(layer["recorded_error"] for layer in row.layers)


FEW = [(1000, 200, 900), (1000, 200, 10), (40, 200, 900), (2, 5, 9)]


@pytest.mark.parametrize(("total", "recorded", "affordable"), FEW)
def test_errors_are_measured_where_nothing_was_fitted(total: int, recorded: int, affordable: int) -> None:
    sets = [drawn(total, recorded, affordable, seed) for seed in range(3)]
    for judged, fitted in sets:
        np.testing.assert_array_equal(judged, sets[0][0])
        assert not set(judged) & set(fitted)
        assert 1 <= len(set(fitted)) == len(fitted) <= min(recorded, affordable)
        assert 1 <= len(set(judged)) == len(judged) <= affordable
        assert max(*judged, *fitted) < total
    if total == 1000:
        assert set(sets[0][1]) != set(sets[1][1])


@pytest.mark.parametrize("retrieval", [False, True])
def test_inputs_are_those_of_the_batches(retrieval: bool) -> None:
    """As a network indexes them: of pairs the first documents, then the second."""
    rng = np.random.default_rng(0)
    x, lengths = rng.integers(0, 9, (7, 2, 5)), rng.integers(1, 6, (7, 2))
    split = Split(
        x=x if retrieval else x[:, 0], y=np.zeros(7, int), indices=np.array([6, 2, 5, 0]),
        lengths=lengths if retrieval else lengths[:, 0],
    )  # fmt: skip
    task = Task(
        name="toy", train=split, validation=split, test=split, d_input=9, n_classes=2, L=5, retrieval=retrieval,
        prepare=(lambda ids: np.concatenate([ids[:, 0], ids[:, 1]])) if retrieval else (lambda ids: ids),
    )  # fmt: skip
    inputs, rows = Inputs(task, split), np.array([3, 1])
    which = np.concatenate([rows, rows + 4]) if retrieval else rows
    batch = task.batch(split, rows)
    assert len(inputs) == (8 if retrieval else 4)
    np.testing.assert_array_equal(inputs[which], batch["x"])
    assert inputs.lengths is not None
    np.testing.assert_array_equal(inputs.lengths[which], batch["lengths"])


def test_fitting_to_recorded_inputs_makes_the_error_on_other_recorded_inputs_smaller(found: Sweep) -> None:
    errors = {row.method: row.recorded_error for row in found.rows if row.ratio == 0.5}
    assert 0 < errors["empirical"] < 0.5 * errors["last"]


def test_files_hold_the_rows(found: Sweep, folder: Path) -> None:
    text = (folder / "sweep.json").read_text()
    assert text == found.to_json()
    assert Sweep.from_json(text) == found
    rows = list(csv.DictReader(io.StringIO((folder / "sweep.csv").read_text())))
    assert [float(row["accuracy"]) for row in rows] == [row.accuracy for row in found.rows]
    assert [row["method"] for row in rows] == [row.method for row in found.rows]
    assert rows[0]["step_ms"] == ""
    assert rows[0]["split"] == "test"
    assert rows[0]["orders"] == "16 16"
    with pytest.raises(DataError):
        Sweep.from_json(text.replace("lra-sweep", "else"))


def test_a_stopped_sweep_goes_on_and_ends_as_an_uninterrupted_one(found: Sweep, tmp_path: Path) -> None:
    told: list[str] = []

    def stop(done: int, total: int, what: str) -> None:
        told.append(what)
        if done >= 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sweep(CHECKPOINT, **SMALL, folder=tmp_path, progress=stop)
    kept = Sweep.from_json((tmp_path / "sweep.json").read_text())
    assert 0 < len(kept.rows) < len(found.rows)
    before = {row.point: row.seconds for row in kept.rows}
    again = sweep(CHECKPOINT, **SMALL, folder=tmp_path)
    assert {row.point: row.seconds for row in again.rows if row.point in before} == before  # not computed twice
    for mine, theirs in ((again.to_json(), found.to_json()), (again.to_csv(), found.to_csv())):
        assert without_seconds(mine) == without_seconds(theirs)


def test_a_finished_sweep_computes_nothing_and_others_are_kept_apart(
    found: Sweep, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: Any) -> None:
        raise AssertionError("nothing was missing")

    before = (folder / "sweep.csv").read_bytes()
    monkeypatch.setattr(lra.sweep.running, "Bench", never)
    assert sweep(CHECKPOINT, **SMALL, folder=folder) == found
    for change in ({"split": "validation"}, {"examples": 50}, {"recorded": 21}, {"time": True}):
        with pytest.raises(ConfigError, match="another folder"):
            sweep(CHECKPOINT, **SMALL | change, folder=folder)
    assert (folder / "sweep.csv").read_bytes() == before
    with locked(folder / "sweep.lock", wait=False), pytest.raises(BusyError):
        sweep(CHECKPOINT, **SMALL, folder=folder)


class Unread:
    """Labels that nobody may look at."""

    def __getitem__(self, rows: Any) -> Any:
        raise AssertionError("a label of the training split was read")

    def __array__(self, *_: Any, **__: Any) -> Any:
        raise AssertionError("the labels of the training split were read")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Toy(WholeModel):
    """Keeps the states with the largest gain, all in the first layer but one; needs examples, and looks at them."""

    def reducer(self, network: Any, seed: int) -> Any:
        assert network.count == 20
        assert len(network.run(network.parts, np.arange(3)).logits) == 3

        def reduce(budget: int) -> Any:
            orders = (budget - 1, 1)
            layers = tuple(
                ssmreduce.reduce(layer, order, method="modal").layer
                for layer, order in zip(network.parts.layers, orders, strict=True)
            )
            return dataclasses.replace(network.parts, layers=layers), "first"

        return reduce


def test_labels_of_the_training_split_are_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor by a method of whole models, which has its own allocation; other methods' own ones are told, too."""

    def load(*arguments: Any) -> Any:
        task = load_task(*arguments)
        return dataclasses.replace(task, train=dataclasses.replace(task.train, y=Unread()))

    monkeypatch.setattr(lra.sweep.examples, "load_task", load)
    _ = list(WHOLE_MODELS)
    monkeypatch.setitem(WHOLE_MODELS._values, "toy", Toy())
    result = sweep(
        CHECKPOINT,
        methods="toy,empirical(observability='output'),balanced",
        ratios="0.5",
        allocations=f"{OWN},global",
        recorded=20,
        examples=30,
    )
    rows = {(row.method, row.allocation): row for row in result.rows}
    assert all(row.status == "ok" for row in result.rows)
    toy = rows["toy", WHOLE_MODEL]
    assert (toy.rule, toy.orders) == ("first", (15, 1))
    assert rows["balanced", OWN].rule == "time_limited"
    assert rows["empirical(observability='output')", OWN].rule == "uniform"
    assert rows["balanced", "global"].orders == rows["empirical(observability='output')", "global"].orders
    assert {row.examples for row in result.rows} == {30}
    text = str(result)
    for told in ("each method's own allocation", "allocation: global", "toy *", "30 examples of the test split"):
        assert told in text


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


class Elsewhere(joblib.parallel.ThreadingBackend):
    """A backend that counts what it is given, as dask's or ray's is given it."""

    given = 0

    def submit(self, *arguments: Any, **options: Any) -> Any:
        type(self).given += 1
        return super().submit(*arguments, **options)


def test_errors_do_not_depend_on_where_they_are_certified(found: Sweep) -> None:
    """joblib's context manager says where: both layers go there."""
    joblib.register_parallel_backend("elsewhere", Elsewhere)
    with joblib.parallel_config(backend="elsewhere", n_jobs=2):
        other = sweep(CHECKPOINT, methods="last", ratios="0.5", examples=5)
    (row,) = [row for row in found.rows if row.method == "last" and row.ratio == 0.5]
    assert other.rows[0].error_upper == pytest.approx(row.error_upper, rel=1e-12)
    assert Elsewhere.given == 2


def test_the_figure_shows_the_rows(found: Sweep) -> None:
    figure = found.plot()
    accuracy, certified, recorded = figure.axes
    lines = {line.get_label(): line for line in accuracy.get_lines()}
    for method in METHODS:
        x, y = lines[method].get_data()
        np.testing.assert_allclose(x, [0, 50])
        rows = [row for row in found.rows if row.method == method and row.ratio == 0.5]
        assert y[1] == pytest.approx(100 * np.mean([row.accuracy for row in rows]))
    assert len(accuracy.collections) == 2  # bands of the two methods that draw
    for axes, field in ((certified, "error_upper"), (recorded, "recorded_error")):
        drawn = {float(y) for line in axes.get_lines() if len(line.get_xdata()) == 1 for y in line.get_ydata()}
        for row in found.rows:
            if row.method == "last" and row.ratio == 0.5:
                assert any(y == pytest.approx(100 * getattr(row, field)) for y in drawn)


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
