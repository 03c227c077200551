"""safetensors in several files: one model in, the same files out, all or none of them."""

from __future__ import annotations

import json
import pathlib
from pathlib import Path

import numpy as np
import pytest
from checkpoint_cases import same
from layer_cases import s5_params
from safetensors.numpy import load_file, save_file

import ssmreduce
from ssmreduce.command_line.parser import main
from ssmreduce.files.errors import CheckpointError, CheckpointIOError
from ssmreduce.files.recipes import TORCH_SHARDS

INDEX = "model.safetensors.index.json"


def sharded(folder: Path, rng: np.random.Generator) -> tuple[Path, dict[str, np.ndarray]]:
    """Two layers, each in another file, as a library of the hub writes them."""
    flat = {f"layers_{i}/seq/{key}": value for i in range(2) for key, value in s5_params(rng).items()}
    flat["head/kernel"] = rng.standard_normal((3, 2)).astype("f4")
    where = {key: f"model-0000{2 if key[7] == '1' else 1}-of-00002.safetensors" for key in flat}
    for name in {*where.values()}:
        save_file({key: flat[key] for key in flat if where[key] == name}, folder / name, metadata={"format": "pt"})
    metadata = {"total_size": sum(value.nbytes for value in flat.values())}
    (folder / INDEX).write_text(json.dumps({"metadata": metadata, "weight_map": where}))
    return folder / INDEX, flat


def test_what_comes_in_several_files_goes_out_in_as_many(tmp_path: Path, rng: np.random.Generator) -> None:
    path, flat = sharded(tmp_path, rng)
    model = ssmreduce.load(path, conj_sym=True)
    assert [layer.name for layer in model.layers] == ["layers_0/seq", "layers_1/seq"]
    (tmp_path / "out").mkdir()
    written = model.save(tmp_path / "out" / "same")
    assert written.name == "same.safetensors.index.json"
    index, before = json.loads(written.read_text()), json.loads(path.read_text())
    assert {key: name[4:] for key, name in index["weight_map"].items()} == {
        key: name[5:] for key, name in before["weight_map"].items()
    }
    assert index["metadata"]["total_size"] == before["metadata"]["total_size"]
    for name in {*index["weight_map"].values()}:
        part = load_file(tmp_path / "out" / name)
        assert part.keys() == {key for key, file in index["weight_map"].items() if file == name}
        assert all(part[key].tobytes() == flat[key].tobytes() for key in part)
        assert b'"format": "pt"' in (tmp_path / "out" / name).read_bytes()[:300]
    assert same(model, ssmreduce.load(written))
    assert same(model, ssmreduce.load(tmp_path / "out" / "same"))  # without a suffix
    assert same(model, ssmreduce.load(model.save(tmp_path / "one.safetensors")))  # or in one file
    small = ssmreduce.reduce_model(model, orders=2).save(tmp_path / "out" / "small")
    assert [layer.order for layer in ssmreduce.load(small).layers] == [2, 2]


def test_one_file_becomes_several(tmp_path: Path, rng: np.random.Generator) -> None:
    np.savez(tmp_path / "net.npz", **{f"seq/{key}": value for key, value in s5_params(rng).items()})
    target = tmp_path / "net.safetensors.index.json"
    assert main(["convert", str(tmp_path / "net.npz"), "--conj-sym", "-o", str(target), "-q"]) == 0
    assert same(ssmreduce.load(tmp_path / "net.npz", conj_sym=True), ssmreduce.load(target))
    assert main(["convert", str(tmp_path / "net.npz"), "--conj-sym", "-o", str(target), "-q"]) == 6
    target.unlink()
    (tmp_path / "net.safetensors.index.json.json").unlink()
    command = ["convert", str(tmp_path / "net.npz"), "--conj-sym", "-o", str(target), "-q"]
    assert main(command) == 6  # a part is in the way
    assert main([*command, "--force"]) == 0


