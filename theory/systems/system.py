r"""Linear time-invariant systems as frozen, validated values; the time base lives in the object.

:class:`StateSpace` is dense, :class:`DiagonalStateSpace` is what a deep state space layer is: stored
complex poles, an optional implied conjugate half, an optional batch of independent systems, and an
optional second output matrix that runs backwards in time.
"""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from theory.errors import DimensionError, InputError, StabilityError, TimeBaseError, optional_package, require_finite
from theory.systems.margin import discrete_margin, spectral_rounding
from theory.systems.numeric import numeric, validated_dt
from theory.systems.pairs import product, real_input, real_output, real_state_matrix

Array = NDArray[Any]


def _frozen(name: str, value: ArrayLike, *, force_complex: bool = False) -> Array:
    """Copy to a read-only float64 or complex128 array."""
    array = numeric(name, value, force_complex=force_complex)
    array.setflags(write=False)
    return array


@dataclass(frozen=True, eq=False, repr=False)
class StateSpace:
    r"""A dense state space system.

    Discrete time: :math:`x_{k+1} = A x_k + B u_k,\; y_k = C x_k + D u_k`; continuous time:
    :math:`\dot x = A x + B u,\; y = C x + D u`. Arrays are copied, read-only, float64 or complex128.

    Parameters
    ----------
    A : array_like, shape (n, n)
    B : array_like, shape (n, m)
    C : array_like, shape (p, n)
    D : array_like, shape (p, m), optional
        Zero when left out. A system without states is ``StateSpace([], [], [], D)``. Numbers stand for 1 x 1 matrices:
        ``StateSpace(-1, 1, 1, 0)``; ``D=0`` is zero of any shape.
    dt : float or None, keyword only
        Sample time in seconds; ``None`` is continuous time.

    Raises
    ------
    DimensionError, InputError, TimeBaseError
        The arrays do not fit together, hold NaN or infinity, or `dt` is not a time base.
    """

    A: Array
    B: Array
    C: Array
    D: Array = None  # type: ignore[assignment]
    _: KW_ONLY
    dt: float | None = None

    def __post_init__(self) -> None:
        A, B, C = _frozen("A", self.A), _frozen("B", self.B), _frozen("C", self.C)
        D: Array | None = None if self.D is None else _frozen("D", self.D)
        A, B, C = (array.reshape(1, 1) if array.ndim == 0 else array for array in (A, B, C))
        if D is not None and D.ndim == 0:
            several = B.ndim == 2 and C.ndim == 2 and (C.shape[0], B.shape[1]) != (1, 1)
            D = D.reshape(1, 1) if D != 0 or not several else None
        if A.size == 0:  # a static system: only D tells the number of inputs and outputs
            if D is not None and D.ndim == 2:
                A, B, C = A.reshape(0, 0), B.reshape(0, D.shape[1]), C.reshape(D.shape[0], 0)
            elif B.ndim == 2 and C.ndim == 2:
                A = A.reshape(0, 0)
        if A.ndim != 2 or A.shape[0] != A.shape[1]:
            raise DimensionError("A must be square", A=A.shape)
        n = A.shape[0]
        if B.ndim != 2 or B.shape[0] != n:
            raise DimensionError(f"B must have shape (n, m) with n = {n}", A=A.shape, B=B.shape)
        if C.ndim != 2 or C.shape[1] != n:
            raise DimensionError(f"C must have shape (p, n) with n = {n}", A=A.shape, C=C.shape)
        if D is None:
            D = _frozen("D", np.zeros((C.shape[0], B.shape[1])))
        if D.shape != (C.shape[0], B.shape[1]):
            raise DimensionError("D must have shape (p, m)", B=B.shape, C=C.shape, D=D.shape)
        require_finite(A=A, B=B, C=C, D=D)
        for name, array in (("A", A), ("B", B), ("C", C), ("D", D)):
            array.setflags(write=False)
            object.__setattr__(self, name, array)
        object.__setattr__(self, "dt", validated_dt(self.dt))

    n = property(lambda self: self.A.shape[0], doc="Number of states.")
    m = property(lambda self: self.B.shape[1], doc="Number of inputs.")
    p = property(lambda self: self.C.shape[0], doc="Number of outputs.")

    @property
    def is_discrete(self) -> bool:
        """Whether the system runs in discrete time."""
        return self.dt is not None

    @property
    def is_real(self) -> bool:
        """Whether all four matrices are real, so that real inputs give real outputs."""
        return all(array.dtype.kind == "f" for array in (self.A, self.B, self.C, self.D))

    @property
    def poles(self) -> Array:
        """Eigenvalues of ``A``, shape (n,)."""
        return np.linalg.eigvals(self.A) if self.n else np.zeros(0, complex)

    def to_control(self) -> Any:
        """Return python-control's ``StateSpace`` with the same matrices; continuous time is its ``dt = 0``.

        Every function of ours takes such a system back.

        Raises
        ------
        MissingDependencyError
            python-control is not installed (the extra ``control``).
        InputError
            A matrix is complex: python-control computes with real ones.
        """
        if not self.is_real:
            raise InputError("python-control takes real matrices, and this system is complex")
        control = optional_package("control", "control")
        matrices = (np.array(matrix) for matrix in (self.A, self.B, self.C, self.D))
        return control.StateSpace(*matrices, 0 if self.dt is None else self.dt)

    def __repr__(self) -> str:
        time = f"dt={self.dt:g}" if self.is_discrete else "continuous"
        return f"StateSpace(n={self.n}, m={self.m}, p={self.p}, {time}, {'real' if self.is_real else 'complex'})"


