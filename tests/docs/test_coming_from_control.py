"""Every snippet of "Coming from MATLAB and python-control" runs, and says what those programs say of the same."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tolerance import relative, tol

import ssmreduce

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "coming_from_control.md").read_text(encoding="utf-8")
SNIPPETS = re.findall(r"^```python\n(.*?)^```$", PAGE, flags=re.DOTALL | re.MULTILINE)
PLAIN = [snippet for snippet in SNIPPETS if not snippet.startswith("# needs")]


def run(snippets: list[str], **space: Any) -> dict[str, Any]:
    for snippet in snippets:
        exec(compile(snippet, "coming_from_control.md", "exec"), space)
    return space


@pytest.fixture(scope="module")
def page() -> dict[str, Any]:
    return run(PLAIN)


def test_every_verb_of_the_table_is_there_and_in_a_snippet(page: dict[str, Any]) -> None:
    named = set(re.findall(r"ssmreduce\.(\w+)", "\n".join(line for line in PAGE.splitlines() if line.startswith("|"))))
    assert len(named) >= 19
    code = "\n".join(SNIPPETS)
    for name in named:
        assert hasattr(ssmreduce, name)
        assert f"ssmreduce.{name}" in code or name == "analyze"
    assert "\ncoming_from_control\n" in (ROOT / "docs" / "index.md").read_text(encoding="utf-8")


def test_the_numbers_are_those_of_python_control(page: dict[str, Any]) -> None:
    control: Any = pytest.importorskip("control")
    pytest.importorskip("slycot")
    H = control.ss(page["A"], page["B"], page["C"], np.zeros((2, 2)))
    assert relative(page["gain"], control.dcgain(H)) < tol(4)
    assert relative(page["response"][1], H(2.0j)) < tol(4)
    assert relative(page["hsv"], np.sort(control.hankel_singular_values(H))[::-1]) < 1e-10
    assert relative(page["energy"], control.system_norm(H, 2)) < 1e-10
    found = control.system_norm(H, "inf", tol=1e-10)
    assert page["peak"].lower * (1 - 1e-7) <= found <= page["peak"].upper * (1 + 1e-7)
    for rule, name in (("Gd", "zoh"), ("tustin", "tustin")):
        there = control.c2d(H, 0.1, name)
        omega = np.array([0.1, 1.0, 3.0])
        ours = ssmreduce.frequency_response(page[rule], omega)
        assert relative(ours, np.array([there(np.exp(1j * w)) for w in omega])) < tol(4, cond=10)
    _, y = control.forced_response(control.c2d(H, 0.1), None, np.ones((2, 50)))
    assert relative(page["y"].T, y) < tol(50)


def test_balanced_reductions_are_those_of_python_control(page: dict[str, Any]) -> None:
    control: Any = pytest.importorskip("control")
    pytest.importorskip("slycot")
    H = control.ss(page["A"], page["B"], page["C"], np.zeros((2, 2)))
    omega = np.array([0.0, 0.7, 3.0, 40.0])
    for ours, how in (("truncated", "truncate"), ("matched", "matchdc")):
        there = control.balanced_reduction(H, 2, how)
        wanted = np.array([there(1j * w) for w in omega])
        assert relative(ssmreduce.frequency_response(page[ours].system, omega), wanted) < 1e-9
    assert relative(ssmreduce.dc_gain(page["matched"].system), page["gain"]) < tol(4, cond=10)


def test_what_the_snippets_say_holds(page: dict[str, Any]) -> None:
    G = page["G"]
    omega = np.array([0.0, 0.7, 3.0, 40.0])

    def gap(one: Any, two: Any) -> float:
        return relative(ssmreduce.frequency_response(one, omega), ssmreduce.frequency_response(two, omega))

    assert gap(page["back"], G) < 1e-12
    sysb, T = page["sysb"], page["balanced"].T
    assert relative(page["balanced"].inverse @ page["A"] @ T, sysb.A) < tol(4, cond=100)
    X = np.diag(page["g"])  # both Gramians of a balanced system
    assert np.abs(sysb.A @ X + X @ sysb.A.T + sysb.B @ sysb.B.T).max() < 1e-12
    assert np.abs(sysb.A.T @ X + X @ sysb.A + sysb.C.T @ sysb.C).max() < 1e-12
    for name in ("truncated", "matched", "optimal"):
        error = page[name].error()
        assert page[name].floor <= error.upper
        assert error.lower <= page[name].bound * (1 + 1e-9)
    assert page["optimal"].error().upper < page["truncated"].bound
    assert {page[name].order for name in ("slow", "short")} == {2}
    assert page["small"].n == 4
    assert gap(page["small"], G) < 1e-10
    split = page["split"]
    assert (split.stable.n, split.rest.n) == (2, 1)
    whole = ssmreduce.frequency_response(page["unstable"], omega)
    parts = (ssmreduce.frequency_response(part, omega) for part in (split.stable, split.rest))
    assert relative(sum(parts), whole) < tol(3, cond=10)
    assert gap(page["modal"], G) < tol(4, cond=100)
    assert np.abs(page["below"].poles).max() < 5.0 < np.abs(page["modal"].poles).max()
    assert {row.order for row in page["comparison"].rows} == {1, 2}
    assert sorted(np.abs(page["poles"])) == pytest.approx([np.sqrt(5), 8, 20])


def test_systems_of_python_control_go_in_and_come_out(page: dict[str, Any]) -> None:
    pytest.importorskip("control")
    space = run([snippet for snippet in SNIPPETS if snippet not in PLAIN], **page)
    assert relative(space["there"].A, page["truncated"].system.A) == 0.0
