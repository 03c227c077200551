"""Recordings on disk: the bits that the network gave, read from the file, and refused where anything is not so."""

from __future__ import annotations

import os
import random
import tracemalloc
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from checkpoint_mutants import bytes_of
from toy_enhancer import ToyEnhancer
from toy_enhancer import layer as wave_layer
from toy_network import ToyNetwork, layer

import ssmreduce
from ssmreduce import CheckpointError, CheckpointIOError, InputError, load_recording, save_recording
from ssmreduce.recorded.recording import Recording
from theory.gramians.recorded import recorded_reachability
from theory.systems.scan import record


@pytest.fixture(scope="module")
def network() -> ToyNetwork:
    return ToyNetwork([layer(1, P=4), layer(2, P=3)], count=7, L=6)


@pytest.fixture(scope="module")
def path(network: ToyNetwork, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recording") / "toy.recording"
    save_recording(network, path, seed=3, batch=3)
    return path


def same(one: Any, other: Any) -> bool:
    return one.dtype == other.dtype and np.array_equal(one, other)


@pytest.mark.parametrize("batch", [1, 3, 7, 50])
def test_it_holds_what_the_network_gave_bit_for_bit(network: ToyNetwork, batch: int, tmp_path: Path) -> None:
    """However many run at a time: inputs, outputs, and the gradients that the recipe would take."""
    found = save_recording(network, tmp_path / "x", seed=3, batch=batch)
    wanted = Recording(network, np.arange(7), 3)
    assert len(found.inputs) == len(found.gradients) == 2
    for i in range(2):
        assert same(found.inputs[i], wanted.inputs(i))
        assert same(found.gradients[i], wanted.gradients[i])
    assert same(found.logits, wanted.whole.logits)
    assert found.lengths is None
    assert (found.seed, found.measure) == (3, "divergence")
    assert np.array_equal(found.rows, np.arange(7))


def test_other_readers_open_it(network: ToyNetwork, path: Path) -> None:
    arrays = safetensors.numpy.load_file(path)
    found = load_recording(path, network.parts.layers)
    assert set(arrays) == {"inputs.0", "inputs.1", "gradients.0", "gradients.1", "logits", "rows"}
    assert same(arrays["inputs.1"], found.inputs[1])
    assert same(arrays["gradients.0"], found.gradients[0])


@pytest.mark.parametrize("method", ["empirical", "empirical(observability='mixture')", "empirical_selection"])
def test_layers_are_reduced_from_the_file_as_from_memory(network: ToyNetwork, path: Path, method: str) -> None:
    found, memory = load_recording(path), Recording(network, np.arange(7), 3)
    for i, one in enumerate(network.parts.layers):
        fed = [{"inputs": found.inputs[i]}, {"inputs": memory.inputs(i)}]
        if "mixture" in method:
            fed = [{**a, "gradients": g} for a, g in zip(fed, (found.gradients[i], memory.gradients[i]))]
        a, b = (ssmreduce.reduce(one, 2, method=method, **data).layer for data in fed)
        assert all(np.array_equal(value, b.to_params()[key]) for key, value in a.to_params().items())


def test_some_examples_and_no_gradients(network: ToyNetwork, tmp_path: Path) -> None:
    found = save_recording(network, tmp_path / "x", rows=[5, 1], gradients=False)
    assert found.gradients is None
    assert np.array_equal(found.inputs[0], network.x[[5, 1]])
    assert np.array_equal(found.rows, [5, 1])


def test_signals_and_layers_at_rates_of_their_own(tmp_path: Path) -> None:
    network = ToyEnhancer([wave_layer(1, 1, 4), wave_layer(2, 4, 4)])
    found, wanted = save_recording(network, tmp_path / "x", batch=5), Recording(network, np.arange(network.count))
    assert found.measure == "squared_error"
    assert found.inputs[0].shape[1] == 2 * found.inputs[1].shape[1]
    for i in range(2):
        assert same(found.inputs[i], wanted.inputs(i))
        assert same(found.gradients[i], wanted.gradients[i])
    assert same(found.logits, wanted.whole.logits)


class Pairs:
    """Two padded documents an example, as lra's retrieval networks have them: all first ones, then all second ones."""

    def __init__(self, network: ToyNetwork) -> None:
        self.whole, self.parts, self.count = network, network.parts, network.count // 2
        self.lengths = np.arange(1, 2 * self.count + 1, dtype=np.int32)

    def run(self, parts: Any, rows: np.ndarray, record: Any = ()) -> Any:
        both = np.concatenate([rows, rows + self.count])
        found = self.whole.run(parts, both, record)
        logits = found.logits[: len(rows)] - found.logits[len(rows) :]
        return replace(found, logits=logits, lengths=self.lengths[both])

    def gradients(self, parts: Any, rows: np.ndarray, v: np.ndarray) -> Any:
        return self.whole.gradients(parts, np.concatenate([rows, rows + self.count]), np.concatenate([v, -v]))


def test_pairs_and_lengths(tmp_path: Path) -> None:
    network = Pairs(ToyNetwork([layer(1, P=2)], count=10, L=12))
    found, wanted = save_recording(network, tmp_path / "x", batch=2), Recording(network, np.arange(5))
    assert same(found.inputs[0], wanted.inputs(0))
    assert np.array_equal(found.lengths, wanted.whole.lengths)
    assert same(found.gradients[0], wanted.gradients[0])
    fed = {"inputs": found.inputs[0], "lengths": found.lengths}
    assert ssmreduce.reduce(network.parts.layers[0], 1, method="empirical", **fed).order == 1


def test_what_is_read_stays_in_the_file(tmp_path: Path) -> None:
    """10 MB recorded and read: a fraction of it is allocated, by the writer, by the reader, and by the Gramian."""

    class Wide(ToyNetwork):
        def run(self, parts: Any, rows: np.ndarray, record: Any = ()) -> Any:
            u = np.broadcast_to(np.sin(np.arange(250.0, dtype=np.float32))[:, None], (len(rows), 250, 2))
            inputs = dict.fromkeys(record, u + rows[:, None, None].astype(np.float32))
            return ssmreduce.Pass(logits=np.zeros((len(rows), 3)), inputs=inputs)

    network = Wide([layer(1, P=2)], count=5_000, L=1)
    tracemalloc.start()
    try:
        found = save_recording(network, tmp_path / "x", gradients=False)
        load_recording(tmp_path / "x")
        size, peak = found.inputs[0].nbytes, tracemalloc.get_traced_memory()[1]
        assert size == 10_000_000
        assert peak < 0.5 * size
        tracemalloc.reset_peak()
        checked = record(found.inputs[0], None, 2)
        assert not checked.values.flags.owndata
        assert tracemalloc.get_traced_memory()[1] < 0.75 * size
    finally:
        tracemalloc.stop()
    assert recorded_reachability(network.parts.layers[0].system, found.inputs[0][:10]).shape == (4, 4)
    with pytest.raises(ValueError, match="read-only"):
        found.inputs[0][0, 0, 0] = 1.0


def test_damaged_files_are_refused(network: ToyNetwork, path: Path, tmp_path: Path) -> None:
    """Every change is seen; without the digest what cannot be read is refused all the same."""
    data, mutant = path.read_bytes(), tmp_path / "mutant"
    for seed in range(300):
        changed = bytes_of(data, random.Random(seed), b"\x80\x04.")
        mutant.write_bytes(changed)
        if changed != data:
            with pytest.raises(CheckpointError):
                load_recording(mutant, network.parts.layers)
        with suppress(CheckpointError):
            load_recording(mutant, check=False)


def test_every_byte_counts(path: Path, tmp_path: Path) -> None:
    data = path.read_bytes()
    for at in (0, 9, 100, data.index(b"sha256") + 12, len(data) // 2, len(data) - 1):
        (tmp_path / "flipped").write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        with pytest.raises(CheckpointError):
            load_recording(tmp_path / "flipped")


def test_other_files_and_other_models_are_told_apart(network: ToyNetwork, path: Path, tmp_path: Path) -> None:
    other = ToyNetwork([layer(1, P=4), layer(4, P=3)], count=7, L=6)
    with pytest.raises(CheckpointError, match="other layers"):
        load_recording(path, other.parts.layers)
    with pytest.raises(CheckpointError, match="other layers"):
        load_recording(path, network.parts.layers[:1])
    with pytest.raises(CheckpointError, match=r"ssmreduce\.load reads models"):
        load_recording(ssmreduce.shipped_checkpoint("digits_s5"))
    (tmp_path / "text").write_text("no recording at all")
    with pytest.raises(CheckpointError, match="no safetensors"):
        load_recording(tmp_path / "text")
    with pytest.raises(CheckpointError, match="directory"):
        load_recording(tmp_path)
    with pytest.raises(CheckpointIOError, match="no such file"):
        load_recording(tmp_path / "none")
    os.rename(path, tmp_path / "model.safetensors")
    try:
        with pytest.raises(CheckpointError):
            ssmreduce.load(tmp_path / "model.safetensors")
    finally:
        os.rename(tmp_path / "model.safetensors", path)
    newer = path.read_bytes().replace(b'"version":"1"', b'"version":"2"')
    (tmp_path / "newer").write_bytes(newer)
    with pytest.raises(CheckpointError, match="version 1 is read"):
        load_recording(tmp_path / "newer")


@pytest.mark.parametrize("when", ["run", "gradients"])
def test_a_recording_that_fails_leaves_the_old_file_alone(network: ToyNetwork, when: str, tmp_path: Path) -> None:
    """Whatever the network says comes as it is said: its errors are none of the file."""
    target = tmp_path / "x"
    save_recording(network, target, rows=[0])
    before, calls = target.read_bytes(), []
    broken = ToyNetwork(list(network.parts.layers), count=7, L=6)
    real = getattr(broken, when)

    def fails(*arguments: Any, **options: Any) -> Any:
        calls.append(1)
        if len(calls) == 2:
            raise FileNotFoundError("the network's own")
        return real(*arguments, **options)

    setattr(broken, when, fails)
    with pytest.raises(FileNotFoundError, match="own"):
        save_recording(broken, target, batch=3)
    assert target.read_bytes() == before
    assert os.listdir(tmp_path) == ["x"]
    with pytest.raises(CheckpointIOError):
        save_recording(network, tmp_path / "none" / "x")


def test_what_is_no_recording_is_refused(network: ToyNetwork, tmp_path: Path) -> None:
    for wrong in ({"rows": []}, {"rows": [7]}, {"rows": [-1]}, {"rows": [0.5]}, {"rows": [[0]]}, {"batch": 0}):
        with pytest.raises(InputError):
            save_recording(network, tmp_path / "x", **wrong)
    for spoil in (lambda u: u * np.nan, lambda u: u[..., :1], lambda u: u[0]):
        bad = ToyNetwork(list(network.parts.layers), count=7, L=6)
        real = bad.run
        bad.run = lambda parts, rows, record=(), real=real, spoil=spoil: replace(
            found := real(parts, rows, record), inputs={i: spoil(u) for i, u in found.inputs.items()}
        )
        with pytest.raises(InputError, match=r"layer 0|inputs\.0"):
            save_recording(bad, tmp_path / "x")
    assert os.listdir(tmp_path) == []
