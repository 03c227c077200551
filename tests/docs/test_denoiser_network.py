"""The snippets on aTENNuate of "Bring your own network": layers in running order, real B and C, signals."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from network_page import PAGE, TORCH_DENOISER, run

import ssmreduce

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def torch() -> Any:
    return pytest.importorskip("torch")


@pytest.fixture(scope="module")
def page(torch: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the snippets leave behind; `whole` is what the trained module said before."""
    from torch_denoiser import Denoiser

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("page")
    module = Denoiser()
    torch.save(module.state_dict(), folder / "denoiser.pt")
    x = torch.cumsum(0.3 * torch.randn(12, 1, 32), dim=2)
    whole = signals(module, x)

    def trained() -> Any:
        found = Denoiser()
        found.load_state_dict(torch.load(folder / "denoiser.pt", weights_only=True))
        return found

    space = {"module": module, "Denoiser": trained, "x": x, "whole": whole}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        return run(TORCH_DENOISER, __name__="page", **space)


def signals(module: Any, x: Any) -> np.ndarray:
    import torch

    with torch.no_grad():
        return np.asarray(module(x).mT, dtype=float)


def relative(found: np.ndarray, whole: np.ndarray) -> float:
    return float(np.square(found - whole).sum() / np.square(whole).sum())


def test_layers_are_listed_as_they_run(page: dict[str, Any]) -> None:
    names = [layer.name for layer in page["network"].parts.layers]
    assert names == ["down", "middle/1", "up", "last/0"]
    assert [layer.name for layer in page["smaller"].layers] == ["down", "last/0", "middle/1", "up"]


def test_the_network_is_the_module_and_gradients_are_differences(page: dict[str, Any]) -> None:
    network, rng = page["network"], np.random.default_rng(0)
    rows = np.arange(12)
    assert relative(network.run(network.parts, rows).logits, page["whole"]) < 1e-10
    v = rng.standard_normal((12, 32, 1)).astype(np.float32)
    gradients = network.gradients(network.parts, rows, v)
    inputs = network.run(network.parts, rows, record=range(4)).inputs
    for index, layer in enumerate(network.parts.layers):
        push = rng.standard_normal(layer.n_channels)
        moved = [layer.replace(D=layer.D + step * push) for step in (1e-2, -1e-2)]
        plus, minus = ((v * network.run(network.parts.with_layer(index, one), rows).logits).sum() for one in moved)
        wanted = (plus - minus) / 2e-2
        assert (gradients[index] * inputs[index] * push).sum() == pytest.approx(wanted, rel=2e-2, abs=5e-3)


def test_layers_stored_as_s5_do_what_is_said(page: dict[str, Any]) -> None:
    smaller = page["smaller"]
    record, network = smaller.training["reduction"], page["network"]
    assert record["orders"] == [layer.order for layer in smaller.layers]
    assert sum(record["orders"]) == 6
    by_name = {layer.name: layer for layer in smaller.layers}
    parts = ssmreduce.Parts(layers=tuple(by_name[layer.name] for layer in network.parts.layers))
    rows = ssmreduce.Search(network).held_out
    found = network.run(parts, rows).logits
    assert relative(found, page["whole"][rows]) == pytest.approx(record["squared_error"], rel=1e-3)


def test_the_file_that_its_own_code_runs_does_what_is_said(page: dict[str, Any], torch: Any) -> None:
    """The plain module, with the arrays of the file; poles and B of a layer are rows of what they were."""
    record = page["kept"].training["reduction"]
    rows = ssmreduce.Search(page["network"]).held_out
    found = signals(page["module"], page["x"][rows])
    assert relative(found, page["whole"][rows]) == pytest.approx(record["squared_error"], rel=1e-3)
    assert sum(record["orders"]) == 12
    before, after = page["Denoiser"]().state_dict(), page["module"].state_dict()
    for name in ("down", "middle.1", "up", "last.0"):
        old, new = (
            [tuple(row) for row in torch.cat([s[f"{name}.A"], s[f"{name}.B"]], 1).tolist()] for s in (before, after)
        )
        assert set(new) <= set(old)
        assert after[f"{name}.C"].dtype == torch.float32


def test_the_measured_figures_are_those_of_the_record() -> None:
    """The table of aTENNuate's denoiser: every row from its record, which says what was run."""
    record = json.loads((ROOT / "docs" / "recorded" / "denoiser.json").read_text(encoding="utf-8"))
    table = PAGE.split("| states removed | method | states left | signal over what changed |")[1].split("\n\n")[0]
    lines = table.strip().splitlines()[1:]
    assert len(lines) == len(record["rows"])
    for line, row in zip(lines, record["rows"], strict=True):
        kept = sum(row["orders"])
        assert kept <= 4096 * (1 - row["removed"]) + 1e-9
        assert line == f"| {100 * row['removed']:.3g} % | {row['method']} | {kept} | {row['snr']:.1f} dB |"
    assert f"{record['input_snr']:.1f} to {record['output_snr']:.1f} dB" in PAGE
    assert f"{record['steps']} steps" in PAGE
    assert record["agreement"] < 1e-5 * record["largest"]
