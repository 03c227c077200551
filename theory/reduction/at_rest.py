"""The gain at rest of any reduction set right through the feedthrough: residualization of what a selection drops."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from theory.reduction.a_posteriori import error_bound
from theory.reduction.balancing import Truncation, balance, real_order
from theory.reduction.bounds import hankel_floor
from theory.reduction.dense_truncation import certified
from theory.reduction.residualization import strictly_causal, writable
from theory.systems.dc_gain import dc_gain
from theory.systems.system import StateSpace, System

Array = NDArray[Any]


def at_rest(system: System, start: Truncation, feedthrough: str) -> Truncation:
    r"""Return the truncation with :math:`D+G(1)-G_r(1)` for :math:`D`, or as much of that as may be written.

    What was dropped is held at its equilibrium, so that a constant input gives the same output as before (continuous
    time: :math:`G(0)`). States that a selection keeps stay as they are.

    Parameters
    ----------
    system : StateSpace or DiagonalStateSpace
        Stable; what `start` was made from.
    start : Truncation
        By any method that keeps ``D``.
    feedthrough : {"dense", "diagonal"}
        What may change of ``D``.

    Returns
    -------
    Truncation
        The bound is that of :mod:`theory.reduction.a_posteriori`, of a dense system the certified error; the floor that
        of the strictly causal part. ``diagnostics["left_out"]``: norm of what ``D`` could not take.
    """
    if start.order == system.n:
        return start
    change = dc_gain(system) - dc_gain(start.system)
    settled, rest = writable(_with_feedthrough(start.system, system.D + change), system, feedthrough)
    if isinstance(system, StateSpace):
        bound, _ = certified(system, settled, 0.0)
        floor = hankel_floor(balance(system).floor_hsv, settled.n)
    else:
        bound = error_bound(system, settled)
        floor = hankel_floor(balance(strictly_causal(system)).floor_hsv, real_order(system, settled.n))
    left_out = np.linalg.norm(rest, ord=2, axis=(-2, -1)) if rest.size else np.zeros(rest.shape[:-2])
    return Truncation(
        system=settled, order=start.order, hsv=start.hsv, bound=bound, floor=floor,
        status=f"{start.status}, the rest residualized", remarks=start.remarks,
        diagnostics={**{k: v for k, v in start.diagnostics.items() if k != "kept"}, "left_out": left_out},
    )  # fmt: skip


def _with_feedthrough(system: System, D: Array) -> System:
    if isinstance(system, StateSpace):
        return StateSpace(system.A, system.B, system.C, D, dt=system.dt)
    return system.replace(D=D)
