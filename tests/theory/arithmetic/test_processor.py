"""Which instructions round here: what tests/other_processor.py asks for is what runs."""

from __future__ import annotations

import os

import pytest
from other_processor import NAMES, features, kernels, others


@pytest.mark.skipif("OPENBLAS_CORETYPE" not in os.environ, reason="no kernel was asked for")
def test_both_libraries_run_the_kernel_that_was_asked_for() -> None:
    asked = os.environ["OPENBLAS_CORETYPE"]
    running = kernels()
    for package in ("numpy", "scipy"):  # each brings an OpenBLAS of its own
        mine = {str(kernel).lower() for path, kernel in running.items() if f"{package}.libs" in path}
        assert mine
        assert mine <= {name.lower() for name in NAMES.get(asked, {asked})}, running


@pytest.mark.skipif("NPY_DISABLE_CPU_FEATURES" not in os.environ, reason="no feature was switched off")
def test_numpy_leaves_the_features_alone_that_were_switched_off() -> None:
    assert not set(features()) & set(os.environ["NPY_DISABLE_CPU_FEATURES"].split())


@pytest.mark.skipif(not kernels(), reason="no OpenBLAS")
def test_there_is_another_kernel_to_run() -> None:
    assert others()
    assert not set(others()) & set(kernels().values())