@dataclass(frozen=True, eq=False, repr=False)
class DiagonalStateSpace:
    r"""A diagonal system, or a batch of them: what an S5 or S4D layer is.

    .. math:: G(z) = z^{1-d} C (zI-\Lambda)^{-1} B + z^{-(1-d_r)} C_r (z^{-1}I-\Lambda)^{-1} B + D

    plus the conjugate half when `conjugate_pairs`; :math:`d` is `delay`, :math:`d_r` is `delay_reverse`.

    Parameters
    ----------
    poles : array_like, shape (..., n), complex
        Stored poles; leading axes are a batch of independent systems.
    B : array_like, shape (..., n, m), complex
    C : array_like, shape (..., p, n), complex
    D : array_like, shape (..., p, m), optional
        Zero when left out.
    dt : float or None, keyword only
        Sample time; ``None`` is continuous time (then `delay` must be 1 and `C_reverse` absent).
    conjugate_pairs : bool, keyword only
        ``True``: the real system with output ``2 Re(C x)``, one pole of each pair stored; `D` is real.
        ``False``: the complex system with output ``C x``.
    C_reverse : array_like, shape (..., p, n), optional, keyword only
        Second output matrix of a bidirectional layer: same poles and `B`, time reversed.
    delay, delay_reverse : {0, 1}, keyword only
        1: the output sees the state before the update (the standard form). 0: it sees the updated state.
        S5 is (0, 0), S4D is (0, 1).

    Raises
    ------
    DimensionError, InputError, TimeBaseError
    """

    poles: Array
    B: Array
    C: Array
    D: Array = None  # type: ignore[assignment]
    _: KW_ONLY
    dt: float | None = 1.0
    conjugate_pairs: bool = True
    C_reverse: Array | None = None
    delay: int = 1
    delay_reverse: int = 1

    def __post_init__(self) -> None:
        poles = _frozen("poles", self.poles, force_complex=True)
        B, C = _frozen("B", self.B, force_complex=True), _frozen("C", self.C, force_complex=True)
        if poles.ndim < 1:
            raise DimensionError("poles must have shape (..., n)", poles=poles.shape)
        batch, n = poles.shape[:-1], poles.shape[-1]
        if B.ndim != len(batch) + 2 or B.shape[:-1] != (*batch, n):
            raise DimensionError("B must have shape (..., n, m), leading axes as poles", poles=poles.shape, B=B.shape)
        if C.ndim != len(batch) + 2 or C.shape[:-2] != batch or C.shape[-1] != n:
            raise DimensionError("C must have shape (..., p, n), leading axes as poles", poles=poles.shape, C=C.shape)
        feedthrough = (*batch, C.shape[-2], B.shape[-1])
        D = _frozen("D", np.zeros(feedthrough) if self.D is None else self.D)
        if D.shape != feedthrough:
            raise DimensionError(f"D must have shape {feedthrough}", B=B.shape, C=C.shape, D=D.shape)
        if self.conjugate_pairs and D.dtype.kind == "c":
            raise InputError(
                "D is complex, but a system of conjugate pairs is real: pass D.real, or conjugate_pairs=False"
            )
        require_finite(poles=poles, B=B, C=C, D=D)
        C_reverse = self.C_reverse
        if C_reverse is not None:
            C_reverse = _frozen("C_reverse", C_reverse, force_complex=True)
            if C_reverse.shape != C.shape:
                raise DimensionError("C_reverse must have the shape of C", C=C.shape, C_reverse=C_reverse.shape)
            require_finite(C_reverse=C_reverse)
        dt = validated_dt(self.dt)
        for name in ("delay", "delay_reverse"):
            if getattr(self, name) not in (0, 1):
                raise InputError(f"{name} must be 0 or 1, got {getattr(self, name)!r}")
        if dt is None and (self.delay != 1 or C_reverse is not None):
            raise TimeBaseError(
                "delay=0 and C_reverse are discrete-time notions; continuous time (dt=None) has neither", dt
            )
        for name, value in (("poles", poles), ("B", B), ("C", C), ("D", D), ("C_reverse", C_reverse), ("dt", dt)):
            object.__setattr__(self, name, value)

    n = property(lambda self: self.poles.shape[-1], doc="Number of stored states.")
    m = property(lambda self: self.B.shape[-1], doc="Number of inputs.")
    p = property(lambda self: self.C.shape[-2], doc="Number of outputs.")
    batch_shape = property(lambda self: self.poles.shape[:-1], doc="Leading axes; () for a single system.")

    @property
    def is_discrete(self) -> bool:
        """Whether the system runs in discrete time."""
        return self.dt is not None

    @property
    def is_real(self) -> bool:
        """Whether real inputs give real outputs."""
        return bool(self.conjugate_pairs)

    @property
    def is_bidirectional(self) -> bool:
        """Whether a second output matrix runs backwards in time."""
        return self.C_reverse is not None

    @property
    def margin(self) -> Array:
        r"""Stability margin of each pole, (..., n): :math:`1-|\lambda|`, in continuous time :math:`-\Re\lambda`.

        Exact to a few ulp however close the pole is to the circle (see :func:`theory.systems.margin.discrete_margin`).
        """
        return discrete_margin(self.poles) if self.is_discrete else -self.poles.real

    def dense(self) -> StateSpace:
        """Return the dense realization of one causal system, in the standard form.

        Conjugate pairs become the real system with twice as many states: first the real, then the imaginary parts.

        Raises
        ------
        DimensionError
            It is a batch; index it first.
        InputError
            It is bidirectional, hence not causal.
        """
        if self.batch_shape:
            raise DimensionError("a batch has no single dense realization; index it first", batch=self.batch_shape)
        if self.is_bidirectional:
            raise InputError("a bidirectional system is not causal: take causal_part and anticausal_part")
        poles, B, C, D = self.poles, self.B, self.C, self.D
        if self.delay == 0:
            C, D = C * poles, D + product(C, B, self.conjugate_pairs)
        if not self.conjugate_pairs:
            return StateSpace(np.diag(poles), B, C, D, dt=self.dt)
        return StateSpace(real_state_matrix(poles), real_input(B), real_output(C), D, dt=self.dt)

    def to_control(self) -> Any:
        """Return python-control's ``StateSpace`` of :meth:`dense`: see :meth:`StateSpace.to_control`."""
        return self.dense().to_control()

    def keep(self, index: ArrayLike) -> DiagonalStateSpace:
        """Return the system of the states `index` only (integer indices or a boolean mask along n)."""
        chosen = np.asarray(index)
        chosen = np.flatnonzero(chosen) if chosen.dtype == bool else chosen
        chosen = chosen.astype(int) if chosen.size == 0 else chosen
        reverse = None if self.C_reverse is None else self.C_reverse[..., chosen]
        return self.replace(
            poles=self.poles[..., chosen], B=self.B[..., chosen, :], C=self.C[..., chosen], C_reverse=reverse
        )

    def replace(self, **changes: Any) -> DiagonalStateSpace:
        """Return a copy with some fields changed (validated again)."""
        names = ("poles", "B", "C", "D", "dt", "conjugate_pairs", "C_reverse", "delay", "delay_reverse")
        return DiagonalStateSpace(**{name: changes.get(name, getattr(self, name)) for name in names} | changes)

    def __getitem__(self, index: Any) -> DiagonalStateSpace:
        """Pick systems out of a batch."""
        if not self.batch_shape:
            raise InputError("this is a single system; there is no batch axis to index")
        reverse = None if self.C_reverse is None else self.C_reverse[index]
        return self.replace(
            poles=self.poles[index], B=self.B[index], C=self.C[index], D=self.D[index], C_reverse=reverse
        )

    def __repr__(self) -> str:
        parts = [f"n={self.n}", f"m={self.m}", f"p={self.p}"]
        parts += [f"batch={self.batch_shape}"] if self.batch_shape else []
        parts += [f"dt={self.dt:g}" if self.is_discrete else "continuous"]
        parts += ["conjugate pairs" if self.conjugate_pairs else "complex"]
        parts += ["bidirectional"] if self.is_bidirectional else []
        return f"DiagonalStateSpace({', '.join(parts)})"


