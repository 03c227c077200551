"""Files of Equinox: names from the user, everything else from the file, and back to the very same bytes."""

from __future__ import annotations

import io
import json
import pathlib
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
from ssmreduce.files import formats, recipes
from ssmreduce.files.errors import CheckpointError, CheckpointIOError
from theory.errors import InputError, SSMReduceError

AGREE = 1e-5
"""Of the largest output: what a forward pass in float32 may differ."""

LINE = b'{"state_dim": 5, "note": "\xc3\xa9"}\n'


def row(leaves: dict[str, Any]) -> bytes:
    """As ``equinox.tree_serialise_leaves`` writes them: bfloat16 as two bytes that NumPy has no name for."""
    stream = io.BytesIO()
    for leaf in leaves.values():
        array = np.asarray(leaf)
        np.save(stream, array.view("V2") if array.dtype == ml_dtypes.bfloat16 else array)
    return stream.getvalue()


def leaves_of(rng: np.random.Generator) -> dict[str, Any]:
    """A network's: two layers, a weight in bfloat16 and one in the order of Fortran, a number, a truth value."""
    held = {f"layers/{i}/seq/{key}": value for i in range(2) for key, value in s5_params(rng).items()}
    rest = {
        "encoder/weight": np.asfortranarray(rng.standard_normal((3, 2))),
        "encoder/bias": rng.standard_normal(3).astype(ml_dtypes.bfloat16),
        "rate": np.float32(0.1),
        "inference": True,
        "none": np.zeros((0, 2), np.float32),
    }
    return {**rest, **held}


@pytest.mark.parametrize("front", [b"", LINE])
def test_every_byte_comes_back(front: bytes, tmp_path: Path, rng: np.random.Generator) -> None:
    leaves = leaves_of(rng)
    path = tmp_path / "net"  # whatever the suffix says
    path.write_bytes(front + row(leaves))
    model = ssmreduce.load(path, names=list(leaves), conj_sym=True)
    assert model.format == "equinox"
    assert [layer.order for layer in model.layers] == [5, 5]
    assert list(model.tree) == list(leaves)
    for key, value in leaves.items():
        found, wanted = np.asarray(model.tree[key]), np.asarray(value)
        assert (found.dtype, found.shape, found.tobytes()) == (wanted.dtype, wanted.shape, wanted.tobytes())
    written = model.save(tmp_path / "again")
    assert written.name == "again.eqx"
    assert written.read_bytes() == path.read_bytes()
    assert ssmreduce.load(written).tree.keys() == leaves.keys()  # the JSON half has the names


def test_what_is_reduced_keeps_its_order_and_its_line(tmp_path: Path, rng: np.random.Generator) -> None:
    leaves = leaves_of(rng)
    (tmp_path / "net.eqx").write_bytes(LINE + row(leaves))
    (tmp_path / "names.txt").write_text("\n".join(f"{key}\t{np.shape(value)}" for key, value in leaves.items()))
    given = [str(tmp_path / "net.eqx"), "--names", str(tmp_path / "names.txt"), "--conj-sym"]
    assert main(["inspect", *given, "-q"]) == 0
    assert main(["reduce", *given, "--order", "2", "-o", str(tmp_path / "small"), "-q"]) == 0
    data = (tmp_path / "small.eqx").read_bytes()
    assert data.startswith(LINE)
    stream, orders = io.BytesIO(data[len(LINE) :]), {}
    for key, before in leaves.items():
        after = np.load(stream, allow_pickle=False)
        orders[key] = after
        if "/seq/" not in key:
            assert after.tobytes() == np.asarray(before).tobytes()
    assert not stream.read()
    assert orders["layers/1/seq/B"].shape == (2, 3, 2)
    again = ssmreduce.load(tmp_path / "small.eqx")
    assert [layer.order for layer in again.layers] == [2, 2]
    assert main(["convert", *given, "-o", str(tmp_path / "net.npz"), "-q"]) == 0
    assert ssmreduce.load(tmp_path / "net.npz").layers[0].order == 5
    assert "names" not in json.loads((tmp_path / "net.npz.json").read_text())["options"]


