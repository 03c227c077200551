"""Hypothesis profiles (HYPOTHESIS_PROFILE = dev, ci, nightly; only nightly draws new systems), a seeded generator."""

from __future__ import annotations

import os

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

pytest.register_assert_rewrite("contract_cases", "contract_laws")  # they assert outside of a test file

_SLOW_OK = [HealthCheck.too_slow, HealthCheck.data_too_large]
settings.register_profile("dev", max_examples=15, deadline=None, suppress_health_check=_SLOW_OK, derandomize=True)
settings.register_profile("ci", max_examples=40, deadline=None, suppress_health_check=_SLOW_OK, derandomize=True)
settings.register_profile("nightly", max_examples=2000, deadline=None, suppress_health_check=_SLOW_OK)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "dev"))


@pytest.fixture
def rng(request: pytest.FixtureRequest) -> np.random.Generator:
    """A generator seeded by the name of the test: the same numbers in every run and after a move of its file."""
    return np.random.default_rng(list(request.node.name.encode()))
