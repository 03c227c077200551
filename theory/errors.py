"""Typed errors: each names what went wrong and where, carries the numbers, and says what to do next.

Every class is also the Python builtin that a caller would expect, so ``except ValueError`` works.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

import numpy as np


class SSMReduceError(Exception):
    """Base class of every error that this project raises on purpose."""


class InputError(SSMReduceError, ValueError):
    """An argument has a value that no computation can use (NaN, infinity, wrong kind, unknown name)."""


class DimensionError(InputError):
    """Two arrays do not fit together.

    Attributes
    ----------
    shapes : dict of str to tuple of int
        The shapes that were compared, by name.
    """

    def __init__(self, message: str, **shapes: tuple[int, ...]) -> None:
        self.shapes = shapes
        listing = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
        super().__init__(f"{message} (got {listing})" if listing else message)


class TimeBaseError(InputError):
    """The time base is wrong for the operation, or two systems have different ones.

    Attributes
    ----------
    dt : tuple
        The time bases involved; ``None`` is continuous time.
    """

    def __init__(self, message: str, *dt: float | None) -> None:
        self.dt = dt
        super().__init__(message)


class StabilityError(SSMReduceError, ValueError):
    """A pole lies on or outside the stability boundary.

    Attributes
    ----------
    poles : ndarray of complex
        The offending poles.
    margin : float
        Smallest stability margin: ``1 - |pole|`` in discrete time, ``-Re(pole)`` in continuous time.
    """

    def __init__(self, message: str, poles: Any = (), margin: float = float("nan")) -> None:
        self.poles = np.asarray(poles, dtype=complex)
        self.margin = float(margin)
        super().__init__(message)


class OrderError(SSMReduceError, ValueError):
    """A reduced order cannot be reached.

    Attributes
    ----------
    asked : int
        The order that was asked for.
    attainable : int
        The largest order that the system supports.
    """

    def __init__(self, message: str, asked: int, attainable: int) -> None:
        self.asked, self.attainable = asked, attainable
        super().__init__(message)


class ToleranceError(SSMReduceError, ValueError):
    """A tolerance is out of reach.

    Attributes
    ----------
    asked : float
        The tolerance that was asked for.
    best : float
        The best one that can be reached.
    """

    def __init__(self, message: str, asked: float, best: float) -> None:
        self.asked, self.best = float(asked), float(best)
        super().__init__(message)


class ConvergenceError(SSMReduceError, ArithmeticError):
    """An iteration stopped before it reached its goal; carries the number of ``iterations``."""

    def __init__(self, message: str, iterations: int) -> None:
        self.iterations = iterations
        super().__init__(message)


class AccuracyError(SSMReduceError, ArithmeticError):
    """A result would be wrong by more than stated; ``condition`` is the number that gives it away."""

    def __init__(self, message: str, condition: float) -> None:
        self.condition = float(condition)
        super().__init__(message)


class MissingDependencyError(SSMReduceError, ImportError):
    """An optional package is needed; ``extra`` is what to install: ``pip install 'ssmreduce[extra]'``."""

    def __init__(self, package: str, extra: str) -> None:
        self.package, self.extra = package, extra
        super().__init__(f"{package} is not installed; run: pip install 'ssmreduce[{extra}]'")


def optional_package(package: str, extra: str) -> Any:
    """Import a package that is not always there, or say which extra brings it."""
    try:
        return importlib.import_module(package)
    except ImportError:
        raise MissingDependencyError(package, extra) from None


def require_finite(**arrays: np.ndarray) -> None:
    """Raise :class:`InputError` that names the first array with a NaN or an infinity, and where it sits."""
    for name, array in arrays.items():
        finite = np.isfinite(array)
        if not finite.all():
            index: Sequence[int] = [int(i) for i in np.argwhere(~finite)[0]]
            value = array[tuple(index)]
            raise InputError(f"{name}{index} is {value}; every entry must be finite")
