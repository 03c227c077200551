r"""Changes of realization that keep the transfer function: dense form, standard delay, the two directions of time.

``delay=0`` (the output sees the updated state) has :math:`z C (zI-\Lambda)^{-1}B = C\Lambda(zI-\Lambda)^{-1}B + CB`,
so its standard realization is :math:`(\Lambda, B, C\Lambda, D + CB)`, with :math:`2\Re(CB)` for conjugate pairs.
"""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from theory.errors import InputError
from theory.systems.given import SystemLike, as_system
from theory.systems.pairs import both_halves, product
from theory.systems.system import DiagonalStateSpace, StateSpace


def feedthrough_of_delay(system: DiagonalStateSpace) -> NDArray[Any]:
    """``C B`` (``2 Re(C B)`` for conjugate pairs), (..., p, m): what ``delay=0`` adds to ``D``."""
    return product(system.C, system.B, system.conjugate_pairs)


def causal_part(system: DiagonalStateSpace) -> DiagonalStateSpace:
    """Return the forward direction with ``D``, same `delay`; the system itself when it has one direction."""
    return system.replace(C_reverse=None)


def anticausal_part(system: DiagonalStateSpace) -> DiagonalStateSpace:
    r"""Return the reverse direction as a causal system in reversed time, without ``D``.

    Its transfer function at :math:`z` is the second term of the bidirectional layer at :math:`z^{-1}`.
    """
    if system.C_reverse is None:
        raise InputError("the system has one direction only (C_reverse is None)")
    return system.replace(C=system.C_reverse, C_reverse=None, D=None, delay=system.delay_reverse)


def standard_form(system: DiagonalStateSpace) -> DiagonalStateSpace:
    """Return the same transfer function with ``delay=1``; bidirectional systems are refused."""
    if system.C_reverse is not None:
        raise InputError("a bidirectional system is not causal: take causal_part and anticausal_part")
    if system.delay == 1:
        return system
    return system.replace(C=system.C * system.poles[..., None, :], D=system.D + feedthrough_of_delay(system), delay=1)


def dense(system: SystemLike) -> StateSpace:
    """Return the dense realization of one causal system, in the standard form.

    Conjugate pairs become the real system with twice as many states: first the real, then the imaginary parts.

    Raises
    ------
    DimensionError
        A batch was given; index it first.
    InputError
        The system is bidirectional, hence not causal.
    """
    given = as_system(system)
    return given if isinstance(given, StateSpace) else given.dense()


def with_conjugates(system: DiagonalStateSpace) -> DiagonalStateSpace:
    """Write out the implied conjugate half: ``conjugate_pairs=False`` and 2n stored poles, same transfer function."""
    if not system.conjugate_pairs:
        return system
    reverse = system.C_reverse
    return system.replace(
        poles=both_halves(system.poles),
        B=both_halves(system.B, axis=-2),
        C=both_halves(system.C),
        C_reverse=None if reverse is None else both_halves(reverse),
        conjugate_pairs=False,
    )
