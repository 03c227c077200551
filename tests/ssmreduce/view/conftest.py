"""Comparisons that the tests of table, figure and report look at."""

from __future__ import annotations

import numpy as np
import pytest
from layer_cases import s5_params

from ssmreduce import Comparison, compare, layer_from_params


@pytest.fixture(scope="package")
def comparison() -> Comparison:
    raw = s5_params(np.random.default_rng(1), 6, 2)
    return compare(raw, orders=[2, 4], conj_sym=True, discretization="zoh", crosscheck="none")


@pytest.fixture(scope="package")
def report(comparison: Comparison) -> str:
    return comparison.to_html()


@pytest.fixture(scope="package")
def others() -> list[Comparison]:
    raw = s5_params(np.random.default_rng(2), 4, 2, bidirectional="C1C2")
    layer = layer_from_params(raw, conj_sym=True, discretization="zoh", name="enc")
    one = layer.system.keep([0]).replace(C_reverse=None)
    continuous = one.replace(poles=np.array([-1.0 + 2.0j]), dt=None, delay=1)
    return [
        compare(layer, ["modal"], [2], crosscheck="none"),
        compare(one, crosscheck="none"),
        compare(continuous, ["balanced"], crosscheck="none"),
    ]
