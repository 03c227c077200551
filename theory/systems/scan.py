r"""The states of a diagonal system along recorded signals: :math:`x_t=\Lambda x_{t-1}+Bu_t`, many sequences at once.

What the reductions from recorded signals are made of. States come in the real coordinates of
:func:`theory.gramians.gramians.gramians`, :math:`[\Re x;\Im x]`, for conjugate pairs, and as they are otherwise; a
batch (S4D) keeps its axes in front. The state is the *updated* one: where ``delay=0`` it is what the output sees.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from theory.errors import DimensionError, InputError, TimeBaseError, require_finite
from theory.systems import pairs
from theory.systems.system import DiagonalStateSpace

Array = NDArray[Any]

CHUNK_BYTES = 2**25
"""States of this many bytes are kept at a time: they fit the cache of no core, and the memory of every machine."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Record:
    """Sequences of equal length, some of them padded.

    Attributes
    ----------
    values : ndarray, shape (N, L, m)
        N sequences of L samples of m channels; for a batch of scalar systems (S4D) m is the size of the batch.
    lengths : ndarray of int, shape (N,)
        Samples that count; what follows is padding.
    """

    values: Array
    lengths: Array

    @property
    def count(self) -> int:
        """Samples that count, all sequences together."""
        return int(self.lengths.sum())

    @property
    def mask(self) -> Array:
        """Which samples count, (N, L)."""
        return np.asarray(np.arange(self.values.shape[1]) < self.lengths[:, None])

    @property
    def is_full(self) -> bool:
        """No sequence is padded."""
        return bool((self.lengths == self.values.shape[1]).all())

    def reversed(self) -> Record:
        """Every sequence backwards, padding still at its end."""
        if self.is_full:
            return Record(values=np.ascontiguousarray(self.values[:, ::-1]), lengths=self.lengths)
        N, L = self.values.shape[:2]
        index = (self.lengths[:, None] - 1 - np.arange(L)) % max(L, 1)
        return Record(values=self.values[np.arange(N)[:, None], index], lengths=self.lengths)


def record(values: ArrayLike, lengths: ArrayLike | None, channels: int, name: str = "inputs") -> Record:
    """Validate recorded signals.

    Parameters
    ----------
    values : array_like, shape (N, L, m) or (L, m)
        Real or, for complex systems, complex.
    lengths : array_like of int, shape (N,), optional
        All L when left out.
    channels : int
        The m that is needed.
    name : str
        For messages.

    Raises
    ------
    DimensionError, InputError
        Wrong shapes, no samples, NaN or infinity, lengths outside 1 ... L.
    """
    try:
        array = np.asarray(values)
    except (ValueError, TypeError) as error:
        raise InputError(f"{name} is not a rectangular array of numbers: {error}") from error
    if array.dtype.kind not in "buifc":
        raise InputError(f"{name} has dtype {array.dtype}; numbers are needed")
    array = array[None] if array.ndim == 2 else array
    if array.ndim != 3 or array.shape[2] != channels:
        raise DimensionError(f"{name} must have shape (N, L, {channels}) or (L, {channels})", **{name: array.shape})
    N, L = array.shape[:2]
    if N == 0 or L == 0:
        raise InputError(f"{name} has no samples: shape {array.shape}")
    require_finite(**{name: array})
    if lengths is None:
        return Record(values=array, lengths=np.full(N, L))
    counts = np.asarray(lengths)
    if counts.shape != (N,) or counts.dtype.kind not in "iu":
        raise DimensionError(f"lengths must be {N} whole numbers", lengths=counts.shape, **{name: array.shape})
    if (counts < 1).any() or (counts > L).any():
        raise InputError(f"lengths must lie between 1 and {L}, got {counts.min()} to {counts.max()}")
    return Record(values=array, lengths=counts.astype(int))


def require_scannable(system: DiagonalStateSpace) -> None:
    """Refuse what has no scan: continuous time."""
    if not system.is_discrete:
        raise TimeBaseError("recorded signals are samples: the system must run in discrete time", system.dt)


def channels_of(system: DiagonalStateSpace, ports: int) -> int:
    """How many channels a record of a system has: its ports, or the size of a batch of scalar systems."""
    if not system.batch_shape:
        return ports
    if system.m != 1 or system.p != 1 or len(system.batch_shape) != 1:
        raise DimensionError(
            "records are for single systems and for one batch axis of scalar systems", batch=system.batch_shape
        )
    return int(system.batch_shape[0])


def drive(system: DiagonalStateSpace, values: Array) -> Array:
    """``B u``, complex (N, L, n); (N, L, H, n) for a batch. A new array."""
    if system.batch_shape:
        return np.asarray(values[..., None] * system.B[..., 0], dtype=complex)
    if values.dtype.kind == "c":
        return np.asarray(values @ system.B.T, dtype=complex)
    both = np.ascontiguousarray(system.B.T, dtype=complex).view(float)  # real and imaginary columns in turn:
    return np.ascontiguousarray(values @ both).view(complex)  # real signals never become complex