def test_names_are_needed_and_compared(tmp_path: Path, rng: np.random.Generator) -> None:
    leaves = leaves_of(rng)
    path, names = tmp_path / "net.eqx", list(leaves)
    path.write_bytes(row(leaves))
    told = refusal(path)
    assert f"{len(names)} leaves" in told
    assert recipes.EQUINOX_NAMES in told
    (tmp_path / "one.npy").write_bytes(row({"x": np.zeros(3)}))
    assert "single NumPy array" in refusal(tmp_path / "one.npy")

    def refused(kind: type[Exception], match: str, given: Any) -> None:
        with pytest.raises(kind, match=match):
            ssmreduce.load(path, names=given, conj_sym=True)

    refused(CheckpointError, f"{len(names)} leaves, and {len(names) - 1} names", names[1:])
    refused(CheckpointError, r"leaf 0 has shape \(3, 2\)", [f"{names[0]}\t(2, 3)", *names[1:]])
    refused(CheckpointError, r"leaf 0 has shape", [f"{names[0]}\t(3, 2, 1)", *names[1:]])
    refused(InputError, "twice", [names[0], names[0], *names[2:]])
    refused(InputError, "leaf 1 has none", [names[0], " ", *names[2:]])
    refused(InputError, "list of texts", [*names[:-1], 3])
    refused(InputError, "list of texts", {"a": 1})
    refused(CheckpointIOError, "no such file", tmp_path / "missing.txt")
    (tmp_path / "binary.txt").write_bytes(b"\xff\xfe\x00")
    refused(CheckpointError, "text file", tmp_path / "binary.txt")
    np.savez(tmp_path / "net.npz", **{key: value for key, value in leaves.items() if key != "encoder/bias"})
    with pytest.raises(InputError, match="has them"):
        ssmreduce.load(tmp_path / "net.npz", names=names, conj_sym=True)


def test_an_order_that_is_not_known_is_not_made_up(tmp_path: Path, rng: np.random.Generator) -> None:
    tree = {f"seq/{key}": value for key, value in s5_params(rng).items()}
    model = ssmreduce.Model(tree=tree, options={"conj_sym": True})
    with pytest.raises(InputError, match="order of the model"):
        model.save(tmp_path / "net.eqx")
    (tmp_path / "net.eqx").write_bytes(row(tree))
    came = ssmreduce.load(tmp_path / "net.eqx", names=list(tree), conj_sym=True, discretization="zoh")
    with pytest.raises(InputError, match="was not among the leaves"):
        came.in_form("lru").save(tmp_path / "lru.eqx")
    assert [path.name for path in tmp_path.iterdir()] == ["net.eqx"]


def test_a_row_that_is_cut_is_refused_everywhere(tmp_path: Path, rng: np.random.Generator) -> None:
    leaves = {f"seq/{key}": value for key, value in s5_params(rng).items()}
    whole, path = LINE + row(leaves), tmp_path / "net.eqx"
    for length in range(len(LINE) + 7, len(whole), 13):
        path.write_bytes(whole[:length])
        with pytest.raises(CheckpointError):
            ssmreduce.load(path, names=list(leaves), conj_sym=True)
    for at in range(len(LINE), len(whole), 17):  # a flipped bit is an error of ours, or another number
        data = bytearray(whole)
        data[at] ^= 1 << int(rng.integers(8))
        path.write_bytes(bytes(data))
        try:
            ssmreduce.load(path, names=list(leaves), conj_sym=True)
        except SSMReduceError:
            continue


