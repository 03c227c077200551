"""Checkpoints: what was saved is loaded; nothing is unpickled; foreign and damaged files are called what they are."""

from __future__ import annotations

import gzip
import io
import json
import os
import pickle
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checkpoint_cases import same, small
from layer_cases import GOLDEN, S4D_OPTIONS, TINY, s4d_params, s5_params

from ssmreduce.files import digest
from ssmreduce.files.errors import CheckpointError, CheckpointIOError
from ssmreduce.files.loading import load
from ssmreduce.files.model import Model
from ssmreduce.layers.layer import SSMLayer
from theory.errors import DimensionError, InputError

CASES = [
    *((GOLDEN / name, options) for name, options in TINY.items()),
    (GOLDEN / "s5_tiny_trainstate.msgpack", {"conj_sym": True, "discretization": "zoh"}),
    (GOLDEN / "s4d_minimal.npz", {}),
    (GOLDEN / "s4d_v4_lin_zoh_softplus_bi_bn_prenorm.npz", S4D_OPTIONS["s4d-v4"]),
]


@pytest.mark.parametrize(("path", "options"), CASES, ids=lambda value: getattr(value, "stem", ""))
@pytest.mark.parametrize("suffix", ["", ".safetensors", ".npz", ".msgpack"])
def test_save_then_load(path: Path, options: dict[str, Any], suffix: str, tmp_path: Path) -> None:
    model = load(path, **options)
    written = model.save(tmp_path / f"copy{suffix}")
    assert written.suffix == (suffix or path.suffix)
    again = load(written, **({} if written.suffix == ".safetensors" else options))
    assert same(model, again)
    assert again.architecture == model.architecture
    before, after = flat(model.params), flat(again.params)
    assert before.keys() == after.keys()
    assert all(np.array_equal(before[key], after[key]) for key in before)
    assert flat(again.batch_stats).keys() == flat(model.batch_stats).keys()
    assert not [name for name in os.listdir(tmp_path) if name.endswith(".tmp")]


