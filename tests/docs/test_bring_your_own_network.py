"""The snippets of "Bring your own network": a PyTorch S4D in, a smaller file out that predicts what was said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from network_page import PAGE, SNIPPETS, TORCH, run
from toy_enhancer import ToyEnhancer
from toy_network import ToyNetwork
from toy_network import layer as toy_layer

import ssmreduce
from ssmreduce.recorded.stages import refit_in_sequence

ROOT = Path(__file__).resolve().parents[2]
CHECKPOINT = ROOT.parent / "shared" / "data" / "checkpoints" / "s4d_ppg_module_prefix.pth"


@pytest.fixture(scope="module")
def torch() -> Any:
    return pytest.importorskip("torch")


@pytest.fixture(scope="module")
def page(torch: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the snippets leave behind, with the file that they wrote."""
    from torch_s4d import S4Model

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("page")
    state = {f"module.{key}": value for key, value in S4Model().state_dict().items()}
    torch.save({"model": state, "acc": 50.0}, folder / "network.pth")
    x = torch.cumsum(0.3 * torch.randn(24, 48, 2), dim=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        return run(TORCH, S4Model=S4Model, x=x, __name__="page", folder=folder)


def logits_of(module: Any, x: Any) -> np.ndarray:
    import torch

    with torch.no_grad():
        return np.asarray(module(x), dtype=float)


def test_the_class_has_forty_lines() -> None:
    body = TORCH[0].split("class TorchNetwork:\n")[1]
    assert len([line for line in body.splitlines() if line.strip()]) <= 40


def test_the_written_file_predicts_what_was_said(page: dict[str, Any]) -> None:
    """The plain module with the arrays of the file, against what the record says of the half that judged."""
    network, model, smaller, x = (page[key] for key in ("network", "model", "smaller", "x"))
    record = smaller.training["reduction"]
    assert smaller.n_states == model.n_states // 4 == sum(record["orders"])
    sizes = [layer.kernel.C.shape[1] for layer in page["deployed"].s4_layers]
    assert sizes == record["orders"]
    whole, found = whole_of(network), logits_of(page["deployed"], x)
    rows = ssmreduce.Search(network).held_out
    p, q = (np.exp(part[rows]) / np.exp(part[rows]).sum(axis=1, keepdims=True) for part in (whole, found))
    assert record["divergence"] == pytest.approx((p * np.log(p / q)).sum(axis=1).mean(), rel=1e-3, abs=1e-6)
    assert record["changed_predictions"] == (p.argmax(axis=1) != q.argmax(axis=1)).mean()


def whole_of(network: Any) -> np.ndarray:
    """Logits of the whole model, by its own state dict."""
    state = {key.removeprefix(network.prefix): value for key, value in network.model.tree["model"].items()}
    import torch

    network.module.load_state_dict({key: torch.as_tensor(np.array(value)) for key, value in state.items()})
    return logits_of(network.module, network.x)


def test_the_rest_of_the_file_stays(page: dict[str, Any], torch: Any) -> None:
    before, after = (torch.load(page["folder"] / name, weights_only=True) for name in ("network.pth", "smaller.pth"))
    assert after["acc"] == before["acc"]
    for key, value in before["model"].items():
        if "kernel" not in key and not key.endswith(".D") and "decoder" not in key:
            assert torch.equal(after["model"][key], value)


def test_it_is_a_network_that_runs_what_it_is_given(page: dict[str, Any]) -> None:
    network = page["network"]
    assert isinstance(network, ssmreduce.Network)
    found = network.run(network.parts, np.arange(24), record=(0, 1))
    np.testing.assert_allclose(found.logits, whole_of(network), atol=1e-5)
    kernel, bias = network.parts.decoder
    np.testing.assert_allclose(found.features @ kernel + bias, found.logits, atol=1e-5)
    few = network.run(network.parts, np.array([7, 3]), record=(1,))
    np.testing.assert_allclose(few.inputs[1], found.inputs[1][[7, 3]], atol=1e-5)
    assert set(few.inputs) == {1}


def test_gradients_are_differences(page: dict[str, Any]) -> None:
    """D of a channel moved by s moves the layer's output by s u: what that does to the logits."""
    network, rng = page["network"], np.random.default_rng(0)
    rows, v = np.arange(6), rng.standard_normal((6, 3)).astype(np.float32)
    gradients = network.gradients(network.parts, rows, v)
    inputs = network.run(network.parts, rows, record=(0, 1)).inputs
    for index, layer in enumerate(network.parts.layers):
        push = rng.standard_normal(layer.n_channels)
        values = [
            (
                v * network.run(network.parts.with_layer(index, layer.replace(D=layer.D + step * push)), rows).logits
            ).sum()
            for step in (1e-2, -1e-2)
        ]
        wanted = (values[0] - values[1]) / 2e-2
        assert (gradients[index] * inputs[index] * push).sum() == pytest.approx(wanted, rel=2e-2, abs=2e-3)


def test_layers_from_systems_are_these_systems() -> None:
    """The snippet on signals, and the search without a file on a network of such layers."""
    plain = [snippet for snippet in SNIPPETS if not snippet.startswith("#")]
    space = run(plain)
    system = space["system"]
    np.testing.assert_allclose(system.poles, space["poles"], rtol=1e-14)
    np.testing.assert_array_equal(system.B, space["layer"].B)
    second = space["as_layer"](space["poles"] * 0.9, np.ones((6, 4)), np.eye(4, 6), np.zeros((4, 4)))
    network = ToyEnhancer([space["layer"], second])
    (search,) = (snippet for snippet in SNIPPETS if snippet.startswith("# with a network\n"))
    outcome = run([search], network=network, ssmreduce=ssmreduce, np=np)["outcome"]
    assert sum(outcome.orders) == 6
    rows = ssmreduce.Search(network).held_out
    whole, found = (network.run(parts, rows).logits for parts in (network.parts, outcome.parts))
    assert outcome.divergence == pytest.approx(((whole - found) ** 2).sum() / (whole**2).sum(), rel=1e-9)


def test_recordings_come_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The snippet on files: the layers that it makes are those of the network's own signals."""
    monkeypatch.chdir(tmp_path)
    network = ToyNetwork([toy_layer(1, P=4), toy_layer(2, P=3)], count=8, L=7)
    (snippet,) = (one for one in SNIPPETS if one.startswith("# with a network and its model\n"))
    space = run([snippet], network=network, model=network.parts, ssmreduce=ssmreduce)
    u = network.run(network.parts, np.arange(8), record=(0,)).inputs[0]
    alone = ssmreduce.reduce(network.parts.layers[0], 2, method="empirical", inputs=u)
    for key, value in alone.layer.to_params().items():
        assert np.array_equal(value, space["half"].layer.to_params()[key])
    assert not np.allclose(space["felt"].layer.Lambda, alone.layer.Lambda)
    assert f"{alone.diagnostics['recorded']['relative']:.2%}" in capsys.readouterr().out
    assert (tmp_path / "train.recording").exists()


def test_the_measured_figures_are_those_of_the_record() -> None:
    """The table of other people's CIFAR-10 model: every row from its record, which says what was run."""
    record = json.loads((ROOT / "docs" / "recorded" / "foreign.json").read_text(encoding="utf-8"))
    table = PAGE.split("| states removed | method |")[1].split("\n\n")[0].splitlines()[2:]
    assert len(table) == len(record["rows"])
    for line, row in zip(table, record["rows"], strict=True):
        kept = sum(row["orders"])
        assert row["removed"] == 1 - kept / record["states"]
        assert line == f"| {100 * row['removed']:.4g} % | {row['method']} | {kept} | {row['accuracy']:.1f} % |"
    assert f"its {record['whole']:.1f} % on {record['test_examples']} test images" in PAGE.replace("\n", " ")
    assert record["examples"] < record["test_examples"]


@pytest.mark.data
@pytest.mark.skipif(not CHECKPOINT.exists(), reason="needs ../shared/data/checkpoints")
def test_a_checkpoint_of_other_people_runs_and_is_reduced(
    page: dict[str, Any], torch: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four layers of 128 channels of 32 states; the plain module runs the written file as the network ran the parts."""
    from torch_s4d import S4Model

    monkeypatch.chdir(tmp_path)
    model = ssmreduce.load(CHECKPOINT)
    torch.manual_seed(1)
    x = torch.cumsum(0.1 * torch.randn(6, 64, 1), dim=1)
    network = page["TorchNetwork"](S4Model(1, 4, 128, 32, 4), model, x, prefix="module.")
    np.testing.assert_allclose(network.run(network.parts, np.arange(6)).logits, whole_of(network), atol=1e-4)
    search = ssmreduce.Search(network)
    parts = refit_in_sequence(search.recording, search.candidate("output", (8, 8, 8, 8)))
    network.with_parts(parts).save(tmp_path / "smaller.pth")
    deployed = run(TORCH[2:], torch=torch, S4Model=lambda: S4Model(1, 4, 128, 32, 4))["deployed"]
    assert [layer.kernel.C.shape for layer in deployed.s4_layers] == [(128, 8, 2)] * 4
    np.testing.assert_allclose(network.run(parts, np.arange(6)).logits, logits_of(deployed, x), atol=1e-4)
