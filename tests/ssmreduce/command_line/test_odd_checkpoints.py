"""Checkpoints as people have them go in and come out by the command line alone; what they compute is told by NumPy."""

from __future__ import annotations

import decimal
import functools
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from odd_checkpoints import (
    ODD,
    HyperParameters,
    Raw,
    below,
    channels_in,
    joined,
    lightning,
    minimal_s4d_arrays,
    tensors,
)
from tolerance import relative, tol

import ssmreduce
from ssmreduce.command_line.parser import main
from ssmreduce.files import recipes
from ssmreduce.files.errors import CheckpointError
from ssmreduce.inspection import inspect_model

LENGTH, QUIET = 240, 120
"""Samples of a signal, and those at its end that are zero."""


def written(name: str, folder: Path, rng: np.random.Generator) -> tuple[Path, list[str]]:
    """The file of a case, and the prefix of each of its layers."""
    case = ODD[name]
    if case.needs:
        pytest.importorskip(case.needs)
    layers = case.layers(rng)
    return case.write(folder, joined(layers)), list(layers)


def gains(one: Raw, two: Raw, name: str, rng: np.random.Generator) -> np.ndarray:
    """How much the outputs of two layers differ, as part of the input; of S4D each channel by itself."""
    u = rng.standard_normal((LENGTH, channels_in(one)))
    u[-QUIET:] = 0.0
    gap = ODD[name].run(one, u) - ODD[name].run(two, u)
    axis = 0 if any(key.startswith("kernel") for key in one) else None
    return np.linalg.norm(gap, axis=axis) / np.linalg.norm(u, axis=axis)


@pytest.mark.parametrize("name", list(ODD))
def test_what_is_written_computes_what_is_certified(
    name: str, tmp_path: Path, rng: np.random.Generator, capsys: pytest.CaptureFixture[str]
) -> None:
    """The outputs of the two files, by their code's own recurrence, differ by at most the error times the input."""
    case = ODD[name]
    path, prefixes = written(name, tmp_path, rng)
    target = tmp_path / f"small{path.suffix}"
    assert main(["inspect", str(path), *case.flags, "--no-certify"]) == 0
    command = ["reduce", str(path), *case.flags, "--orders", "5", "-o", str(target), "--json", str(tmp_path / "r.json")]
    assert main(command) == 0
    assert capsys.readouterr().err == ""
    before = case.read(path)
    after, rows = case.read(target), json.loads((tmp_path / "r.json").read_text())["layers"]
    assert len(rows) == len(prefixes)
    for row in rows:
        (prefix,) = (p for p in prefixes if row["name"].endswith("/".join(re.split("[./]", p)[:-1])))
        one, two = below(before, prefix), below(after, prefix)
        assert row["states"] == 5
        assert row["error"]["upper"] < 0.4 * row["norm"]["lower"]  # or it would say little
        found = gains(one, two, name, rng)
        room = tol(LENGTH, dtype=np.float64) * row["norm"]["upper"]
        assert (found <= row["error"]["upper"] + room).all()
        assert (found > 0).any()
        for key in two.keys() & one.keys():
            assert two[key].dtype == one[key].dtype
            assert two[key].ndim == one[key].ndim or key == "kernel.kernel.B"  # of S4 with an axis more than of S4D
    untouched = before.keys() - {f"{prefix}{key}" for prefix in prefixes for key in below(before, prefix)}
    assert all(np.array_equal(before[key], after[key]) for key in untouched)


def options_of(flags: tuple[str, ...]) -> dict[str, Any]:
    """The keywords that the flags of a case stand for."""
    found: dict[str, Any] = {}
    for flag, following in zip(flags, (*flags[1:], "--")):
        if flag.startswith("--"):
            found[flag[2:].replace("-", "_")] = True if following.startswith("--") else following
    return found


