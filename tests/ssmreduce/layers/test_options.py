"""What arrays cannot tell is asked for where it matters; what the tree or the file tells goes without a question."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from layer_cases import GOLDEN, TINY, s4d_params, s5_params

import ssmreduce
from ssmreduce.command_line.parser import main
from ssmreduce.layers.formats.s4d_torch import TRANSFORMS
from ssmreduce.layers.options import OPTIONS
from ssmreduce.layers.params import layer_from_params, read_layers
from theory.errors import InputError

Raw = dict[str, Any]


def stored(tree: Raw, folder: Path, place: str) -> Path:
    """One layer under a path in a file without a JSON half."""
    np.savez(folder / "net.npz", **{f"{place}/{key}": value for key, value in tree.items()})
    return folder / "net.npz"


EVENT_SSM = "params/encoder/stages_0/SequenceLayer_0/S5SSM_0"


@pytest.mark.parametrize("place", [EVENT_SSM, "params/blocks_0/sequence_mixer", "layers_0"])
def test_s5_keys_elsewhere_than_in_the_reference_tree_ask_for_the_discretization(
    place: str, tmp_path: Path, rng: np.random.Generator, capsys: pytest.CaptureFixture[str]
) -> None:
    raw = s5_params(rng)
    path = stored(raw, tmp_path, place)
    for read in (lambda **o: ssmreduce.load(path, **o).layers[0], lambda **o: layer_from_params(raw, **o)):
        with pytest.raises(ssmreduce.OptionError) as caught:
            read(conj_sym=True)
        assert caught.value.option == "discretization"
        assert caught.value.values == ("zoh", "bilinear", "dirac")
        for word in ("discretization='dirac'", "--discretization zoh|bilinear|dirac", "event-ssm"):
            assert word in str(caught.value)
        systems = [read(conj_sym=True, discretization=rule).system for rule in caught.value.values]
        assert all(np.abs(a.B - b.B).max() > 1e-6 for a, b in itertools.pairwise(systems))  # it matters
    assert main(["inspect", str(path), "--conj-sym"]) == 2
    assert "--discretization" in capsys.readouterr().err
    assert main(["inspect", str(path), "--conj-sym", "--discretization", "dirac"]) == 0


@pytest.mark.parametrize("name", TINY)
def test_reference_trees_load_without_the_question(name: str) -> None:
    data = np.load(GOLDEN / name)
    flat = {key: data[key] for key in data.files if key.startswith("params/")}
    told, asked = (read_layers(flat, **TINY[name], **more) for more in ({}, {"discretization": "zoh"}))
    for one, two in zip(told, asked, strict=True):
        assert np.array_equal(one.system.B, two.system.B)


@pytest.mark.parametrize("bidirectional", ["C1C2", "wide"])
def test_two_directions_are_the_reference_codes(bidirectional: str, rng: np.random.Generator) -> None:
    layer = layer_from_params(s5_params(rng, bidirectional=bidirectional), conj_sym=True)
    assert layer.discretization == "zoh"
    assert layer.is_bidirectional


def test_what_was_assumed_is_shown_once_and_written(
    tmp_path: Path, rng: np.random.Generator, capsys: pytest.CaptureFixture[str]
) -> None:
    model = ssmreduce.load(stored(s5_params(rng), tmp_path, "params/encoder/layers_0/seq"), conj_sym=True)
    assert model.assumed == {"discretization": "zoh"}
    assert main(["inspect", str(tmp_path / "net.npz"), "--conj-sym"]) == 0
    assert "assumed:  discretization=zoh" in capsys.readouterr().out
    again = ssmreduce.load(model.save(tmp_path / "ours.safetensors"))
    assert again.options["discretization"] == "zoh"
    assert not again.assumed
    wrong = ssmreduce.load(tmp_path / "net.npz", conj_sym=True, discretization="bilinear")
    assert not wrong.assumed


@pytest.mark.parametrize(("top", "matters"), [(-0.2, False), (-5e-5, True), (-1e-9, True)])
def test_clipping_is_asked_for_where_something_would_be_clipped(
    top: float, matters: bool, rng: np.random.Generator
) -> None:
    raw = s5_params(rng)
    raw["Lambda_re"][2] = top
    given: Raw = {"conj_sym": True, "discretization": "zoh"}
    one, two = (layer_from_params(raw, **given, clip_eigs=clip) for clip in (True, False))
    assert np.array_equal(one.poles, two.poles) != matters
    if matters:
        with pytest.raises(ssmreduce.OptionError, match="--clip-eigs or --no-clip-eigs") as caught:
            layer_from_params(raw, **given)
        assert (caught.value.option, set(caught.value.values)) == ("clip_eigs", {True, False})
    else:
        assert layer_from_params(raw, **given).clip_eigs is False
    raw["Lambda_re"][1] = 0.1  # described; refused by whatever needs a stable layer, with the same two ways on
    with pytest.raises(ssmreduce.StabilityError, match="clip_eigs=True"):
        layer_from_params(raw, **given).require_stable()


def test_s5_pytorch_under_seq_holds_its_input_and_a_bare_one_asks(rng: np.random.Generator) -> None:
    raw = s5_params(rng)
    torch = {
        "Lambda": (raw["Lambda_re"] + 1j * raw["Lambda_im"]).astype("c8"),
        "C": raw["C"].view("c8")[..., 0],
        "log_step": raw["log_step"][:, 0],
        "B": raw["B"],
        "D": raw["D"],
    }
    (layer,) = read_layers({f"blocks.0.s5.seq.{key}": value for key, value in torch.items()})
    assert layer.discretization == "zoh"
    with pytest.raises(ssmreduce.OptionError, match="S5SSM") as caught:
        layer_from_params(torch)
    assert caught.value.values == ("zoh", "bilinear")


@pytest.mark.parametrize("option", ["dt_transform", "discretization"])
def test_version_4_asks_for_both(option: str, rng: np.random.Generator) -> None:
    given = {"dt_transform": "exp", "discretization": "zoh"}
    raw = s4d_params(rng, "s4d-v4")
    assert layer_from_params(raw, **given).order == 5
    given.pop(option)
    with pytest.raises(ssmreduce.OptionError, match=f"--{option.replace('_', '-')}") as caught:
        layer_from_params(raw, **given)
    assert caught.value.option == option
    with pytest.raises(InputError, match="logarithm"):
        layer_from_params(raw, **given, **{option: "logarithm"})


STORED = {
    "exp": np.exp,
    "softplus": lambda x: np.log1p(np.exp(x)),
    "relu": lambda x: np.where(x > 0, x, 0) + 1e-4,
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "none": lambda x: x,
}
"""The formulas of the S4 code (param_transform), on their own."""


@pytest.mark.parametrize("transform", STORED)
@pytest.mark.parametrize("form", ["s4d-v3", "s4d-v4"])
def test_the_transform_of_the_real_part(
    form: str, transform: str, tmp_path: Path, rng: np.random.Generator, capsys: pytest.CaptureFixture[str]
) -> None:
    assert STORED.keys() == TRANSFORMS.keys() == {*OPTIONS["real_transform"]}
    raw = s4d_params(rng, form, dtype=np.float64)
    key = "kernel.kernel.inv_A_real" if form == "s4d-v3" else "kernel.A_real"
    raw[key] = rng.uniform(0.1, 0.9, raw[key].shape)
    given = {"discretization": "zoh"} | ({"dt_transform": "softplus"} if form == "s4d-v4" else {})
    chosen = given | ({} if transform == "exp" else {"real_transform": transform})
    layer = layer_from_params(raw, **chosen)
    assert np.abs(layer.Lambda.real[:2] + STORED[transform](raw[key])).max() < 1e-15
    again = layer.with_system(layer.system)
    assert np.abs(again.system.poles - layer.system.poles).max() < 1e-14
    assert np.abs(again.to_params()[key] - np.tile(raw[key], (2, 1))).max() < 1e-13

    path = stored(raw, tmp_path, "net")
    flags = [f"--{option.replace('_', '-')}={value}" for option, value in chosen.items()]
    method = "last" if transform == "sigmoid" else "balanced"  # new eigenvalues may lie outside of (-1, 0)
    wanted = ["--method", method, "--order", "3", "--no-certify", "-o", str(tmp_path / "small.npz")]
    assert main(["reduce", str(path), *flags, *wanted]) == 0
    half = json.loads((tmp_path / "small.npz.json").read_text())["options"]
    assert half["real_transform"] == transform
    small = ssmreduce.load(tmp_path / "small.npz").layers[0]
    assert small.order == 3
    assert small.options()["real_transform"] == transform
    assert ("real_transform=exp" in str(ssmreduce.load(path, **given).assumed)) is False
    assert ssmreduce.load(path, **chosen).assumed == ({"real_transform": "exp"} if transform == "exp" else {})


def test_a_real_part_that_a_transform_cannot_hold_is_refused(rng: np.random.Generator) -> None:
    raw = s4d_params(rng, "s4d-v4", dtype=np.float64)
    layer = layer_from_params(raw, discretization="zoh", dt_transform="exp", real_transform="sigmoid")
    fast = layer.system.replace(poles=layer.system.poles * np.exp(-3.0 * layer.step))
    with pytest.raises(InputError, match="sigmoid"):
        layer.with_system(fast)
