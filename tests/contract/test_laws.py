"""Every method x every kind of layer and system x every law. A new method is one file in ``ssmreduce/methods``."""

from __future__ import annotations

import re

import pytest
from contract_cases import CHOSEN, KINDS, NAMES, applies, orders, reductions, run
from contract_laws import cases

from ssmreduce.methods.registry import METHODS
from ssmreduce.reduction import reduce
from theory.errors import InputError


@pytest.mark.parametrize(("law", "method", "kind"), cases())
def test_law(law, method, kind):
    law(method, kind)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("method", NAMES)
def test_what_a_method_does_not_apply_to_it_refuses_with_the_reason(method, kind):
    if applies(method, kind):
        METHODS.find(method).applies(KINDS[kind])
        return
    name, needed = re.escape(METHODS.find(method).name), "a diagonal system|a dense system|discrete time|scalar systems"
    with pytest.raises(InputError, match=f"{name}.* needs ({needed})"):
        run(method, kind, 2)


@pytest.mark.parametrize("method", CHOSEN)
def test_what_needs_a_parameter_says_which_and_how(method):
    (lacking,) = METHODS[method].requires
    for order in ({"order": 2}, {"rtol": 0.1}):
        with pytest.raises(InputError, match=f"'{method}' needs .*{lacking}") as caught:
            reduce(KINDS["S5"], method=method, **order)
        (written,) = re.findall(r'method="(.*?)"', str(caught.value))
        assert reduce(KINDS["S5"], method=written, **order).method == METHODS.find(written).name
    assert not METHODS.find(CHOSEN[method][0]).requires


@pytest.mark.parametrize("method", [name for name, value in METHODS.items() if value.parameters()])
def test_parameters_are_no_keywords_and_the_error_says_where_they_go(method):
    for parameter in METHODS[method].parameters():
        with pytest.raises(InputError, match=re.escape(f'method="{method}({parameter}=...)"')):
            reduce(KINDS["S5"], 2, method=method, **{parameter: 1})


def test_no_law_holds_for_want_of_cases():
    for kind in KINDS:
        assert {order for order, _ in reductions("balanced", kind)} >= {0, orders(kind)[-1]}


def test_random_draws_keep_and_drop_every_state():
    kept = [set(reduce(KINDS["S5"], 3, method="random", seed=seed).diagnostics["kept"]) for seed in range(40)]
    assert set.union(*kept) == set(range(6))
    assert set.intersection(*kept) == set()
