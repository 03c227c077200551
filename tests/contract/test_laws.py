"""Every method x every kind of layer and system x every law. A new method is one file in ``ssmreduce/methods``."""

from __future__ import annotations

import pytest
from contract_cases import KINDS, applies, orders, reductions, run
from contract_laws import cases

from ssmreduce.methods.registry import METHODS
from ssmreduce.reduction import reduce
from theory.errors import InputError


@pytest.mark.parametrize(("law", "method", "kind"), cases())
def test_law(law, method, kind):
    law(method, kind)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("method", METHODS)
def test_what_a_method_does_not_apply_to_it_refuses_with_the_reason(method, kind):
    if applies(method, kind):
        METHODS[method].applies(KINDS[kind])
        return
    with pytest.raises(InputError, match=f"{method}.* needs (a diagonal system|discrete time|scalar systems)"):
        run(method, kind, 2)


def test_no_law_holds_for_want_of_cases():
    for kind in KINDS:
        assert {order for order, _ in reductions("balanced", kind)} >= {0, orders(kind)[-1]}


def test_random_draws_keep_and_drop_every_state():
    kept = [set(reduce(KINDS["S5"], 3, method="random", seed=seed).diagnostics["kept"]) for seed in range(40)]
    assert set.union(*kept) == set(range(6))
    assert set.intersection(*kept) == set()
