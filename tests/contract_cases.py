"""What the contract is held on: layers and systems of every kind, and what must come out, by routes of its own.

Nothing here calls the code under test: responses are the definition of the transfer function in plain complex
arithmetic, Hankel singular values come from the closed-form Gramians in 50 digits. Scores are in contract_formulas.
"""

from __future__ import annotations

import functools
from contextlib import contextmanager
from dataclasses import replace
from unittest.mock import patch

import mpmath
import numpy as np
from layer_cases import S4D_OPTIONS, s4d_params, s5_params
from strategies import gaussian, stable_poles
from tolerance import EPS, tol

from ssmreduce.layers.layer import SSMLayer
from ssmreduce.layers.params import layer_from_params
from ssmreduce.methods.empirical import Empirical
from ssmreduce.methods.empirical_selection import EmpiricalSelection
from ssmreduce.methods.h2 import Descent
from ssmreduce.methods.irka import Irka
from ssmreduce.methods.registry import METHODS
from ssmreduce.methods.time_limited import TimeLimited
from ssmreduce.reduction import reduce
from theory.errors import OrderError
from theory.systems.realization import dense
from theory.systems.system import DiagonalStateSpace, StateSpace

DIGITS = 50
"""The smallest of 12 values may be 1e-20 of the largest, and its square is what the eigenvalues are."""


# --- layers and systems ----------------------------------------------------------------------------------------------


def diagonal(seed, n=6, m=2, p=3, kind="spread", closest=1e-3, discrete=True, two_ways=False, batch=(), **options):
    rng = np.random.default_rng(seed)
    return DiagonalStateSpace(
        stable_poles(rng, kind, (*batch, n), closest, discrete),
        gaussian(rng, *batch, n, m),
        gaussian(rng, *batch, p, n),
        rng.standard_normal((*batch, p, m)),
        dt=0.5 if discrete else None,
        C_reverse=gaussian(rng, *batch, p, n) if two_ways else None,
        **options,
    )


def turned(system, seed):
    full = dense(system)
    T = np.linalg.qr(np.random.default_rng(seed).standard_normal((full.n, full.n)))[0]
    return StateSpace(T @ full.A @ T.T, T @ full.B, full.C @ T.T, full.D, dt=full.dt)


def badly_scaled(system):
    scale = 10.0 ** np.random.default_rng(0).uniform(-6, 6, system.n)
    return system.replace(B=system.B * scale[:, None], C=system.C / scale)


def s5(seed, conj_sym=True, P=5, **options):
    return layer_from_params(
        s5_params(np.random.default_rng(seed), P, 2, **options), conj_sym=conj_sym, discretization="zoh", name="s5"
    )


def s4d(seed, form):
    raw = s4d_params(np.random.default_rng(seed), form, H=2, N=4)
    return layer_from_params(raw, **S4D_OPTIONS[form], name="s4d")


TURNED = {
    "dense": diagonal(21, n=4),
    "dense continuous": diagonal(22, n=4, discrete=False),
    "dense complex": diagonal(23, n=5, conjugate_pairs=False),
}
"""The diagonal systems that the dense ones are, in other coordinates."""

