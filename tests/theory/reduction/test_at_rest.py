"""What a selection drops, residualized: a constant input gives the same output, and nothing but D has changed."""

from __future__ import annotations

import numpy as np
import pytest
from contract_cases import KINDS, measured_error, members, response, rounding, system_of

from ssmreduce import Residualized, reduce
from ssmreduce.layers.layer import SSMLayer
from ssmreduce.methods.registry import METHODS
from theory.errors import InputError
from theory.systems.system import DiagonalStateSpace

STARTS = ("modal", "last", "random", "refit(start='modal')")
SWEPT = 1e-6
"""What a sweep may miss of a peak, relative."""
CLOSE = 1e-9
"""Relative to the gains of all states at rest, which cancel."""


def at(system):
    """The response at rest, by the definition of the transfer function."""
    return np.array([response(one, np.zeros(1))[0] for one in members(system)])


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "near the circle"])
def test_the_gain_at_rest_is_met_and_only_the_feedthrough_moves(kind, start):
    source, system = KINDS[kind], system_of(kind)
    if not isinstance(system, DiagonalStateSpace):
        start = start if start != "random" else "modal"
    for order in (0, 1, system.n // 2):
        plain, found = reduce(source, order, method=start), reduce(source, order, method=Residualized(start=start))
        if not isinstance(source, SSMLayer):  # which are written anew, in their own precision
            for field in ("poles", "B", "C"):
                assert np.array_equal(getattr(found.system, field), getattr(plain.system, field))
        ends = zip(np.ravel(found.floor), np.ravel(found.bound), strict=True)
        for whole, part, (floor, bound) in zip(members(system), members(found.system), ends, strict=True):
            error, noise = measured_error(whole, part), rounding(whole) + rounding(part)
            assert floor <= error * (1 + SWEPT) + noise
            assert error <= bound + noise
        wanted, met, before = at(system), at(found.system), at(plain.system)
        size = np.abs(wanted).max() + np.abs(before).max()
        if system.D.dtype.kind == "f":  # of a complex system, too: it takes the real part
            wanted, met, before = wanted.real, met.real, before.real
        if not isinstance(source, SSMLayer):
            assert np.abs(wanted - met).max() <= CLOSE * size
        elif source.kind == "s4d":  # one number a channel, stored in the layer's precision
            assert np.abs(wanted - met).max() <= 8 * np.finfo(source.dtype).eps * size
        else:  # the diagonal alone
            gap = np.abs(wanted - met)
            assert gap[:, np.arange(gap.shape[1]), np.arange(gap.shape[1])].max() <= 1e-5 * size
            off = ~np.eye(gap.shape[1], dtype=bool)
            assert np.abs((wanted - met) - (wanted - before))[:, off].max() <= 1e-5 * size


def test_a_residualization_says_what_it_starts_from():
    assert METHODS.find("residualized(start='modal')") == Residualized(start="modal")
    assert Residualized(start="last").allocation == METHODS.find("last").allocation
    assert Residualized().title == "balanced residualization"
    for wrong in ({"start": "empirical"}, {"start": "residualized"}, {"start": "modal", "feedthrough": "kept"}):
        with pytest.raises(InputError, match="keeps D"):
            reduce(KINDS["S5"], 3, method=Residualized(**wrong))
    with pytest.raises(InputError, match="stores the diagonal"):
        reduce(KINDS["S5 layer"], 3, method=Residualized(start="modal", feedthrough="dense"))
