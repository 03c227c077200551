"""Every reduction method x every kind of system x every law. A new method is one line in its registry.

The error is measured here by plain complex arithmetic on the definition of the transfer function, with no code of the
package: partial fractions for diagonal systems, solves for dense ones.
"""

from __future__ import annotations

import numpy as np
import pytest
from strategies import gaussian, stable_poles
from tolerance import EPS, tol

from ssmreduce.methods.registry import METHODS
from ssmreduce.reduction import reduce
from theory.errors import InputError, OrderError, StabilityError
from theory.systems.realization import dense
from theory.systems.system import DiagonalStateSpace, StateSpace, require_stable


def diagonal(seed, n=8, m=2, p=3, kind="spread", closest=1e-3, discrete=True, two_ways=False, batch=(), **options):
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


KINDS = {
    "S5": diagonal(1, delay=0),
    "S5 bidirectional": diagonal(2, delay=0, delay_reverse=0, two_ways=True),
    "S4D": diagonal(3, batch=(3,), m=1, p=1, delay=0),
    "S4D bidirectional": diagonal(4, batch=(2, 2), m=1, p=1, delay=0, delay_reverse=1, two_ways=True),
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
    "no input": diagonal(20).replace(B=np.zeros((8, 2))),
    "dense": turned(diagonal(21, n=4), 1),
    "dense continuous": turned(diagonal(22, n=4, discrete=False), 2),
    "dense complex": turned(diagonal(23, n=5, conjugate_pairs=False), 3),
}
PROJECTIONS = [name for name, method in METHODS.items() if method.kind == "projection"]


MODAL = [name for name in METHODS if name not in PROJECTIONS]


def applies(name, system):
    """Modal methods rank the stored poles of a diagonal system; the others take everything."""
    return name in PROJECTIONS or isinstance(system, DiagonalStateSpace)


CASES = [
    pytest.param(name, kind, id=f"{name}-{kind}")
    for kind, system in KINDS.items()
    for name in METHODS
    if applies(name, system)
]


def members(system):
    """The systems of a batch, one by one."""
    if isinstance(system, StateSpace) or not system.batch_shape:
        return [system]
    return [system[index] for index in np.ndindex(system.batch_shape)]


def response(system, omega):
    """The definition, in plain complex arithmetic."""
    z = np.exp(1j * omega) if system.is_discrete else 1j * omega
    if isinstance(system, StateSpace):
        pencil = z[:, None, None] * np.eye(system.n) - system.A
        return system.C @ np.linalg.solve(pencil, system.B + 0j) + system.D
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
    best = values.max()
    for peak in np.argsort(values)[-3:]:
        low, high = omega[max(peak - 1, 0)], omega[min(peak + 1, omega.size - 1)]
        for _ in range(4):
            fine = np.linspace(low, high, 17)
            found = gain(fine)
            best, top = max(best, found.max()), int(found.argmax())
            low, high = fine[max(top - 1, 0)], fine[min(top + 1, 16)]
    return best


def rounding(system):
    """What the plain evaluation above is off by: eps over the margin, times what the modes add up to."""
    if isinstance(system, StateSpace):
        margin = (1 - np.abs(system.poles) if system.is_discrete else -system.poles.real).min()
        size = np.linalg.norm(system.B) * np.linalg.norm(system.C) * (1 + np.linalg.norm(system.A))
        return tol(system.n) * size / margin**2
    C = np.linalg.norm(system.C, axis=0)
    C = C if system.C_reverse is None else C + np.linalg.norm(system.C_reverse, axis=0)
    gains = 2 * C * np.linalg.norm(system.B, axis=1) / system.margin
    angles = 4 * EPS * (1 + np.abs(system.poles)) / system.margin * gains
    return float(angles.sum() + 4 * system.n * EPS * gains.sum())


def orders(system):
    return sorted({1, system.n // 2, system.n - 1, system.n} - {0})


def reductions(name, system):
    """All reductions of one system that the method does not refuse for want of states."""
    for order in orders(system):
        try:
            yield order, reduce(system, order=order, method=name, seed=0)
        except OrderError as refusal:
            if refusal.attainable >= order:
                raise


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_floor_error_bound(name, kind):
    system = KINDS[kind]
    for order, found in reductions(name, system):
        floors, bounds = np.ravel(found.floor), np.ravel(found.bound)
        assert floors.size == bounds.size == len(members(system))
        for whole, part, floor, bound in zip(members(system), members(found.system), floors, bounds, strict=True):
            error, noise = measured_error(whole, part), rounding(whole) + rounding(part)
            assert floor <= error * (1 + 1e-6) + noise, f"order {order}: error below the floor"
            assert error <= bound + noise, f"order {order}: error above the bound"
            assert np.isfinite(bound)


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_form_is_kept(name, kind):
    system = KINDS[kind]
    before = [np.array(x) for x in (system.poles, system.B, system.C, system.D)]
    for order, found in reductions(name, system):
        small = found.system
        assert type(small) is type(system)
        assert found.order == small.n <= order
        assert small.dt == system.dt
        assert small.is_real == system.is_real
        assert small.D.dtype == system.D.dtype
        assert np.array_equal(small.D, system.D)
        require_stable(small)
        if isinstance(system, DiagonalStateSpace):
            for field in ("delay", "delay_reverse", "conjugate_pairs", "batch_shape", "is_bidirectional"):
                assert getattr(small, field) == getattr(system, field)
        assert found.hsv.shape[:-1] == np.shape(found.bound)
        assert np.all(np.diff(found.hsv, axis=-1) <= 0)
        assert found.status
    for old, new in zip(before, (system.poles, system.B, system.C, system.D), strict=True):
        assert np.array_equal(old, new)


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_all_states_keep_the_transfer_function(name, kind):
    system = KINDS[kind]
    found = reduce(system, order=system.n, method=name, seed=0)
    assert np.all(np.asarray(found.bound) == 0)
    assert found.order == system.n
    omega = np.linspace(-3, 3, 7)
    for whole, part in zip(members(system), members(found.system), strict=True):
        assert np.array_equal(response(whole, omega), response(part, omega))


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("kind", ["S5", "S4D bidirectional"])
def test_same_seed_same_result(name, kind):
    system = KINDS[kind]
    for (_, one), (_, two) in zip(reductions(name, system), reductions(name, system), strict=True):
        assert np.array_equal(one.system.poles, two.system.poles)
        assert np.array_equal(one.system.C, two.system.C)


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_tolerances_are_met(name, kind):
    system = KINDS[kind]
    for rtol in (0.3, 0.0):
        found = reduce(system, rtol=rtol, method=name, seed=0)
        first = found.hsv[..., 0] if found.hsv.shape[-1] else 0.0
        assert np.all(found.bound <= rtol * first)


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("order", [-1, 9, 1.5, True, "3"])
def test_bad_orders(name, order):
    with pytest.raises(OrderError if type(order) is int else InputError):
        reduce(KINDS["S5"], order=order, method=name)


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("pole", [1.0, -1.0, 1.0 + 1e-12, 3j])
def test_unstable_systems(name, pole):
    system = KINDS["S5"]
    poles = system.poles.copy()
    poles[3] = pole
    with pytest.raises(StabilityError) as caught:
        reduce(system.replace(poles=poles), order=4, method=name)
    assert pole in caught.value.poles


@pytest.mark.parametrize("name", MODAL)
@pytest.mark.parametrize("kind", [kind for kind, system in KINDS.items() if not applies(MODAL[0], system)])
def test_modal_methods_say_what_they_need(name, kind):
    with pytest.raises(InputError):
        reduce(KINDS[kind], order=2, method=name)
