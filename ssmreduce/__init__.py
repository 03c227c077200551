"""Trained state space layer in, smaller layer and proof out.

>>> import ssmreduce
>>> model = ssmreduce.load("model.safetensors")        # doctest: +SKIP
>>> print(ssmreduce.compare(model.layers[0]))          # doctest: +SKIP
>>> smaller = ssmreduce.reduce_model(model, ratio=0.5)  # doctest: +SKIP
"""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any

__version__ = "0.1.0"

# name -> module that defines it; modules load on first use, so that ``import ssmreduce`` costs nothing optional
_WHERE = {
    # systems theory
    "StateSpace": "theory.systems.system",
    "DiagonalStateSpace": "theory.systems.system",
    "Bracket": "theory.norms.bracket",
    "hinf_norm": "theory.norms",
    "linf_norm": "theory.norms",
    "band_norm": "theory.norms.band",
    "error_norm": "theory.norms",
    "h2_norm": "theory.gramians.h2",
    "hankel_singular_values": "theory.gramians.hankel",
    "frequency_response": "theory.systems.response",
    "impulse_response": "theory.systems.simulation",
    "simulate": "theory.systems.simulation",
    "balanced_truncation": "theory.reduction.balanced_truncation",
    "causal_part": "theory.systems.realization",
    "anticausal_part": "theory.systems.realization",
    "modal_truncation": "theory.reduction.modal_truncation",
    "stable_part": "theory.systems.stable_part",
    "dc_gain": "theory.systems.dc_gain",
    "minimal": "theory.reduction.realizations",
    "balanced_realization": "theory.reduction.realizations",
    "diagonalize": "theory.reduction.diagonalization",
    # layers and models
    "SSMLayer": "ssmreduce.layers.layer",
    "layer_from_params": "ssmreduce.layers.params",
    "read_layers": "ssmreduce.layers.params",
    "as_layer_or_system": "ssmreduce.layers.params",
    "Model": "ssmreduce.files.model",
    "load": "ssmreduce.files.loading",
    "save": "ssmreduce.files.saving",
    "save_recording": "ssmreduce.files.recordings",
    "load_recording": "ssmreduce.files.recordings",
    "SavedRecording": "ssmreduce.files.recordings",
    # reduction
    "METHODS": "ssmreduce.methods.registry",
    "Method": "ssmreduce.methods.registry",
    "Selection": "ssmreduce.methods.selection",
    "Balanced": "ssmreduce.methods.balanced",
    "Residualized": "ssmreduce.methods.residualized",
    "Refit": "ssmreduce.methods.refit",
    "HankelNorm": "ssmreduce.methods.hankel_norm",
    "H2": "ssmreduce.methods.h2",
    "Hinf": "ssmreduce.methods.hinf",
    "Irka": "ssmreduce.methods.irka",
    "Mixed": "ssmreduce.methods.hinf",
    "Modal": "ssmreduce.methods.modal",
    "Last": "ssmreduce.methods.last",
    "Aire": "ssmreduce.methods.aire",
    "Lamp": "ssmreduce.methods.lamp",
    "TimeLimited": "ssmreduce.methods.time_limited",
    "FrequencyLimited": "ssmreduce.methods.frequency_limited",
    "Weighted": "ssmreduce.methods.weighted",
    "Empirical": "ssmreduce.methods.empirical",
    "EmpiricalSelection": "ssmreduce.methods.empirical_selection",
    "Magnitude": "ssmreduce.methods.magnitude",
    "Random": "ssmreduce.methods.random",
    "ALLOCATIONS": "ssmreduce.methods.allocation",
    "Allocation": "ssmreduce.methods.allocation",
    "Uniform": "ssmreduce.methods.allocations.uniform",
    "GlobalThreshold": "ssmreduce.methods.allocations.global_threshold",
    "HankelTails": "ssmreduce.methods.allocations.hankel_tails",
    "Measured": "ssmreduce.methods.allocations.measured",
    "Remark": "theory.reduction.balancing",
    "Reduction": "ssmreduce.reduction",
    "last_scores": "ssmreduce.methods.scores",
    "state_scores": "ssmreduce.methods.scores",
    "released_threshold": "ssmreduce.methods.scores",
    "ReleasedThreshold": "ssmreduce.methods.scores",
    "allocate": "ssmreduce.methods.allocation",
    "reduce": "ssmreduce.reduction",
    "reduce_model": "ssmreduce.reduced_model",
    # whole models from what they see
    "Network": "ssmreduce.network",
    "Parts": "ssmreduce.network",
    "Pass": "ssmreduce.network",
    "Recipe": "ssmreduce.recorded.recipe",
    "Search": "ssmreduce.recorded.search",
    "Outcome": "ssmreduce.recorded.outcome",
    "Stage": "ssmreduce.recorded.outcome",
    # analysis and comparison
    "analyze": "ssmreduce.analysis",
    "Analysis": "ssmreduce.analysis",
    "compare": "ssmreduce.comparison.compare",
    "Comparison": "ssmreduce.comparison.comparison",
    "Choice": "ssmreduce.comparison.comparison",
    "ComparisonInterrupted": "ssmreduce.comparison.comparison",
    "Row": "ssmreduce.results",
    "Opinion": "ssmreduce.results",
    "crosscheck": "ssmreduce.comparison.second_opinions",
    "SecondOpinions": "ssmreduce.comparison.second_opinions",
    "shipped_checkpoint": "ssmreduce.files.shipped",
    # errors
    "SSMReduceError": "theory.errors",
    "InputError": "theory.errors",
    "DimensionError": "theory.errors",
    "TimeBaseError": "theory.errors",
    "StabilityError": "theory.errors",
    "OrderError": "theory.errors",
    "ToleranceError": "theory.errors",
    "ConvergenceError": "theory.errors",
    "AccuracyError": "theory.errors",
    "MissingDependencyError": "theory.errors",
    "OptionError": "ssmreduce.layers.options",
    "CheckpointError": "ssmreduce.files.errors",
    "CheckpointIOError": "ssmreduce.files.errors",
}

__all__ = ["__version__", *_WHERE]


def _own_theory() -> None:
    """Say so plainly if another top-level module named ``theory`` shadows ours."""
    theory = importlib.import_module("theory")
    if not hasattr(theory, "__path__") or importlib.util.find_spec("theory.systems") is None:
        where = getattr(theory, "__file__", theory)
        raise ImportError(
            f"ssmreduce needs its own package 'theory', but {where} comes first on sys.path; rename or move that one"
        )


def __getattr__(name: str) -> Any:
    if name in _WHERE:
        value = getattr(importlib.import_module(_WHERE[name]), name)
    else:
        value = _registered(name)
    if not isinstance(value, type(importlib)):
        globals()[name] = value
    return value


def _registered(name: str) -> Any:
    """Class of a method or allocation that is a file of its folder, and not in the table above."""
    if name[:1].isupper():
        for values in (__getattr__("METHODS"), __getattr__("ALLOCATIONS")):
            for value in values.values():
                if type(value).__name__ == name:
                    return type(value)
    raise AttributeError(f"module 'ssmreduce' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


_own_theory()
