"""Every bracket names the certificate of its upper end; a new certificate is one object, seen everywhere."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from theory.errors import StabilityError
from theory.norms import error_norm, hinf_norm, linf_norm, plan
from theory.norms.bracket import Bracket, is_closed
from theory.norms.loss import Loss
from theory.norms.peaks.peak import Peak
from theory.norms.proofs.proof import Proved
from theory.norms.responses.modes import ModalSum
from theory.norms.responses.response import Response
from theory.systems.system import DiagonalStateSpace, StateSpace


def diagonal(n: int, p: int, m: int, *, batch: tuple[int, ...] = (), **options: Any) -> DiagonalStateSpace:
    rng = np.random.default_rng(n + 10 * p + 100 * m)
    poles = 0.9 * rng.uniform(0.2, 1.0, (*batch, n)) * np.exp(1j * rng.uniform(0, 3, (*batch, n)))
    if options.get("dt", 1.0) is None:
        poles = np.log(poles)
    B, C = rng.normal(size=(*batch, n, m)) + 0.5j, rng.normal(size=(*batch, p, n)) - 0.25j
    return DiagonalStateSpace(poles, B, C, **options)


def dense(A: np.ndarray, *, dt: float | None = 1.0, B: float = 1.0) -> StateSpace:
    n = A.shape[0]
    return StateSpace(A, np.full((n, 1), B), np.ones((1, n)), dt=dt)


JORDAN = 0.5 * np.eye(6) + 0.25 * np.eye(6, k=1)
EXPECTED: dict[str, tuple[Any, set[str]]] = {
    "one state": (diagonal(1, 1, 1), {"arcs"}),
    "few channels": (diagonal(4, 2, 3), {"arcs"}),
    "continuous time": (diagonal(4, 2, 3, dt=None), {"arcs"}),
    "many channels": (diagonal(12, 16, 20), {"storage"}),
    "many, both directions": (diagonal(9, 12, 12, C_reverse=np.ones((12, 9))), {"storage"}),
    "many, continuous time": (diagonal(12, 16, 20, dt=None), {"levels"}),
    "scalar batch": (diagonal(3, 1, 1, batch=(4,)), {"taylor"}),
    "scalar batch, continuous time": (diagonal(3, 1, 1, batch=(2, 2), dt=None), {"taylor"}),
    "empty batch": (diagonal(3, 1, 1, batch=(0,)), {"taylor"}),
    "batch": (diagonal(3, 2, 1, batch=(4,)), {"arcs"}),
    "empty batch of many": (diagonal(3, 2, 1, batch=(0,)), {"static"}),
    "feedthrough only": (StateSpace(np.eye(0), np.zeros((0, 2)), np.zeros((2, 0)), np.eye(2), dt=1.0), {"static"}),
    "zero": (diagonal(3, 2, 2).replace(B=np.zeros((3, 2))), {"static"}),
    "no inputs": (diagonal(3, 2, 0), {"static"}),
    "no outputs": (StateSpace(np.eye(2) * 0.5, np.ones((2, 1)), np.ones((0, 2)), dt=1.0), {"static"}),
    "dense": (dense(np.array([[0.5, 0.2], [0.1, -0.3]])), {"arcs"}),
    "dense, silent": (dense(np.array([[0.5, 0.2], [0.1, -0.3]]), B=0.0), {"static"}),
    "dense, defective": (dense(JORDAN), {"arcs"}),
}  # fmt: skip


@pytest.mark.parametrize("kind", EXPECTED)
def test_every_route_names_its_certificate(kind: str) -> None:
    system, expected = EXPECTED[kind]
    registered = {proof.name for proof in plan.PROOFS}
    for bracket in (hinf_norm(system, 1e-6), linf_norm(system, 1e-6)):
        names = [bracket.diagnostics["proof"], *bracket.diagnostics.get("proofs", [])]
        assert set(names) <= registered
    assert hinf_norm(system, 1e-6).diagnostics["proof"] in expected


def test_poles_on_the_boundary_and_differences_name_theirs() -> None:
    pole = DiagonalStateSpace([1.0, 0.5], np.ones((2, 1)), np.ones((1, 2)), conjugate_pairs=False)
    bracket = linf_norm(pole)
    assert (bracket.lower, bracket.upper, bracket.status) == (np.inf, np.inf, "closed")
    assert bracket.diagnostics["proof"] == "pole"
    cancelled = DiagonalStateSpace([1.0, 1.0], [[1.0], [-1.0]], np.ones((1, 2)), conjugate_pairs=False)
    assert (linf_norm(cancelled).lower, linf_norm(cancelled).status) == (0.0, "open")
    assert linf_norm(cancelled).diagnostics["proof"] == "pole"
    layer = diagonal(4, 2, 3)
    assert error_norm(layer, layer).diagnostics["proof"] == "static"
    with pytest.raises(StabilityError):
        hinf_norm(pole)


def test_names_are_unique_and_documented() -> None:
    for entries in (plan.PROOFS, plan.RESPONSES):
        lines = plan.table(entries).splitlines()[2:]
        names = [line.split("|")[1] for line in lines]
        assert len(set(names)) == len(names) == len({entry.name for entry in entries})
        for line in lines:
            assert all(cell.strip() for cell in line.split("|")[1:5]), line
    with pytest.raises(ValueError, match="arcs"):
        plan.register(next(proof for proof in plan.PROOFS if proof.name == "arcs"))


class Toy:
    """One mode has its largest gain at its own angle, |c| |b| / margin.

    Applies: a diagonal system of one mode.
    Cost: O(p + m).
    """

    name = "toy"

    def applies(self, response: Response) -> bool:
        return isinstance(response.form, ModalSum) and response.form.poles.size == 1

    def prove(self, response: Response, peak: Peak, rtol: float) -> Proved | None:
        modes = response.form
        return Proved(float(modes.weights[0] / modes.margin[0]) * (1 + 1e-14) * self.generosity, {"toy": True})

    generosity = 1.0


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> Toy:
    monkeypatch.setattr(plan, "PROOFS", list(plan.PROOFS))
    plan.register(found := Toy(), before="arcs")
    return found


ONE_MODE = DiagonalStateSpace([0.5j], [[1.0]], [[1.0]], conjugate_pairs=False)


def test_a_new_proof_is_one_object(toy: Toy) -> None:
    bracket = hinf_norm(ONE_MODE)
    assert bracket.diagnostics == {"response": "modes", "proof": "toy", "toy": True}
    assert 2.0 in bracket
    assert bracket.status == "closed"
    assert hinf_norm(diagonal(4, 2, 3)).diagnostics["proof"] == "arcs"
    assert "| `toy` | One mode has its largest gain at its own angle, \\|c\\| \\|b\\| / margin |" in plan.table(
        plan.PROOFS
    )


def test_a_proof_that_is_not_sharp_gives_way(toy: Toy) -> None:
    toy.generosity = 2.0
    bracket = hinf_norm(ONE_MODE)
    assert bracket.diagnostics["proof"] == "arcs"
    assert bracket.upper < 2.1
    toy.generosity = (
        1.0 + 1e-6
    )  # sharper than nothing, not sharp enough: the next one is asked, and the better one kept
    assert hinf_norm(ONE_MODE, 1e-8).diagnostics["proof"] == "arcs"


def test_closed_is_relative_to_the_lower_end() -> None:
    assert is_closed(1.0, 1.5, 0.5)
    assert not is_closed(1.0, 1.6, 0.5)  # (1.6 - 1) / 1.6 is below 0.5
    assert is_closed(0.0, 0.0, 1e-8)
    assert is_closed(np.inf, np.inf, 1e-8)
    assert not is_closed(1e308, np.inf, 1.0)
    assert not is_closed([1.0, 1.0], [1.0, 1.1], 1e-3)
    for rtol in (1e-2, 1e-6):
        for kind in ("scalar batch", "batch", "many channels", "dense"):
            bracket = hinf_norm(EXPECTED[kind][0], rtol)
            assert (bracket.status == "closed") == bool(np.all(bracket.upper <= bracket.lower * (1 + rtol)))


def test_meet_keeps_the_better_ends_and_the_name_of_the_upper_one() -> None:
    one = Bracket(1.0, 3.0, 0.1, "open", {"proof": "arcs"})
    two = Bracket(0.5, 2.0, 0.2, "open", {"proof": "levels"})
    for met in (one.meet(two, 1e-8), two.meet(one, 1e-8)):
        assert (met.lower, met.upper, met.frequency, met.diagnostics["proof"]) == (1.0, 2.0, 0.1, "levels")


def test_a_loss_turns_levels_into_ends() -> None:
    """What is proved of the computed gain below `target` holds of every true gain within the loss."""
    loss, level = Loss(absolute=0.25, relative=0.125), 4.0
    computed = loss.target(level)
    assert loss.ceiling(computed) <= level
    assert loss.attained(computed) < computed < loss.ceiling(computed)
    assert loss.plus(0.5).ceiling(1.0) == (1.0 + 0.75) * 1.125
    assert loss.plus(0.5).attained(1.0) == (1.0 - 0.75) * 0.875
