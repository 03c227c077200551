r"""The Gramians of one dense system, proved: in float64 where that does, in integers where it does not.

Everything that is said about a dense system (its Hankel singular values, H2 norm, floors and bounds) starts here, from
a proof of stability and with a bound of what each number is off by. What neither arithmetic can prove is an
:class:`~theory.errors.AccuracyError`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from theory.arithmetic.fixed_point import Exhausted, Work, above, bits_behind_the_point, fixed, nearest, size
from theory.arithmetic.rounding import EPS
from theory.errors import AccuracyError
from theory.gramians.balance_proof import BalanceProof, both_gramians, prove_balance
from theory.gramians.float_proof import FloatGramians, float_gramians
from theory.gramians.proof import Growing, Plant, ReachProof, Unproved, float_norm
from theory.gramians.refusal import refuse_boundary, undecided, unstable
from theory.gramians.scaling import Scaled, scaled
from theory.systems.system import StateSpace

Array = NDArray[Any]
Proof = TypeVar("Proof")

HSV_RTOL = 1e-6
"""Proved error of a Hankel singular value, relative to the largest, up to which float64 is accepted at once."""

LAST_HSV_RTOL = 1e-4
"""The same for systems too large for integers: what is off in practice is the rounding of a few operations."""

ENERGY_RTOL = 1e-10
"""The same for the square of the H2 norm, relative to itself."""

LAST_ENERGY_RTOL = 1e-7
"""The same for systems too large for integers."""

BITS = 448
"""Bits behind the point of the first try in integers: filters of order ten close to the circle need 400."""

WORK = 24**3 * 1024**2
"""States cubed times bits squared up to which integers are tried: a second or two on one core, if powers of the state
matrix decay quickly; how much they may cost in all is :data:`theory.arithmetic.fixed_point.MOST_WORK`."""

MOST_BITS = 1 << 14
"""No more than this for a small system either: time scales of 1e-300 and 1e300 side by side."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Spectrum:
    """Hankel singular values, descending (n,), each with a bound of its error."""

    hsv: Array
    error: Array


