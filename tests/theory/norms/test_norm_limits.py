"""Where a norm ends: tolerances below float64, parameters at its ends, and work that comes to its limit."""

from __future__ import annotations

import numpy as np
import pytest

from theory.errors import ToleranceError
from theory.norms import error_norm, hinf_norm, linf_norm
from theory.norms.proofs import levels, polynomial
from theory.systems.system import DiagonalStateSpace, StateSpace


def layer(rng: np.random.Generator, n: int = 12, ports: int = 12) -> DiagonalStateSpace:
    """Like an S5 layer, with a diagonal feedthrough: proved level by level where a storage function fails."""
    poles = (1 - 10.0 ** rng.uniform(-3, -1, n)) * np.exp(1j * rng.uniform(0, 3, n))
    B, C = (rng.normal(size=shape) + 1j * rng.normal(size=shape) for shape in ((n, ports), (ports, n)))
    return DiagonalStateSpace(poles, 0.1 * B, 0.1 * C, np.diag(rng.normal(size=ports)), delay=0)


@pytest.mark.parametrize("norm", [hinf_norm, linf_norm, lambda G, rtol: error_norm(G, G.keep([0]), rtol)])
def test_no_tolerance_below_float64(norm, rng: np.random.Generator) -> None:
    with pytest.raises(ToleranceError) as caught:
        norm(layer(rng), 1e-30)
    assert (caught.value.asked, caught.value.best) == (1e-30, 2.0**-52)


@pytest.mark.parametrize(("part", "factor"), [("B", 1e-300), ("D", 1e300), ("C", 1e-305)])
def test_a_feedthrough_that_is_all_there_is(part: str, factor: float, rng: np.random.Generator) -> None:
    system = layer(rng)
    system = system.replace(**{part: getattr(system, part) * factor})
    bracket = hinf_norm(system, 1e-3)
    assert bracket.status == "closed"
    assert np.abs(np.diag(system.D)).max() in bracket
    assert 0.0 <= bracket.frequency <= np.pi


def test_work_has_a_limit_after_which_a_true_bracket_comes_back_open(rng, monkeypatch: pytest.MonkeyPatch) -> None:
    system = layer(rng)
    reference = hinf_norm(system, 1e-8)
    covers: list[levels.LevelCover] = []
    prove = levels.LevelCover.prove
    monkeypatch.setattr(levels.LevelCover, "prove", lambda self: covers.append(prove(self)) or covers[-1])
    bracket = hinf_norm(system, 4e-16)
    assert bracket.status == "open"
    assert bracket.lower <= reference.upper
    assert reference.lower <= bracket.upper <= reference.lower * (1 + 2e-8)  # what could be proved is
    assert any(cover.exhausted for cover in covers)
    assert all(cover.arcs <= 2 * cover.most_arcs for cover in covers)


def test_samples_of_a_polynomial_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    # 1 ... 9 by taps: the norm is 45, and no proof gets closer than the work allows
    system = StateSpace(np.eye(9, k=-1), np.eye(9)[:, :1], np.arange(1.0, 10.0)[None], dt=1.0)
    monkeypatch.setattr(polynomial, "MOST_NUMBERS", 1e4)
    bracket = hinf_norm(system, 2.0**-52)
    assert bracket.status == "open"
    assert bracket.lower <= 45.0 <= bracket.upper <= 45.0 * (1 + 1e-6)


def test_a_chain_of_lags_ends_too() -> None:
    system = StateSpace(np.eye(9, k=-1) - np.eye(9), np.eye(9)[:, :1], np.eye(9)[-1:])
    bracket = hinf_norm(system, 2.0**-52)
    assert bracket.lower <= 1.0 <= bracket.upper <= 1.0 + 2e-8
