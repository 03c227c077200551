"""compare: floor <= error <= bound by another route, every kind of input, and failures that are rows."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from layer_cases import S4D_OPTIONS, s4d_params, s5_params
from strategies import gaussian, stable_poles

from ssmreduce import Comparison, compare, layer_from_params, reduce
from ssmreduce.comparison import work as module
from ssmreduce.comparison.asking import TOLERANCE
from ssmreduce.comparison.compare import default_orders
from ssmreduce.methods.balanced import Balanced
from ssmreduce.methods.registry import METHODS
from theory.errors import AccuracyError, InputError, MissingDependencyError, OrderError, StabilityError, ToleranceError
from theory.norms.bracket import Bracket
from theory.systems.realization import dense
from theory.systems.system import DiagonalStateSpace, StateSpace

RTOL = 1e-3


def s5(seed: int = 0, P: int = 6, H: int = 2, conj_sym: bool = True, **options: Any):
    return layer_from_params(
        s5_params(np.random.default_rng(seed), P, H, **options),
        conj_sym=conj_sym,
        discretization="zoh",
        name=f"layer{seed}",
    )


def diagonal(
    seed: int, n: int = 5, m: int = 2, p: int = 3, discrete: bool = True, **options: Any
) -> DiagonalStateSpace:
    rng = np.random.default_rng(seed)
    poles = stable_poles(rng, "spread", (n,), 1e-3, discrete)
    D = rng.standard_normal((p, m))
    return DiagonalStateSpace(
        poles, gaussian(rng, n, m), gaussian(rng, p, n), D, dt=1.0 if discrete else None, **options
    )


LAYERS = {
    "S5": s5(1),
    "S5, bidirectional": s5(2, bidirectional="C1C2"),
    "S5, without conj_sym, float64": s5(3, conj_sym=False, dtype=np.float64),
    "S4D": layer_from_params(
        s4d_params(np.random.default_rng(4), "s4d-v4", H=2, N=4), **S4D_OPTIONS["s4d-v4"], name="s4d"
    ),
    "complex": diagonal(5, conjugate_pairs=False),
    "continuous": diagonal(6, discrete=False),
    "dense": dense(diagonal(7, n=4)),
}


def plain_gain(system: Any, theta: np.ndarray) -> np.ndarray:
    """Responses from the definition of the transfer function, with no code of the package, (..., W, p, m)."""
    if isinstance(system, StateSpace):
        z = np.exp(1j * theta) if system.dt is not None else 1j * theta
        eye = np.eye(system.n)
        return np.stack([system.C @ np.linalg.solve(x * eye - system.A, system.B) + system.D for x in z])
    z = np.exp(1j * theta) if system.dt is not None else 1j * theta

    def part(pole: np.ndarray, B: np.ndarray, C: np.ndarray, x: np.ndarray, delay: int) -> np.ndarray:
        kernel = x[:, None] ** (1 - delay) / (x[:, None] - pole[..., None, :])
        return np.einsum("...pn,...wn,...nm->...wpm", C, kernel, B)

    halves = [(system.poles, system.B, system.C, system.C_reverse)]
    if system.conjugate_pairs:
        halves += [tuple(None if x is None else x.conj() for x in halves[0])]
    total = system.D[..., None, :, :] + 0j
    for pole, B, C, C_reverse in halves:
        total = total + part(pole, B, C, z, system.delay)
        if C_reverse is not None:
            total = total + part(pole, B, C_reverse, 1 / z, system.delay_reverse)
    return total


def frequencies(system: Any) -> np.ndarray:
    poles = system.poles.ravel()
    if system.dt is None:
        around = np.concatenate([poles.imag + k * poles.real for k in (-1.0, 0.0, 1.0)])
        return np.concatenate([around, np.linspace(-20.0, 20.0, 400), [0.0, 1e6]])
    around = np.concatenate([np.angle(poles) + k * (1 - np.abs(poles)) for k in (-1.0, 0.0, 1.0)])
    return np.concatenate([around, -around, np.linspace(-np.pi, np.pi, 400)])


@pytest.fixture(scope="module", params=list(LAYERS))
def case(request: pytest.FixtureRequest) -> tuple[Any, Comparison]:
    source = LAYERS[request.param]
    return source, compare(source, orders=(1, 3), rtol=RTOL, crosscheck="none")


def test_every_row_obeys_its_laws_by_an_independent_sweep(case: tuple[Any, Comparison]) -> None:
    source, comparison = case
    system = getattr(source, "system", source)
    expected = [
        name for name, method in METHODS.items()
        if not method.requires and not method.searches
        and (name != "time_limited" or system.is_discrete)
    ]  # fmt: skip
    assert {(row.method, row.order) for row in comparison.rows} == {(name, r) for name in expected for r in (1, 3)}
    assert not comparison.violations
    theta = frequencies(system)
    full = plain_gain(system, theta)
    for row in comparison.rows:
        reduced = reduce(source, order=row.order, method=row.method, seed=0).system
        swept = np.linalg.norm(full - plain_gain(reduced, theta), 2, axis=(-2, -1)).max()
        assert swept <= row.error.upper * (1 + 1e-9), row
        assert swept >= row.error.lower * 0.9, row  # the grid knows the poles
        assert row.floor <= row.error.upper, row
        assert row.error.lower <= row.bound, row
        assert row.error.status == "closed", row
        assert row.error.width <= 1.01 * RTOL, row
        assert row.attained <= row.order
        assert row.looseness >= 1 - 1e-2


def test_relative_error_is_the_quotient_of_brackets(case: tuple[Any, Comparison]) -> None:
    _, comparison = case
    for row in comparison.rows:
        assert row.relative_error.lower <= row.error.lower / comparison.norm.lower
        assert row.relative_error.upper >= row.error.upper / comparison.norm.upper
        assert row.relative_error.lower <= row.relative_error.upper


def test_json_round_trip(case: tuple[Any, Comparison]) -> None:
    _, comparison = case
    text = comparison.to_json()
    again = Comparison.from_json(text)
    assert again.to_json() == text
    assert str(again) == str(comparison)
    assert json.loads(text)["version"] == 1


def test_json_of_something_else_is_refused() -> None:
    with pytest.raises(InputError, match="no ssmreduce comparison"):
        Comparison.from_dict({"format": "other"})
    with pytest.raises(InputError, match="update"):
        Comparison.from_dict({"format": "ssmreduce-comparison", "version": 99})


def test_infinite_numbers_survive_json() -> None:
    comparison = compare(diagonal(8, n=2), methods=["modal"], orders=[1], crosscheck="none")
    row = comparison.rows[0]
    row = type(row)(method="x", order=1, floor=0.0, error=Bracket(1.0, np.inf, 0.0, "open"), bound=np.inf)
    assert type(row).from_dict(json.loads(json.dumps(row.to_dict(), allow_nan=False))).bound == np.inf


def test_all_kinds_of_input_give_the_same_rows() -> None:
    raw = s5_params(np.random.default_rng(9), 4, 2)
    layer = layer_from_params(raw, conj_sym=True, discretization="zoh")

    class Live:
        def ssm_params(self) -> dict[str, Any]:
            return raw

        def ssm_options(self) -> dict[str, Any]:
            return {"conj_sym": True, "discretization": "zoh", "activation": "gelu"}

    kinds = {"layer": (layer, {}), "mapping": (raw, {"conj_sym": True, "discretization": "zoh"}), "live": (Live(), {})}
    errors = {
        name: compare(source, ["modal"], [2], crosscheck="none", **options).rows[0].error
        for name, (source, options) in kinds.items()
    }
    assert len({(error.lower, error.upper) for error in errors.values()}) == 1
    of_system = compare(layer.system, ["modal"], [2], crosscheck="none").rows[0].error
    assert of_system.lower == pytest.approx(errors["layer"].lower, rel=1e-5)


def test_a_python_control_system() -> None:
    control = pytest.importorskip("control")
    system = dense(diagonal(10, n=3, discrete=False))
    peer = control.StateSpace(system.A, system.B, system.C, system.D)
    comparison = compare(peer, orders=[2], crosscheck="none")
    expected = {name for name, method in METHODS.items() if not method.requires and not method.searches}
    assert {row.method for row in comparison.rows} == expected - {"time_limited"}  # a horizon is a number of samples
    assert comparison.subject["dt"] is None
    assert comparison.rows[0].floor <= comparison.rows[0].error.upper <= comparison.rows[0].bound * 1.01


def test_python_control_agrees_with_every_row() -> None:
    pytest.importorskip("slycot")
    comparison = compare(s5(11, P=4), orders=[1, 2], crosscheck="all")
    for row in comparison.rows:
        assert row.crosscheck.verdict in ("agrees", "below")
        assert (row.crosscheck.verdict == "agrees") == (row.crosscheck.value in row.error)
        assert abs(row.crosscheck.gap) <= TOLERANCE
    little = compare(s5(11, P=4), methods=["balanced"], orders=[1, 2], crosscheck="auto", crosscheck_seconds=0.0)
    assert {row.crosscheck.verdict for row in little.rows} == {"witness agrees"}


def test_errors_of_zero_and_layers_of_zero() -> None:
    alive = diagonal(30, n=2)
    whole = compare(alive, orders=[2], crosscheck="all")
    assert all(row.error.upper == row.bound == row.floor == 0 for row in whole.rows)
    assert {row.crosscheck.verdict for row in whole.rows} <= {"agrees", "not available"}
    dead = compare(alive.replace(B=0 * alive.B, D=None), orders=[1], crosscheck="none")
    assert dead.norm.upper == 0
    delivered = {row.method for row in dead.rows if row.delivered}
    assert delivered >= {name for name, method in METHODS.items() if method.kind == "selection"}
    assert not delivered & {"balanced", "hankel_norm", "refit", "residualized"}
    assert all(row.relative_error.upper == 0 for row in dead.rows if row.delivered)
    assert "numerically present" in dead.to_html()


def test_of_a_batch_whose_states_all_stay_every_number_is_0_and_no_bracket_is_open() -> None:
    """What the bound proves holds for the channels and in H2 as well: their rounding was shown, as if it were lost."""
    layer = LAYERS["S4D"]
    n = layer.system.n
    comparison = compare(layer, ["balanced", "last", "time_limited"], [n - 1, n], crosscheck="none")
    for row in comparison.rows:
        assert row.status == "ok"
        whole = row.order == n
        assert whole == (row.error.upper == 0) == (row.h2_error == 0) == (not any(row.channels["relative"]))
        assert row.error.status == "closed"


def test_without_python_control_the_rows_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "control", None)
    comparison = compare(s5(12, P=3), methods=["modal"], orders=[1], crosscheck="all")
    row = comparison.rows[0]
    assert row.crosscheck.verdict == "not available"
    assert "ssmreduce[control]" in row.crosscheck.detail
    assert not comparison.violations
    assert "ssmreduce[control]" in str(comparison)


def test_what_cannot_be_delivered_is_a_row_with_a_sentence() -> None:
    copies = diagonal(13, n=1)
    twice = copies.replace(
        poles=np.repeat(copies.poles, 3), B=np.repeat(copies.B, 3, axis=0), C=np.repeat(copies.C, 3, axis=1)
    )
    comparison = compare(twice, methods=["balanced", "modal"], orders=[2], crosscheck="none")
    balanced, modal = comparison.rows
    assert not balanced.delivered
    assert balanced.bound is None
    assert "1 states are numerically present" in balanced.status
    assert modal.delivered
    assert "numerically present" in str(comparison)


def test_an_error_that_cannot_be_certified_is_a_row_without_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any, **kwargs: Any) -> Bracket:
        raise AccuracyError("no digits left", 1e20)

    monkeypatch.setattr(module, "error_norm", refuse)
    row = compare(diagonal(14, n=3), ["modal"], [1], crosscheck="none").rows[0]
    assert (row.error, row.bound, row.relative_error) == (None, None, None)
    assert "no digits left" in row.status


def test_a_wrong_bracket_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "error_norm", lambda G, Gr, rtol: Bracket(1e-9, 2e-9, 0.3))
    comparison = compare(diagonal(15, n=3), ["modal"], [1], crosscheck="none")
    assert any("below the floor" in violation for violation in comparison.violations)
    assert any("sweep attains" in violation for violation in comparison.violations)
    assert "A LAW IS VIOLATED" in str(comparison)


def test_the_seed_decides_the_random_rows() -> None:
    layer = s5(16, P=12)
    kept = [compare(layer, ["random"], [4], crosscheck="none", seed=s).rows[0].kept.tolist() for s in (0, 0, 1)]
    assert kept[0] == kept[1] != kept[2]


def test_methods_that_search_are_named_where_nobody_asked_for_any() -> None:
    layer = s5(1, P=4)
    told = compare(layer, orders=[2], crosscheck="none").provenance
    assert told["methods"] == "all that apply and do not search"
    assert told["not_run"].split(", ") == ["h2", "hinf", "mixed"]
    assert "not_run" not in compare(layer, ["balanced"], [2], crosscheck="none").provenance


@pytest.mark.parametrize("n", [1, 2, 3, 8, 64, 1000])
def test_default_orders(n: int) -> None:
    orders = default_orders(n)
    assert 1 <= len(orders) <= 8
    assert list(orders) == sorted(set(orders))
    assert orders[0] >= 1
    assert orders[-1] < max(n, 2)


@pytest.mark.parametrize("order", [-1, 7, 2.5, True])
def test_impossible_orders(order: Any) -> None:
    with pytest.raises(OrderError, match="from 0 to 5"):
        compare(diagonal(17), orders=[order], crosscheck="none")


def test_bad_arguments() -> None:
    system = diagonal(18, n=2)
    with pytest.raises(InputError, match="unknown method 'magic'"):
        compare(system, ["magic"])
    with pytest.raises(InputError, match="no order"):
        compare(system, orders=[])
    with pytest.raises(InputError, match="crosscheck"):
        compare(system, crosscheck="maybe")  # type: ignore[arg-type]
    with pytest.raises(ToleranceError):
        compare(system, rtol=0.0)
    with pytest.raises(InputError, match="no states"):
        compare(StateSpace([], [], [], np.eye(2)))
    with pytest.raises(InputError, match="0 outputs"):
        compare(DiagonalStateSpace([0.5], np.ones((1, 2)), np.ones((0, 1))))
    with pytest.raises(InputError, match="path"):
        compare("model.safetensors")


def test_unstable_layers_are_refused_by_name() -> None:
    raw = s5_params(np.random.default_rng(19), 4, 2)
    raw["Lambda_re"][2] = 0.5
    with pytest.raises(StabilityError) as caught:
        compare(raw, conj_sym=True, discretization="zoh")
    assert "2" in str(caught.value)
    assert caught.value.poles.size == 1


def test_progress_counts_up_to_the_total() -> None:
    seen: list[tuple[int, int, str]] = []
    compare(diagonal(20, n=3), orders=[1], crosscheck="none", progress=lambda *state: seen.append(state))
    done = [state[0] for state in seen]
    assert done == sorted(done)
    assert seen[-1][0] == seen[-1][1]


def test_missing_matplotlib_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    comparison = compare(diagonal(21, n=2), ["modal"], [1], crosscheck="none")
    monkeypatch.setitem(__import__("sys").modules, "matplotlib", None)
    with pytest.raises(MissingDependencyError, match=r"ssmreduce\[plot\]"):
        comparison.plot()
    assert "No figure" in comparison.to_html()


def test_rows_say_which_value_of_a_method_they_are_about() -> None:
    values = [Balanced(condition_limit=1e9), "balanced", "modal"]
    comparison = compare(diagonal(22, n=3), values, [2], crosscheck="none")
    assert [row.method for row in comparison.rows] == ["balanced(condition_limit=1e9)", "balanced", "modal"]
    assert [METHODS.find(row.method) for row in comparison.rows] == [METHODS.find(value) for value in values]
    assert comparison.rows[0].parameters == {"condition_limit": 1e9}
    assert comparison.rows[1].parameters == {"condition_limit": METHODS["balanced"].condition_limit}
    again = Comparison.from_json(comparison.to_json())
    assert [row.parameters for row in again.rows] == [row.parameters for row in comparison.rows]


def test_no_row_has_an_error_above_its_bound(case: tuple[Any, Comparison]) -> None:
    _, comparison = case
    assert all(row.error.upper <= row.bound and row.looseness >= 1 for row in comparison.rows if row.error.upper)
    lone = compare(diagonal(23, n=3, m=1, p=1), ["modal"], [2], crosscheck="none", rtol=0.5).rows[0]
    assert lone.error.upper <= lone.bound  # one dropped pair: the bound is its norm, and the bracket is wide


def test_relative_error_takes_the_ends_that_make_it_a_bracket(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ssmreduce.analysis.hinf_norm", lambda system, rtol: Bracket(4.0, 8.0, 0.0, "open"))
    monkeypatch.setattr(module, "error_norm", lambda G, Gr, rtol: Bracket(1.0, 2.0, 0.3))
    row = compare(diagonal(24, n=3), ["modal"], [1], crosscheck="none").rows[0]
    assert row.relative_error.lower == pytest.approx(row.error.lower / 8.0, rel=1e-15)
    assert row.relative_error.upper == pytest.approx(row.error.upper / 4.0, rel=1e-15)
