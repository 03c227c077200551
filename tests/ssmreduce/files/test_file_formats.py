"""Every container through one contract, and a new one, in one file, seen everywhere."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from checkpoint_cases import same, small

from ssmreduce.command_line.parser import main
from ssmreduce.files import formats
from ssmreduce.files.errors import CheckpointError
from ssmreduce.files.formats import FILE_FORMATS
from ssmreduce.files.formats.file_format import Held
from ssmreduce.files.loading import load
from ssmreduce.files.overview import containers
from ssmreduce.files.reading import read_bytes
from ssmreduce.files.trees import flat, nested
from theory.errors import InputError

ROOT = Path(__file__).resolve().parents[3]
SHIPPED = sorted([*(ROOT / "ssmreduce" / "checkpoints").glob("*.json"), *(ROOT / "lra" / "weights").glob("*.json")])
READABLE = [name for name in FILE_FORMATS if name != "torch" or find_spec("torch")]
READABLE.remove("equinox")  # holds no names, and so no tree: tests of its own
TYPES = ["float16", "bfloat16", "float32", "float64", "complex64", "int8", "uint64", "bool"]


def tree_of(dtype: str) -> dict[str, Any]:
    """Random bits of a type, in several shapes; none, a scalar and one without elements among them."""
    rng = np.random.default_rng(7)
    wide = np.dtype(dtype).itemsize

    def bits(*shape: int) -> np.ndarray:
        if dtype == "bool":
            return rng.random(shape) < 0.5
        return np.frombuffer(rng.bytes(wide * int(np.prod(shape))), dtype).reshape(shape)

    return {"params": {"a": bits(3, 4), "b": bits(), "c": bits(0, 2)}, "step": np.int64(3), "z": bits(1, 2, 3)}


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("name", READABLE)
def test_arrays_come_back_bit_for_bit(name: str, dtype: str, tmp_path: Path) -> None:
    form, tree = FILE_FORMATS[name], tree_of(dtype)
    path = tmp_path / "file"
    path.write_bytes(form.write(tree, {"note": "text"}))
    assert path.read_bytes() == form.write(tree, {"note": "text"})
    found, held, _ = formats.read(path)
    assert found is form
    before, after = flat(tree), flat(held.tree)
    assert before.keys() == after.keys()
    for key, array in before.items():
        assert (array.dtype, array.shape, array.tobytes()) == (after[key].dtype, after[key].shape, after[key].tobytes())
    if held.record:
        assert held.record["note"] == "text"


@pytest.mark.parametrize("suffix", [FILE_FORMATS[name].suffix for name in READABLE])
def test_every_flipped_bit_of_the_arrays_is_detected(suffix: str, tmp_path: Path, rng: np.random.Generator) -> None:
    path = small(rng).save(tmp_path / f"model{suffix}")
    whole = path.read_bytes()
    for at in rng.integers(len(whole) // 2, len(whole), 40):
        data = bytearray(whole)
        data[at] ^= 1 << int(rng.integers(8))
        path.write_bytes(bytes(data))
        with pytest.raises(CheckpointError):
            load(path)


@pytest.mark.parametrize("suffix", [FILE_FORMATS[name].suffix for name in READABLE])
def test_the_json_half_speaks_for_every_container(suffix: str, tmp_path: Path, rng: np.random.Generator) -> None:
    model = small(rng, accuracy=0.5)
    again = load(model.save(tmp_path / f"model{suffix}"))
    assert same(model, again)
    assert again.training == {"accuracy": 0.5}
    assert again.options["activation"] == "half_glu1"


@pytest.mark.parametrize("side", SHIPPED, ids=lambda path: path.stem)
def test_what_ships_carries_its_digest(side: Path) -> None:
    arrays = side.with_suffix(".safetensors").read_bytes()
    assert json.loads(side.read_text())["sha256"] == hashlib.sha256(arrays).hexdigest()


def test_there_are_shipped_models() -> None:
    assert {"smnist_s5", "digits_s5", "speech8_small_s5", "smnist_small_s4d"} <= {path.stem for path in SHIPPED}


class Toy:
    """A container that nobody has: JSON with hexadecimal arrays."""

    name, suffix, title, aliases = "toy", ".toy", "toy boxes", (".box",)

    def recognizes(self, head: bytes) -> bool:
        return head.startswith(b"TOY")

    def read(self, data: bytes, path: Path) -> Held:
        entries = json.loads(data[3:])
        return Held(
            {k: np.frombuffer(bytes.fromhex(v), t).reshape(s) for k, (t, s, v) in entries.items()}, {"kind": "toy"}
        )

    def write(self, tree: Mapping[str, Any], record: Mapping[str, str]) -> bytes:
        return (
            b"TOY" + json.dumps({k: (v.dtype.str, v.shape, v.tobytes().hex()) for k, v in flat(tree).items()}).encode()
        )


def test_a_new_container_is_seen_everywhere(
    tmp_path: Path, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(FILE_FORMATS, "toy", Toy())
    model = small(rng)
    written = model.save(tmp_path / "model.toy")
    assert written.read_bytes().startswith(b"TOY")
    (tmp_path / "renamed.bin").write_bytes(written.read_bytes())
    assert same(model, load(tmp_path / "renamed.bin", conj_sym=True))  # by its content
    assert model.save(tmp_path / "model.box").read_bytes() == written.read_bytes()  # by another suffix
    assert main(["inspect", str(written)]) == 0
    assert "toy" in capsys.readouterr().out
    assert main(["reduce", str(written), "--order", "2", "--method", "last", "-o", str(tmp_path / "small")]) == 0
    again = load(tmp_path / "small.toy")  # written back as it came
    assert [layer.order for layer in again.layers] == [2, 2]
    assert "| toy boxes | `.toy` |" in containers()
    (tmp_path / "text.bin").write_bytes(b"# neither one nor the other")
    with pytest.raises(CheckpointError, match="toy boxes"):
        load(tmp_path / "text.bin")


def test_the_documentation_holds_the_tables() -> None:
    page = (ROOT / "docs" / "formats.md").read_text(encoding="utf-8")
    assert "overview.containers()" in page
    assert "overview.layer_formats()" in page


def test_keys_that_meet_are_refused() -> None:
    with pytest.raises(CheckpointError, match="twice"):
        nested({"a/b": 1, "a": {"b": 2}})
    assert nested({"a/b": 1, "a": {"c": 2}}) == {"a": {"b": 1, "c": 2}}
    with pytest.raises(CheckpointError, match="twice"):
        flat({"a/b": np.zeros(1), "a": {"b": np.zeros(1)}})


def test_what_a_container_cannot_hold_is_said() -> None:
    with pytest.raises(InputError, match="complex128"):
        FILE_FORMATS["safetensors"].write({"x": np.zeros(2, complex)}, {})


@pytest.mark.parametrize("length", [*range(0x80, 0x98, 8), 0xA088, 0xDE, 0xDF88, 0x1F8B, 0x4B50, 0x0280])
def test_a_header_of_any_length_is_recognised(length: int) -> None:
    """The length of its header is what a safetensors file begins with, and may be any other format's first bytes."""
    head = length.to_bytes(8, "little") + b'{"x":{"dtype":"F32"'
    assert [name for name, form in FILE_FORMATS.items() if form.recognizes(head)] == ["safetensors"]


def test_two_bytes_without_a_name_are_bfloat16(tmp_path: Path) -> None:
    """numpy.savez of a bfloat16 array keeps bytes, not the type."""
    values = np.array([1.5, -2.25, 3e-20], ml_dtypes.bfloat16)
    np.savez(tmp_path / "half.npz", x=values)
    _, held, _ = formats.read(tmp_path / "half.npz")
    assert held.tree["x"].dtype == ml_dtypes.bfloat16
    assert held.tree["x"].tobytes() == values.tobytes()


def test_sizes_are_looked_at_before_reading(tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(b"\0" * 1000)
    with pytest.raises(CheckpointError, match="1000 bytes"):
        read_bytes(tmp_path / "large", limit=999)
