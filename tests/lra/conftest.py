"""Shared pieces of the tests of lra; without jax and flax the whole folder is skipped."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

# The models here are tiny and compile far longer than they run; the processes that tests start inherit this.
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false")

collect_ignore_glob: list[str] = []
try:
    import flax  # noqa: F401
    import jax
    import optax  # noqa: F401
except ImportError:  # the lra extra is not installed
    collect_ignore_glob = ["test_*.py"]
else:
    # The same run again, or resumed, is not compiled again; in this process alone: two that write at once are not safe.
    _compiled = tempfile.TemporaryDirectory(prefix="ssmreduce-compiled-")
    jax.config.update("jax_compilation_cache_dir", _compiled.name)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    # The processes that it starts read what it has compiled. They write nothing: no compilation takes so long.
    os.environ["JAX_COMPILATION_CACHE_DIR"] = _compiled.name
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "1000000"

GOLDEN = Path(__file__).parents[1] / "golden"

S5_OPTIONS: dict[str, dict[str, Any]] = {
    "s5_tiny_trunc_halfglu1_standard": {"C_init": "trunc_standard_normal", "activation": "half_glu1"},
    "s5_tiny_complex_fullglu_standard_dtglobal_clip": {
        "C_init": "complex_normal",
        "activation": "full_glu",
        "clip_eigs": True,
    },
}
TINY = {"d_model": 6, "n_layers": 2, "P": 4, "d_input": 5, "n_classes": 3, "bidirectional": True, "bn_momentum": 0.9}


class GoldenFile:
    """One npz of figures made with the reference code."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.arrays = dict(np.load(GOLDEN / f"{name}.npz", allow_pickle=False))

    def __getitem__(self, key: str) -> np.ndarray:
        return self.arrays[key]

    def tree(self, prefix: str) -> dict[str, Any]:
        """Arrays under a prefix, as nested dicts."""
        from lra.checkpoint import nest

        return nest({key[len(prefix) :]: value for key, value in self.arrays.items() if key.startswith(prefix)})

    @property
    def variables(self) -> dict[str, Any]:
        return {"params": self.tree("params/"), "batch_stats": self.tree("batch_stats/")}

    @property
    def options(self) -> dict[str, Any]:
        return {**TINY, **S5_OPTIONS[self.name]}


@pytest.fixture(params=sorted(S5_OPTIONS))
def golden(request: pytest.FixtureRequest) -> GoldenFile:
    return GoldenFile(request.param)


@pytest.fixture
def smoke() -> Any:
    """A digits run of about a second: one layer, three epochs of three steps, with dropout."""
    from lra.config import load_config

    return load_config(
        "digits",
        {
            "epochs": 3,
            "warmup_epochs": 1,
            "train_limit": 150,
            "validation_limit": 30,
            "n_layers": 1,
            "d_model": 8,
            "ssm_size": 8,
            "dropout": 0.1,
            "log_every": 1,
            "checkpoint_every": 2,
        },
    )


@pytest.fixture
def golden_file() -> type[GoldenFile]:
    return GoldenFile


@pytest.fixture
def golden_folder() -> Path:
    return GOLDEN


@pytest.fixture(scope="session")
def swept_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("sweep")


@pytest.fixture(scope="session")
def swept(swept_folder: Path) -> Any:
    """The sweep of `sweep_cases`, in its folder."""
    from sweep_cases import CHECKPOINT, SMALL

    from lra.sweep import sweep

    return sweep(CHECKPOINT, **SMALL, folder=swept_folder)
