r"""The bounded-real lemma: a matrix that proves :math:`\|G\|_\infty<\gamma`, checked by its eigenvalues.

A stable :math:`G` has :math:`\|G\|_\infty<\gamma` exactly when some :math:`P=P^*\succ0` makes

.. math::
    M(P) = \begin{bmatrix} A^*PA-P & A^*PB\\ B^*PA & B^*PB\end{bmatrix}
         + \begin{bmatrix} C^*\\ D^*\end{bmatrix}\begin{bmatrix} C & D\end{bmatrix}
         - \begin{bmatrix} 0 & 0\\ 0 & \gamma^2I\end{bmatrix} \prec 0,

in continuous time with :math:`A^*P+PA` and :math:`PB` in the first block row :cite:p:`ZDG96`. Then
:math:`x^*Px` is a storage function: energy out is less than :math:`\gamma^2` times energy in.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from theory.arithmetic.rounding import EPS
from theory.certificates.riccati import riccati_candidates
from theory.errors import ConvergenceError, InputError, MissingDependencyError, optional_package
from theory.systems.given import SystemLike, as_system
from theory.systems.pairs import real_embedding
from theory.systems.realization import dense
from theory.systems.system import StateSpace, System, require_stable

Array = NDArray[Any]
SOLVERS = ("CLARABEL", "SCS")


@dataclass(frozen=True, kw_only=True, eq=False)
class Certificate:
    r"""An answer to "is the norm below gamma?", with the matrix that proves a yes.

    Attributes
    ----------
    gamma : float
        The level that was asked about.
    feasible : bool
        ``True`` is proved by `P` through the two eigenvalues below. ``False`` means that the solver found none;
        only a frequency with a larger gain proves that there is none.
    P : ndarray, shape (n, n)
        Storage function, in the coordinates of the dense realization of the system (complex for complex systems).
    smallest, largest : float
        Smallest eigenvalue of `P` and largest eigenvalue of :math:`M(P)`, for gamma = 1 and in coordinates in which the
        Gramians are alike: above and below zero by more than `rounding` when feasible.
    rounding : float
        What rounding can have done to these eigenvalues.
    solver, status : str
        Who solved it, and what it said: "Riccati" where the solver of the inequality stopped short of a proof and a
        Riccati equation gave one.
    """

    gamma: float
    feasible: bool
    P: Array = field(repr=False)
    smallest: float
    largest: float
    rounding: float
    solver: str
    status: str


def bounded_real_certificate(system: SystemLike, gamma: float, *, solver: str | None = None) -> Certificate:
    r"""Look for a proof that :math:`\|G\|_\infty < \gamma`, and check it.

    Parameters
    ----------
    system : StateSpace or DiagonalStateSpace
        One stable, causal system, discrete or continuous, real or complex, of a few dozen states.
    gamma : float
        Positive.
    solver : {"CLARABEL", "SCS"}, optional, keyword only
        The first that is installed when left out.

    Returns
    -------
    Certificate
        ``.feasible`` says yes only if the eigenvalues of `P` and of :math:`M(P)`, computed here from the matrices that
        were given and not by the solver, have the right sign beyond rounding.

    Raises
    ------
    StabilityError
        A pole lies on or outside the stability boundary.
    MissingDependencyError
        cvxpy or its solver is not installed (the extra ``control``).
    InputError
        `gamma` is not positive, the system is bidirectional or a batch.
    ConvergenceError
        The solver gave up without an answer.

    Notes
    -----
    Solved in coordinates in which both Gramians are alike, for :math:`\gamma=1`, as the minimum of :math:`t`
    subject to :math:`M(P)\preceq tI`. Cost about O(n^6). Complex systems go in through the real
    embedding; the complex `P` is the average of its two halves. Where the solver stops short of a proof, solutions of
    the Riccati equation are checked in its place (:mod:`theory.certificates.riccati`).
    """
    system = as_system(system)
    if not np.isfinite(gamma) or gamma <= 0:
        raise InputError(f"gamma must be a positive number, got {gamma!r}")
    require_stable(system)
    given = dense(system)
    scaled, T = _scaled(given, float(gamma))

    def certificate(P: Array, name: str, status: str) -> Certificate:
        inverse = np.linalg.inv(T)
        P = gamma * inverse.conj().T @ P @ inverse
        P = (P + P.conj().T) / 2.0
        smallest, largest, rounding = _checked(given, P, T, float(gamma))
        return Certificate(
            gamma=float(gamma),
            feasible=smallest > rounding and largest < -rounding,
            P=P,
            smallest=smallest,
            largest=largest,
            rounding=rounding,
            solver=name,
            status=status,
        )

    answer: Certificate | None = None
    try:
        P, name, status = _solve(_real(scaled), solver)
        if not given.is_real:
            n = given.n
            P = (P[:n, :n] + P[n:, n:]) / 2.0 + 1j * (P[n:, :n] - P[:n, n:]) / 2.0
        answer = certificate(P, name, status)
    except ConvergenceError as error:
        complaint = error
    if answer is not None and (answer.feasible or given.n == 0):
        return answer
    for P in riccati_candidates(scaled):
        polished = certificate(P, "Riccati", "polished")
        if polished.feasible:
            return polished
    if answer is None:
        raise complaint
    return answer


def _checked(system: StateSpace, P: Array, T: Array, gamma: float) -> tuple[float, float, float]:
    """Smallest eigenvalue of P, largest of M(P), and their rounding, after a congruence with ``T``.

    Signs survive a congruence (Sylvester): `T` only has to make the numbers alike, nothing about it must be exact.
    """
    n, m, root = system.n, system.m, np.sqrt(gamma)
    S = scipy.linalg.block_diag(T / root, np.eye(m) / gamma)
    rows, outputs = np.hstack([system.A, system.B]), np.hstack([system.C, system.D])
    AB, CD = rows @ S, outputs @ S
    X, U = S[:n], S[n:]
    unit = (n + m + system.p + 16) * EPS
    size_AB, size_CD = (
        np.abs(rows) @ np.abs(S),
        np.abs(outputs) @ np.abs(S),
    )  # what the rounding of AB, CD is relative to

    def size(left: Array, right: Array) -> float:
        return float(np.linalg.norm(np.abs(left).T @ (np.abs(P) @ np.abs(right))))

    if system.is_discrete:
        middle = AB.conj().T @ P @ AB - X.conj().T @ P @ X
        rounding = size(AB, AB) + size(X, X) + 2.0 * size(size_AB, AB) + unit * size(size_AB, size_AB)
    else:
        half = X.conj().T @ P @ AB
        middle, rounding = half + half.conj().T, 2.0 * size(X, AB) + 2.0 * size(X, size_AB)
    lmi = middle + CD.conj().T @ CD - gamma**2 * U.conj().T @ U
    rounding += float(np.linalg.norm(size_CD)) ** 2 * 4.0 + float(np.linalg.norm(gamma * U)) ** 2
    positive = X[:, :n].conj().T @ P @ X[:, :n]
    smallest = float(np.linalg.eigvalsh((positive + positive.conj().T) / 2.0)[0]) if n else np.inf
    largest = float(np.linalg.eigvalsh((lmi + lmi.conj().T) / 2.0)[-1]) if n + m else -np.inf
    return smallest, largest, 4.0 * unit * rounding


def bounded_real_matrix(system: System, P: Array, gamma: float) -> Array:
    """``M(P)``, which proves that the norm is below `gamma` when it is negative and `P` is positive definite."""
    plain = dense(system)
    A, B, CD, n = plain.A, plain.B, np.hstack([plain.C, plain.D]), plain.n
    AB, X = np.hstack([A, B]), np.hstack([np.eye(n), np.zeros((n, plain.m))])
    if plain.is_discrete:
        middle = AB.conj().T @ P @ AB - X.T @ P @ X
    else:
        middle = X.T @ P @ AB + AB.conj().T @ P @ X
    result = middle + CD.conj().T @ CD - gamma**2 * scipy.linalg.block_diag(np.zeros((n, n)), np.eye(plain.m))
    return np.asarray((result + result.conj().T) / 2.0)


def _scaled(system: StateSpace, gamma: float, ridge: float = 1e-6) -> tuple[StateSpace, Array]:
    """The system over gamma in coordinates ``x = T xi`` in which the Gramians are alike, and ``T``.

    `ridge` is added to the Gramians, relative to their size, for states that are hardly reached or seen.
    """
    from theory.gramians.gramians import gramian_factors

    root = np.sqrt(gamma)
    T = np.eye(system.n, dtype=system.A.dtype)
    if system.n:
        Lc, Lo = gramian_factors(system)
        reached, seen = np.linalg.norm(Lc, axis=1), np.linalg.norm(Lo, axis=1)
        alive = (reached > 0) & (seen > 0)
        unit = np.where(alive, np.sqrt(np.where(alive, reached, 1.0)) / np.sqrt(np.where(alive, seen, 1.0)), 1.0)
        Lc, Lo = (
            Lc / unit[:, None],
            Lo * unit[:, None],
        )  # every state in its own unit first: the ridge is for directions
        size_c, size_o = max(float(np.linalg.norm(Lc)), 1e-150), max(float(np.linalg.norm(Lo)), 1e-150)
        P = Lc @ Lc.conj().T + ridge * size_c**2 * np.eye(system.n)
        Q = Lo @ Lo.conj().T + ridge * size_o**2 * np.eye(system.n)
        chol_P, chol_Q = np.linalg.cholesky(P), np.linalg.cholesky(Q)
        U, sigma, Vh = np.linalg.svd(chol_Q.conj().T @ chol_P)
        T = chol_P @ Vh.conj().T / np.sqrt(sigma)
        inverse = (U / np.sqrt(sigma)).conj().T @ chol_Q.conj().T
        T, inverse = unit[:, None] * T, inverse / unit
        A, B, C = inverse @ system.A @ T, inverse @ system.B / root, system.C @ T / root
        return StateSpace(A, B, C, system.D / gamma, dt=system.dt), T
    return StateSpace(system.A, system.B / root, system.C / root, system.D / gamma, dt=system.dt), T


def _real(system: StateSpace) -> StateSpace:
    """The real embedding of a complex system; a real one as it is."""
    if system.is_real:
        return system
    A, B, C, D = (real_embedding(x) for x in (system.A, system.B, system.C, system.D))
    return StateSpace(A, B, C, D, dt=system.dt)


def _solve(system: StateSpace, solver: str | None) -> tuple[Array, str, str]:
    """Minimise the largest eigenvalue of ``M(P)``."""
    cvxpy = optional_package("cvxpy", "control")
    installed = [name for name in SOLVERS if name in cvxpy.installed_solvers()]
    chosen = solver or (installed[0] if installed else "")
    if chosen not in installed:
        raise MissingDependencyError(chosen.lower() or "clarabel", "control")
    n, m = system.n, system.m
    if n == 0:
        return np.zeros((0, 0)), "none", "static"
    AB, CD = np.hstack([system.A, system.B]), np.hstack([system.C, system.D])
    P, t = cvxpy.Variable((n, n), symmetric=True), cvxpy.Variable()
    select = np.hstack([np.eye(n), np.zeros((n, m))])
    if system.is_discrete:
        middle = AB.T @ P @ AB - select.T @ P @ select
    else:
        middle = select.T @ P @ AB + AB.T @ P @ select
    constant = CD.T @ CD - scipy.linalg.block_diag(np.zeros((n, n)), np.eye(m))
    lmi = middle + constant
    problem = cvxpy.Problem(cvxpy.Minimize(t), [(lmi + lmi.T) / 2 << t * np.eye(n + m), P >> 0])
    complaints = []
    for name in [chosen] if solver else installed:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                problem.solve(solver=name)
            except cvxpy.error.SolverError as error:
                complaints.append(f"{name} gave up: {str(error).split('.')[0]}")
                continue
        if P.value is not None:
            return np.asarray(P.value), name, str(problem.status)
        complaints.append(f"{name} ended without a matrix ({problem.status})")
    raise ConvergenceError("; ".join(complaints), 0)
