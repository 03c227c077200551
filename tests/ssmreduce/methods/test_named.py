"""Names of values: written short, read back, and nothing in them is executed."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import ssmreduce
from ssmreduce import ALLOCATIONS, METHODS, Balanced, GlobalThreshold, Last, Method, Random, Uniform
from ssmreduce.methods.named import literal, split_names
from theory.errors import InputError
from theory.systems.system import StateSpace

limits = st.floats(1, allow_infinity=True, allow_nan=False)


@given(limits)
def test_a_name_with_parameters_is_read_back(limit: float) -> None:
    value = Balanced(condition_limit=limit)
    assert METHODS.find(value.name) == value
    assert METHODS.find(value) is value
    assert METHODS.find(f" {value.name} ") == value


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(), st.tuples))
def test_plain_parameters_are_read_back(value: Any) -> None:
    import ast

    assert ast.literal_eval(literal(value)) == value


@pytest.mark.parametrize("registry", [METHODS, ALLOCATIONS], ids=["methods", "allocations"])
def test_registered_values_have_their_short_names(registry: Any) -> None:
    for name, value in registry.items():
        assert value.name == name
        assert registry.find(name) == registry.find(f"{name}()") == value
        assert value.summary.endswith(".")
        assert hash(value) == hash(registry.find(name))
    assert sorted(registry, key=lambda name: (registry[name].rank, name)) == list(registry)


def test_what_differs_from_the_closest_registered_value_is_told() -> None:
    assert Balanced(condition_limit=1e12).name == "balanced(condition_limit=1e12)"
    assert Balanced(condition_limit=1000).name == "balanced(condition_limit=1000)"
    assert Last(variant="released").name == "last_released"
    assert METHODS.find("last_released(variant='paper')").name == "last"
    assert GlobalThreshold(criterion="hinf").name == "hinf"
    assert ssmreduce.allocate  # the names are public
    assert Uniform() == ALLOCATIONS["uniform"]


def test_parameters_that_no_text_can_hold_have_a_digest() -> None:
    weight = StateSpace([[0.5]], [[1.0]], [[1.0]], dt=1.0)
    other = StateSpace([[0.5]], [[1.0]], [[2.0]], dt=1.0)
    assert literal(weight) == literal(StateSpace([[0.5]], [[1.0]], [[1.0]], dt=1.0)) != literal(other)
    assert literal(np.arange(3)) != literal(np.arange(3.0))


@dataclass(frozen=True, kw_only=True)
class OddMethod(Method):
    """Not registered."""

    steps: int = 3
    exact: bool = False
    start: str = "balanced"
    title = "odd"

    def truncate(self, source: Any, order: int) -> Any:
        raise NotImplementedError


def test_a_value_need_not_be_registered() -> None:
    assert OddMethod().name == "odd_method"
    assert OddMethod(steps=5).name == "odd_method(steps=5)"
    assert METHODS.find(OddMethod()) == OddMethod()
    assert "odd_method" not in METHODS


@pytest.mark.parametrize(
    ("parameters", "hint"),
    [
        ({"steps": 2.5}, "whole number"),
        ({"steps": True}, "whole number"),
        ({"exact": 1}, "True or False"),
        ({"start": 3}, "a text"),
    ],
)
def test_parameters_have_their_types(parameters: dict[str, Any], hint: str) -> None:
    with pytest.raises(InputError, match=f"OddMethod: {next(iter(parameters))}.*{hint}"):
        OddMethod(**parameters)


def repr_of(value: Any) -> str:
    return repr(value)[:8]


@pytest.mark.parametrize("limit", [0.5, math.nan, "1e8", None, True, 10**400], ids=repr_of)
def test_a_condition_limit_is_a_condition_number(limit: Any) -> None:
    with pytest.raises(InputError, match="condition_limit"):
        Balanced(condition_limit=limit)


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("best", "unknown method 'best'.*balanced, aire"),
        ("balanced(", "unknown method"),
        ("", "unknown method"),
        ("balanced(1e12)", "go by name"),
        ("balanced(limit=1)", "no parameter 'limit'.*condition_limit"),
        ("magnitude(limit=1)", "it has none"),
        ("balanced(condition_limit=10**3)", "is a number, a text"),
        ("balanced(condition_limit=open('x'))", "is a number, a text"),
        ("balanced(**{})", "is a number, a text"),
        ("last(variant='draft')", "'paper', 'released'"),
        ("os.remove('x')", "unknown method"),
        ("(" * 5000, "unknown method"),
        ("balanced(condition_limit=" + "-" * 5000 + "1)", "unknown method|is a number"),
    ],
)
def test_texts_that_name_nothing_are_refused(text: str, hint: str) -> None:
    with pytest.raises(InputError, match=hint):
        METHODS.find(text)


def test_things_that_are_no_method_are_refused() -> None:
    with pytest.raises(InputError, match=r"is a class; pass a value of it: Balanced\(\)"):
        METHODS.find(Balanced)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="got int"):
        METHODS.find(3)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="there is a method 'balanced' already"):
        METHODS.register("balanced", Random())
    with pytest.raises(InputError, match="identifier"):
        METHODS.register("my-method", Random())
    with pytest.raises(InputError, match="must be a Method"):
        METHODS.register("uniform", Uniform())  # type: ignore[arg-type]


def test_lists_split_outside_brackets_only() -> None:
    assert split_names("balanced(condition_limit=1e12, x=(1,2)), last ,,modal") == [
        "balanced(condition_limit=1e12, x=(1,2))",
        "last",
        "modal",
    ]


def test_data_goes_to_the_methods_that_take_it() -> None:
    system = ssmreduce.DiagonalStateSpace([0.5, 0.2], np.ones((2, 1)), np.ones((1, 2)))
    with pytest.raises(InputError, match="seeds"):
        ssmreduce.reduce(system, 1, method="random", seeds=3)
    with pytest.raises(InputError, match="takes no seed"):
        METHODS["balanced"].reduce(system, order=1, seed=3)

    @dataclass(frozen=True, kw_only=True)
    class Recorded(Balanced):
        """Needs recorded inputs."""

        takes = ("inputs",)
        requires = ("inputs",)

        def truncate(self, source: Any, order: int, inputs: Any = None) -> Any:
            assert inputs == "u"
            return super().truncate(source, order)

    assert ssmreduce.reduce(system, 1, method=Recorded(), inputs="u").order == 1
    assert ssmreduce.compare(system, [Recorded(), "last"], [1], crosscheck="none", inputs="u").rows[0].order == 1
    with pytest.raises(InputError, match="'recorded' needs inputs"):
        ssmreduce.reduce(system, 1, method=Recorded())
