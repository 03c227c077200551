"""Folders of Orbax: whatever its checkpointers write is read, and what is written is restored by them."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import jax_s5
import ml_dtypes
import numpy as np
import pytest
from checkpoint_cases import refusal
from layer_cases import s5_params
from tolerance import relative

import ssmreduce
from ssmreduce.command_line.parser import main
from ssmreduce.files.errors import CheckpointError, CheckpointIOError
from ssmreduce.files.writing import write_files
from theory.errors import InputError

AGREE = 1e-5
"""Of the largest output: what a forward pass in float32 may differ."""

OPTIONS: dict[str, Any] = {"conj_sym": True, "discretization": "zoh"}
FLAGS = ("--conj-sym", "--discretization", "zoh")


@pytest.fixture
def ocp() -> Any:
    return pytest.importorskip("orbax.checkpoint")


def tree_of(rng: np.random.Generator, step: int = 3) -> dict[str, Any]:
    """A training state: layers in a list, numbers, an average, moments, bfloat16, complex numbers, an empty branch."""
    layers = [{"seq": s5_params(rng, P=6)} for _ in range(2)]
    return {
        "params": {
            "layers": layers,
            "weight": rng.standard_normal((3, 2)).astype(ml_dtypes.bfloat16),
            "phase": np.exp(1j * rng.standard_normal(3)).astype(np.complex64),
        },
        "opt_state": [{"mu": {"layers": layers}, "count": np.array(step, np.int32)}, None],
        "step": step,
        "rate": 0.5,
        "empty": {},
    }


def leaves_of(tree: Any, path: tuple[str, ...] = ()) -> dict[tuple[str, ...], np.ndarray]:
    """Every leaf, of lists too, by its path."""
    if isinstance(tree, (list, tuple)):
        tree = {str(i): value for i, value in enumerate(tree)}
    if not isinstance(tree, Mapping):
        return {} if tree is None else {path: np.asarray(tree)}
    return {k: v for key, value in tree.items() for k, v in leaves_of(value, (*path, str(key))).items()}


def same(one: Any, two: Any) -> bool:
    first, second = leaves_of(one), leaves_of(two)
    return first.keys() == second.keys() and all(
        value.shape == second[path].shape and value.tobytes() == second[path].tobytes() for path, value in first.items()
    )


def tree_at(ocp: Any, folder: Path, tree: Any, **options: Any) -> Path:
    ocp.PyTreeCheckpointer(**options).save(folder, tree)
    return folder


@pytest.mark.jax
@pytest.mark.parametrize("options", [{}, {"use_ocdbt": False}, {"use_zarr3": True}], ids=["ocdbt", "files", "zarr3"])
def test_a_tree_comes_back(ocp: Any, options: dict[str, Any], tmp_path: Path, rng: np.random.Generator) -> None:
    tree = tree_of(rng)
    model = ssmreduce.load(tree_at(ocp, tmp_path / "state", tree, **options), **OPTIONS)
    assert model.format == "orbax"
    assert same(model.tree, tree)
    assert [layer.order for layer in model.layers] == [6, 6]
    written = model.save(tmp_path / "again")
    assert written.name == "again.orbax"
    restored = ocp.PyTreeCheckpointer().restore(written)
    assert same(restored, tree)
    assert isinstance(restored["params"]["layers"], list)
    assert restored["empty"] == {}
    assert same(ocp.StandardCheckpointer().restore(written), tree)
    assert same(ssmreduce.load(written).tree, tree)  # with its JSON half


@pytest.mark.jax
@pytest.mark.parametrize("kind", ["tree", "manager", "items", "newer"])
def test_jax_runs_what_is_written(ocp: Any, kind: str, tmp_path: Path, rng: np.random.Generator) -> None:
    """In the layout that came, by our commands alone: restored by the same checkpointer, it answers as `simulate`."""
    import jax

    tree = tree_of(rng)
    tree = jax.tree.map(lambda leaf: jax.numpy.asarray(leaf) if isinstance(leaf, np.ndarray) else leaf, tree)
    place, small = tmp_path / "came", tmp_path / "small.orbax"
    if kind == "tree":
        with ocp.StandardCheckpointer() as checkpointer:
            checkpointer.save(place, tree)
    elif kind == "newer":
        ocp.v1.save(place, tree)
    else:
        with ocp.CheckpointManager(place) as manager:
            for step in (5, 20, 100):
                given = ocp.args.StandardSave(tree | {"step": step})
                parts = {"state": given, "config": ocp.args.JsonSave({"width": 3})}
                manager.save(step, args=given if kind == "manager" else ocp.args.Composite(**parts))
            manager.wait_until_finished()
    asked = ("--step", "20") if kind == "items" else ()
    assert main(["reduce", str(place), *FLAGS, *asked, "--order", "3", "-o", str(small), "-q"]) == 0
    ours = ssmreduce.load(small)
    like = jax.tree.map(lambda leaf: jax.numpy.asarray(leaf) if isinstance(leaf, np.ndarray) else leaf, ours.tree)
    like["params"]["layers"] = [*like["params"]["layers"].values()]
    if kind == "tree":
        found = ocp.StandardCheckpointer().restore(small, like)
    elif kind == "newer":
        found = ocp.v1.load(small)
    else:
        with ocp.CheckpointManager(small) as manager:
            last = manager.latest_step()
            assert last == (20 if kind == "items" else 100)
            wanted = ocp.args.StandardRestore(like)
            found = manager.restore(last, args=wanted if kind == "manager" else ocp.args.Composite(state=wanted))
        found = found if kind == "manager" else found["state"]
        assert found["step"] == last
        assert ours.path == str(small / str(last))
    assert "opt_state" not in found
    assert found["rate"] == 0.5
    assert np.array_equal(np.asarray(found["params"]["weight"]), np.asarray(tree["params"]["weight"]))
    u = rng.standard_normal((64, 3)).astype("f4")
    for raw, layer in zip(found["params"]["layers"], ours.layers, strict=True):
        assert layer.order == 3
        assert relative(jax_s5.run(raw["seq"], u), ssmreduce.simulate(layer.system, u)) < AGREE


@pytest.mark.jax
def test_the_newest_step_is_read_or_the_one_that_is_asked_for(
    ocp: Any, tmp_path: Path, rng: np.random.Generator, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "run"
    options = ocp.CheckpointManagerOptions(step_prefix="ckpt", step_format_fixed_length=5)
    trees = {step: tree_of(rng, step) for step in (3, 20, 100)}
    with ocp.CheckpointManager(root, options=options) as manager:
        for step, tree in trees.items():
            parts = {"state": tree, "ema": {"params": tree["params"]}}
            saved = {name: ocp.args.StandardSave(part) for name, part in parts.items()}
            manager.save(step, args=ocp.args.Composite(**saved, notes=ocp.args.JsonSave({"loss": 1.0})))
        manager.wait_until_finished()
    (root / "ckpt_00200.orbax-checkpoint-tmp-17").mkdir()
    (root / "ckpt_00200.orbax-checkpoint-tmp-17" / "_METADATA").write_text("{}")  # a save that was interrupted
    assert main(["inspect", str(root), *FLAGS, "--prefix", "state/params", "-q"]) == 0
    for step, tree in trees.items():
        model = ssmreduce.load(root, step=step, prefix="state/params", **OPTIONS)
        assert same(model.tree["state"], tree)
        assert model.path == str(root / f"ckpt_{step:05d}")
        assert model.left_out == "notes (no arrays)"
        assert [*model.copies] == ["ema/params"]
    model = ssmreduce.load(root, prefix="state/params", **OPTIONS)
    assert model.tree["state"]["step"] == 100
    small = ssmreduce.reduce_model(model, orders=2).save(tmp_path / "small")
    with ocp.CheckpointManager(small, options=options) as manager:
        assert manager.all_steps() == [100]
    assert {path.name for path in (small / "ckpt_00100").iterdir() if path.is_dir()} == {"state", "ema"}
    (again,) = ssmreduce.load(small, prefix="state/params").copies.values()
    assert [layer.order for layer in again] == [2, 2]
    with pytest.raises(CheckpointError, match="no step 4; there are 3, 20, 100"):
        ssmreduce.load(root, step=4, **OPTIONS)
    with pytest.raises(CheckpointError, match="one checkpoint"):
        ssmreduce.load(root / "ckpt_00020", step=3, **OPTIONS)
    assert ssmreduce.load(root / "ckpt_00020", step=20, prefix="state/params", **OPTIONS).tree["state"]["step"] == 20
    np.savez(tmp_path / "net.npz", **s5_params(rng))
    with pytest.raises(CheckpointError, match="no folder of steps"):
        ssmreduce.load(tmp_path / "net.npz", step=3, **OPTIONS)
    with pytest.raises(CheckpointError, match="this is a directory"):
        ssmreduce.load(tmp_path, **OPTIONS)


@pytest.mark.jax
def test_every_container_becomes_a_folder_and_back(ocp: Any, tmp_path: Path, rng: np.random.Generator) -> None:
    raw = {f"seq/{key}": value for key, value in s5_params(rng).items()}
    np.savez(tmp_path / "net.npz", **raw)
    for target in ("net.orbax", "back.msgpack", "last.npz"):
        source = {"net.orbax": "net.npz", "back.msgpack": "net.orbax", "last.npz": "back.msgpack"}[target]
        assert main(["convert", str(tmp_path / source), *FLAGS, "-o", str(tmp_path / target), "-q"]) == 0
    assert same(ssmreduce.load(tmp_path / "last.npz").tree, raw)
    assert main(["convert", str(tmp_path / "net.orbax"), "-o", "-", "-q"]) == 2  # a folder is no stream
    assert main(["convert", str(tmp_path / "net.npz"), *FLAGS, "-o", str(tmp_path / "net.orbax"), "--force", "-q"]) == 6
    assert same(ssmreduce.load(tmp_path / "net.orbax").tree["seq"], {key[4:]: value for key, value in raw.items()})


@pytest.mark.jax
def test_what_a_folder_cannot_hold_is_said(ocp: Any, tmp_path: Path, rng: np.random.Generator) -> None:
    raw = s5_params(rng)
    for more in ({"x": np.zeros((0, 2))}, {"a.b": np.zeros(2), "a": {"b": np.ones(2)}}, {"x": np.float64}):
        with pytest.raises(InputError):
            ssmreduce.Model(tree={"seq": raw, **more}, options=OPTIONS).save(tmp_path / "net.orbax")
    assert not [*tmp_path.iterdir()]


@pytest.mark.jax
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # of orbax' tasks that failed
def test_a_damaged_folder_is_refused(ocp: Any, tmp_path: Path, rng: np.random.Generator) -> None:
    """Without a JSON half every error is ours; with one, every change is seen."""
    tree = {"params": {"seq": s5_params(rng)}}
    came = tree_at(ocp, tmp_path / "came", tree)
    written = ssmreduce.load(came, **OPTIONS).save(tmp_path / "ours")
    for folder, checked in ((came, False), (written, True)):
        for file in [path for path in folder.rglob("*") if path.is_file()]:
            whole = file.read_bytes()
            for data in (whole[: len(whole) // 2], bytes([*whole[:-1], whole[-1] ^ 1]) if whole else b"x", None):
                file.unlink() if data is None else file.write_bytes(data)
                if checked:
                    with pytest.raises(CheckpointError):
                        ssmreduce.load(folder)
                else:
                    with suppress(CheckpointError):
                        assert same(ssmreduce.load(folder, **OPTIONS).tree, tree)
                file.write_bytes(whole)
    assert same(ssmreduce.load(written).tree, tree)
    (written / "more").write_bytes(b"")
    with pytest.raises(CheckpointError, match="different saves"):
        ssmreduce.load(written)


def test_a_folder_is_whole_or_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = {"a/b/c": b"1", "d": b"2"}
    target, half = tmp_path / "net.orbax", tmp_path / "net.orbax.json"
    half.write_bytes(b"old")
    real, written = os.fsync, list[int]()
    for count in range(1, 7):
        left = [count]

        def full(handle: int, left: list[int] = left) -> None:
            left[0] -= 1
            if not left[0]:
                raise OSError(errno.ENOSPC, "No space left on device")
            real(handle)

        monkeypatch.setattr("os.fsync", full)
        with suppress(CheckpointIOError):  # folders are flushed where the system can
            write_files({target: files, half: b"new"})
            shutil.rmtree(target)
            half.write_bytes(b"old")
            written.append(count)
        assert half.read_bytes() == b"old"
        assert [*tmp_path.iterdir()] == [half]
    assert len(written) < 6
    monkeypatch.setattr("os.fsync", real)
    write_files({target: files, half: b"new"})
    assert {str(p.relative_to(target)): p.read_bytes() for p in target.rglob("*") if p.is_file()} == files
    assert (target.stat().st_mode & 0o777, half.stat().st_mode & 0o111) == (0o777 & ~_mask(), 0)
    with pytest.raises(CheckpointIOError, match="replaces nothing"):
        write_files({target: {"d": b"3"}, half: b"newer"})
    assert (target / "d").read_bytes() == b"2"
    assert half.read_bytes() == b"new"
    assert sorted(tmp_path.iterdir()) == [target, half]
    abandoned = tmp_path / ".net.orbax.abcdefgh.tmp"
    (abandoned / "a").mkdir(parents=True)
    shutil.rmtree(target)
    write_files({target: files})
    assert not abandoned.exists()  # of a writer that was killed
    with pytest.raises(CheckpointIOError, match="is a directory"):
        write_files({target: b"a file"})


def _mask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_parts_and_empty_folders_are_named(tmp_path: Path) -> None:
    (tmp_path / "run" / "3").mkdir(parents=True)
    assert "this is a directory" in refusal(tmp_path / "run")
    (tmp_path / "run" / "3" / "_CHECKPOINT_METADATA").write_text(json.dumps({}))
    assert "Orbax" in refusal(tmp_path / "run" / "3")
