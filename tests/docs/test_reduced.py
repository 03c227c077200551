"""The table of models reduced from recorded inputs: every row from its record, which is whole, and says what it was."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import ssmreduce

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def module() -> ModuleType:
    spec = importlib.util.spec_from_file_location("record_reduced", ROOT / "docs" / "record_reduced.py")
    assert spec is not None
    assert spec.loader is not None
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


@pytest.fixture(scope="module")
def record() -> dict[str, Any]:
    return json.loads((ROOT / "docs" / "recorded" / "reduced.json").read_text(encoding="utf-8"))


def test_every_row_is_of_a_shipped_model_and_of_the_size_that_was_asked(
    module: ModuleType, record: dict[str, Any]
) -> None:
    seen = set()
    for row in record["rows"]:
        key = tuple(row[name] for name in module.KEY)
        assert key not in seen
        seen.add(key)
        assert key[:3] in module.POINTS
        model = ssmreduce.load(next(ROOT.glob(f"*/*/{row['checkpoint']}.safetensors")))
        assert len(row["orders"]) == len(model.layers) == len(row["certified"])
        kept = sum(row["orders"])
        assert row["removed"] == pytest.approx(1 - kept / model.n_states, abs=1e-4)
        if row["size"] == "ratio":
            assert kept == max(len(model.layers), int((1 - row["value"]) * model.n_states + 1e-9))
        else:
            assert row["changed"] <= row["value"]
        assert row["examples"] >= 2000
        assert 0 < row["accuracy"] < 100


def test_the_table_says_what_the_rows_say(module: ModuleType, record: dict[str, Any]) -> None:
    table = module.reduced_table(record)
    points = {tuple(row[name] for name in module.KEY[:3]) for row in record["rows"]}
    assert len(table) == len(points)
    for line, point in zip(table, [point for point in module.POINTS if point in points], strict=True):
        found = [row["accuracy"] for row in record["rows"] if tuple(row[name] for name in module.KEY[:3]) == point]
        assert f"{np.mean(found):.2f} % (" in line
        assert f"{min(found):.2f}" in line


@pytest.mark.parametrize("page", ["lra/README.md", "README.md"])
def test_the_readmes_have_rows_of_the_table(module: ModuleType, record: dict[str, Any], page: str) -> None:
    """All of them in that of lra, some in the first one; none that is not there."""
    lines = (ROOT / page).read_text(encoding="utf-8").splitlines()
    start = lines.index(module.HEAD[0])
    quoted = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        quoted.append(line)
    table = module.reduced_table(record)
    assert quoted == table if page.startswith("lra") else set(quoted) <= set(table)
    assert quoted