KINDS = {
    "S5": diagonal(1, delay=0),
    "S5 bidirectional": diagonal(2, delay=0, delay_reverse=0, two_ways=True),
    "S4D": diagonal(3, n=4, batch=(2,), m=1, p=1, delay=0),
    "S4D bidirectional": diagonal(4, n=3, batch=(2, 2), m=1, p=1, delay=0, delay_reverse=1, two_ways=True),
    "complex": diagonal(5, conjugate_pairs=False, delay=0),
    "complex bidirectional": diagonal(6, conjugate_pairs=False, two_ways=True),
    "standard form": diagonal(7),
    "continuous": diagonal(8, discrete=False),
    "continuous complex": diagonal(9, discrete=False, conjugate_pairs=False),
    "one input": diagonal(10, m=1, p=1),
    "one state": diagonal(11, n=1),
    "two states": diagonal(12, n=2, delay=0),
    "near the circle": diagonal(13, kind="near circle", closest=1e-9),
    "clustered": diagonal(14, kind="clustered"),
    "repeated": diagonal(15, kind="repeated"),
    "real poles": diagonal(16, kind="real"),
    "zero poles": diagonal(17, kind="zero", delay=0),
    "badly scaled": badly_scaled(diagonal(18)),
    "rank one": diagonal(19).replace(B=diagonal(19).B[:, :1] * np.ones((1, 2))),
    "no input": diagonal(20).replace(B=np.zeros((6, 2))),
    **{kind: turned(system, i) for i, (kind, system) in enumerate(TURNED.items())},
    "S5 layer": s5(31),
    "S5 layer bidirectional": s5(32, bidirectional="C1C2"),
    "S5 layer without conj_sym": s5(33, conj_sym=False, dtype=np.float64),
    "S4D layer": s4d(34, "s4d-minimal"),
    "S4D layer bidirectional": s4d(35, "s4d-v4"),
}
LAYERS = [kind for kind, source in KINDS.items() if isinstance(source, SSMLayer)]


def system_of(kind):
    source = KINDS[kind]
    return source.system if isinstance(source, SSMLayer) else source


def members(system):
    """The systems of a batch, one by one."""
    if isinstance(system, StateSpace) or not system.batch_shape:
        return [system]
    return [system[index] for index in np.ndindex(system.batch_shape)]


ONE_BATCH_AXIS = "scalar systems along one axis"
NEEDS = {
    Irka: ("dense",), TimeLimited: ("discrete",),
    Empirical: ("diagonal", "discrete", ONE_BATCH_AXIS), EmpiricalSelection: ("diagonal", "discrete", ONE_BATCH_AXIS),
}  # fmt: skip
"""What families of methods need; the others take everything."""

CHOSEN = {
    "frequency_limited": ("frequency_limited(band=(0.3, 1.5))", "frequency_limited(band=(0.5, 3), sides='output')"),
    "weighted": ("weighted(input=((0, 0.5, 3), (2, 0.1)))", "weighted(output=((0.3, 1, 2, 3), (1, 0, 0.5)))"),
}
"""With parameters, methods that have no default for them. Only what is stable by proof: the others may refuse."""

NAMES = [name for registered in METHODS for name in CHOSEN.get(registered, (registered,))]
"""Names of the methods that the contract is about."""


def applies(method, kind):
    """Whether a method is made for a kind."""
    system, value = system_of(kind), METHODS.find(method)
    needs = {need for family, wanted in NEEDS.items() if isinstance(value, family) for need in wanted}
    has = {"diagonal": isinstance(system, DiagonalStateSpace), "discrete": system.is_discrete}
    has["dense"] = not has["diagonal"]
    has[ONE_BATCH_AXIS] = isinstance(system, StateSpace) or len(system.batch_shape) < 2
    return all(has[need] for need in needs)


FOR_LAYERS = [name for name, method in METHODS.items() if not method.requires and applies(name, "S5 layer")]
"""Methods that take a layer and nothing else."""


STEPS = 4
"""Of a descent whose depth does not matter, in each of its blocks."""


def briefly(method):
    """The method; a descent with few steps: for what holds however far it went. The contract lets it go all the way."""
    value = METHODS.find(method)
    return replace(value, steps=STEPS) if isinstance(value, Descent) else value


@functools.cache
def inputs(kind):
    """What a layer or system is driven with, for methods that want to know: slow, correlated signals."""
    system = system_of(kind)
    channels = system.batch_shape[0] if isinstance(system, DiagonalStateSpace) and system.batch_shape else system.m
    return 0.3 * np.cumsum(np.random.default_rng(len(kind)).standard_normal((6, 40, channels)), axis=1)


def run(method, kind, order=None, *, source=None, **options):
    """``ssmreduce.reduce`` with what the method requires."""
    given = {"inputs": inputs} if "inputs" in METHODS.find(method).requires else {}
    data = {name: make(kind) for name, make in given.items()}
    return reduce(KINDS[kind] if source is None else source, order, method=method, **data, **options)


