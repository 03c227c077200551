"""The snippets on S4 of "Bring your own network": diagonal plus low rank in, S4D out, run by the same code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from network_page import PAGE, TORCH, TORCH_S4, run
from pulse_waves import pulse_waves

import ssmreduce
from theory.errors import InputError

ROOT = Path(__file__).resolve().parents[2]
CHECKPOINT = ROOT.parent / "shared" / "data" / "checkpoints" / "s4_dplr_ppg.pth"


@pytest.fixture(scope="module")
def torch() -> Any:
    return pytest.importorskip("torch")


@pytest.fixture(scope="module")
def page(torch: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the snippets leave behind, with the file that they wrote; `whole` is what the module said before."""
    from torch_s4 import S4Block, S4Model

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("page")
    trained = S4Model()
    torch.save({"model": trained.state_dict(), "acc": 50.0}, folder / "s4.pth")
    x = torch.cumsum(0.3 * torch.randn(24, 48, 1), dim=1)
    space = {"module": S4Model(), "S4Block": S4Block, "x": x, "whole": logits_of(trained, x), "folder": folder}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        return run([TORCH[0], *TORCH_S4], __name__="page", **space)


def logits_of(module: Any, x: Any) -> np.ndarray:
    import torch

    with torch.no_grad():
        return np.asarray(module(x), dtype=float)


def test_the_network_of_the_layers_is_the_module(page: dict[str, Any], torch: Any) -> None:
    """The diagonal layers' kernels in place of S4's own, which are back after it."""
    from torch_s4 import S4Model

    module = S4Model()
    module.load_state_dict(torch.load(page["folder"] / "s4.pth", weights_only=True)["model"])
    network = page["S4Network"](module, page["model"], page["x"])
    found = network.run(network.parts, np.arange(24), record=(0, 1))
    np.testing.assert_allclose(found.logits, page["whole"], atol=1e-5)
    assert found.inputs[1].shape == (24, 48, 4)
    np.testing.assert_allclose(logits_of(module, page["x"]), page["whole"], rtol=1e-6)


def test_gradients_are_differences(page: dict[str, Any]) -> None:
    """D of a channel moved by s moves the layer's output by s u: what that does to the logits."""
    network, rng = page["network"], np.random.default_rng(0)
    rows, v = np.arange(6), rng.standard_normal((6, 3)).astype(np.float32)
    gradients = network.gradients(network.parts, rows, v)
    inputs = network.run(network.parts, rows, record=(0, 1)).inputs
    for index, layer in enumerate(network.parts.layers):
        push = rng.standard_normal(layer.n_channels)
        moved = [layer.replace(D=layer.D + step * push) for step in (1e-2, -1e-2)]
        plus, minus = ((v * network.run(network.parts.with_layer(index, one), rows).logits).sum() for one in moved)
        wanted = (plus - minus) / 2e-2
        assert (gradients[index] * inputs[index] * push).sum() == pytest.approx(wanted, rel=2e-2, abs=2e-3)


def test_the_written_file_predicts_what_was_said(page: dict[str, Any]) -> None:
    """The module with S4D's kernel and the arrays of the file, against what the record says of the half that judged."""
    model, smaller = page["model"], page["smaller"]
    record = smaller.training["reduction"]
    assert smaller.n_states == model.n_states // 4 == sum(record["orders"])
    assert [block.layer.kernel.C.shape[2] for block in page["module"].s4_layers] == record["orders"]
    rows = ssmreduce.Search(page["network"]).held_out
    p, q = (
        np.exp(part[rows]) / np.exp(part[rows]).sum(axis=1, keepdims=True)
        for part in (page["whole"], logits_of(page["module"], page["x"]))
    )
    assert record["divergence"] == pytest.approx((p * np.log(p / q)).sum(axis=1).mean(), rel=1e-2, abs=1e-6)
    assert record["changed_predictions"] == (p.argmax(axis=1) != q.argmax(axis=1)).mean()


