"""The command line in a process of its own: results, exit statuses, clean streams, and nothing half-written."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from layer_cases import s5_params

from ssmreduce import Comparison, load, save, shipped_checkpoint
from ssmreduce.command_line.parser import main
from ssmreduce.files.model import Model
from ssmreduce.methods.allocation import ALLOCATIONS
from ssmreduce.methods.registry import METHODS
from theory.errors import InputError

ROOT = Path(__file__).resolve().parents[3]


def run(*arguments: Any, cwd: Path, code: str | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "ssmreduce"] if code is None else [sys.executable, "-c", code]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "error", "COLUMNS": "200"}
    return subprocess.run(
        [*command, *map(str, arguments)],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def call(capsys: pytest.CaptureFixture[str], *arguments: Any) -> tuple[int, str, str]:
    """The same in this process: fast, for most cases."""
    try:
        status = main([str(argument) for argument in arguments])
    except SystemExit as stop:
        status = int(stop.code or 0)
    out, err = capsys.readouterr()
    return status, out, err


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng = np.random.default_rng(0)
    tree = {"params": {f"layers_{i}": {"seq": s5_params(rng, 4, 2)} for i in range(2)}}
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    save(Model(tree=tree, options={"conj_sym": True, "discretization": "zoh"}, training={"seed": 3}), path)
    return path


QUICK = ("--methods", "balanced,modal", "--orders", "2", "--crosscheck", "none")


def test_compare_in_a_process_of_its_own(checkpoint: Path, tmp_path: Path) -> None:
    files = ["--json", "c.json", "--plot", "c.png", "--html", "c.html"]
    done = run("compare", checkpoint, "--layer", "1", *QUICK, *files, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "balanced" in done.stdout
    assert "c.html" in done.stdout
    assert done.stderr == ""
    assert sorted(path.name for path in tmp_path.iterdir()) == ["c.html", "c.json", "c.png"]
    found = Comparison.from_json((tmp_path / "c.json").read_text())
    assert found.orders == (2,)
    assert "layers_1" in found.subject["name"]
    assert found.provenance["command"].startswith("ssmreduce compare")


def test_json_on_the_output_is_only_json(checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = call(capsys, "compare", checkpoint, *QUICK, "--json", "-")
    assert status == 0
    assert json.loads(out)["format"] == "ssmreduce-comparison"


def test_output_folder_gets_all_three(checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = call(capsys, "compare", checkpoint, *QUICK, "--quiet", "--output", tmp_path)
    assert (status, out, err) == (0, "", "")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["compare.html", "compare.json", "compare.png"]


def test_inspect(checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = call(capsys, "inspect", checkpoint)
    assert status == 0
    assert "2 layers, 8 stored states" in out
    status, out, _ = call(capsys, "inspect", checkpoint, "--json", "-")
    layers = json.loads(out)["layers"]
    assert [layer["states"] for layer in layers] == [4, 4]
    for layer in layers:
        assert [entry["tolerance"] for entry in layer["enough"]] == [0.1, 0.01, 0.001]
        for entry in layer["enough"]:
            assert 0 <= entry["order"] <= 4
            assert entry["error"] <= entry["tolerance"]
            assert (entry["multiplications"] < layer["multiplications"]) == (entry["order"] < 4)
    status, bounded, _ = call(capsys, "inspect", checkpoint, "--no-certify", "--json", "-")
    for layer, quick in zip(layers, json.loads(bounded)["layers"], strict=True):
        pairs = zip(layer["enough"], quick["enough"], strict=True)
        assert all(one["order"] <= two["order"] for one, two in pairs)  # a bound is never better than the error


def test_inspect_describes_unstable_layers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    raw = s5_params(np.random.default_rng(1), 3, 2)
    raw["Lambda_re"][0] = 1.0
    save(
        Model(tree={"params": raw}, options={"conj_sym": True, "discretization": "zoh"}), tmp_path / "wild.safetensors"
    )
    status, out, _ = call(capsys, "inspect", tmp_path / "wild.safetensors")
    assert status == 0
    assert "1 unstable" in out
    assert "--clip-eigs" in out
    status, _, err = call(capsys, "compare", tmp_path / "wild.safetensors", *QUICK)
    assert status == 2
    assert "clip_eigs" in err
    assert call(capsys, "inspect", tmp_path / "wild.safetensors", "--clip-eigs")[0] == 0


@pytest.mark.parametrize("size", [("--ratio", "0.5"), ("--order", "2")])
def test_reduce_writes_a_smaller_model(
    checkpoint: Path, tmp_path: Path, size: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "small.safetensors"
    status, out, err = call(capsys, "reduce", checkpoint, *size, "--output", target)
    assert status == 0, err
    assert "8 stored states, 4 kept" in out
    assert [layer.order for layer in load(target).layers] == [2, 2]
    before = target.read_bytes()
    status, _, err = call(capsys, "reduce", checkpoint, "--order", 1, "--output", target)
    assert status == 6
    assert "--force" in err
    assert target.read_bytes() == before
    status, out, _ = call(
        capsys, "reduce", checkpoint, "--order", 1, "--method", "last", "-o", target, "--force", "--json", "-", "--pad"
    )
    assert status == 0
    assert json.loads(out)["states"] == 2
    assert load(target).training["reduction"]["method"] == "last"
    assert load(target).training["unreduced"] == {"seed": 3}
    assert all(row["error"]["upper"] > 0 for row in json.loads(out)["layers"])


def test_a_method_with_parameters_and_an_order_for_each_layer(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target, method = tmp_path / "small.safetensors", "balanced(condition_limit=1e12)"
    status, out, err = call(capsys, "reduce", checkpoint, "--orders", "1,3", "--method", method, "-o", target)
    assert status == 0, err
    assert method in out
    assert [layer.order for layer in load(target).layers] == [1, 3]
    assert load(target).training["reduction"]["method"] == method
    status, out, err = call(capsys, "inspect", target)
    assert status == 0, err
    assert f"reduced by {method} to 1, 3 states; before it was reduced: seed 3" in " ".join(out.split())
    status, out, _ = call(
        capsys, "compare", checkpoint, "--methods", f"{method},last", "--orders", "0,2", "--crosscheck", "none",
        "--json", "-",
    )  # fmt: skip
    assert status == 0
    rows = json.loads(out)["rows"]
    assert [(row["method"], row["order"]) for row in rows] == [(method, 0), ("last", 0), (method, 2), ("last", 2)]


def test_a_layer_that_is_left_with_next_to_nothing_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The speech model has a layer with a pole at 9e-8 from the circle; docs/choosing.md tells what that costs."""
    speech = Path(__file__).parents[3] / "lra" / "weights" / "speech8_small_s5.safetensors"
    command = ("reduce", speech, "--ratio", "0.25", "--no-certify", "--force", "-o", tmp_path / "s.safetensors")
    command += ("--allocation", "hsv")
    status, out, _ = call(capsys, *command)
    assert status == 0
    assert "layer 2 keeps 2 of 32 states" in out
    assert "--allocation uniform" in out
    status, out, _ = call(capsys, *command, "--allocation", "uniform")
    assert status == 0
    assert "--allocation" not in out