@pytest.mark.parametrize("name", list(ODD))
def test_the_layers_are_what_their_code_computes(name: str, tmp_path: Path, rng: np.random.Generator) -> None:
    case = ODD[name]
    path, prefixes = written(name, tmp_path, rng)
    flat = case.read(path)
    for layer in ssmreduce.load(path, **options_of(case.flags)).layers:
        (prefix,) = (p for p in prefixes if layer.name.endswith("/".join(re.split("[./]", p)[:-1])))
        raw = below(flat, prefix)
        u = rng.standard_normal((80, channels_in(raw)))
        y = ssmreduce.simulate(layer.system, u.T[..., None])[..., 0].T if layer.family.is_batch else None
        y = ssmreduce.simulate(layer.system, u) if y is None else y
        room = tol(80, cond=layer.remarks.get("eigenvector_condition", 1.0))
        assert relative(y, case.run(raw, u)) < room


@pytest.mark.parametrize("name", list(ODD))
def test_all_states_kept_is_the_same_function(name: str, tmp_path: Path, rng: np.random.Generator) -> None:
    """Nothing removed: what is stored may change, what is computed does not."""
    case = ODD[name]
    path, prefixes = written(name, tmp_path, rng)
    target = tmp_path / f"same{path.suffix}"
    assert main(["reduce", str(path), *case.flags, "--ratio", "0", "--method", "modal", "-o", str(target), "-q"]) == 0
    before, after = case.read(path), case.read(target)
    half = "bfloat16" in name
    for prefix in prefixes:
        one, two = below(before, prefix), below(after, prefix)
        u = rng.standard_normal((60, channels_in(one)))
        room = tol(60, cond=1e3 if "S4 " in name else 1.0, dtype=np.float32)
        assert relative(case.run(two, u), case.run(one, u)) < (0.0 if half else room) + 1e-300


ADVICE = re.compile(r"on the command line (--[\w-]+)|\((--prefix) on the command line\)")


