"""Every storage of a layer through one contract, and a new code base, in one file, seen everywhere."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from layer_cases import S4D_OPTIONS, s4d_params, s5_params

from ssmreduce.command_line.parser import main
from ssmreduce.files.loading import load
from ssmreduce.files.overview import layer_formats
from ssmreduce.layers.families import FAMILIES
from ssmreduce.layers.formats import LAYER_FORMATS, Array, Arrays
from ssmreduce.layers.formats.layer_format import Recognized
from ssmreduce.layers.params import layer_from_params, read_layers
from theory.errors import InputError


class Halves(Recognized):
    """A code that nobody has: S5 with B and C as two real arrays, and the step size itself."""

    name, kind, title = "halves", "s5", "S5 in halves"
    anchor = "lam_decay"
    keys = ("lam_decay", "lam_turn", "B_re", "B_im", "C_re", "C_im", "skip", "dt")
    fixed: Mapping[str, Any] = {"conj_sym": True, "clip_eigs": False, "discretization": "zoh"}

    def decode(self, raw: Mapping[str, Array]) -> dict[str, Any]:
        f = {key: np.asarray(value, np.float64) for key, value in raw.items()}
        return {
            "Lambda": -f["lam_decay"] + 1j * f["lam_turn"],
            "B": f["B_re"] + 1j * f["B_im"],
            "C": f["C_re"] + 1j * f["C_im"],
            "C_reverse": None,
            "D": f["skip"],
            "log_step": np.log(f["dt"]),
        }

    def encode(self, fields: Mapping[str, Any], dtype: np.dtype[Any]) -> Arrays:
        parts = {
            "lam_decay": -fields["Lambda"].real,
            "lam_turn": fields["Lambda"].imag,
            "B_re": fields["B"].real,
            "B_im": fields["B"].imag,
            "C_re": fields["C"].real,
            "C_im": fields["C"].imag,
            "skip": fields["D"],
            "dt": np.exp(fields["log_step"]),
        }
        return {key: value.astype(dtype) for key, value in parts.items()}

    def select(self, raw: Arrays, index: Array) -> Arrays:
        columns = {key: raw[key][:, index] for key in ("C_re", "C_im")}
        rows = {key: raw[key][index] for key in ("lam_decay", "lam_turn", "B_re", "B_im", "dt")}
        return raw | rows | columns


def halves(rng: np.random.Generator, P: int = 6, H: int = 2) -> dict[str, np.ndarray]:
    shapes = {"lam_decay": P, "lam_turn": P, "B_re": (P, H), "B_im": (P, H), "C_re": (H, P), "C_im": (H, P), "skip": H}
    return {key: rng.uniform(0.1, 2.0, shape).astype(np.float32) for key, shape in (shapes | {"dt": P}).items()}


@pytest.mark.parametrize("method", ["balanced", "last"])
def test_a_new_code_base_is_seen_everywhere(
    method: str,
    tmp_path: Path,
    rng: np.random.Generator,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    raw = halves(rng)
    np.savez(tmp_path / "net.npz", **{f"blocks.0.{key}": value for key, value in raw.items()})
    with pytest.raises(InputError, match="no S5 or S4D layer"):
        load(tmp_path / "net.npz")
    monkeypatch.setitem(LAYER_FORMATS, "halves", Halves())
    model = load(tmp_path / "net.npz")
    assert model.layers[0].form == "halves"
    assert main(["inspect", str(tmp_path / "net.npz")]) == 0
    assert "blocks/0" in capsys.readouterr().out
    arguments = ["--order", "3", "--method", method, "-o", str(tmp_path / "small.npz")]
    assert main(["reduce", str(tmp_path / "net.npz"), *arguments]) == 0
    small = dict(np.load(tmp_path / "small.npz"))
    assert small.keys() == {f"blocks.0.{key}" for key in raw}
    assert small["blocks.0.B_re"].shape == (3, 2)
    assert small["blocks.0.B_re"].dtype == np.float32
    assert "| S5 in halves | S5 |" in layer_formats()


def test_formats_and_families_agree() -> None:
    for name, form in LAYER_FORMATS.items():
        assert name == form.name
        assert form.anchor in form.keys
        assert form.kind in FAMILIES
    for kind, family in FAMILIES.items():
        assert kind == family.kind
        assert LAYER_FORMATS[family.default_form].kind == kind


@pytest.mark.parametrize("form", [*S4D_OPTIONS, "s5"])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_sixteen_bits_stay_sixteen_bits(form: str, dtype: str, rng: np.random.Generator) -> None:
    """A layer of 16-bit arrays stays one; its system is that of the rounded arrays, and selection keeps bits."""
    raw = s5_params(rng) if form == "s5" else s4d_params(rng, form)
    raw = {key: value.astype(dtype) for key, value in raw.items()}
    layer = layer_from_params(raw, **S4D_OPTIONS.get(form, {"conj_sym": True, "discretization": "zoh"}))
    assert str(layer.dtype) == dtype
    assert all(value.tobytes() == raw[key].tobytes() for key, value in layer.to_params().items())
    wide = layer_from_params(
        {key: value.astype(np.float64) for key, value in raw.items()},
        **S4D_OPTIONS.get(form, {"conj_sym": True, "discretization": "zoh"}),
    )
    assert np.array_equal(layer.system.poles, wide.system.poles)
    half = layer.keep([0, 2])
    assert {str(value.dtype) for value in half.to_params().values()} == {dtype}
    assert np.array_equal(half.system.poles, wide.keep([0, 2]).system.poles)
    again = layer.with_system(wide.system)
    stored = again.to_params()
    assert {str(value.dtype) for value in stored.values()} == {dtype}
    reread = layer_from_params(stored, **S4D_OPTIONS.get(form, {"conj_sym": True, "discretization": "zoh"}))
    assert np.array_equal(again.system.poles, reread.system.poles)  # what is reported is what is stored
    assert np.array_equal(again.system.B, reread.system.B)


def test_boxed_leaves_and_keystr_names(rng: np.random.Generator) -> None:
    raw = s5_params(rng)
    plain = layer_from_params(raw, conj_sym=True, discretization="zoh")
    boxed = {"params": {"seq": {key: {"value": value} for key, value in raw.items()}}}
    spelled = {f"['params']['seq']['{key}']": value for key, value in raw.items()}
    dotted = {f".params['seq'].{key}.value": value for key, value in raw.items()}
    for tree in (boxed, spelled, dotted):
        (layer,) = read_layers(tree, conj_sym=True, discretization="zoh")
        assert layer.name == "params/seq"
        assert np.array_equal(layer.C, plain.C)


def test_one_array_under_two_names_is_refused(rng: np.random.Generator) -> None:
    raw = s5_params(rng)
    with pytest.raises(InputError, match="twice"):
        read_layers({**{f"a.{key}": v for key, v in raw.items()}, "a/B": raw["B"]}, conj_sym=True, discretization="zoh")