def test_objects_are_not_unpickled(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> Any:
            return (pathlib.Path.touch, (tmp_path / "executed",))

    stream = io.BytesIO()
    np.save(stream, np.zeros(3))
    np.save(stream, np.array([Bomb(), None], dtype=object), allow_pickle=True)
    (tmp_path / "net.eqx").write_bytes(stream.getvalue())
    with pytest.raises(CheckpointError, match="pickle"):
        ssmreduce.load(tmp_path / "net.eqx", names=["a", "b"])
    assert not (tmp_path / "executed").exists()


def test_numbers_of_states_beside_a_layer_follow_it(tmp_path: Path, rng: np.random.Generator) -> None:
    """discretax keeps P of its S5 and state_dim of its S4D, which counts both states of a pair, in the module."""
    beside = {"P": np.int64(5), "state_dim": np.int32(10), "N": np.int64(7), "in_features": np.int64(5), "on": True}
    leaves = {f"layers/{i}/{key}": value for i in range(2) for key, value in {**s5_params(rng), **beside}.items()}
    leaves |= {"P": np.int64(5), "layers/0/inner/P": np.int64(5)}
    (tmp_path / "net.eqx").write_bytes(row(leaves))
    model = ssmreduce.load(tmp_path / "net.eqx", names=list(leaves), conj_sym=True, discretization="zoh")
    small = ssmreduce.load(ssmreduce.reduce_model(model, orders=[2, 5]).save(tmp_path / "small"))
    counts = {key: value for key, value in small.tree.items() if value.ndim == 0}
    assert {key: int(value) for key, value in counts.items()} == {
        **{f"layers/{i}/{key}": int(value) for i in range(2) for key, value in beside.items()},
        "layers/0/P": 2, "layers/0/state_dim": 4, "P": 5, "layers/0/inner/P": 5,
    }  # fmt: skip
    assert {key: value.dtype for key, value in counts.items()} == {key: np.asarray(leaves[key]).dtype for key in counts}


def test_one_line_of_json_stands_in_front() -> None:
    recognizes = formats.FILE_FORMATS["equinox"].recognizes
    assert recognizes(LINE + b"\x93NUMPY")
    assert recognizes(b"\x93NUMPY")
    assert not recognizes(LINE + LINE + b"\x93NUMPY")
    assert not recognizes(b"text\n\x93NUMPY")


@pytest.mark.jax
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of Equinox' own imports
def test_equinox_runs_what_is_written(
    tmp_path: Path, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model of Equinox, by its documented way: hyperparameters in front, leaves behind; by our commands alone."""
    equinox: Any = pytest.importorskip("equinox")
    import jax

    class S5(equinox.Module):
        Lambda_re: Any
        Lambda_im: Any
        B: Any
        C: Any
        D: Any
        log_step: Any

        def __init__(self, states: int) -> None:
            for key, value in s5_params(rng, P=states).items():
                setattr(self, key, jax.numpy.asarray(value))

    class Net(equinox.Module):
        layers: list[S5]
        activation: Any
        rate: float
        inference: bool
        head: Any

        def __init__(self, states: int) -> None:
            self.layers = [S5(states) for _ in range(2)]
            self.activation, self.rate, self.inference = jax.nn.gelu, 0.1, True
            self.head = equinox.nn.Linear(3, 2, dtype=jax.numpy.bfloat16, key=jax.random.PRNGKey(0))

    def write(model: Any, path: Path, states: int) -> None:
        with open(path, "wb") as file:
            file.write((json.dumps({"states": states}) + "\n").encode())
            equinox.tree_serialise_leaves(file, model)

    def read(path: Path, states: int) -> Any:
        with open(path, "rb") as file:
            file.readline()
            return equinox.tree_deserialise_leaves(file, Net(states))

    monkeypatch.chdir(tmp_path)
    model = Net(8)
    write(model, tmp_path / "net.eqx", 8)
    space = {"equinox": equinox, "jax": jax, "pathlib": pathlib, "model": model}
    exec(recipes.EQUINOX_NAMES, space)
    options = ["--names", "names.txt", "--conj-sym", "--discretization", "zoh"]
    assert main(["reduce", "net.eqx", *options, "--order", "4", "-o", "small.eqx", "-q"]) == 0
    u = rng.standard_normal((64, 3)).astype("f4")
    whole = ssmreduce.load("net.eqx", names="names.txt", conj_sym=True, discretization="zoh")
    small = ssmreduce.load("small.eqx")
    for net, ours in ((read(tmp_path / "net.eqx", 8), whole), (read(tmp_path / "small.eqx", 4), small)):
        assert net.head.weight.dtype == jax.numpy.bfloat16
        assert (net.rate, net.inference) == (0.1, True)
        assert np.array_equal(net.head.bias, model.head.bias)
        for layer, one in zip(net.layers, ours.layers, strict=True):
            assert relative(jax_s5.run(vars(layer), u), ssmreduce.simulate(one.system, u)) < AGREE
    other = ["--names", "names.txt", "--conj-sym"]
    assert main(["inspect", "small.eqx", *other, "-q"]) == 3  # the names say other shapes
