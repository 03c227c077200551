"""Ask another program, and turn whatever happens into an opinion."""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable

from ssmreduce.comparison.referee import judged
from ssmreduce.results import FAILED, NOT_AVAILABLE, Opinion
from theory.errors import MissingDependencyError, SSMReduceError
from theory.norms.bracket import Bracket
from theory.systems.system import System

TOLERANCE = 1e-10
"""What other programs are asked for, relative: far tighter than our brackets are wide, near the best they can do."""


def asked(
    source: str,
    system: System,
    ours: Bracket,
    tolerance: float,
    ask: Callable[[], tuple[float, float]],
    packages: tuple[str, ...],
) -> Opinion:
    """Run one program, and turn whatever happens into an opinion."""
    start = time.perf_counter()
    try:
        for package in packages:
            importlib.import_module(package)
        start = time.perf_counter()
        value, frequency = ask()
    except ImportError as error:
        return not_installed(source, error, packages)
    except SSMReduceError as error:  # ours: there is nothing to hand over
        return Opinion(source=source, verdict=NOT_AVAILABLE, detail=str(error))
    except Exception as error:  # other people's programs raise what they like; their failure is their verdict
        detail = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        return Opinion(source=source, verdict=FAILED, detail=detail, seconds=time.perf_counter() - start)
    return judged(source, system, value, frequency, ours, tolerance, time.perf_counter() - start)


def not_installed(source: str, error: ImportError, packages: tuple[str, ...]) -> Opinion:
    """The opinion of a program that is not there: what to install."""
    missing = getattr(error, "name", None) or ", ".join(packages)
    advice = error if isinstance(error, MissingDependencyError) else MissingDependencyError(str(missing), "control")
    return Opinion(source=source, verdict=NOT_AVAILABLE, detail=str(advice))
