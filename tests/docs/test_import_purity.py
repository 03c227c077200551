"""Fresh processes: what an import brings in, and what it must not."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FORBIDDEN = ("jax", "jaxlib", "flax", "optax", "orbax", "grain", "lra")
OPTIONAL = ("matplotlib", "control", "slycot", "cvxpy")
MODULES = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for package in ("theory", "ssmreduce")
    for path in (ROOT / package).rglob("*.py")
)

IMPORT_ALL = """
import importlib, sys
for name in {modules!r}:
    importlib.import_module(name.removesuffix(".__init__"))
print(" ".join(sorted(set(sys.modules) & set({watched!r}))))
"""


def loaded(modules: list[str], watched: tuple[str, ...]) -> str:
    code = IMPORT_ALL.format(modules=modules, watched=watched)
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("package", ["theory", "ssmreduce"])
def test_no_module_imports_jax(package: str) -> None:
    chosen = [name for name in MODULES if name.split(".")[0] == package and not name.endswith("__main__")]
    assert loaded(chosen, FORBIDDEN) == ""


@pytest.mark.parametrize("package", ["theory", "ssmreduce"])
def test_importing_the_package_loads_nothing_optional(package: str) -> None:
    assert loaded([package], FORBIDDEN + OPTIONAL) == ""


def test_theory_does_not_import_ssmreduce() -> None:
    assert loaded([name for name in MODULES if name.startswith("theory")], ("ssmreduce",)) == ""
