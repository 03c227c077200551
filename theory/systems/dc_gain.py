"""The gain at rest: what a constant input becomes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from theory.errors import StabilityError
from theory.systems.given import SystemLike, as_system
from theory.systems.system import DiagonalStateSpace, StateSpace

Array = NDArray[Any]


def dc_gain(system: SystemLike) -> Array:
    r"""Return :math:`G(1)`, in continuous time :math:`G(0)`.

    Parameters
    ----------
    system : StateSpace or DiagonalStateSpace
        Stable or not, one or two directions; a batch gives a batch.

    Returns
    -------
    ndarray, shape (..., p, m)
        Real for a real system.

    Raises
    ------
    StabilityError
        A pole lies at 1 (at 0): an integrator has no gain at rest. Carries the poles.

    Notes
    -----
    At :math:`z=1` delays do not matter, and both directions count alike. :math:`1-\lambda` is free of cancellation.
    """
    system = as_system(system)
    at = 1.0 if system.is_discrete else 0.0
    if isinstance(system, StateSpace):
        try:
            return np.asarray(system.D + system.C @ np.linalg.solve(at * np.eye(system.n) - system.A, system.B))
        except np.linalg.LinAlgError:
            raise _integrator(system.poles, at) from None
    assert isinstance(system, DiagonalStateSpace)
    gap = at - system.poles
    if (gap == 0).any():
        raise _integrator(system.poles[gap == 0], at)
    C = system.C if system.C_reverse is None else system.C + system.C_reverse
    gain = (C / gap[..., None, :]) @ system.B
    return np.asarray(system.D + (2.0 * gain.real if system.conjugate_pairs else gain))


def _integrator(poles: Array, at: float) -> StabilityError:
    nearest = poles[np.abs(poles - at) == np.abs(poles - at).min()]
    return StabilityError(
        f"the system has a pole at {at:g}, an integrator, and no gain at rest; stable_part splits it off", nearest, 0.0
    )
