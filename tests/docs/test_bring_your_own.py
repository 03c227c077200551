"""Every snippet of the page "Bring your own checkpoint" runs, where the library that it names is installed."""

from __future__ import annotations

import re
import sys
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from layer_cases import s4d_params, s5_params

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "bring_your_own.md").read_text(encoding="utf-8")
SNIPPETS = re.findall(r"^```python\n(.*?)^```$", PAGE, flags=re.DOTALL | re.MULTILINE)
OPTIONS = re.findall(r"^\| `(\w+)` \|", PAGE, flags=re.MULTILINE)


def network(states: int, raw: dict[str, np.ndarray] | None = None) -> Any:
    """A tree of JAX arrays with two layers, and what is no array."""
    import jax

    raw = s5_params(np.random.default_rng(0), P=states) if raw is None else raw
    layers = [{key: jax.numpy.asarray(value) for key, value in raw.items()} for _ in range(2)]
    return {"layers": layers, "activation": jax.nn.gelu, "rate": 0.5}


def prepare(library: str, rng: np.random.Generator) -> None:
    """The files that the snippets read, in the working directory."""
    raw = s5_params(rng)
    np.savez("network.npz", **{f"layers_{i}/seq/{key}": value for i in range(2) for key, value in raw.items()})
    if library == "torch":
        torch: Any = sys.modules["torch"]
        layer = s4d_params(rng, "s4d-minimal", N=6)
        state = OrderedDict((f"module.s4.0.{key}", torch.from_numpy(np.array(value))) for key, value in layer.items())
        torch.save({"model": state, "acc": 0.5}, "network.pth")
    if library == "orbax.checkpoint":
        orbax: Any = sys.modules[library]
        tree = {"params": {f"layers_{i}": {"seq": raw} for i in range(2)}}
        with orbax.CheckpointManager(Path("checkpoints").absolute()) as manager:
            manager.save(3, args=orbax.args.StandardSave(tree))
            manager.wait_until_finished()
    if library == "equinox":
        sys.modules[library].tree_serialise_leaves("network.eqx", network(5, raw))


@pytest.mark.parametrize("snippet", SNIPPETS, ids=range(len(SNIPPETS)))
def test_the_snippet_runs(
    snippet: str, tmp_path: Path, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    needs = re.match(r"# needs (\S+)\n", snippet)
    library = needs[1] if needs else ""
    if library:
        pytest.importorskip(library)
    monkeypatch.chdir(tmp_path)
    prepare(library, rng)
    space: dict[str, Any] = {"network": network}
    exec(compile(snippet, "bring_your_own.md", "exec"), space)
    if library == "torch":
        assert space["state"]["module.s4.0.kernel.C"].shape == (4, 3, 2)
    elif library == "flax":
        assert space["params"]["layers_1"]["seq"]["Lambda_re"].size < 5
    elif library == "orbax.checkpoint":
        assert space["restored"]["params"]["layers_1"]["seq"]["Lambda_re"].shape == (2,)
    elif library == "equinox":
        assert space["smaller"]["layers"][1]["Lambda_re"].shape == (2,)
        assert space["smaller"]["rate"] == 0.5
    elif "smaller" in space:
        assert space["smaller"]["nu_log"].shape == (3,)


def test_the_page_is_whole() -> None:
    from ssmreduce.layers.options import LAYER_OPTIONS

    assert len(SNIPPETS) == 6
    assert {*OPTIONS} == {*LAYER_OPTIONS, "axis", "step", "names"}
    assert re.search(r"^bring_your_own$", (ROOT / "docs" / "index.md").read_text(encoding="utf-8"), flags=re.MULTILINE)
