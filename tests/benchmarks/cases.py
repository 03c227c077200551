"""What is measured: each case is a function that yields rows (package, measurement, accuracy) on one system."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from hankel_extended import extended_hankel_singular_values
from layers import s4d, s5
from measuring import Measurement, measure
from packages import control_norm, control_systems, pymor_truncation, slycot_truncation, sweep_norm

from ssmreduce.comparison.compare import compare
from theory.gramians.hankel import hankel_singular_values
from theory.norms import hinf_norm
from theory.reduction.balanced_truncation import balanced_truncation
from theory.systems.realization import dense
from theory.systems.system import DiagonalStateSpace

RTOL = 1e-8


@dataclass(frozen=True, kw_only=True)
class Row:
    """One package on one system; `note` says what its answer was worth beside ours."""

    case: str
    system: str
    package: str
    size: int
    measurement: Measurement
    note: str = ""


def _bracket(system: DiagonalStateSpace) -> np.ndarray:
    bracket = hinf_norm(system, RTOL)
    return np.array([np.atleast_1d(bracket.lower), np.atleast_1d(bracket.upper)])


def _below(value: np.ndarray | None, ours: np.ndarray | None) -> str:
    """Say how far a peer's value is outside our bracket."""
    if value is None or ours is None:
        return ""
    low, high = (value / ours[0] - 1.0).min(), (value / ours[1] - 1.0).max()
    return f"at most {max(-low, 0.0):.1e} below our lower end, {max(high, 0.0):.1e} above our upper end"


def _norms(case: str, system: DiagonalStateSpace, size: int, peers: bool, sweep: int, repeats: int) -> Iterator[Row]:
    small = system[:1] if system.batch_shape else s5(8, 2, 0)
    ours = measure(lambda: _bracket(system), repeats, warm_up=lambda: _bracket(small))
    width = "" if ours.answer is None else f"widest bracket {((ours.answer[1] / ours.answer[0]) - 1).max():.1e}, proved"
    yield Row(case=case, system=repr(system), package="ssmreduce", size=size, measurement=ours, note=width)
    if peers:
        systems = control_systems(system)
        theirs = measure(lambda: control_norm(systems), repeats, lambda: control_norm(control_systems(small)))
        note = _below(theirs.answer, ours.answer)
        yield Row(case=case, system=repr(system), package="python-control", size=size, measurement=theirs, note=note)
    if sweep:
        theirs = measure(lambda: sweep_norm(system, sweep))
        note = _below(theirs.answer, ours.answer)
        name = f"sweep, {sweep} points"
        yield Row(case=case, system=repr(system), package=name, size=size, measurement=theirs, note=note)


def norm_s4d(quick: bool, seed: int) -> Iterator[Row]:
    """Certified norms of one S4D layer against python-control in a loop over its channels."""
    channels = 16 if quick else 256
    yield from _norms("norm of an S4D layer", s4d(channels, 32, seed), channels, True, 1000 if quick else 4000, 3)


def norm_s4d_bidirectional(quick: bool, seed: int) -> Iterator[Row]:
    """Compute the same of the two-sided layer, which python-control cannot take: not causal."""
    system = s4d(16 if quick else 256, 32, seed, bidirectional=True)
    yield from _norms("norm of a two-sided S4D layer", system, system.batch_shape[0], False, 1000 if quick else 4000, 3)


def norm_s5(quick: bool, seed: int) -> Iterator[Row]:
    """Certified norm of one S5 layer."""
    system = s5(16, 8, seed) if quick else s5(192, 512, seed, 4)
    yield from _norms("norm of an S5 layer", system, system.n, True, 50 if quick else 200, 3)


def norm_s5_bidirectional(quick: bool, seed: int) -> Iterator[Row]:
    """Compute the same of a two-sided layer, which python-control cannot take."""
    system = s5(16, 8, seed, bidirectional=True) if quick else s5(192, 512, seed, 4, bidirectional=True)
    yield from _norms("norm of a two-sided S5 layer", system, system.n, False, 50 if quick else 200, 3)


