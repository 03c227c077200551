"""The site needs no network and says of the columns what the table says."""

from __future__ import annotations

import re
import tomllib
from importlib import metadata
from pathlib import Path

import pytest

from ssmreduce.view.columns import COLUMNS, glossary_in_markdown

ROOT = Path(__file__).resolve().parents[2]
CONF = (ROOT / "docs" / "conf.py").read_text(encoding="utf-8")
CARRIER = "sphinx-mathjax-offline"


def test_every_column_is_explained_once() -> None:
    titles = {column.heading.title for column in COLUMNS}
    assert len(titles) == len(COLUMNS)
    words = [column.word for column in COLUMNS if column.meaning]
    assert len(set(words)) == len(words)
    assert {column.word for column in COLUMNS} == set(words)
    assert all(column.word in (column.heading.title, column.heading.title.strip(" ≤≥")) for column in COLUMNS)
    page = glossary_in_markdown()
    for column in COLUMNS:
        assert page.count(column.meaning) >= 1
        assert column.detail in page
    assert "{include} _generated/columns.md" in (ROOT / "docs" / "choosing.md").read_text(encoding="utf-8")


def test_formulas_come_with_the_site() -> None:
    assert re.search(r'^MATHJAX = "mathjax/\S+\.js"$', CONF, flags=re.MULTILINE)
    assert "mathjax_path = MATHJAX" in CONF
    assert not re.search(r"https?://\S+\.js", CONF)
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    assert any(entry.startswith(CARRIER) for entry in extras["docs"])


def test_the_file_of_mathjax_is_whole() -> None:
    try:
        files = metadata.files(CARRIER) or []
    except metadata.PackageNotFoundError:
        pytest.skip("the docs extra is not installed")
    name = re.search(r'^MATHJAX = "(\S+)"$', CONF, flags=re.MULTILINE)
    assert name is not None
    (path,) = [file for file in files if file.as_posix().endswith(f"static/{name[1]}")]
    size = Path(str(path.locate())).stat().st_size
    assert 1e6 < size < 3e6  # fonts inside, speech and menus outside
