r"""Whatever stands for a system, as one of ours: the door of every verb.

A :class:`~theory.systems.system.StateSpace` or :class:`~theory.systems.system.DiagonalStateSpace` passes as it is. So
does anything that *has* one as ``.system``: a trained layer, the result of a reduction. A state space of another
package has ``A, B, C, D`` and ``dt``, in the conventions of python-control (0 is continuous time, ``True`` a sample
time of 1) or of SciPy (``None`` is continuous time).
"""

from __future__ import annotations

from typing import Any, Literal, Protocol, overload

from theory.errors import InputError, TimeBaseError
from theory.systems.system import DiagonalStateSpace, StateSpace, System


class HasSystem(Protocol):
    """A layer, a reduction: something with a system of ours."""

    @property
    def system(self) -> Any:
        """The system."""


class HasMatrices(Protocol):
    """A state space of another package."""

    A: Any
    B: Any
    C: Any
    D: Any


SystemLike = StateSpace | DiagonalStateSpace | HasSystem | HasMatrices
"""What every verb takes for a system."""


@overload
def as_system(given: object, *, diagonal: Literal[True]) -> DiagonalStateSpace: ...
@overload
def as_system(given: object, *, diagonal: bool = False) -> System: ...
def as_system(given: object, *, diagonal: bool = False) -> System:
    """Return the system that `given` is, has, or describes.

    Parameters
    ----------
    given : StateSpace, DiagonalStateSpace, or an object with ``.system``, or with ``A, B, C, D``
    diagonal : bool, keyword only
        Whether only a :class:`~theory.systems.system.DiagonalStateSpace` will do.

    Raises
    ------
    InputError
        It is none of these; the error says what to pass.
    TimeBaseError
        A python-control system leaves its time base open (``dt=None``).
    """
    wanted = DiagonalStateSpace if diagonal else (StateSpace, DiagonalStateSpace)
    if isinstance(given, wanted):
        return given
    held = getattr(given, "system", None)
    if isinstance(held, wanted):
        return held
    described = all(hasattr(given, name) for name in "ABCD")
    if described and not diagonal:
        return StateSpace(given.A, given.B, given.C, given.D, dt=_time_base(given))  # type: ignore[attr-defined]
    raise InputError(f"{_wanted(diagonal)} is needed, got {_kind(given)}{_advice(given, described)}")


def _wanted(diagonal: bool) -> str:
    return "a DiagonalStateSpace" if diagonal else "a StateSpace or DiagonalStateSpace"


def _kind(given: object) -> str:
    return f"{type(given).__module__}.{type(given).__qualname__}"


def _advice(given: object, described: bool) -> str:
    if described:
        return "; theory.reduction.diagonalization.rediagonalize makes one of a dense system"
    if hasattr(given, "layers"):
        return "; pass one of its layers"
    return ""


def _time_base(given: object) -> Any:
    dt = getattr(given, "dt", None)
    if dt is None and hasattr(given, "isdtime"):  # python-control: not specified, not continuous
        raise TimeBaseError(
            "this python-control system leaves its time base open (dt=None): set dt=0 (continuous time), or the "
            "sample time",
            dt,
        )
    if dt is True:
        return 1.0
    return None if dt is None or (dt == 0 and dt is not False) else dt