def truncation(quick: bool, seed: int) -> Iterator[Row]:
    """Hankel singular values and balanced truncation to half the states.

    In the standard form (``delay=1``): ours balances ``(L, B, C)`` also where the output sees the updated state, others
    can only be given the standard realization.
    """
    stored, width = (16, 8) if quick else (128, 128)
    system = s5(stored, width, seed).replace(delay=1)
    matrices = dense(system)
    case, title = "Hankel values and balanced truncation", repr(system)

    def ours() -> np.ndarray:
        return np.asarray(balanced_truncation(system, order=stored // 2).hsv)

    first = measure(ours, 3, warm_up=lambda: balanced_truncation(s5(4, 2, 0), order=2))
    exact, left_out = extended_hankel_singular_values(system)

    def judged(values: np.ndarray | None) -> str:
        """The values beside 80-bit ones, which are right to `left_out`^2."""
        if values is None:
            return ""
        gap = np.abs(values[: exact.size] - exact[: len(values)]).max() / exact[0]
        return f"Hankel values off by {float(gap):.1e} of the largest (80-bit reference, good to {left_out**2:.0e})"

    yield Row(case=case, system=title, package="ssmreduce", size=stored, measurement=first, note=judged(first.answer))
    tiny = dense(s5(4, 2, 0).replace(delay=1))
    for package, call, warm_up in (
        ("slycot ab09ad", lambda: slycot_truncation(matrices, stored)[0], lambda: slycot_truncation(tiny, 4)),
        ("pyMOR BTReductor", lambda: pymor_truncation(matrices, stored)[0], lambda: pymor_truncation(tiny, 4)),
    ):
        theirs = measure(call, 3, warm_up=warm_up)
        yield Row(case=case, system=title, package=package, size=stored, measurement=theirs, note=judged(theirs.answer))


def comparison(quick: bool, seed: int) -> Iterator[Row]:
    """Methods without descent at eight orders against *one* norm by python-control; 64 states take 6 s on two cores.

    The smaller layer as users run it, on all cores; the larger one on one thread, where the target is a ratio of 1/20.
    """
    sizes: tuple[tuple[int, int, int | None], ...] = ((8, 4, 1),) if quick else ((64, 96, None), (128, 128, 1))
    tiny = s5(4, 2, 0)
    for stored, width, threads in sizes:
        system = s5(stored, width, seed)
        orders = [max(1, stored * k // 9) for k in range(1, 9)]
        case, title = "comparison, all methods, 8 orders", repr(system)
        one = control_systems(system)

        def ours(system: Any = system, orders: Any = orders, threads: int | None = threads) -> np.ndarray:
            rows = compare(system, orders=orders, crosscheck="none", threads=threads).rows
            return np.array([[row.error.lower, row.error.upper] for row in rows])

        mine = measure(ours, 1, warm_up=lambda: compare(tiny, orders=[1, 2], crosscheck="none", threads=1))
        where = "one thread" if threads == 1 else "all cores"
        note = "" if mine.answer is None else f"{len(mine.answer)} certified errors, brackets to 1e-3, {where}"
        yield Row(case=case, system=title, package="ssmreduce", size=stored, measurement=mine, note=note)
        theirs = measure(lambda one=one: control_norm(one), warm_up=lambda: control_norm(control_systems(tiny)))
        note = "one norm of the same layer"
        yield Row(case=case, system=title, package="python-control", size=stored, measurement=theirs, note=note)


def growth(quick: bool, seed: int) -> Iterator[Row]:
    """Growth with channels, states and inputs; a series stops where one call takes more than ten seconds."""
    channels = (4, 8, 16) if quick else (16, 64, 256, 1024)
    states = (8, 16) if quick else (64, 128, 256, 512, 1024)
    inputs = (2, 4) if quick else (8, 32, 128, 512)
    few, width, wide = (8, 2, 10) if quick else (64, 4, 64)
    layers = (8, 16) if quick else (32, 64, 128, 256, 512)
    series: tuple[tuple[str, tuple[int, ...], Callable[[int], Any], Callable[[Any], Any]], ...] = (
        ("norm, growth with channels", channels, lambda k: s4d(k, 32, seed), _bracket),
        ("norm, growth with stored states", states, lambda k: s5(k, width, seed), _bracket),
        ("norm, growth with stored states, 64 channels", layers, lambda k: s5(k, wide, seed), _bracket),
        ("norm, growth with inputs and outputs", inputs, lambda k: s5(few, k, seed), _bracket),
        ("Hankel values, growth with stored states", states, lambda k: s5(k, width, seed), hankel_singular_values),
    )
    for case, sizes, build, call in series:
        for size in sizes:
            system = build(size)
            row = measure(lambda call=call, system=system: call(system), 1 if size >= 256 else 2)
            yield Row(case=case, system=repr(system), package="ssmreduce", size=size, measurement=row)
            if row.cpu is None or row.cpu > 10.0:
                break


CASES: dict[str, Callable[[bool, int], Iterator[Row]]] = {
    "s4d": norm_s4d,
    "s4d-two-sided": norm_s4d_bidirectional,
    "truncation": truncation,
    "comparison": comparison,
    "growth": growth,
    "s5": norm_s5,
    "s5-two-sided": norm_s5_bidirectional,
}
