"""The difference of two systems, without the states that they share."""

from __future__ import annotations

import numpy as np

from theory.errors import DimensionError, InputError, TimeBaseError
from theory.realization import dense
from theory.system import DiagonalStateSpace, StateSpace, System, require_system


def difference(G: System, Gr: System) -> System:
    """Return ``G - Gr``; diagonal where both are diagonal in the same form, else dense.

    States that both systems have bit for bit (pole, row of B, column of C) cancel exactly: the error of a
    modal truncation is the removed part alone.

    Raises
    ------
    TimeBaseError, DimensionError
        The time bases, or the numbers of inputs and outputs, differ.
    """
    require_system(G)
    require_system(Gr)
    if G.dt != Gr.dt:
        raise TimeBaseError(f"the systems have different time bases, dt = {G.dt} and {Gr.dt}", G.dt, Gr.dt)
    if G.D.shape != Gr.D.shape:
        raise DimensionError("the systems differ in inputs, outputs or batch", first=G.D.shape, second=Gr.D.shape)
    if isinstance(G, DiagonalStateSpace) and isinstance(Gr, DiagonalStateSpace):
        merged = _diagonal_difference(G, Gr)
        if merged is not None:
            return merged
    if any(isinstance(item, DiagonalStateSpace) and item.batch_shape for item in (G, Gr)):
        raise InputError("the batches have different forms (delay, conjugate_pairs, directions): compare one by one")
    first, second = dense(G), dense(Gr)
    D = first.D - second.D
    if all(np.array_equal(a, b) for a, b in ((first.A, second.A), (first.B, second.B), (first.C, second.C))):
        return StateSpace(np.zeros((0, 0)), np.zeros((0, D.shape[1])), np.zeros((D.shape[0], 0)), D, dt=first.dt)
    A = np.block([[first.A, np.zeros((first.n, second.n))], [np.zeros((second.n, first.n)), second.A]])
    return StateSpace(A, np.vstack([first.B, second.B]), np.hstack([first.C, -second.C]), D, dt=first.dt)


def _diagonal_difference(G: DiagonalStateSpace, Gr: DiagonalStateSpace) -> DiagonalStateSpace | None:
    if (G.delay, G.conjugate_pairs, G.is_bidirectional) != (Gr.delay, Gr.conjugate_pairs, Gr.is_bidirectional):
        return None
    if G.is_bidirectional and G.delay_reverse != Gr.delay_reverse:
        return None
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