def test_the_layer_that_was_asked_for(checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for wrong in ("2", "-1", "encoder"):
        status, _, err = call(capsys, "compare", checkpoint, f"--layer={wrong}", *QUICK)
        assert status == 2
        assert "layers_0" in err


BAD_ARGUMENTS = {
    "no command": ((), "COMMAND"),
    "unknown command": (("shrink",), "shrink"),
    "order below 0": (("compare", "{}", "--orders=-1"), "from 0 to 4"),
    "order too high": (("compare", "{}", "--orders", "5"), "from 0 to 4"),
    "order in words": (("compare", "{}", "--orders", "two"), "whole numbers"),
    "unknown method": (("compare", "{}", "--methods", "magic"), "balanced, aire"),
    "rtol": (("compare", "{}", "--rtol", "0"), "rtol"),
    "figure format": (("compare", "{}", "--plot", "x.bmp"), ".png"),
    "no size": (("reduce", "{}", "-o", "x.safetensors"), "--ratio"),
    "two sizes": (("reduce", "{}", "-o", "x.safetensors", "--ratio", "0.5", "--order", "2"), "not allowed"),
    "ratio in percent": (("reduce", "{}", "-o", "x.safetensors", "--ratio", "50"), "0.5"),
    "a parameter that is not there": (("compare", "{}", "--methods", "last(limit=1)"), "parameters are variant"),
    "a parameter that is code": (("compare", "{}", "--methods", "last(variant=open('x'))"), "is a number, a text"),
    "orders for other layers": (("reduce", "{}", "-o", "x.safetensors", "--orders", "1,2,3"), "2 layers, 3 orders"),
    "order for a model": (("reduce", "{}", "-o", "x.safetensors", "--order", "9"), "between 0 and 4"),
    "allocation": (("reduce", "{}", "-o", "x.safetensors", "--ratio", "0.5", "--allocation", "fair"), "uniform"),
    "allocation and order": (("reduce", "{}", "-o", "x.safetensors", "--order", "2", "--allocation", "hsv"), "--ratio"),
}


@pytest.mark.parametrize("name", BAD_ARGUMENTS)
def test_bad_arguments(
    name: str, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    arguments, hint = BAD_ARGUMENTS[name]
    status, out, err = call(capsys, *(part.format(checkpoint) for part in arguments))
    assert status == 2
    assert out == ""
    assert hint in err
    assert "Traceback" not in err
    assert not list(tmp_path.iterdir())


def bad_files(folder: Path, good: bytes) -> dict[str, Path]:
    contents = {
        "truncated.safetensors": good[: len(good) // 2],
        "header.safetensors": good[:20],
        "empty.safetensors": b"",
        "pickle.safetensors": pickle.dumps({"params": 1}),
        "text.safetensors": b"these are no arrays at all",
        "garbage.npz": b"PK\x03\x04" + bytes(100),
    }
    for name, data in contents.items():
        (folder / name).write_bytes(data)
    (folder / "folder.safetensors").mkdir()
    return {name: folder / name for name in [*contents, "folder.safetensors", "missing.safetensors"]}


@pytest.mark.parametrize("command", ["compare", "inspect", "reduce"])
def test_unreadable_checkpoints(
    command: str, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    more = {"compare": ["--json", tmp_path / "x.json"], "inspect": [], "reduce": ["--order", 1, "-o", tmp_path / "x"]}
    before = None
    for name, path in bad_files(tmp_path, checkpoint.read_bytes()).items():
        before = sorted(tmp_path.iterdir())
        status, out, err = call(capsys, command, path, *more[command])
        assert status == 3, (name, err)
        assert out == ""
        assert name in err
        assert len(err.splitlines()) == 1
        assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("option", ["--json", "--plot", "--html"])
def test_unwritable_outputs_are_refused_before_the_work(
    option: str, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("in the way")
    for target in (tmp_path / "none" / "x.png", tmp_path / "file" / "x.png", tmp_path):
        status, out, err = call(capsys, "compare", checkpoint, option, target)
        assert (status, out) == (6, ""), err
        assert str(target) in err
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert call(capsys, "reduce", checkpoint, "--order", 1, "-o", tmp_path / "none" / "x")[0] == 6
    assert call(capsys, "compare", checkpoint, "--output", tmp_path / "none")[0] == 6


def test_a_full_disk_leaves_nothing(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    status, _, err = call(capsys, "compare", checkpoint, *QUICK, "--quiet", "--html", tmp_path / "x.html")
    assert status == 6
    assert "No space left" in err
    assert not list(tmp_path.iterdir())


def test_a_missing_package_has_its_own_status(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    status, _, err = call(capsys, "compare", checkpoint, *QUICK, "--plot", tmp_path / "x.png")
    assert status == 5
    assert "ssmreduce[plot]" in err
    assert not list(tmp_path.iterdir())


def test_a_violated_law_has_its_own_status(
    checkpoint: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from theory.norms.bracket import Bracket

    monkeypatch.setattr("ssmreduce.comparison.work.error_norm", lambda *_, **__: Bracket(1e-12, 2e-12, 0.0))
    status, out, _ = call(capsys, "compare", checkpoint, *QUICK)
    assert status == 4
    assert "A LAW IS VIOLATED" in out


def test_interruption(checkpoint: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("ssmreduce.comparison.compare.compare", stop)
    status, _, err = call(capsys, "compare", checkpoint)
    assert status == 130
    assert "interrupted" in err


def test_help_is_complete(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = call(capsys, "--help")
    assert status == 0
    for word in ("examples:", "exit status:", "130", "compare", "inspect", "reduce"):
        assert word in out
    for command in ("compare", "inspect", "reduce"):
        assert "CHECKPOINT" in call(capsys, command, "--help")[1]
    assert call(capsys, "--version")[1].startswith("ssmreduce ")
    for command in ("compare", "reduce"):
        words = " ".join(call(capsys, command, "--help")[1].split())
        assert ", ".join(METHODS) in words
        assert command == "compare" or ", ".join(ALLOCATIONS) in words


def test_the_shipped_models(capsys: pytest.CaptureFixture[str]) -> None:
    assert shipped_checkpoint().exists()
    assert shipped_checkpoint("digits_s5").name == "digits_s5.safetensors"
    with pytest.raises(InputError, match="there are"):
        shipped_checkpoint("gpt")
    assert call(capsys, "inspect", "--no-certify")[0] == 0


def test_optional_packages_are_not_needed_to_start(tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "for name in ('control', 'slycot', 'cvxpy', 'matplotlib', 'jax', 'flax'): sys.modules[name] = None\n"
        "from ssmreduce.command_line.parser import main\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    done = run("inspect", "--no-certify", "--quiet", cwd=tmp_path, code=code)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