System = StateSpace | DiagonalStateSpace


def require_stable(system: System) -> None:
    """Raise :class:`StabilityError` that names the poles on or outside the stability boundary.

    The poles of a diagonal system are taken at their word, to the last bit. Those of a dense one are computed, and one
    within rounding of the boundary (:func:`theory.systems.margin.spectral_rounding`) counts as on it.
    """
    poles, vague = system.poles, 0.0
    if isinstance(system, DiagonalStateSpace):
        margin = system.margin
    else:
        margin = discrete_margin(poles) if system.is_discrete else -poles.real
        vague = spectral_rounding(system.A)
    bad = ~(margin > vague)
    if bad.any():
        worst = float(margin.min())
        region = "the open unit disc" if system.is_discrete else "the open left half plane"
        where = np.argwhere(bad)[0].tolist()
        if isinstance(system, DiagonalStateSpace):
            advice = "drop these states (system.keep) or clip them as the model would"
        else:
            advice = "linf_norm and frequency_response take such systems; all else needs its stable part"
        raise StabilityError(
            f"{int(bad.sum())} of {poles.size} poles are not inside {region}; the first is {poles[tuple(where)]:.6g} "
            f"at index {where}, the smallest margin is {worst:.3g}; {advice}",
            poles[bad],
            worst,
        )