def flat(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key, value in tree.items():
        result |= flat(value, f"{prefix}{key}/") if isinstance(value, dict) else {prefix + key: value}
    return result


def test_msgpack_comes_back_byte_for_byte(tmp_path: Path) -> None:
    path = GOLDEN / "s5_tiny_trainstate.msgpack"
    assert load(path, conj_sym=True).save(tmp_path / "x").read_bytes() == path.read_bytes()


def test_the_same_model_gives_the_same_bytes(rng: np.random.Generator, tmp_path: Path) -> None:
    model = small(rng)
    for suffix in (".safetensors", ".npz", ".msgpack"):
        first, second = model.save(tmp_path / f"a{suffix}"), model.save(tmp_path / f"b{suffix}")
        assert first.read_bytes() == second.read_bytes()


def test_json_says_what_arrays_cannot(rng: np.random.Generator, tmp_path: Path) -> None:
    path = small(rng, task="smnist", accuracy=0.97).save(tmp_path / "model")
    text = json.loads(path.with_suffix(".json").read_text())
    assert (text["format"], text["version"], text["architecture"]) == ("ssmreduce-checkpoint", 2, "s5")
    assert text["options"]["conj_sym"] is True
    assert text["options"]["discretization"] == "zoh"
    model = load(tmp_path / "model")  # the name alone
    assert model.options["activation"] == "half_glu1"
    assert model.training == {"task": "smnist", "accuracy": 0.97}
    assert same(model, load(path.with_suffix(".json")))
    assert load(path, clip_eigs=True).layers[0].clip_eigs  # a keyword goes before the file
    path.with_suffix(".json").unlink()
    with pytest.raises(InputError, match="conj_sym=True"):
        load(path)
    assert same(model, load(path, conj_sym=True))


def test_replaced_layers_of_different_sizes(rng: np.random.Generator, tmp_path: Path) -> None:
    model = load(GOLDEN / "s5_tiny_trunc_halfglu1_standard.npz", conj_sym=True)
    halves = [[0, 2], [3]]

    def cut(layers: tuple[SSMLayer, ...]) -> list[SSMLayer]:
        return [layer.keep(index) for layer, index in zip(layers, halves, strict=True)]

    smaller = model.replace_layers(cut(model.layers), {key: cut(twins) for key, twins in model.copies.items()})
    again = load(smaller.save(tmp_path / "small.npz"))
    assert [layer.order for layer in again.layers] == [2, 1]
    untouched = {key: value for key, value in flat(model.params).items() if "/seq/" not in key}
    assert all(np.array_equal(flat(again.params)[key], value) for key, value in untouched.items())
    assert np.array_equal(again.layers[1].C, model.layers[1].C[:, [3]])
    assert [layer.order for layer in model.layers] == [4, 4]


def test_padding_keeps_the_outputs(rng: np.random.Generator) -> None:
    from theory.systems.response import frequency_response

    model = small(rng)
    smaller = model.replace_layers([model.layers[0].keep([0, 2]), model.layers[1].keep([3])])
    padded = smaller.padded()
    assert [layer.order for layer in padded.layers] == [2, 2]
    assert [layer.order for layer in smaller.padded(5).layers] == [5, 5]
    omega = np.linspace(0, np.pi, 9)
    for a, b in zip(smaller.layers, smaller.padded(5).layers, strict=True):
        b.require_stable()
        assert np.allclose(frequency_response(a.system, omega), frequency_response(b.system, omega), rtol=0, atol=1e-12)
        assert b.dtype == a.dtype
    with pytest.raises(InputError, match="cut"):
        model.padded(2)
    batch = load(GOLDEN / "s4d_minimal.npz").layers[0]
    wider = batch.padded(batch.order + 3)
    assert wider.order == batch.order + 3
    assert np.allclose(
        frequency_response(batch.system, omega), frequency_response(wider.system, omega), rtol=0, atol=1e-12
    )


def test_optimizer_moments_do_not_outlive_their_parameters() -> None:
    model = load(GOLDEN / "s5_tiny_trainstate.msgpack", conj_sym=True)
    assert "opt_state" in model.tree
    smaller = model.replace_layers([model.layers[0].keep([0])])
    assert set(smaller.tree) == {"step", "params", "batch_stats"}


def test_replacements_must_fit(rng: np.random.Generator) -> None:
    model = small(rng)
    one, two = model.layers
    with pytest.raises(InputError, match="2 layers"):
        model.replace_layers([one])
    with pytest.raises(InputError, match="clip_eigs"):
        model.replace_layers([one, two.replace(clip_eigs=True)])
    narrow = two.replace(B=two.B[:, :2], C=two.C[:2], D=two.D[:2])
    with pytest.raises(DimensionError, match="channels"):
        model.replace_layers([one, narrow])


class WritesWhenUnpickled:
    """What an attacker would put into a pickle."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.target,))


def disguises(target: Path) -> dict[str, bytes]:
    bomb = WritesWhenUnpickled(target)
    files = {f"pickle{protocol}": pickle.dumps({"params": bomb}, protocol=protocol) for protocol in range(6)}
    torch = io.BytesIO()
    with zipfile.ZipFile(torch, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(bomb))
        archive.writestr("archive/data/0", b"\0" * 16)
    files["torch"] = torch.getvalue()
    files["torch-legacy"] = pickle.dumps(0x1950A86A20F9469CFC6C, protocol=2) + pickle.dumps(bomb, protocol=2)
    objects = np.empty(1, dtype=object)
    objects[0] = bomb
    for name, array in (("npz", {"params/x": objects}), ("npz-mixed", {"a": np.zeros(2), "b": objects})):
        buffer = io.BytesIO()
        np.savez(buffer, **array)
        files[name] = buffer.getvalue()
    single = io.BytesIO()
    np.save(single, objects, allow_pickle=True)
    files["npy"] = single.getvalue()
    renamed = io.BytesIO()
    with zipfile.ZipFile(renamed, "w") as archive:
        archive.writestr("params/x.npy", pickle.dumps(bomb))
    files["zip-of-pickle-named-npy"] = renamed.getvalue()
    files["gzip"] = gzip.compress(pickle.dumps(bomb))
    body = pickle.dumps(bomb)
    files["after-a-header"] = struct.pack("<Q", len(body)) + b"{" + body
    return files


@pytest.mark.parametrize("name", list(disguises(Path("unused"))))
@pytest.mark.parametrize("suffix", [".safetensors", ".npz", ".msgpack", ".pkl", ".ckpt"])
def test_pickles_in_disguise(name: str, suffix: str, tmp_path: Path) -> None:
    mark = tmp_path / "executed"
    path = tmp_path / f"model{suffix}"
    path.write_bytes(disguises(mark)[name])
    with pytest.raises(CheckpointError) as caught:
        load(path, conj_sym=True)
    assert not mark.exists()
    assert str(path) in str(caught.value)
    if name.startswith(("pickle", "torch", "npz")):
        assert "pickle" in str(caught.value).lower()
        ways_on = ("model.safetensors", "weights.pth")  # without torch, and with it
        assert any(name in str(caught.value) for name in ways_on)


def test_the_disguises_would_have_worked(tmp_path: Path) -> None:
    mark = tmp_path / "executed"
    pickle.loads(disguises(mark)["pickle4"])
    assert mark.exists()


@pytest.mark.parametrize("suffix", [".safetensors", ".npz", ".msgpack"])
def test_truncated_files(suffix: str, rng: np.random.Generator, tmp_path: Path) -> None:
    """Cut in the header, at its end, in the arrays, in the directory, one byte short: always the same kind of error."""
    whole = small(rng).save(tmp_path / f"whole{suffix}").read_bytes()
    cut = tmp_path / f"cut{suffix}"
    header = 8 + struct.unpack("<Q", whole[:8])[0] if suffix == ".safetensors" else 40
    ends = {0, 1, 2, 4, 7, 8, 9, 100, header - 1, header, header + 1, len(whole) // 2, len(whole) - 22, len(whole) - 1}
    for end in sorted(end for end in ends if end < len(whole)) + list(np.linspace(0, len(whole) - 1, 50).astype(int)):
        cut.write_bytes(whole[:end])
        with pytest.raises(CheckpointError):
            load(cut, conj_sym=True)
    cut.write_bytes(whole)
    load(cut, conj_sym=True)


@pytest.mark.parametrize("suffix", [".safetensors", ".npz", ".msgpack"])
def test_damaged_files_never_crash(suffix: str, rng: np.random.Generator, tmp_path: Path) -> None:
    """Refused by name, or read as what it says: MessagePack has no check sum, its numbers may be the damaged ones."""
    model = small(rng)
    whole = model.save(tmp_path / f"whole{suffix}").read_bytes()
    path, copy = tmp_path / f"damaged{suffix}", tmp_path / f"copy{suffix}"
    refusals: list[InputError] = []
    for _ in range(60):
        data = bytearray(whole)
        for _ in range(3):
            data[rng.integers(len(data))] ^= rng.integers(1, 256)
        path.write_bytes(bytes(data))
        try:
            again = load(path, conj_sym=True)
        except InputError as error:
            refusals.append(error)
            continue
        assert again.save(copy).read_bytes() == bytes(data) if suffix == ".msgpack" else same(model, again)
    assert refusals
    assert all(isinstance(error, CheckpointError) or str(path) in str(error) for error in refusals)


def test_missing_files_and_directories(tmp_path: Path, rng: np.random.Generator) -> None:
    small(rng).save(tmp_path / "model.npz")
    with pytest.raises(CheckpointIOError, match=r"no such file.*model\.npz"):
        load(tmp_path / "model.safetensors")
    with pytest.raises(OSError, match="folder does not exist"):
        load(tmp_path / "nowhere" / "model.npz")
    with pytest.raises(CheckpointError, match=r"directory.*model\.npz"):
        load(tmp_path)
    (tmp_path / "x.npz").mkdir()
    with pytest.raises(CheckpointError, match="directory"):
        load(tmp_path / "x.npz")
    with pytest.raises(CheckpointIOError, match="directory"):
        small(rng).save(tmp_path / "x.npz")


def test_foreign_files_are_called_what_they_are(tmp_path: Path, rng: np.random.Generator) -> None:
    def message(data: bytes, name: str = "file.bin") -> str:
        (tmp_path / name).write_bytes(data)
        with pytest.raises(CheckpointError) as caught:
            load(tmp_path / name, conj_sym=True)
        return str(caught.value)

    array, zipped = io.BytesIO(), io.BytesIO()
    np.save(array, np.zeros(3))
    with zipfile.ZipFile(zipped, "w") as archive:
        archive.writestr("readme.txt", "hello")
    assert "single NumPy array" in message(array.getvalue())
    assert "no npz file" in message(zipped.getvalue())
    assert "HDF5" in message(b"\x89HDF\r\n\x1a\n" + b"\0" * 50)
    assert "empty" in message(b"")
    assert "not a checkpoint" in message(b"# A readme, longer than eight bytes\n")
    assert "no S5 or S4D layer" in message((GOLDEN / "s5_operator.npz").read_bytes())
    buffer = io.BytesIO()
    np.savez(buffer, params=np.zeros(2))
    assert "no S5 or S4D layer" in message(buffer.getvalue())


def test_sixteen_bit_checkpoints_are_widened(tmp_path: Path, rng: np.random.Generator) -> None:
    """bfloat16 as PyTorch and JAX save it: the upper half of a float32."""
    raw = {key: value.view(np.uint32) >> 16 << 16 for key, value in s5_params(rng).items()}
    header, body = {}, b""
    for key, bits in raw.items():
        data = (bits >> 16).astype("<u2").tobytes()
        header[key] = {"dtype": "BF16", "shape": list(bits.shape), "data_offsets": [len(body), len(body) + len(data)]}
        body += data
    text = json.dumps(header).encode()
    path = tmp_path / "half.safetensors"
    path.write_bytes(struct.pack("<Q", len(text)) + text + body)
    params = load(path, conj_sym=True, discretization="zoh").layers[0].to_params()
    assert all(np.array_equal(params[key], bits.view(np.float32)) for key, bits in raw.items())
    path.write_bytes(path.read_bytes().replace(b"BF16", b"F8_X"))
    with pytest.raises(CheckpointError):
        load(path, conj_sym=True)


def test_wrong_companions(tmp_path: Path, rng: np.random.Generator) -> None:
    path = small(rng).save(tmp_path / "model")
    side = path.with_suffix(".json")
    good = json.loads(side.read_text())
    for change, match in (
        ({"version": 3}, "version 3.*update"),
        ({"version": True}, "version True.*update"),
        ({"format": "other"}, "not the JSON half"),
        ({"sha256": "0" * 64}, "different saves"),
        ({"options": [1]}, "JSON objects"),
    ):
        changed = {**good, **change}
        side.write_text(json.dumps({**changed, digest.OWN: digest.of_json(changed)}))
        with pytest.raises(CheckpointError, match=match):
            load(path)
    for text, match in (('{"format"', "not valid JSON"), ("[]", "JSON object"), ("\udcff", "not valid JSON")):
        side.write_bytes(text.encode("utf-8", "surrogateescape"))
        with pytest.raises(CheckpointError, match=match):
            load(path)


@pytest.mark.parametrize("suffix", [".safetensors", ".npz"])
def test_every_flipped_digit_of_a_json_half_is_detected(suffix: str, tmp_path: Path, rng: np.random.Generator) -> None:
    """Each digit and each letter of what it says, one at a time; spaces and the order of names say nothing."""
    path = small(rng, task="smnist", accuracy=0.97, seed=3).save(tmp_path / f"model{suffix}")
    side = path.with_suffix(".json") if suffix == ".safetensors" else path.with_name(f"{path.name}.json")
    whole = side.read_bytes()
    for at, byte in enumerate(whole):
        if chr(byte).isalnum():
            other = b"1" if byte == ord("0") else b"0" if chr(byte).isdigit() else b"x" if byte != ord("x") else b"y"
            side.write_bytes(whole[:at] + other + whole[at + 1 :])
            with pytest.raises(CheckpointError):
                load(path)
    content = json.loads(whole)
    side.write_text(json.dumps(dict(reversed(content.items())), separators=(",", ":")))
    assert load(path).training == {"task": "smnist", "accuracy": 0.97, "seed": 3}
    content["options"]["step_rescale"] = 2.0
    side.write_text(json.dumps(content))
    with pytest.raises(CheckpointError, match="with the options as keywords"):
        load(path)
    side.unlink()  # and who follows the advice arrives
    again = load(path, conj_sym=True, discretization="zoh", step_rescale=2.0).save(path)
    assert load(again).layers[0].step_rescale == 2.0


def test_json_halves_of_version_1_are_read(tmp_path: Path, rng: np.random.Generator) -> None:
    path = small(rng, task="smnist").save(tmp_path / "model")
    side = path.with_suffix(".json")
    content = {key: value for key, value in json.loads(side.read_text()).items() if key != digest.OWN}
    side.write_text(json.dumps(content))  # of version 2 it must be there
    with pytest.raises(CheckpointError, match="not what was written"):
        load(path)
    side.write_text(json.dumps({**content, "version": 1}))
    assert load(path).training == {"task": "smnist"}


def test_a_pair_of_two_saves_is_detected(tmp_path: Path, rng: np.random.Generator) -> None:
    first, second = small(rng).save(tmp_path / "one"), small(rng).save(tmp_path / "two")
    os.replace(second, first)
    with pytest.raises(CheckpointError, match="different saves"):
        load(first)


def test_s4d_checkpoints_tell_their_transform(tmp_path: Path, rng: np.random.Generator) -> None:
    for form, options in S4D_OPTIONS.items():
        raw = s4d_params(rng, form)
        tree = {"layers_0": raw} if form == "s4d-jax" else {f"layers.0.{key}": value for key, value in raw.items()}
        model = Model(tree=tree, options=options)
        again = load(model.save(tmp_path / f"{form}.safetensors"))
        assert same(model, again)
        assert again.layers[0].form == form
        assert np.array_equal(again.layers[0].system.poles, model.layers[0].system.poles)
