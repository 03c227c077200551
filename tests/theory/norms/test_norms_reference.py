"""Brackets against norms known to 30 digits (reference/make_norms.py makes them, by a search of its own).

The systems are read bit by bit from reference/systems.json, so that the references are theirs on every processor.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import mpmath as mp
import pytest

from theory.norms import hinf_norm

FOLDER = Path(__file__).parents[1] / "reference"
sys.path.insert(0, str(FOLDER))
from stored_systems import read  # noqa: E402

CASES = read(FOLDER / "systems.json")
KNOWN = json.loads((FOLDER / "norms.json").read_text())


def test_every_case_has_a_reference() -> None:
    assert KNOWN.keys() == CASES.keys()


@pytest.mark.parametrize("name", sorted(CASES))
def test_the_bracket_contains_the_reference_and_closes(name: str) -> None:
    bracket = hinf_norm(CASES[name])
    with mp.workdps(30):
        norm = mp.mpf(KNOWN[name]["norm"])
        # the reference is a gain found by a search: below the true norm by 1e-25 at most
        assert mp.mpf(bracket.lower) <= norm * (1 + mp.mpf("1e-25"))
        assert mp.mpf(bracket.upper) >= norm * (1 - mp.mpf("1e-28"))
    assert bracket.status == "closed"
    assert bracket.upper <= bracket.lower * (1 + 1e-8)


@pytest.mark.parametrize("name", sorted(CASES))
def test_the_witness_is_next_to_the_reference(name: str) -> None:
    system = CASES[name]
    bracket = hinf_norm(system)
    norm = float(KNOWN[name]["norm"])
    assert bracket.lower >= norm * (1 - 1e-8)
    if system.dt is not None:
        assert -mp.pi <= bracket.frequency <= mp.pi
    if system.is_real:
        assert bracket.frequency >= 0
