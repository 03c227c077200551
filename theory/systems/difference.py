"""The difference of two systems, without the states that they share."""

from __future__ import annotations

import numpy as np

from theory.errors import DimensionError, InputError, TimeBaseError
from theory.systems.given import SystemLike, as_system
from theory.systems.realization import dense, standard_form, with_conjugates
from theory.systems.system import DiagonalStateSpace, StateSpace, System


def difference(G: SystemLike, Gr: SystemLike) -> System:
    """Return ``G - Gr``; diagonal where both are diagonal, else dense.

    States that both systems have bit for bit (pole, row of B, column of C) cancel exactly: the error of a
    modal truncation is the removed part alone. Everything is exact but for the rounding of ``D - Dr`` and, where
    `delay` differs or a ``delay=0`` system meets a dense one, of ``C poles`` and ``D + C B``.

    Raises
    ------
    TimeBaseError, DimensionError
        The time bases, or the numbers of inputs and outputs, differ.
    InputError
        A bidirectional system meets a dense one or one of other delays, or a batch meets a dense system.
    """
    G = as_system(G)
    Gr = as_system(Gr)
    if G.dt != Gr.dt:
        raise TimeBaseError(f"the systems have different time bases, dt = {G.dt} and {Gr.dt}", G.dt, Gr.dt)
    if G.D.shape != Gr.D.shape:
        raise DimensionError("the systems differ in inputs, outputs or batch", first=G.D.shape, second=Gr.D.shape)
    if isinstance(G, DiagonalStateSpace) and isinstance(Gr, DiagonalStateSpace):
        return _diagonal_difference(*_common_form(G, Gr))
    if any(isinstance(item, DiagonalStateSpace) and item.batch_shape for item in (G, Gr)):
        raise InputError("a batch has no dense form: compare its systems one by one, system[index]")
    first, second = dense(G), dense(Gr)
    D = first.D - second.D
    if all(np.array_equal(a, b) for a, b in ((first.A, second.A), (first.B, second.B), (first.C, second.C))):
        return StateSpace(np.zeros((0, 0)), np.zeros((0, D.shape[1])), np.zeros((D.shape[0], 0)), D, dt=first.dt)
    A = np.block([[first.A, np.zeros((first.n, second.n))], [np.zeros((second.n, first.n)), second.A]])
    return StateSpace(A, np.vstack([first.B, second.B]), np.hstack([first.C, -second.C]), D, dt=first.dt)


def _common_form(G: DiagonalStateSpace, Gr: DiagonalStateSpace) -> tuple[DiagonalStateSpace, DiagonalStateSpace]:
    """Write two diagonal systems with the same `conjugate_pairs`, directions and delays."""
    if G.conjugate_pairs != Gr.conjugate_pairs:
        G, Gr = with_conjugates(G), with_conjugates(Gr)
    both_ways = G if G.is_bidirectional else Gr
    if both_ways.is_bidirectional:
        G, Gr = _both_ways(G, both_ways.delay_reverse), _both_ways(Gr, both_ways.delay_reverse)
        if (G.delay, G.delay_reverse) != (Gr.delay, Gr.delay_reverse):
            raise InputError(
                f"bidirectional systems of different delays, {(G.delay, G.delay_reverse)} and "
                f"{(Gr.delay, Gr.delay_reverse)}, have no common diagonal form"
            )
    elif G.delay != Gr.delay:
        G, Gr = standard_form(G), standard_form(Gr)
    return G, Gr


def _both_ways(system: DiagonalStateSpace, delay_reverse: int) -> DiagonalStateSpace:
    """A causal system with an empty reverse direction."""
    if system.is_bidirectional:
        return system
    return system.replace(C_reverse=np.zeros_like(system.C), delay_reverse=delay_reverse)


def _diagonal_difference(G: DiagonalStateSpace, Gr: DiagonalStateSpace) -> DiagonalStateSpace:
    if not G.batch_shape:
        keep_first, keep_second = _unshared(G, Gr)
        G, Gr = G.keep(keep_first), Gr.keep(keep_second)
    reverse = None
    if G.C_reverse is not None and Gr.C_reverse is not None:
        reverse = np.concatenate([G.C_reverse, -Gr.C_reverse], axis=-1)
    return G.replace(
        poles=np.concatenate([G.poles, Gr.poles], axis=-1),
        B=np.concatenate([G.B, Gr.B], axis=-2),
        C=np.concatenate([G.C, -Gr.C], axis=-1),
        C_reverse=reverse,
        D=G.D - Gr.D,
    )


def _unshared(G: DiagonalStateSpace, Gr: DiagonalStateSpace) -> tuple[list[int], list[int]]:
    """Indices of the states of each system that the other one does not have bit for bit."""

    def key(system: DiagonalStateSpace, i: int) -> bytes:
        reverse = b"" if system.C_reverse is None else system.C_reverse[:, i].tobytes()
        return bytes(system.poles[i].tobytes() + system.B[i].tobytes() + system.C[:, i].tobytes() + reverse)

    waiting: dict[bytes, list[int]] = {}
    for j in range(Gr.n):
        waiting.setdefault(key(Gr, j), []).append(j)
    first = []
    for i in range(G.n):
        same = waiting.get(key(G, i))
        if same:
            same.pop()
        else:
            first.append(i)
    return first, sorted(j for left in waiting.values() for j in left)
