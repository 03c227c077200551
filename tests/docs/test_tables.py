"""The tables of the pages come from the registries."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

from ssmreduce import ALLOCATIONS, METHODS

DOCS = Path(__file__).resolve().parents[2] / "docs"


@pytest.fixture(scope="module")
def page() -> str:
    spec = importlib.util.spec_from_file_location("registry_tables", DOCS / "registry_tables.py")
    assert spec is not None
    assert spec.loader is not None
    tables = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tables)
    text: str = tables.filled((DOCS / "choosing.md").read_text(encoding="utf-8"))
    assert not any(mark in text for mark in tables.MARKS)
    return text


def test_every_method_and_allocation_has_its_row(page: str) -> None:
    rows = [[cell.strip() for cell in line.replace("\\|", "").strip("|").split(" | ")] for line in page.splitlines()]
    for name, method in METHODS.items():
        (row,) = [row for row in rows if row[0] == f"`{name}`" and len(row) == 5 and not row[1][:1].isdigit()]
        assert row[1] == method.summary.replace("|", "")
        assert row[2] == method.guarantee
        assert all(f"`{parameter}=" in row[3] for parameter in method.parameters())
        assert row[4] == f"`{method.allocation}`"
    for name in ALLOCATIONS:
        assert [row for row in rows if row[0] == f"`{name}`" and len(row) == 2]


def test_the_measured_table_is_the_record(page: str) -> None:
    record = json.loads((DOCS / "recorded" / "compare.json").read_text(encoding="utf-8"))
    rows = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in page.splitlines()]
    wanted = [row for row in record["rows"] if row["order"] == 32]
    measured = [row for row in rows if len(row) == 5 and row[0].startswith("`") and row[1][:1].isdigit()]
    found = {row[0].strip("`"): row for row in measured}
    assert found.keys() == {row["method"] for row in wanted}
    for row in wanted:
        floors, h2, seconds = (float(cell) for cell in found[row["method"]][1:4])
        ratio = row["error"][1] / row["floor"]
        assert ratio <= floors <= ratio * 1.01
        assert h2 == pytest.approx(row["h2_error"], abs=1e-3)
        assert seconds == pytest.approx(row["seconds"], rel=0.01)
    order = [float(row[1]) for row in found.values()]
    assert order == sorted(order)
    assert found["balanced"][4] == "99.21"


def test_the_build_fills_them_in() -> None:
    assert "filled(" in (DOCS / "conf.py").read_text(encoding="utf-8")