@dataclass(frozen=True, eq=False)
class DenseGramians:
    """What is proved about the Gramians of `system`, worked out when it is first asked for.

    Raises
    ------
    StabilityError
        On construction, or later: a pole is proved to lie outside, or is on the boundary to working precision.
    AccuracyError
        Later: neither arithmetic proves it.
    """

    system: StateSpace

    def __post_init__(self) -> None:
        refuse_boundary(self.system)

    @cached_property
    def in_floats(self) -> FloatGramians | None:
        """The proof in float64, or ``None``."""
        return float_gramians(scaled(self.system))

    @cached_property
    def _units(self) -> Scaled:
        """Scaled so that one is in the middle of the time scales, for the Cayley map."""
        system = _real(self.system)
        if system.is_discrete:
            return scaled(system)
        sizes = np.abs(system.poles)
        sizes = np.log2(sizes[sizes > 0])
        middle = 0.5 * (sizes.min() + sizes.max()) if sizes.size else 0.0
        return scaled(system, 2 * round(0.5 * float(middle)))

    @cached_property
    def _pair(self) -> tuple[Plant, ReachProof, ReachProof]:
        if "balance" in self.__dict__:
            return self.balance.plant, self.balance.reach, self.balance.sight
        return self._proved(lambda plant: (plant, *both_gramians(plant)))

    @cached_property
    def balance(self) -> BalanceProof:
        """The proof in integers, in the units of :attr:`units`; of a complex system, of its real form."""
        return self._proved(prove_balance)

    @property
    def units(self) -> Scaled:
        """The system that :attr:`balance` is about."""
        return self._units

    def _proved(self, prove: Callable[[Plant], Proof]) -> Proof:
        """Run a proof with more and more bits."""
        if self.__dict__.get("_refusal") is not None:
            raise self.__dict__["_refusal"]
        units = self._units
        n, needed = units.A.shape[0], bits_behind_the_point(units.A, units.B, units.C)
        bits = max(BITS, 64 * math.ceil((needed + 128) / 64))
        grew, work = False, Work()
        while n**3 * bits**2 <= WORK and bits <= MOST_BITS:
            try:
                return prove(_plant(units, bits, work))
            except Growing as growing:
                if growing.proved:
                    self.__dict__["_refusal"] = unstable(self.system, "one of them proved to be")
                    raise self.__dict__["_refusal"] from growing
                grew = True
            except Unproved:
                grew = False
            except Exhausted:
                break
            bits *= 2
        raise undecided(self.system, grew)

    @cached_property
    def spectrum(self) -> Spectrum:
        """The Hankel singular values."""
        floats = self._float_spectrum
        if floats is not None and "balance" not in self.__dict__ and _within(floats, HSV_RTOL):
            return floats
        try:
            proof, gain = self.balance, self._units.gain
        except AccuracyError:
            if floats is not None and _within(floats, LAST_HSV_RTOL):
                return floats
            raise
        hsv = nearest(proof.Pi, proof.plant.bits)
        error = proof.low + 2.0 * EPS * hsv
        if not self.system.is_real:
            hsv, error = hsv[::2], error[::2]
        return Spectrum(hsv=gain(hsv), error=np.nextafter(gain(error), np.inf))

    @cached_property
    def _float_spectrum(self) -> Spectrum | None:
        if self.in_floats is None:
            return None
        _, hsv, error, _ = self.in_floats.balanced
        gain = self.in_floats.scaled.gain
        return Spectrum(hsv=gain(hsv), error=np.nextafter(gain(error), np.inf))

    @property
    def is_exact(self) -> bool:
        """Whether the Hankel singular values come from the proof in integers."""
        return self.spectrum is not self._float_spectrum

    def balancing(self) -> tuple[Array, Array]:
        """Return ``Lo U`` and ``Lc V`` of the singular value decomposition, in the coordinates of the system."""
        if self.is_exact:
            proof, units = self.balance, self._units
            if not self.system.is_real:
                raise AccuracyError(
                    "float64 does not know the balanced coordinates of this complex system, and the proof in integers "
                    "is for real ones: pass its real form, or modal (diagonal) form",
                    float(np.linalg.norm(self.system.A)),
                )
            bits = proof.plant.bits
            # columns of H and F, to columns of length as in a singular value decomposition: H = Lo U, F = Lc V
            return units.sight(nearest(proof.H, bits)), units.reach(nearest(proof.F, bits))
        assert self.in_floats is not None
        left, _, _, right = self.in_floats.balanced
        return self.in_floats.scaled.sight(left), self.in_floats.scaled.reach(right)

    def factors(self) -> tuple[Array, Array]:
        """Return factors of P and of Q, (n, n), in the coordinates of the system."""
        floats = self.in_floats
        if floats is not None and _known(floats, ENERGY_RTOL):
            return floats.scaled.reach(floats.Lc), floats.scaled.sight(floats.Lo)
        try:
            plant, reach, sight = self._pair
        except AccuracyError:
            if floats is not None and _known(floats, LAST_ENERGY_RTOL):
                return floats.scaled.reach(floats.Lc), floats.scaled.sight(floats.Lo)
            raise
        Lc, Lo = self._units.reach(nearest(reach.F, plant.bits)), self._units.sight(nearest(sight.F, plant.bits))
        return (Lc, Lo) if self.system.is_real else (_complex_factor(Lc), _complex_factor(Lo))

    def energy_norm(self) -> float:
        """Return the root of ``trace(C P C^*)``, right to a few units of :data:`ENERGY_RTOL`."""
        floats, energy, error = self.in_floats, 0.0, math.inf
        if floats is not None:
            energy, error = floats.energy()
            if error <= ENERGY_RTOL * energy or not (floats.scaled.B.any() and floats.scaled.C.any()):
                return floats.scaled.norm(math.sqrt(energy))
        try:
            plant, reach, _ = self._pair
        except AccuracyError:
            if floats is not None and error <= LAST_ENERGY_RTOL * energy:
                return floats.scaled.norm(math.sqrt(energy))
            raise
        energy = above(size(plant.C @ reach.F), 2 * plant.bits) ** 2
        error = 2.0 * above(reach.slack, plant.bits) * float_norm(plant.C @ reach.W, 2 * plant.bits) ** 2
        if error > ENERGY_RTOL * energy:
            raise AccuracyError(
                "the H2 norm is below what the proof can tell from zero: input and output nearly cancel", error
            )
        return self._units.norm(math.sqrt(energy if self.system.is_real else 0.5 * energy))


@lru_cache(maxsize=8)
def dense_gramians(system: StateSpace) -> DenseGramians:
    """Return what is proved about the Gramians of a dense system; the last few systems are remembered."""
    return DenseGramians(system)


def _known(floats: FloatGramians, rtol: float) -> bool:
    """Whether both Gramians are known, each relative to its trace."""
    whole = floats.scaled
    pairs = (
        (floats.c_error, floats.Wc, floats.Lc, whole.B),
        (floats.o_error, floats.Wo, floats.Lo, whole.C),
    )
    return all(
        e * float(np.linalg.norm(W)) ** 2 <= rtol * float(np.linalg.norm(L)) ** 2 or not X.any() for e, W, L, X in pairs
    )


def _within(found: Spectrum, rtol: float) -> bool:
    return not found.hsv.any() or bool(found.error.max() <= rtol * found.hsv[0])


def _real(system: StateSpace) -> StateSpace:
    """The real system ``[Re x; Im x]`` of a complex one: every Hankel singular value twice."""
    if system.is_real:
        return system

    def form(X: Array) -> Array:
        return np.block([[X.real, -X.imag], [X.imag, X.real]])

    return StateSpace(form(system.A), form(system.B), form(system.C), dt=system.dt)


def _complex_factor(L: Array) -> Array:
    """A factor of the complex matrix whose real form is ``L L^T``."""
    n = L.shape[0] // 2
    P = L @ L.T
    values, vectors = np.linalg.eigh(P[:n, :n] + 1j * P[n:, :n])
    return np.asarray(vectors * np.sqrt(np.maximum(values, 0.0)))


def _plant(units: Scaled, bits: int, work: Work) -> Plant:
    none = np.zeros((units.A.shape[0], 1), dtype=object)  # NumPy adds up no objects to None
    B, C = fixed(units.B, bits), fixed(units.C, bits)
    return Plant(
        A=fixed(units.A, bits),
        B=B if B.size else none,
        C=C if C.size else none.T,
        discrete=units.discrete,
        bits=bits,
        work=work,
    )
