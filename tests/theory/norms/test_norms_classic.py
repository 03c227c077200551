"""Dense systems with the structure of the model reduction benchmarks: closed brackets, up to 348 states."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from theory.norms import hinf_norm
from theory.norms.responses.dense import modal_sum
from theory.systems.system import StateSpace

sys.path.insert(0, str(Path(__file__).parents[1]))
from classic_systems import (
    clamped_beam,
    collocated_structure,
    convection_diffusion,
    flexible_structure,
    heat_rod,
    heat_rod_norm,
    transmission_line,
)

SYSTEMS: dict[str, Callable[[], StateSpace]] = {
    "heat, 200 states": heat_rod,
    "convection and diffusion, 84": convection_diffusion,
    "transmission line in SI units, 256": transmission_line,
    "building, 48": lambda: flexible_structure(24, damping=2e-2),
    "CD player, 120": lambda: flexible_structure(60, damping=5e-3, inputs=2, outputs=2, top=1e4),
    "space station, 270": lambda: flexible_structure(135, damping=5e-3, inputs=3, outputs=3),
    "space station in micrometres, 270": lambda: flexible_structure(135, damping=1e-3, inputs=3, outputs=3, units=1e6),
    "beam in modal size, 348": lambda: flexible_structure(174, damping=1e-2),
    "beam in finite differences, 348": clamped_beam,
}


def gains(system: StateSpace, omega: np.ndarray) -> np.ndarray:
    """Gains by solves in float64, and what their rounding may be relative to."""
    eye = np.eye(system.n)
    return np.array([np.linalg.norm(system.C @ np.linalg.solve(1j * w * eye - system.A, system.B), 2) for w in omega])


@pytest.mark.parametrize("name", SYSTEMS)
def test_the_bracket_closes_and_no_sample_exceeds_it(name: str) -> None:
    system = SYSTEMS[name]()
    bracket = hinf_norm(system)
    assert bracket.status == "closed"
    assert bracket.upper <= bracket.lower * (1 + 1e-8)
    poles = system.poles
    near = poles[np.argsort(-poles.real)][:12].imag
    omega = np.unique(np.abs(np.concatenate([near, [0.0], bracket.frequency * (1 + np.array([0, 1e-3, -1e-3, 0.1]))])))
    sampled = gains(system, omega)
    # backward error of a solve: eps |A| times the resolvent; the beam in finite differences has |A| = 1e10
    rounding = 1e-15 * np.linalg.norm(system.A) / -poles.real.max()
    assert sampled.max() <= bracket.upper * (1 + rounding + 1e-10)
    assert sampled.max() >= bracket.lower * (1 - rounding - 1e-10)


@pytest.mark.parametrize("n", [10, 100, 200])
def test_the_norm_of_a_heated_rod_is_its_green_function(n: int) -> None:
    bracket = hinf_norm(heat_rod(n))
    truth = heat_rod_norm(n)
    assert bracket.lower <= truth * (1 + 1e-11)  # the entries 1/h^2 are rounded
    assert bracket.upper >= truth * (1 - 1e-11)
    assert bracket.status == "closed"
    assert bracket.frequency == 0.0


@pytest.mark.parametrize(("modes", "damping"), [(24, 1e-2), (24, 1e-3), (60, 1e-3)])
def test_the_norm_of_a_collocated_structure_is_its_largest_peak(modes: int, damping: float) -> None:
    system, truth = collocated_structure(modes, damping=damping)
    rng = np.random.default_rng(1)
    inputs, outputs = (np.linalg.qr(rng.normal(size=(modes, modes)))[0] for _ in range(2))
    T = np.linalg.qr(rng.normal(size=(system.n, system.n)))[0] if modes < 50 else np.eye(system.n)
    for moved in (system, StateSpace(T @ system.A @ T.T, T @ system.B @ inputs, outputs @ system.C @ T.T)):
        bracket = hinf_norm(moved)
        assert bracket.status == "closed"
        assert bracket.lower <= truth * (1 + 1e-9)
        assert bracket.upper >= truth * (1 - 1e-9)


@pytest.mark.parametrize("make", [lambda: flexible_structure(60, damping=5e-3, top=1e4), convection_diffusion])
def test_newton_steps_shrink_what_the_modes_leave_out(make: Any) -> None:
    system = make()
    rough, fine = modal_sum(system, steps=0), modal_sum(system, steps=3)
    assert rough is not None
    assert fine is not None
    # both enclose the same eigenvalues
    radii = rough.radii + fine.radii
    distance = np.abs((rough.poles[:, None] - fine.poles[None, :]) - fine.low[None, :]).min(axis=1)
    assert (distance <= radii).all()
    assert fine.radii.max() <= 1e-2 * rough.radii.max()
