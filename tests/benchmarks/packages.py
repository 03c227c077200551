"""The packages that are timed beside ours, each behind a function that takes our system and returns a number."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from theory.systems.realization import dense
from theory.systems.response import frequency_response
from theory.systems.system import DiagonalStateSpace


def installed() -> dict[str, str]:
    """Versions of the packages that can be imported."""
    from importlib.metadata import PackageNotFoundError, version

    found = {}
    for name in ("numpy", "scipy", "control", "slycot", "pymor", "ssmreduce"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def control_systems(system: DiagonalStateSpace) -> list[Any]:
    """Return the layer as python-control systems, one per channel."""
    import control

    channels = [system[k] for k in np.ndindex(system.batch_shape)] if system.batch_shape else [system]
    matrices = [dense(channel) for channel in channels]
    return [control.ss(m.A, m.B, m.C, m.D, dt=m.dt) for m in matrices]


def control_norm(systems: list[Any]) -> np.ndarray:
    """``control.linfnorm`` (slycot ab13dd at its default tolerance 1e-6) of each system."""
    import control

    return np.array([control.linfnorm(system)[0] for system in systems])


def sweep_norm(system: DiagonalStateSpace, points: int) -> np.ndarray:
    """Largest singular value on a uniform grid, without any refinement: a lower bound."""
    omega = np.linspace(0.0, np.pi, points)
    best = np.zeros(system.batch_shape or (1,))
    for part in np.array_split(omega, max(1, points // 64)):
        G = frequency_response(system, part)
        gain = np.abs(G[..., 0, 0]) if system.m == system.p == 1 else np.linalg.norm(G, 2, axis=(-2, -1))
        best = np.maximum(best, gain.max(axis=-1))
    return best


def slycot_truncation(matrices: Any, order: int) -> tuple[np.ndarray, np.ndarray]:
    """Hankel singular values and the truncated ``A`` from slycot ``ab09ad`` (square-root balance and truncate)."""
    import slycot

    n, m, p = matrices.A.shape[0], matrices.B.shape[1], matrices.C.shape[0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # slycot warns when a requested order cuts through equal values
        result = slycot.ab09ad("D", "B", "N", n, m, p, matrices.A, matrices.B, matrices.C, nr=order, tol=0.0)
    return result[4], result[1]


def pymor_truncation(matrices: Any, order: int) -> tuple[np.ndarray, Any]:
    """Hankel singular values and reduced model from pyMOR's ``BTReductor``; a fresh model, since pyMOR caches."""
    from pymor.core.logger import set_log_levels
    from pymor.models.iosys import LTIModel
    from pymor.reductors.bt import BTReductor

    set_log_levels({"pymor": "ERROR"})
    model = LTIModel.from_matrices(matrices.A, matrices.B, matrices.C, matrices.D, sampling_time=matrices.dt or 0.0)
    reduced = BTReductor(model).reduce(order)
    return model.hsv(), reduced