def orders(kind):
    n = system_of(kind).n
    return sorted({0, 1, n // 2, n - 1, n})


TRUNCATIONS = {}
"""What methods made of sources: by method, source, order and seed; with the source, so that no other gets its id."""


@contextmanager
def each_truncation_once(method):
    """Within, a method remembers what it makes of a source at an order: tolerances ask for the same few, and orders."""
    family = type(METHODS.find(method))
    compute = family.truncate

    def truncate(self, source, order, **data):
        key = (self, id(source), order, data.get("seed"))
        if key not in TRUNCATIONS:
            TRUNCATIONS[key] = (compute(self, source, order, **data), source)
        return TRUNCATIONS[key][0]

    with patch.object(family, "truncate", truncate):
        yield


@functools.cache
def reduction(method, kind, order):
    """What a user gets: the one path; None where fewer states than that are numerically there, and only there."""
    try:
        with each_truncation_once(method):
            return run(method, kind, order, seed=0)
    except OrderError as refusal:
        if order <= present(kind):
            raise AssertionError(f"{kind}: {present(kind)} states are there, order {order} is refused") from refusal
        return None


def reductions(method, kind):
    return [(order, found) for order in orders(kind) if (found := reduction(method, kind, order)) is not None]


# --- what they do ----------------------------------------------------------------------------------------------------


def response(system, omega):
    """The definition, in plain complex arithmetic."""
    z = np.exp(1j * omega) if system.is_discrete else 1j * omega
    if isinstance(system, StateSpace):
        pencil = z[:, None, None] * np.eye(system.n) - system.A
        return system.C @ np.linalg.solve(pencil, np.broadcast_to(system.B + 0j, (z.size, *system.B.shape))) + system.D
    total = np.zeros((omega.size, system.p, system.m), dtype=complex) + system.D
    halves = [(system.poles, system.B, system.C, system.C_reverse)]
    if system.conjugate_pairs:
        halves.append(tuple(None if x is None else x.conj() for x in halves[0]))
    for poles, B, C, C_reverse in halves:
        weight = z[:, None] ** (1 - system.delay) / (z[:, None] - poles)
        total += np.einsum("pn,wn,nm->wpm", C, weight, B)
        if C_reverse is not None:
            weight = z[:, None] ** -(1 - system.delay_reverse) / (1 / z[:, None] - poles)
            total += np.einsum("pn,wn,nm->wpm", C_reverse, weight, B)
    return total


def measured_error(system, reduced):
    """Largest gain of the difference: a grid with all pole frequencies, zoomed in around its peaks."""
    poles = np.concatenate([system.poles, reduced.poles])
    centre = np.angle(poles) if system.is_discrete else poles.imag
    width = np.maximum(1 - np.abs(poles) if system.is_discrete else -poles.real, 1e-12)
    offsets = np.concatenate([[0.0], *([s * 2.0**k] for k in range(-2, 4) for s in (-1, 1))])
    near = (centre[:, None] + width[:, None] * offsets).ravel()
    omega = np.unique(np.concatenate([near, -near, np.linspace(-np.pi, np.pi, 201)]))

    def gain(grid):
        return np.linalg.norm(response(system, grid) - response(reduced, grid), 2, axis=(1, 2))

    values = gain(omega)
    best, peaks = values.max(), np.argsort(values)[-3:]
    low, high = omega[np.maximum(peaks - 1, 0)], omega[np.minimum(peaks + 1, omega.size - 1)]
    for _ in range(4):
        fine = np.linspace(low, high, 17)
        found = gain(fine.ravel()).reshape(fine.shape)
        best, top, each = max(best, found.max()), found.argmax(axis=0), np.arange(peaks.size)
        low, high = fine[np.maximum(top - 1, 0), each], fine[np.minimum(top + 1, 16), each]
    return best


def rounding(system):
    """What the plain evaluation above is off by: eps over the margin, times what the modes add up to."""
    if system.n == 0:
        return 0.0
    if isinstance(system, StateSpace):
        margin = (1 - np.abs(system.poles) if system.is_discrete else -system.poles.real).min()
        size = np.linalg.norm(system.B) * np.linalg.norm(system.C) * (1 + np.linalg.norm(system.A))
        return tol(system.n) * size / margin**2
    C = np.linalg.norm(system.C, axis=0)
    C = C if system.C_reverse is None else C + np.linalg.norm(system.C_reverse, axis=0)
    gains = 2 * C * np.linalg.norm(system.B, axis=1) / system.margin
    angles = 4 * EPS * (1 + np.abs(system.poles)) / system.margin * gains
    return float(angles.sum() + 4 * system.n * EPS * gains.sum())


# --- Hankel singular values in 50 digits -----------------------------------------------------------------------------


def _root(P):
    """``R`` with ``P = R R^*``; by eigenvectors, which takes twenty times as long, only where `P` is singular."""
    try:
        return mpmath.cholesky(P)
    except ValueError:
        values, vectors = mpmath.eighe(P)
        return vectors * mpmath.diag([mpmath.sqrt(max(mpmath.re(x), 0)) for x in values])


def hankel_values(system, C):
    """Of ``(L, B, C)``, conjugates included, descending: eigenvalues of ``R^* Q R`` with ``P = R R^*``."""
    with mpmath.workdps(DIGITS):
        halves = [(system.poles, system.B, C)]
        if system.conjugate_pairs:
            halves.append(tuple(x.conj() for x in halves[0]))
        poles = [mpmath.mpmathify(complex(x)) for half in halves for x in half[0]]
        B = mpmath.matrix([[mpmath.mpmathify(complex(x)) for x in row] for half in halves for row in half[1]])
        Ct = mpmath.matrix([[mpmath.mpmathify(complex(x)) for x in row] for half in halves for row in half[2].T])
        N = len(poles)
        inputs, outputs = B * B.H, Ct.conjugate() * Ct.T
        P, Q = mpmath.matrix(N, N), mpmath.matrix(N, N)
        for i in range(N):
            for j in range(N):
                if system.is_discrete:
                    forward, backward = 1 - poles[i] * mpmath.conj(poles[j]), 1 - mpmath.conj(poles[i]) * poles[j]
                else:
                    forward, backward = -poles[i] - mpmath.conj(poles[j]), -mpmath.conj(poles[i]) - poles[j]
                P[i, j], Q[i, j] = inputs[i, j] / forward, outputs[i, j] / backward
        R = _root(P)
        squares = mpmath.eighe(R.H * Q * R, eigvals_only=True)
        return np.array(sorted((float(mpmath.sqrt(max(mpmath.re(x), 0))) for x in squares), reverse=True))


@functools.cache
def true_values(kind):
    """For each member: the values that balancing sees, and those of the floor with ``D`` kept."""
    system = TURNED.get(kind) or system_of(kind)
    found = []
    for part in members(system):
        C = part.C
        if part.C_reverse is None:
            own = hankel_values(part, C)
            found.append((own, own))
            continue
        causal = []
        for out, delay in ((part.C, part.delay), (part.C_reverse, part.delay_reverse)):
            causal.append(hankel_values(part, out if delay else out * part.poles))
        stacked = hankel_values(part, np.concatenate([part.C, part.C_reverse]))
        found.append((stacked, np.maximum(*causal)))
    return found


def real_states(kind, order):
    """States of the real system that `order` stored ones stand for."""
    system = system_of(kind)
    return 2 * order if isinstance(system, DiagonalStateSpace) and system.conjugate_pairs else order


def values_lost(kind, values):
    """What float64 loses of Hankel values; those of a dense system move with the rounding of A, over its margin."""
    system = system_of(kind)
    margin = 1.0
    if isinstance(system, StateSpace):
        margin = float((1 - np.abs(system.poles) if system.is_discrete else -system.poles.real).min())
    return 64 * values.size * EPS * values[0] / margin


def present(kind):
    """Stored states that are numerically there, in the channel that has most: sigma_i > N eps sigma_1."""
    most = max(int((own > own.size * EPS * own[0]).sum()) for own, _ in true_values(kind))
    return -(-most // real_states(kind, 1))
