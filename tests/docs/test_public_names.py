"""Every public name has a docstring and a place in the reference; one without fails here and in the docs build."""

from __future__ import annotations

import importlib
import inspect
import re
from pathlib import Path

import pytest

import ssmreduce

ROOT = Path(__file__).resolve().parents[2]
REFERENCE = ROOT / "docs" / "reference"
THEORY = sorted(
    ".".join(path.relative_to(ROOT / "theory").with_suffix("").parts) for path in (ROOT / "theory").rglob("[!_]*.py")
)
PUBLIC = [name for name in ssmreduce.__all__ if not name.startswith("__")]


def directives(page: str) -> set[str]:
    """What the autodoc directives of a reference page document."""
    text = (REFERENCE / page).read_text(encoding="utf-8")
    return set(re.findall(r"^\.\. auto(?:module|class|function|exception|data):: (\S+)", text, flags=re.MULTILINE))


def is_ours(value: object) -> bool:
    return inspect.isclass(value) or inspect.isfunction(value)


@pytest.mark.parametrize("name", PUBLIC)
def test_every_public_name_of_ssmreduce_exists_and_is_in_the_reference(name: str) -> None:
    if ssmreduce._WHERE[name].startswith("ssmreduce."):
        importlib.import_module(ssmreduce._WHERE[name])  # a submodule of the same name must not hide it
    value = getattr(ssmreduce, name)
    assert not inspect.ismodule(value), f"ssmreduce.{name} is hidden by the module of that name"
    if getattr(value, "__module__", "").startswith("theory."):
        where = f"theory.{value.__module__.removeprefix('theory.')}"
        assert where in directives("theory.md"), f"add {where} to docs/reference/theory.md"
        assert f"ssmreduce.{name}`" in (REFERENCE / "ssmreduce.md").read_text(encoding="utf-8"), (
            f"add {name} to the table of re-exported names in docs/reference/ssmreduce.md"
        )
    else:
        assert f"ssmreduce.{name}" in directives("ssmreduce.md"), f"add ssmreduce.{name} to docs/reference/ssmreduce.md"
    if is_ours(value):
        assert inspect.getdoc(value), f"ssmreduce.{name} has no docstring"


@pytest.mark.parametrize("module", THEORY)
def test_every_module_of_theory_is_in_the_reference(module: str) -> None:
    assert f"theory.{module}" in directives("theory.md"), f"add theory.{module} to docs/reference/theory.md"


@pytest.mark.parametrize("module", THEORY)
def test_every_public_name_of_theory_has_a_docstring(module: str) -> None:
    loaded = importlib.import_module(f"theory.{module}")
    assert loaded.__doc__, f"theory.{module} has no docstring"
    for name, value in vars(loaded).items():
        if name.startswith("_") or not is_ours(value) or value.__module__ != loaded.__name__:
            continue
        assert inspect.getdoc(value), f"theory.{module}.{name} has no docstring"
        if inspect.isclass(value):
            for member, function in vars(value).items():
                if not member.startswith("_") and inspect.isfunction(function):
                    assert inspect.getdoc(function), f"theory.{module}.{name}.{member} has no docstring"


def test_the_reference_names_nothing_that_is_gone() -> None:
    for entry in sorted(directives("theory.md")):
        importlib.import_module(entry)
    for entry in sorted(directives("ssmreduce.md")):
        package, _, name = entry.rpartition(".")
        assert hasattr(importlib.import_module(package), name), entry