@pytest.mark.parametrize("name", [name for name, case in ODD.items() if case.flags])
def test_who_follows_the_advice_arrives(
    name: str, tmp_path: Path, rng: np.random.Generator, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a flag, the message names the flag that is missing; with all that it named, the file is read."""
    case = ODD[name]
    path, _ = written(name, tmp_path, rng)
    given: list[str] = []
    for _ in range(len(case.flags) + 1):
        status = main(["inspect", str(path), *given, "--no-certify", "-q"])
        said = capsys.readouterr().err
        if status == 0:
            break
        named = ADVICE.search(said)
        assert named is not None, said
        flag = named[1] or named[2]
        at = case.flags.index(flag)
        assert flag not in given
        given += case.flags[at : at + 2] if at + 1 < len(case.flags) and case.flags[at + 1][0] != "-" else [flag]
    assert status == 0
    assert given


# --- what lies beside the weights ------------------------------------------------------------------------------------


@pytest.fixture
def torch() -> Any:
    return pytest.importorskip("torch")


def test_a_training_state_keeps_what_fits(tmp_path: Path, rng: np.random.Generator, torch: Any) -> None:
    path, _ = written("S4D, PyTorch's tutorial", tmp_path, rng)
    assert main(["reduce", str(path), "--orders", "3", "-o", str(tmp_path / "small.tar"), "-q", "--no-certify"]) == 0
    found = torch.load(tmp_path / "small.tar", weights_only=True)
    assert list(found) == ["epoch", "model_state_dict", "loss"]  # moments do not fit a smaller layer
    assert found["epoch"] == 3


def test_an_average_is_cut_alike_and_numpy_numbers_stay(tmp_path: Path, rng: np.random.Generator, torch: Any) -> None:
    path, _ = written("S4D, compiled, distributed, averaged", tmp_path, rng)
    flags = ["--prefix", "model", "--orders", "3", "-q", "--no-certify"]
    assert main(["reduce", str(path), *flags, "-o", str(tmp_path / "small.pth")]) == 0
    found = torch.load(tmp_path / "small.pth", weights_only=True)
    assert (found["acc"], found["best_acc"]) == (77.25, 78.5)
    shapes = {part: [value.shape for value in found[part].values()] for part in ("model", "ema")}
    assert shapes["model"] == shapes["ema"]


def test_objects_of_foreign_code_are_left_out_and_named(
    tmp_path: Path, rng: np.random.Generator, torch: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    path, _ = written("S4 before version 4, Lightning", tmp_path, rng)
    assert main(["reduce", str(path), "--orders", "3", "-o", str(tmp_path / "small.ckpt"), "--no-certify"]) == 0
    assert "left out of the file: hyper_parameters (odd_checkpoints.HyperParameters)" in capsys.readouterr().out
    assert main(["inspect", str(path), "--no-certify"]) == 0
    assert "left out: hyper_parameters" in capsys.readouterr().out
    found = torch.load(tmp_path / "small.ckpt", weights_only=True)
    assert found.keys() == {"epoch", "global_step", "pytorch-lightning_version", "state_dict", "loops", "callbacks",
                            "hparams_name"}  # fmt: skip


class Opens:
    """What a hostile file would have a pickle do."""

    def __init__(self, path: Path, call: Any) -> None:
        self.path, self.call = path, call

    def __reduce__(self) -> Any:
        return self.call, (str(self.path), "w")


@pytest.mark.parametrize("call", [open, eval, __import__("os").system, __import__("subprocess").Popen], ids=str)
def test_nothing_in_a_file_is_ever_called(call: Any, tmp_path: Path, rng: np.random.Generator, torch: Any) -> None:
    trace = tmp_path / "trace"
    state = tensors(joined({"s4.": minimal_s4d_arrays(rng)}))
    torch.save({"state_dict": state, "more": [{"x": Opens(trace, call)}]}, tmp_path / "a.pth")
    if call.__module__ == "posix":  # names that reach the system are refused by torch itself
        with pytest.raises(CheckpointError, match="blocked"):
            ssmreduce.load(tmp_path / "a.pth")
    else:
        assert ssmreduce.load(tmp_path / "a.pth").left_out.startswith("more (")
    assert not trace.exists()


@pytest.mark.parametrize("whole", [True, False])
def test_the_advice_for_what_torch_refuses_works(
    whole: bool, tmp_path: Path, rng: np.random.Generator, torch: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pickled module, and a file with arrays of objects, converted as the message says."""
    state = tensors(joined({"s4.": minimal_s4d_arrays(rng)}))
    from torch_s4d import S4Model

    content = S4Model() if whole else {"model_state_dict": state, "names": np.array([object], dtype=object)}
    torch.save(content, tmp_path / "net.pth")
    advice = recipes.TRUSTED_MODULE if whole else recipes.TRUSTED
    with pytest.raises(CheckpointError) as caught:
        ssmreduce.load(tmp_path / "net.pth")
    assert advice in str(caught.value)
    monkeypatch.chdir(tmp_path)
    exec(advice, {"torch": torch, "FILE": tmp_path / "net.pth"})
    assert len(ssmreduce.load(tmp_path / "weights.pth").layers) == (2 if whole else 1)


def test_numbers_and_arrays_of_numpy_are_read_as_they_are(tmp_path: Path, rng: np.random.Generator, torch: Any) -> None:
    state = tensors(joined({"s4.": minimal_s4d_arrays(rng)}))
    beside = {
        "f": np.float64(0.1), "i": np.int64(-4), "b": np.bool_(True), "c": np.complex64(1 + 2j), "s": np.str_("abc"),
        "C": rng.standard_normal((2, 3)), "F": np.asfortranarray(rng.standard_normal((2, 3))),
        "T": np.arange(3, dtype=">i4"),
    }  # fmt: skip
    torch.save({"model": state, **beside}, tmp_path / "a.pth")
    tree = ssmreduce.load(tmp_path / "a.pth").tree
    for key, value in beside.items():
        assert np.array_equal(tree[key], value)
        assert not isinstance(tree[key], np.generic)
    written = ssmreduce.load(tmp_path / "a.pth").save(tmp_path / "b.pth")
    assert ssmreduce.load(written).left_out == ""


@pytest.mark.parametrize(
    "inside", [lambda x: x, lambda x: [x], lambda x: (1, x), lambda x: [{"b": {"c": x}}], lambda x: [(1, [x])]]
)
def test_an_entry_with_a_foreign_object_anywhere_in_it_goes(
    inside: Any, tmp_path: Path, rng: np.random.Generator, torch: Any
) -> None:
    """And what is written holds nothing of this program, whatever lay beside: the state of NumPy's generator, say."""
    state = tensors(joined({"s4.": minimal_s4d_arrays(rng)}))
    beside = {"rng": np.random.RandomState(3).get_state(), "names": np.array(["a", "b"]), "more": {"lr": 0.5}}
    torch.save({"model": state, "odd": inside(HyperParameters(a=1)), **beside}, tmp_path / "a.pth")
    model = ssmreduce.load(tmp_path / "a.pth")
    assert model.left_out == "odd (odd_checkpoints.HyperParameters)"
    written = model.save(tmp_path / "b.pth")
    found = torch.load(written, weights_only=False)
    assert found["more"] == beside["more"]
    assert np.array_equal(found["names"], beside["names"])
    assert all(np.array_equal(one, two) for one, two in zip(found["rng"], beside["rng"], strict=True))
    assert "odd" not in found
    assert b"ssmreduce" not in written.read_bytes()


class Slotted:
    """An object whose state is no mapping."""

    __slots__ = ("a",)

    def __init__(self) -> None:
        self.a = 1


@pytest.mark.parametrize(
    "thing",
    [functools.partial(np.clip, a_min=-1), Slotted(), decimal.Decimal("0.5")],
    ids=["partial", "slots", "decimal"],
)
def test_objects_of_any_state_are_left_out(thing: Any, tmp_path: Path, rng: np.random.Generator, torch: Any) -> None:
    name = f"{type(thing).__module__}.{type(thing).__qualname__}"
    state = tensors(joined({"s4.": minimal_s4d_arrays(rng)}))
    torch.save({"model": state, "hyper_parameters": {"thing": thing, "lr": 0.5}}, tmp_path / "a.pth")
    model = ssmreduce.load(tmp_path / "a.pth")
    assert model.left_out == f"hyper_parameters/thing ({name})"
    assert model.tree["hyper_parameters"] == {"lr": 0.5}


def test_lists_and_sparse_tensors_beside_the_network(tmp_path: Path, rng: np.random.Generator, torch: Any) -> None:
    state = tensors(joined({"s4.": minimal_s4d_arrays(rng)}))
    beside = {"ema": [*state.values()], "sparse": torch.eye(3).to_sparse(), "text": "x"}
    torch.save({"model": state, **beside}, tmp_path / "a.pth")
    alone = sum(value.numel() for value in state.values())
    found = inspect_model(ssmreduce.load(tmp_path / "a.pth"), certify=False)
    assert found.model["parameters"] == 2 * alone + 9
    torch.save({"model": torch.nn.Linear(2, 2), "epoch": 3}, tmp_path / "b.pth")
    with pytest.raises(CheckpointError, match=r"left out.*model \(torch.nn.modules.linear.Linear\).*state_dict\(\)"):
        ssmreduce.load(tmp_path / "b.pth")


def test_a_state_dict_may_be_a_default_dictionary(tmp_path: Path, rng: np.random.Generator, torch: Any) -> None:
    from collections import defaultdict

    flat = joined({"s4.": minimal_s4d_arrays(rng)})
    path = lightning(tmp_path, flat)
    content = torch.load(path, weights_only=False)
    torch.save({**content, "state_dict": defaultdict(list, content["state_dict"])}, path)
    assert len(ssmreduce.load(path).layers) == 1
