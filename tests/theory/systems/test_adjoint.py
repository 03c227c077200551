"""Adjoint states: what they say of poles and B is what moving them does, by loops that are written out."""

from __future__ import annotations

import numpy as np
import pytest
from recorded_cases import KINDS, outputs, signals, system

from theory.reduction.pole_steps import moved_system, principal_inputs, slowest_decay
from theory.systems.adjoint import pole_and_input_derivatives
from theory.systems.scan import Record

PAIRED = [kind for kind in KINDS if kind != "complex"]


@pytest.mark.parametrize("kind", PAIRED)
def test_they_are_the_differences_of_a_weighted_sum_of_the_outputs(kind: str, rng: np.random.Generator) -> None:
    item = system(kind)
    u, lengths = signals(item)
    record = Record(values=u, lengths=lengths)
    g = rng.standard_normal((3, *u.shape)) * record.mask[..., None]  # three numbers at once
    directions = None if item.batch_shape else principal_inputs(record, 2)
    found = pole_and_input_derivatives(item, record, list(g), directions)
    assert found.shape == (len(u), 3, item.poles.size * (1 if directions is None else 3) * 2)
    step = rng.standard_normal(found.shape[2])
    step /= np.abs(step).max()
    H = item.poles.size // item.n

    def sums(size: float) -> np.ndarray:
        moved = moved_system(item, (size * step).reshape(H, -1), directions, 0.0)
        return (g * outputs(moved, u, lengths)).sum(axis=(2, 3)).T

    told = (sums(1e-5) - sums(-1e-5)) / 2e-5
    assert np.abs(found @ step - told).max() <= 1e-6 * np.abs(told).max()


def test_no_pole_is_moved_to_the_circle_or_to_where_the_record_sees_nothing(rng: np.random.Generator) -> None:
    item = system("S5")
    slowest = slowest_decay(Record(values=np.zeros((1, 40, 2)), lengths=np.array([40])))
    for _ in range(20):
        moved = moved_system(item, 10 * rng.standard_normal((1, item.n * 2)), None, slowest)
        assert (np.abs(moved.poles) < 1).all()
        assert (-np.log(np.abs(moved.poles)) >= np.minimum(slowest, -np.log(np.abs(item.poles))) * (1 - 1e-9)).all()
        assert np.array_equal(moved.B, item.B)
