"""The contract bites: a method with one thing wrong breaks the law about it. And one right new file is held to it."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from contract_laws import LAWS

from ssmreduce.methods.balanced import Balanced
from ssmreduce.methods.modal import Modal
from theory.errors import OrderError

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, kw_only=True)
class Refuses(Balanced):
    """Refuses every order below n."""

    def truncate(self, source, order):
        if 0 < order < source.order:
            raise OrderError("no", order, 0)
        return super().truncate(source, order)


@dataclass(frozen=True, kw_only=True)
class Boasts(Balanced):
    """Its bound is a fifth of what it should be, but not below its floor: reduce itself would see that."""

    def truncate(self, source, order):
        found = super().truncate(source, order)
        return replace(found, bound=max(found.floor, 0.2 * found.bound))


@dataclass(frozen=True, kw_only=True)
class Fears(Modal):
    """Its bound is 1.001 times what it should be."""

    def truncate(self, source, order):
        found = super().truncate(source, order)
        return replace(found, bound=1.001 * found.bound)


@dataclass(frozen=True, kw_only=True)
class Despairs(Balanced):
    """Its floor is that of one state less, but not above its bound: reduce itself would see that."""

    def truncate(self, source, order):
        found, larger = super().truncate(source, order), super().truncate(source, max(order - 1, 0))
        return replace(found, floor=min(larger.floor, found.bound))


@dataclass(frozen=True, kw_only=True)
class Wastes(Modal):
    """Takes one state more than a tolerance needs."""

    def smallest(self, source, rtol):
        found = super().smallest(source, rtol)
        return self.truncate(source, min(found.order + 1, source.order))


@dataclass(frozen=True, kw_only=True)
class KeepsTheWorst(Modal):
    """Ranks by the score, and takes the wrong end."""

    def truncate(self, source, order):
        whole = super().truncate(source, source.order)
        worst = np.argsort(self.score(source), kind="stable")[:order]
        part = source.system.keep(np.sort(worst))
        return replace(whole, system=part, order=order, kept=np.sort(worst), diagnostics={"kept": np.sort(worst)})


@dataclass(frozen=True, kw_only=True)
class Shifts(Balanced):
    """Adds 1e-3 to the first entry of the feedthrough."""

    def truncate(self, source, order):
        found = super().truncate(source, order)
        D = found.system.D.copy()
        D[0, 0] += 1e-3
        return replace(found, system=found.system.replace(D=D)) if 0 < order < source.order else found


WRONG = {
    "refusals_are_for_want_of_states_only": Refuses(),
    "floor_error_bound": Boasts(),
    "selections_promise_the_gains_of_what_is_gone": Fears(),
    "floor_of_adamyan_arov_and_krein": Despairs(),
    "tolerances_are_met_with_as_few_states_as_meet_them": Wastes(),
    "the_best_states_are_kept": KeepsTheWorst(),
    "form_is_kept": Shifts(),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_method_breaks_the_law(name):
    LAWS[name]("balanced" if isinstance(WRONG[name], Balanced) else "modal", "S5 layer")
    with pytest.raises(AssertionError):
        LAWS[name](WRONG[name], "S5 layer")


TOY = '''
"""Keeps the states that were stored last."""
from dataclasses import dataclass
import numpy as np
from ssmreduce.methods.registry import METHODS, system_of
from ssmreduce.methods.selection import Selection

@dataclass(frozen=True, kw_only=True)
class Newest(Selection):
    """Keeps the states that were stored last, counted in steps.

    A second paragraph is not part of the summary.
    """
    step: float = 1.0
    title = "newest first"

    def score(self, source):
        poles = system_of(source).poles
        return self.step * np.broadcast_to(np.arange(poles.shape[-1]), poles.shape)

METHODS.register("newest", Newest())
'''

START = """
import sys
import ssmreduce.methods
ssmreduce.methods.__path__.append(sys.argv.pop(1))  # the same as a file in that folder
"""

USES = """
import numpy as np
import ssmreduce
from ssmreduce.command_line.parser import main
from contract_cases import KINDS

value = ssmreduce.METHODS["newest"]
assert value.summary == "Keeps the states that were stored last, counted in steps."
assert isinstance(value, ssmreduce.Newest)
layer = KINDS["S5 layer"]
assert ssmreduce.reduce(layer, 2, method="newest").diagnostics["kept"].tolist() == [3, 4]
found = ssmreduce.compare(layer, orders=[2], crosscheck="none")
assert "newest" in found.methods
found = ssmreduce.compare(layer, [ssmreduce.Newest(step=2.0)], orders=[2], crosscheck="none")
assert found.methods == ("newest(step=2)",)
model = ssmreduce.load(ssmreduce.shipped_checkpoint("digits_s5"))
record = ssmreduce.reduce_model(model, 0.5, "newest(step=3)").training["reduction"]
assert (record["method"], record["allocation"]) == ("newest(step=3)", "uniform")
assert main(["compare", "--methods", "newest,newest(step=1e-3)", "--orders", "4", "--crosscheck", "none"]) == 0
sys.path.append("docs")
import registry_tables
assert "| `newest` | Keeps the states that were stored last, counted in steps. |" in registry_tables.methods()
try:
    main(["reduce", "--help"])
except SystemExit:
    pass
"""

HELD = """
import pytest
sys.exit(pytest.main(["-v", "-n", "0", "-p", "no:cacheprovider", "tests/contract/test_laws.py", "-k", "newest and S5"]))
"""


def in_a_process_of_its_own(folder, code):
    (folder / "newest.py").write_text(TOY, encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (ROOT, ROOT / "tests")))}
    return subprocess.run(
        [sys.executable, "-c", START + code, str(folder)],
        cwd=ROOT, env=environment, capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip


def test_a_method_in_one_new_file_is_everywhere(tmp_path):
    done = in_a_process_of_its_own(tmp_path, USES)
    assert done.returncode == 0, done.stderr
    assert "newest, random" in " ".join(done.stdout.split())  # the help of reduce
    assert "newest(step=0.001)" in done.stdout  # a row of compare


def test_a_method_in_one_new_file_is_held_to_every_law(tmp_path):
    done = in_a_process_of_its_own(tmp_path, HELD)
    assert done.returncode == 0, done.stdout
    laws = [
        name for name in LAWS if name not in ("balanced_promises_twice_the_tail", "exact_gains_remove_what_moves_least")
    ]
    assert all(
        f"test_law[{name}-newest-S5 layer]" in done.stdout for name in laws if LAWS[name].about("last", "S5 layer")
    )
