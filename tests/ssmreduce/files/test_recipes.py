"""Files of others are named as what they are, with a recipe; where the library is installed, the recipe runs."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checkpoint_cases import refusal
from layer_cases import s5_params

import ssmreduce
from ssmreduce.files import recipes
from ssmreduce.files.formats import flaxbytes
from theory.errors import DimensionError


@pytest.mark.jax
def test_an_orbax_folder(tmp_path: Path, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where orbax is not beside ssmreduce, it converts the folder elsewhere."""
    checkpoint: Any = pytest.importorskip("orbax.checkpoint")
    import jax

    raw = s5_params(rng)
    folder = tmp_path / "step_3"
    checkpoint.PyTreeCheckpointer().save(folder, {"params": {"layers": [{"seq": raw}], "empty": None}})
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "orbax.checkpoint", None)
        told = refusal(folder)
    assert recipes.ORBAX in told
    assert "ssmreduce[orbax]" in told
    monkeypatch.chdir(tmp_path)
    exec(recipes.ORBAX, {"orbax": sys.modules["orbax"], "jax": jax, "numpy": np, "os": os, "FILE": folder})
    (layer,) = ssmreduce.load(tmp_path / "model.npz", conj_sym=True).layers
    assert layer.name == "params/layers/0/seq"
    assert all(value.tobytes() == raw[key].tobytes() for key, value in layer.to_params().items())


def test_parts_of_an_orbax_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "orbax.checkpoint", None)
    step = tmp_path / "checkpoint_3"
    (step / "default").mkdir(parents=True)
    (step / "default" / "_METADATA").write_text("{}")
    (step / "checkpoint").write_bytes(flaxbytes.write({"params": {"B": "PLACEHOLDER://params.B"}}))
    (step / "manifest.ocdbt").write_bytes(b"\x0c\xdb\x3a\x2a" + bytes(60))
    for path in (step, step / "default", step / "checkpoint", step / "manifest.ocdbt"):
        assert recipes.ORBAX in refusal(path)
    (tmp_path / "other").mkdir()
    assert "Orbax" not in refusal(tmp_path / "other")


def test_hdf5_is_named_with_a_way_on(tmp_path: Path, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "w.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(64))
    assert recipes.HDF5 in refusal(tmp_path / "w.h5")
    h5py: Any = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "w.h5", "w") as file:
        for key, value in s5_params(rng).items():
            file[f"layers_0/seq/{key}"] = value
    monkeypatch.chdir(tmp_path)
    exec(recipes.HDF5, {"h5py": h5py, "numpy": np, "FILE": tmp_path / "w.h5"})
    assert ssmreduce.load(tmp_path / "model.npz", conj_sym=True).layers[0].order == 5


def test_a_leading_axis_is_named(tmp_path: Path, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    raw = {f"seq/{key}": value for key, value in s5_params(rng).items()}
    np.savez(tmp_path / "pmap.npz", **{key: np.stack([value] * 4) for key, value in raw.items()})
    with pytest.raises(DimensionError, match=r"leading axis of 4.*array\[0\]"):
        ssmreduce.load(tmp_path / "pmap.npz", conj_sym=True)
    monkeypatch.chdir(tmp_path)
    exec(recipes.ONE_OF_SEVERAL, {"numpy": np, "FILE": tmp_path / "pmap.npz"})
    (layer,) = ssmreduce.load(tmp_path / "model.npz", conj_sym=True).layers
    assert np.array_equal(layer.to_params()["B"], raw["seq/B"])
    crooked = {key: value[:2] if key.endswith("B") else value for key, value in raw.items()}
    np.savez(tmp_path / "crooked.npz", **crooked)
    with pytest.raises(DimensionError) as caught:
        ssmreduce.load(tmp_path / "crooked.npz", conj_sym=True)
    assert "leading axis" not in str(caught.value)
