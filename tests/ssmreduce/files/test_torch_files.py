"""PyTorch's files: read by torch, weights only, and written so that torch finds everything else as it was."""

from __future__ import annotations

import io
import sys
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from layer_cases import s4d_params

import ssmreduce
from ssmreduce.files import formats
from ssmreduce.files.errors import CheckpointError

SHARED = Path(__file__).resolve().parents[4] / "shared" / "data" / "checkpoints"


def zip_head(name: bytes) -> bytes:
    return b"PK\x03\x04" + bytes(22) + len(name).to_bytes(2, "little") + b"\0\0" + name


def test_without_torch_the_refusal_has_the_recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    (tmp_path / "a.pth").write_bytes(zip_head(b"a/data.pkl"))
    (tmp_path / "b.npz").write_bytes(b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.")
    for name in ("a.pth", "b.npz"):
        with pytest.raises(CheckpointError) as caught:
            ssmreduce.load(tmp_path / name)
        for part in ("ssmreduce[torch]", "weights_only=True", "'state_dict'", "safetensors.torch.save_file"):
            assert part in str(caught.value)
    (tmp_path / "c.pth").write_bytes(zip_head(b"model.npy"))
    with pytest.raises(CheckpointError, match="zip archive"):  # a zip archive of something else is no PyTorch file
        ssmreduce.load(tmp_path / "c.pth")


def state(rng: np.random.Generator, prefix: str, torch: Any) -> OrderedDict[str, Any]:
    """Two minimal S4D layers as a state dict with the metadata that torch hangs on it, and weights of other types."""
    found: OrderedDict[str, Any] = OrderedDict()
    for i in range(2):
        for key, value in s4d_params(rng, "s4d-minimal", N=6).items():
            found[f"{prefix}s4_layers.{i}.{key}"] = torch.from_numpy(np.array(value))
    found[f"{prefix}norm.running_mean"] = torch.randn(4, 3).to(torch.bfloat16)
    found[f"{prefix}norm.num_batches_tracked"] = torch.tensor(12)
    found[f"{prefix}decoder.weight"] = torch.randn(4, 3).T  # not contiguous
    found._metadata = {"": {"version": 1}}  # type: ignore[attr-defined]
    return found


PLACES = [("model", "module."), ("state_dict", "model."), ("module", ""), ("", "_orig_mod."), ("", "")]


@pytest.mark.parametrize(("under", "prefix"), PLACES)
@pytest.mark.parametrize("old", [False, True])
def test_everything_else_comes_back(
    under: str, prefix: str, old: bool, tmp_path: Path, rng: np.random.Generator
) -> None:
    torch = pytest.importorskip("torch")
    weights = state(rng, prefix, torch)
    beside = {"epoch": 3, "acc": 0.75, "note": "text", "betas": [(0.9, 0.99)], "rng": torch.get_rng_state()}
    content = {under: weights, **beside} if under else weights
    torch.save(content, tmp_path / "net.pt", _use_new_zipfile_serialization=not old)
    model = ssmreduce.load(tmp_path / "net.pt")
    same_again = torch.load(model.save(tmp_path / "same.ckpt"), weights_only=True)
    small = ssmreduce.reduce_model(model, orders=3, method="balanced")
    written = torch.load(small.save(tmp_path / "small.pth"), weights_only=True)
    for found, is_small in ((same_again, False), (written, True)):
        ours = found[under] if under else found
        assert list(ours) == list(weights)
        assert type(ours) is OrderedDict
        assert ours._metadata == weights._metadata  # type: ignore[attr-defined]
        for key, tensor in weights.items():
            if is_small and ".kernel." in key and not key.endswith("log_dt"):
                assert ours[key].shape[1] == 3
                assert ours[key].dtype == tensor.dtype
            else:
                assert torch.equal(ours[key], tensor)
                assert ours[key].dtype == tensor.dtype
        if under:
            assert list(found) == [under, *beside]
            assert torch.equal(found["rng"], beside["rng"])
            assert {key: found[key] for key in list(beside)[:-1]} == {key: beside[key] for key in list(beside)[:-1]}
    reread = ssmreduce.load(tmp_path / "small.pth")
    for one, two in zip(small.layers, reread.layers, strict=True):
        assert np.array_equal(one.system.poles, two.system.poles)
        assert np.array_equal(one.system.C, two.system.C)


def test_what_torch_refuses_is_refused(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    content = {"path": Path("anything")}  # in the old format torch does not list what it meets
    torch.save(content, tmp_path / "object.pt", _use_new_zipfile_serialization=False)
    with pytest.raises(CheckpointError, match="weights_only=True\\) refuses"):
        ssmreduce.load(tmp_path / "object.pt")
    torch.save(torch.zeros(3), tmp_path / "tensor.pt")
    with pytest.raises(CheckpointError, match="state_dict"):
        ssmreduce.load(tmp_path / "tensor.pt")
    buffer = io.BytesIO()
    torch.save({"a": torch.zeros(300)}, buffer)
    (tmp_path / "cut.pt").write_bytes(buffer.getvalue()[:700])
    with pytest.raises(CheckpointError, match="torch"):
        ssmreduce.load(tmp_path / "cut.pt")


@pytest.mark.data
@pytest.mark.parametrize("name", ["s4d_cifar10.pth", "s4d_ppg_module_prefix.pth"])
def test_real_files(name: str, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    if not (SHARED / name).exists():
        pytest.skip("needs ../shared/data")
    before = torch.load(SHARED / name, weights_only=True, map_location="cpu")
    model = ssmreduce.load(SHARED / name)
    written = ssmreduce.reduce_model(model, orders=8, method="last").save(tmp_path / "small")
    assert written.suffix == ".pth"
    after = torch.load(written, weights_only=True)
    assert (after["acc"], after["epoch"]) == (before["acc"], before["epoch"])
    assert list(after["model"]) == list(before["model"])
    shapes = {key: after["model"][key].shape for key in after["model"] if key.endswith("log_A_real")}
    assert set(shapes.values()) == {(128, 8)}
    untouched = [key for key in before["model"] if ".kernel.C" not in key and ".kernel." + "log_A" not in key]
    untouched = [key for key in untouched if not key.endswith("A_imag")]
    assert all(torch.equal(after["model"][key], before["model"][key]) for key in untouched)
    head = formats.by_suffix(written)
    assert head is not None
    assert head.name == "torch"
