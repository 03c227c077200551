"""Samples of a system as maps of vectors: they are its response, and lower bounds of its gains."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ssmreduce import DiagonalStateSpace, StateSpace
from ssmreduce.comparison.compare import compare
from ssmreduce.comparison.laws import swept
from ssmreduce.comparison.peers import response
from ssmreduce.comparison.sweep import attained, samples
from ssmreduce.comparison.work import Work
from ssmreduce.results import Row
from theory.norms.bracket import Bracket
from theory.systems.system import System

KINDS = ["pairs", "complex", "delay 1", "two-sided", "two-sided, complex", "continuous", "dense", "batch"]


def draw(kind: str, rng: np.random.Generator, n: int = 6) -> System:
    def gaussian(*shape: int) -> np.ndarray:
        return rng.normal(size=shape) + 1j * rng.normal(size=shape)

    if kind == "dense":
        return StateSpace(0.3 * rng.normal(size=(n, n)), rng.normal(size=(n, 3)), rng.normal(size=(4, n)), dt=1.0)
    poles = (1 - 10.0 ** rng.uniform(-4, -0.3, n)) * np.exp(1j * rng.uniform(-3, 3, n))
    options: dict[str, Any] = {"conjugate_pairs": "complex" not in kind, "delay": int(kind == "delay 1")}
    if kind == "batch":
        return DiagonalStateSpace(np.tile(poles, (5, 1)), gaussian(5, n, 1), gaussian(5, 1, n), **options)
    if kind == "continuous":
        return DiagonalStateSpace(poles - 1, gaussian(n, 3), gaussian(4, n), rng.normal(size=(4, 3)), dt=None)
    if "two-sided" in kind:
        options |= {"C_reverse": gaussian(4, n), "delay_reverse": int("complex" in kind)}
    return DiagonalStateSpace(poles, gaussian(n, 3), gaussian(4, n), rng.normal(size=(4, 3)), **options)


@pytest.mark.parametrize("kind", KINDS)
def test_samples_are_the_response(kind: str, rng: np.random.Generator) -> None:
    system, omega = draw(kind, rng), rng.uniform(-3, 3, 7)
    value = response(system, omega)
    value = value.reshape(-1, *value.shape[-2:])
    G, scale = samples(system, omega), np.abs(value).max()
    v = rng.normal(size=(system.m, len(value))) + 1j * rng.normal(size=(system.m, len(value)))
    u = rng.normal(size=(system.p, len(value))) + 1j * rng.normal(size=(system.p, len(value)))
    np.testing.assert_allclose(G.times(v), np.einsum("kpm,mk->pk", value, v), atol=1e-11 * scale)
    inner = np.sum(u.conj() * G.times(v), axis=0)
    np.testing.assert_allclose(np.sum(G.adjoint_times(u).conj() * v, axis=0), inner, atol=1e-10 * scale)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_attained_is_a_gain(kind: str, rng: np.random.Generator) -> None:
    omega = rng.uniform(-3, 3, 9)
    one, two = draw(kind, rng), draw(kind, rng)
    value = response(one, omega) - response(two, omega)
    truth = np.linalg.norm(value, 2, axis=(-2, -1)).ravel()
    found = attained(samples(one, omega), samples(two, omega), (one.m, truth.size), 0)
    assert (found <= truth * (1 + 1e-10)).all()
    assert (found >= 0.8 * truth).all()


@pytest.mark.parametrize("kind", KINDS)
def test_the_sweep_catches_a_bracket_that_is_too_low(kind: str, rng: np.random.Generator) -> None:
    one, two = draw(kind, rng), draw(kind, rng)
    omega = np.linspace(-3, 3, 500)
    peak = float(np.linalg.norm(response(one, omega) - response(two, omega), 2, axis=(-2, -1)).max())
    for upper, wrong in ((0.5 * peak, True), (100 * peak, False)):
        error = Bracket(0.4 * peak, upper, 0.0)
        row = Row(method="balanced", title="balanced", order=1, floor=0.0, error=error)
        assert bool(swept(one, [Work(row=row, reduced=two)], 400, 0)) == wrong


def test_a_comparison_without_violations_is_swept(rng: np.random.Generator) -> None:
    assert compare(draw("pairs", rng), orders=[2, 4], crosscheck="none").violations == ()
