"""Checkpoints come back bit-equal, and damaged ones are typed errors."""

from __future__ import annotations

import json
import os
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ssmreduce
from lra.checkpoint import flatten, load_model, load_state, nest, save_model, save_state, write_atomically
from lra.config import load_config
from lra.errors import CheckpointError, CheckpointIOError
from lra.step import build_optimizer, initial_state
from lra.tasks import load_task

pytestmark = pytest.mark.jax


@pytest.fixture(scope="module")
def state():
    config = load_config("digits", {"n_layers": 1, "d_model": 4, "ssm_size": 4})
    return initial_state(config, load_task("digits"), build_optimizer(config, 10))


def test_states_come_back_bit_equal(tmp_path, state):
    save_state(tmp_path / "s.safetensors", state, {"note": "hello"})
    found, info = load_state(tmp_path / "s.safetensors", state)
    assert info["note"] == "hello"
    assert jax.tree.structure(found) == jax.tree.structure(state)
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(state)):
        assert a.dtype == b.dtype
        assert a.shape == b.shape
        np.testing.assert_array_equal(a, b)


def test_models_come_back_bit_equal(tmp_path, state):
    variables = {"params": state.params, "batch_stats": state.batch_stats}
    save_model(tmp_path / "m.safetensors", variables, {"architecture": "s5", "conj_sym": True}, {"seed": 1})
    found, meta = load_model(tmp_path / "m.safetensors")
    assert meta == {
        "architecture": "s5",
        "options": {"conj_sym": True},
        "training": {"seed": 1},
    }
    assert flatten(found).keys() == flatten(variables).keys()
    for name, leaf in flatten(variables).items():
        np.testing.assert_array_equal(flatten(found)[name], leaf)
    assert flatten(nest(flatten(variables))).keys() == flatten(variables).keys()


def damaged_state(path, how):
    raw = path.read_bytes()
    if how == "truncated":
        path.write_bytes(raw[: len(raw) // 2])
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "pickle":
        path.write_bytes(pickle.dumps({"params": 1}))
    elif how == "folder":
        path.unlink()
        path.mkdir()
    elif how == "missing":
        path.unlink()
    elif how == "no metadata":
        from safetensors.numpy import save

        path.write_bytes(save({"a": np.zeros(3)}))


@pytest.mark.parametrize("how", ["truncated", "empty", "pickle", "folder", "missing", "no metadata"])
def test_damaged_states_are_typed_errors(tmp_path, state, how):
    path = tmp_path / "s.safetensors"
    save_state(path, state, {})
    damaged_state(path, how)
    with pytest.raises((CheckpointError, CheckpointIOError), match=r"s\.safetensors"):
        load_state(path, state)


def test_states_of_another_model_are_typed_errors(tmp_path, state):
    path = tmp_path / "s.safetensors"
    save_state(path, state, {})
    with pytest.raises(CheckpointError, match="asks for"):
        load_state(path, state._replace(totals=jnp.zeros(4)))
    with pytest.raises(CheckpointError, match="another model"):
        load_state(path, state._replace(batch_stats={}))


@pytest.mark.parametrize("how", ["truncated", "empty", "pickle", "missing"])
def test_damaged_models_are_typed_errors(tmp_path, state, how):
    path = tmp_path / "s.safetensors"
    save_model(path, {"params": state.params}, {"architecture": "s5"}, {})
    damaged_state(path, how)
    with pytest.raises((CheckpointError, CheckpointIOError)):
        load_model(path)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", json.dumps({"format": "other", "version": 1}), None])
def test_damaged_descriptions_are_typed_errors(tmp_path, state, text):
    path = tmp_path / "s.safetensors"
    save_model(path, {"params": state.params}, {"architecture": "s5"}, {})
    if text is None:
        path.with_suffix(".json").unlink()
    else:
        path.with_suffix(".json").write_text(text)
    with pytest.raises(CheckpointError, match=r"s\.json"):
        load_model(path)


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path, monkeypatch):
    path = tmp_path / "file"
    write_atomically(path, b"old")

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(OSError, match="disk full"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_the_name_of_an_export_is_checked(tmp_path, state):
    with pytest.raises(CheckpointError, match="NAME"):
        save_model(tmp_path / "m.npz", {"params": state.params}, {"architecture": "s5"}, {})


def flipped(path):
    """One bit of the arrays, which are the end of the file."""
    raw = bytearray(path.read_bytes())
    raw[-100] ^= 64
    path.write_bytes(bytes(raw))


def test_one_flipped_bit_of_a_state_is_detected(tmp_path, state):
    path = tmp_path / "s.safetensors"
    save_state(path, state, {})
    flipped(path)
    with pytest.raises(CheckpointError, match=r"s\.safetensors.*digest"):
        load_state(path, state)


@pytest.mark.parametrize("with_json", [True, False])
def test_one_flipped_bit_of_an_export_is_detected(tmp_path, state, with_json):
    """By the JSON half, and without it by the record in the file itself."""
    path = tmp_path / "s.safetensors"
    save_model(path, {"params": state.params}, {"architecture": "s5", "conj_sym": True}, {})
    flipped(path)
    if with_json:
        with pytest.raises(CheckpointError, match="digest"):
            load_model(path)
    else:
        path.with_suffix(".json").unlink()
        with pytest.raises(CheckpointError, match="digest"):
            ssmreduce.load(path, conj_sym=True)


def test_a_failed_export_leaves_the_old_pair(tmp_path, state, monkeypatch):
    path = tmp_path / "m.safetensors"
    save_model(path, {"params": state.params}, {"architecture": "s5"}, {"run": 1})
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    real, calls = os.replace, []

    def second_fails(*args):
        calls.append(args)
        if len(calls) == 2:
            raise OSError("disk full")
        real(*args)

    monkeypatch.setattr("os.replace", second_fails)
    with pytest.raises(OSError, match="disk full"):
        save_model(path, {"params": state.params}, {"architecture": "s5"}, {"run": 2})
    monkeypatch.undo()
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before