def scan(poles: Array, driven: Array, start: Array) -> tuple[Array, Array]:
    """``x_t = poles x_{t-1} + driven_t`` along axis 1, in place; the last state comes back too."""
    state = start
    for t in range(driven.shape[1]):
        state = poles * state
        state += driven[:, t]
        driven[:, t] = state
    return driven, state


def chunk_length(states: int, sequences: int) -> int:
    """Samples that are kept at a time."""
    return max(1, CHUNK_BYTES // (16 * max(1, states) * max(1, sequences)))


def packed(states: Array, paired: bool) -> Array:
    """``[Re x; Im x]`` along the last axis for conjugate pairs."""
    return np.concatenate([states.real, states.imag], axis=-1) if paired else states


def states_of(system: DiagonalStateSpace, signals: Record) -> Iterator[tuple[slice, Array]]:
    """Yield ``(samples, states)`` chunk by chunk: states (N, l, k), or (N, l, H, k); zero past the end."""
    n, sequences = system.poles.size, signals.values.shape[0]
    step = chunk_length(2 * n, sequences)
    state = np.zeros((sequences, *system.poles.shape), dtype=complex)
    mask, full = signals.mask, signals.is_full
    for start in range(0, signals.values.shape[1], step):
        part = slice(start, start + step)
        driven, state = scan(system.poles, drive(system, signals.values[:, part]), state)
        if not full:
            driven *= mask[:, part].reshape(sequences, -1, *(1,) * (driven.ndim - 2))
        yield part, packed(driven, system.conjugate_pairs)


def aligned_states(system: DiagonalStateSpace, signals: Record, budget: int = 2**28) -> Iterator[tuple[slice, Array]]:
    """Yield ``(sequences, states)``: what the outputs see at every sample, both directions side by side.

    Some sequences at a time, whole, so that `budget` bytes hold their states.

    Yields
    ------
    sequences : slice
    states : ndarray, shape (s, L, K), or (s, L, H, K) for a batch
        ``K`` is the number of columns of ``[C, C_reverse]`` in the real coordinates; zero where nothing counts.
        Shifted by one sample where a delay is 1, so that ``y = C states + D u`` holds sample by sample.
    """
    L = signals.values.shape[1]
    width = system.poles.size * (2 if system.is_bidirectional else 1)
    step = max(1, budget // (32 * max(1, width) * L))
    for start in range(0, signals.values.shape[0], step):
        rows = slice(start, start + step)
        part = Record(values=signals.values[rows], lengths=signals.lengths[rows])
        states = [_seen(system, part, system.delay)]
        if system.is_bidirectional:
            backwards = _seen(system, part.reversed(), system.delay_reverse)
            states.append(Record(values=backwards, lengths=part.lengths).reversed().values * _column(part, backwards))
        yield rows, np.concatenate(states, axis=-1)


def _column(signals: Record, states: Array) -> Array:
    return signals.mask.reshape(*signals.mask.shape, *(1,) * (states.ndim - 2))


def _seen(system: DiagonalStateSpace, signals: Record, delay: int) -> Array:
    """The states that the output sees, (s, L, ..., k), in the order in which they are scanned."""
    start = np.zeros((signals.values.shape[0], *system.poles.shape), dtype=complex)
    states, _ = scan(system.poles, drive(system, signals.values), start)
    if delay:
        states = np.concatenate([np.zeros_like(states[:, :1]), states[:, :-1]], axis=1)
    return packed(states if signals.is_full else states * _column(signals, states), system.conjugate_pairs)


def real_output(system: DiagonalStateSpace) -> Array:
    """``[C, C_reverse]`` in the coordinates of :func:`aligned_states`, (..., p, K)."""
    parts = [system.C] if system.C_reverse is None else [system.C, system.C_reverse]
    if system.conjugate_pairs:
        parts = [pairs.real_output(part) for part in parts]
    return np.concatenate(parts, axis=-1)


def require_real_output(system: DiagonalStateSpace) -> None:
    """Refuse a system whose C is not real, or of which nothing follows: the first n columns are then all of C."""
    if not system.conjugate_pairs or system.is_bidirectional or np.any(system.C.imag):
        raise InputError("C stays real only where it is: in conjugate pairs, with one direction")


def with_real_output(system: DiagonalStateSpace, output: Array, D: Array) -> DiagonalStateSpace:
    """Undo :func:`real_output`; a real state has no imaginary part to be seen."""
    halves = np.split(output, 2, axis=-1) if system.is_bidirectional else [output]
    if system.conjugate_pairs:
        n, real = system.n, ((system.poles.imag == 0) & (system.B.imag == 0).all(axis=-1))[..., None, :]
        halves = [0.5 * (half[..., :n] - 1j * np.where(real, 0.0, half[..., n:])) for half in halves]
    return system.replace(C=halves[0], C_reverse=halves[1] if system.is_bidirectional else None, D=D)
