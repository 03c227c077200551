"""Every third-party import is declared in pyproject.toml: at the top of a module in the core, elsewhere in an extra."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
OURS = {"lra", "ssmreduce", "theory"}
IMPORT_NAME = {"ml-dtypes": "ml_dtypes", "pillow": "PIL", "scikit-learn": "sklearn"}
FILES = sorted(path for package in ("theory", "ssmreduce", "lra") for path in (ROOT / package).rglob("*.py"))


def names(requirements: list[str]) -> set[str]:
    plain = {re.split(r"[\s<>=!~\[;]", text, maxsplit=1)[0] for text in requirements}
    return {IMPORT_NAME.get(name, name) for name in plain}


CORE = names(PROJECT["dependencies"])
EXTRA = {key: names(value) for key, value in PROJECT["optional-dependencies"].items()}


def imports(tree: ast.Module) -> list[tuple[str, bool]]:
    """Top-level package of every import, and whether it runs when the module is imported."""
    found: list[tuple[str, bool]] = []

    def visit(node: ast.AST, eager: bool) -> None:
        if isinstance(node, ast.Import):
            found.extend((alias.name.split(".")[0], eager) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            found.append((node.module.split(".")[0], eager))
        lazy = isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) or (
            isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        )
        for child in ast.iter_child_nodes(node):
            visit(child, eager and not lazy)

    visit(tree, True)
    return [(name, eager) for name, eager in found if name not in sys.stdlib_module_names | OURS]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_imports_are_declared(path: Path) -> None:
    package = path.relative_to(ROOT).parts[0]
    eager_allowed = CORE | (EXTRA["lra"] if package == "lra" else set())
    lazy_allowed = eager_allowed | EXTRA["plot"] | EXTRA["control"]
    for name, eager in imports(ast.parse(path.read_text(encoding="utf-8"))):
        assert name in (eager_allowed if eager else lazy_allowed), f"{name} is not declared for this place"


def test_lock_is_exact_has_hashes_and_names_no_index() -> None:
    text = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    entry = r"([A-Za-z0-9._-]+)==[A-Za-z0-9.+!_-]+(?: \\\n    --hash=sha256:[0-9a-f]{64})+\n"
    assert not re.sub(r"^(#.*)?\n", "", re.sub(entry, "", text), flags=re.MULTILINE), "run make lock"
    locked = {name.lower().replace("_", "-") for name in re.findall(entry, text)}
    groups = {key: value for key, value in PROJECT["optional-dependencies"].items() if key != "torch"}
    texts = [text for group in (PROJECT["dependencies"], *groups.values()) for text in group]
    wanted = {re.split(r"[\s<>=!~\[;]", text, maxsplit=1)[0].lower() for text in texts} - {"ssmreduce"}
    assert wanted <= locked, f"run make lock: {sorted(wanted - locked)}"