def test_every_part_is_checked(tmp_path: Path, rng: np.random.Generator) -> None:
    path, _ = sharded(tmp_path, rng)
    written = ssmreduce.load(path, conj_sym=True).save(tmp_path / "b.safetensors.index.json")
    part = tmp_path / "b-00002-of-00002.safetensors"
    whole = part.read_bytes()
    for at in rng.integers(len(whole) // 2, len(whole), 20):
        data = bytearray(whole)
        data[at] ^= 1 << int(rng.integers(8))
        part.write_bytes(bytes(data))
        with pytest.raises(CheckpointError):
            ssmreduce.load(written)
    part.write_bytes((tmp_path / "b-00001-of-00002.safetensors").read_bytes())
    with pytest.raises(CheckpointError, match="do not agree"):
        ssmreduce.load(written)
    part.unlink()
    with pytest.raises(CheckpointIOError, match="no such file"):
        ssmreduce.load(written)


def test_all_files_or_none(tmp_path: Path, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    path, _ = sharded(tmp_path, rng)
    model = ssmreduce.load(path, conj_sym=True)
    model.save(tmp_path / "b.safetensors.index.json")
    before = {file.name: file.read_bytes() for file in tmp_path.glob("b*")}
    small, moved = ssmreduce.reduce_model(model, orders=2), []
    import os

    replace = os.replace

    def full(source: str, target: str) -> None:
        moved.append(target)
        if len(moved) == 3:
            raise OSError(28, "No space left on device")
        replace(source, target)

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(CheckpointIOError, match="nothing was changed"):
        small.save(tmp_path / "b.safetensors.index.json")
    monkeypatch.undo()
    assert {file.name: file.read_bytes() for file in tmp_path.glob("b*")} == before
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ({"x": "../model-00001-of-00001.safetensors"}, "elsewhere"),
        ({"x": "/etc/passwd"}, "elsewhere"),
        ({"x": ""}, "elsewhere"),
        ({"x": "..\\x.safetensors"}, "elsewhere"),
        ({"x": "pytorch_model-00001-of-00002.bin"}, TORCH_SHARDS),
        ({}, "damaged index"),
        ({"x": 3}, "damaged index"),
    ],
)
def test_an_index_reaches_nowhere_else(where: dict, said: str, tmp_path: Path) -> None:
    (tmp_path / INDEX).write_text(json.dumps({"weight_map": where}))
    with pytest.raises(CheckpointError) as caught:
        ssmreduce.load(tmp_path / INDEX)
    assert said in str(caught.value)


def test_one_file_of_several_names_the_index(tmp_path: Path, rng: np.random.Generator) -> None:
    path, _ = sharded(tmp_path, rng)
    with pytest.raises(CheckpointError, match=INDEX):
        ssmreduce.load(tmp_path / "model-00001-of-00002.safetensors", conj_sym=True)
    path.unlink()
    assert len(ssmreduce.load(tmp_path / "model-00001-of-00002.safetensors", conj_sym=True).layers) == 1


def test_the_recipe_for_files_of_torch(
    tmp_path: Path, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch = pytest.importorskip("torch")
    flat = {f"seq.{key}": torch.from_numpy(np.array(value)) for key, value in s5_params(rng).items()}
    names = {key: f"pytorch_model-0000{1 + i % 2}-of-00002.bin" for i, key in enumerate(flat)}
    for name in {*names.values()}:
        torch.save({key: value for key, value in flat.items() if names[key] == name}, tmp_path / name)
    index = tmp_path / "pytorch_model.bin.index.json"
    index.write_text(json.dumps({"weight_map": names}))
    with pytest.raises(CheckpointError, match="weight_map"):
        ssmreduce.load(index)
    monkeypatch.chdir(tmp_path)
    exec(TORCH_SHARDS.partition(": ")[2], {"torch": torch, "json": json, "pathlib": pathlib, "FILE": index})
    assert len(ssmreduce.load(tmp_path / "model.pth", conj_sym=True).layers) == 1