def test_a_layer_that_lost_nothing_stays_s4(page: dict[str, Any], torch: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """And the last snippet builds what runs a file of both kinds."""
    from torch_s4 import S4Block, S4Model

    monkeypatch.chdir(page["folder"])
    model = page["model"]
    smaller = model.replace_layers([model.layers[0], ssmreduce.reduce(model.layers[1], 6).layer])
    smaller.save("smaller.pth")
    space = run(TORCH_S4[2:], torch=torch, module=S4Model(), S4Block=S4Block, smaller=smaller)
    assert [type(block.layer.kernel).__name__ for block in space["module"].s4_layers] == ["LowRank", "Diagonal"]
    parts = ssmreduce.Parts(layers=smaller.layers, decoder=page["network"].parts.decoder)
    found = page["S4Network"](S4Model(), model, page["x"]).run(parts, np.arange(24)).logits
    np.testing.assert_allclose(logits_of(space["module"], page["x"]), found, atol=1e-5)
    np.testing.assert_array_equal(space["state"]["s4_layers.0.layer.kernel.P"], model.layers[0].source["kernel.P"])


def test_the_network_of_s4d_is_refused_with_advice(page: dict[str, Any]) -> None:
    """It runs the arrays of the file in the module, with the low-rank term that lies there."""
    from torch_s4 import S4Model

    class ByArrays(page["S4Network"]):
        def _pass(self, parts: ssmreduce.Parts, rows: np.ndarray) -> Any:
            return page["TorchNetwork"]._pass(self, parts, rows)

    network = ByArrays(S4Model(), page["model"], page["x"])
    np.testing.assert_allclose(network.run(network.parts, np.arange(24)).logits, page["whole"], atol=1e-5)
    with pytest.raises(InputError, match=r"came as S4, .* fails \(RuntimeError: .*parts\.layers\[i\]\.system"):
        ssmreduce.reduce_model(page["model"], ratio=0.75, network=network)


def test_the_measured_figures_are_those_of_the_record() -> None:
    """The table of other people's S4: every row from its record, which says what was run."""
    record = json.loads((ROOT / "docs" / "recorded" / "foreign_s4.json").read_text(encoding="utf-8"))
    table = PAGE.split("| states removed | method |")[2].split("\n\n")[0].splitlines()[2:]
    assert len(table) == len(record["rows"])
    for line, row in zip(table, record["rows"], strict=True):
        kept = sum(row["orders"])
        assert row["removed"] == 1 - kept / record["states"]
        told = f"| {row['divergence']:.3f} | {100 * row['changed']:.1f} % |"
        assert line == f"| {100 * row['removed']:.3g} % | {row['method']} | {kept} {told}"
    assert f"{record['counts']}" in PAGE
    assert sum(record["counts"]) == record["test_examples"] == 60


@pytest.mark.data
@pytest.mark.skipif(not CHECKPOINT.exists(), reason="needs ../shared/data/checkpoints")
def test_a_checkpoint_of_other_people(page: dict[str, Any], torch: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four layers of 128 channels, 64 states: the network is the module, and the written file is the network."""
    from torch_s4 import S4Block, S4Model

    monkeypatch.chdir(page["folder"])
    model = ssmreduce.load(CHECKPOINT, dt_transform="exp")
    module = S4Model(1, 4, 128, 4, d_state=64, length=3000)
    module.load_state_dict(torch.load(CHECKPOINT, map_location="cpu", weights_only=True)["model"])
    x = torch.as_tensor(pulse_waves(4, 200, seed=1))
    network, rows = page["S4Network"](module, model, x), np.arange(4)
    whole = logits_of(module, x)
    np.testing.assert_allclose(network.run(network.parts, rows).logits, whole, atol=1e-4)
    smaller = ssmreduce.reduce_model(model, ratio=0.5, method="balanced")
    smaller.save("smaller.pth")
    parts = ssmreduce.Parts(layers=smaller.layers, decoder=network.parts.decoder)
    found = network.run(parts, rows).logits
    deployed = run(TORCH_S4[2:], torch=torch, module=module, S4Block=S4Block, smaller=smaller)["module"]
    np.testing.assert_allclose(logits_of(deployed, x), found, atol=1e-4)
    assert np.abs(found - whole).max() > 1e-3  # or the comparison saw nothing
