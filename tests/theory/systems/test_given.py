"""Whatever stands for a system goes into every verb; what does not is refused with advice."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import ssmreduce
from theory.errors import DimensionError, InputError, TimeBaseError
from theory.reduction.balancing import balance
from theory.systems.discretization import discretize, undiscretize
from theory.systems.given import as_system
from theory.systems.realization import dense

A, B, C, D = np.array([[0.5, 0.1], [0.0, -0.25]]), np.eye(2)[:, :1], np.ones((1, 2)), np.array([[0.25]])
OURS = ssmreduce.StateSpace(A, B, C, D, dt=1.0)
DIAGONAL = ssmreduce.DiagonalStateSpace([0.5 + 0.25j, -0.25], [[1.0], [0.5]], [[1.0, 2j]])


class Foreign:
    """What a state space of SciPy or python-control looks like."""

    A, B, C, D, dt = A, B, C, D, True


class Layer:
    """What a trained layer looks like from here."""

    def __init__(self, system: Any) -> None:
        self.system = system


def plain(value: Any) -> Any:
    if isinstance(value, ssmreduce.Bracket):
        return value.to_dict()
    if hasattr(value, "bound"):
        return plain([value.bound, value.hsv, value.system])
    if isinstance(value, ssmreduce.StateSpace):
        return [value.A.tolist(), value.B.tolist(), value.C.tolist(), value.D.tolist(), value.dt]
    if isinstance(value, ssmreduce.DiagonalStateSpace):
        return [value.poles.tolist(), value.B.tolist(), value.C.tolist(), value.D.tolist(), value.dt]
    return [plain(item) for item in value] if isinstance(value, (list, tuple)) else np.asarray(value).tolist()


VERBS: dict[str, Callable[[Any], Any]] = {
    "hinf_norm": ssmreduce.hinf_norm,
    "linf_norm": ssmreduce.linf_norm,
    "h2_norm": ssmreduce.h2_norm,
    "hankel_singular_values": ssmreduce.hankel_singular_values,
    "error_norm": lambda system: ssmreduce.error_norm(system, system),
    "frequency_response": lambda system: ssmreduce.frequency_response(system, [0.0, 1.0]),
    "impulse_response": lambda system: ssmreduce.impulse_response(system, 4),
    "simulate": lambda system: ssmreduce.simulate(system, np.ones((4, 1))),
    "balanced_truncation": lambda system: ssmreduce.balanced_truncation(system, 1),
    "reduce": lambda system: ssmreduce.reduce(system, 1),
    "undiscretize": lambda system: undiscretize(system, "tustin"),
    "dense": dense,
}
DIAGONAL_VERBS: dict[str, Callable[[Any], Any]] = {
    "modal_truncation": lambda system: ssmreduce.modal_truncation(system, [0]),
}


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_takes_foreign_systems_and_layers(verb: str) -> None:
    wanted = plain(VERBS[verb](OURS))
    for given in (Foreign(), Layer(OURS)) if verb != "reduce" else (Foreign(),):
        assert plain(VERBS[verb](given)) == wanted


@pytest.mark.parametrize("verb", [*DIAGONAL_VERBS, *VERBS])
def test_every_verb_takes_a_layer_with_a_diagonal_system(verb: str) -> None:
    function = (VERBS | DIAGONAL_VERBS)[verb]
    if verb != "reduce":
        assert plain(function(Layer(DIAGONAL))) == plain(function(DIAGONAL))


@pytest.mark.parametrize("verb", [*VERBS, *DIAGONAL_VERBS])
@pytest.mark.parametrize("thing", [None, 3.0, "system", object(), np.eye(2), Layer(None), {"A": A}])
def test_anything_else_is_a_typed_error(verb: str, thing: Any) -> None:
    with pytest.raises(InputError):
        (VERBS | DIAGONAL_VERBS)[verb](thing)


def test_python_control_there_and_back() -> None:
    control = pytest.importorskip("control")
    for system in (OURS, ssmreduce.StateSpace(A - np.eye(2), B, C, D), ssmreduce.StateSpace([], [], [], D, dt=0.5)):
        theirs = system.to_control()
        assert isinstance(theirs, control.StateSpace)
        assert theirs.dt == (0 if system.dt is None else system.dt)
        assert plain(as_system(theirs)) == plain(system)
    paired = DIAGONAL.replace(delay=0, dt=0.5)
    z = np.exp(0.7j)
    wanted = ssmreduce.frequency_response(paired, 0.7)[0]
    assert np.allclose(np.atleast_2d(paired.to_control()(z)), wanted, rtol=1e-13)
    assert ssmreduce.hinf_norm(paired.to_control()).lower == pytest.approx(ssmreduce.hinf_norm(paired).lower, rel=1e-8)
    with pytest.raises(InputError, match="complex"):
        DIAGONAL.replace(conjugate_pairs=False).to_control()
    with pytest.raises(InputError, match="not causal"):
        DIAGONAL.replace(C_reverse=DIAGONAL.C).to_control()
    with pytest.raises(DimensionError, match="index it first"):
        ssmreduce.DiagonalStateSpace(np.zeros((2, 1)), np.ones((2, 1, 1)), np.ones((2, 1, 1))).to_control()


def test_time_bases_of_other_packages() -> None:
    for dt, wanted in ((0, None), (0.0, None), (True, 1.0), (0.1, 0.1), (None, None), (Fraction(1, 4), 0.25)):
        assert as_system(SimpleNamespace(A=A, B=B, C=C, D=D, dt=dt)).dt == wanted
    assert as_system(SimpleNamespace(A=A, B=B, C=C, D=D)).dt is None
    control = pytest.importorskip("control")
    with pytest.raises(TimeBaseError, match="leaves its time base open"):
        as_system(control.StateSpace(A, B, C, D, None))
    for dt in (False, -1.0, "fast", 10**400, float("nan"), 1j):
        with pytest.raises(TimeBaseError):
            as_system(SimpleNamespace(A=A, B=B, C=C, D=D, dt=dt))


def test_the_advice_can_be_followed() -> None:
    with pytest.raises(InputError, match="pass one of its layers"):
        ssmreduce.h2_norm(SimpleNamespace(layers=[1]))  # type: ignore[arg-type]
    with pytest.raises(InputError, match="rediagonalize"):
        ssmreduce.modal_truncation(OURS, [0])
    from theory.reduction.diagonalization import rediagonalize

    assert ssmreduce.modal_truncation(rediagonalize(OURS), [0]).order == 1


def test_shared_work_belongs_to_the_system_of_a_layer() -> None:
    layer = Layer(DIAGONAL)
    assert ssmreduce.balanced_truncation(layer, 1, balancing=balance(layer)).order == 1


def test_discretize_takes_foreign_systems_in_continuous_time() -> None:
    foreign = SimpleNamespace(A=A - np.eye(2), B=B, C=C, D=D, dt=0)
    wanted = discretize(ssmreduce.StateSpace(A - np.eye(2), B, C, D), 0.5, "bilinear")
    assert plain(discretize(foreign, 0.5, "tustin")) == plain(wanted)
