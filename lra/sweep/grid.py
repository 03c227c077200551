"""What is swept: methods x allocations x ratios x seeds, checked before anything runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from itertools import product
from typing import NamedTuple

from lra.errors import ConfigError
from lra.sweep.whole_models import WHOLE_MODELS
from ssmreduce import ALLOCATIONS, METHODS
from ssmreduce.methods.named import split_names
from theory.errors import InputError

OWN = "own"
"""Each method's own default allocation: a choice that mixes two effects, and is printed as such."""
WHOLE_MODEL = "whole model"
"""What stands for the allocation of a method that spreads the budget itself."""
DEFAULT_ALLOCATION = "uniform"
"""One for all methods: it needs no data, and starves no layer."""
RECORDED = ("inputs", "lengths", "gradients")
"""What a sweep can give to a method that needs data."""
MOST_RATIOS = 1000
"""A range with more steps than this is a slip of the pen."""


class Point(NamedTuple):
    """One row of the sweep before it is measured."""

    method: str
    allocation: str
    ratio: float
    seed: int


@dataclass(frozen=True, kw_only=True)
class Grid:
    """All points, in the order in which they are listed."""

    points: tuple[Point, ...]

    @classmethod
    def of(
        cls,
        ratios: str | Sequence[float],
        methods: str | Sequence[str],
        allocations: str | Sequence[str] = (DEFAULT_ALLOCATION,),
        seeds: int = 1,
    ) -> Grid:
        """Check what was asked for.

        Raises
        ------
        ConfigError
            Says what is wrong, and what there is.
        """
        if isinstance(seeds, bool) or not isinstance(seeds, int) or seeds < 1:
            raise ConfigError(f"seeds is how many, at least 1; got {seeds!r}")
        removed, rules = checked_ratios(ratios), _checked_allocations(allocations)
        points = []
        for method in _checked_methods(methods):
            own_rules = (WHOLE_MODEL,) if is_of_whole_models(method) else rules
            points += [
                Point(method, rule, ratio, seed)
                for rule, ratio, seed in product(own_rules, removed, range(seeds if draws(method) else 1))
            ]
        return cls(points=tuple(points))


def is_of_whole_models(method: str) -> bool:
    """Whether a method reduces the whole model, rather than one layer after the other."""
    return method.partition("(")[0] in WHOLE_MODELS


def draws(method: str) -> bool:
    """Whether the result depends on a seed: poles are drawn, or the examples that something is fitted to."""
    if is_of_whole_models(method):
        return True
    chosen = METHODS.find(method)
    return "seed" in chosen.takes or "inputs" in chosen.takes


def checked_ratios(ratios: str | Sequence[float]) -> tuple[float, ...]:
    """Ratios, ascending and each once; of ``start:stop:step`` the end belongs to it, and decimals stay decimals.

    Raises
    ------
    ConfigError
    """
    try:
        values = _parsed(ratios) if isinstance(ratios, str) else [float(ratio) for ratio in ratios]
    except (TypeError, ValueError, InvalidOperation):
        raise ConfigError(
            f"ratios are numbers with commas between, or start:stop:step as in 0.1:0.9:0.1; got {ratios!r}"
        ) from None
    if not values:
        raise ConfigError(f"there is no ratio in {ratios!r}")
    for value in values:
        if not 0 <= value < 1:
            hint = f"; for {value:g} percent give {value / 100:g}" if 1 < value < 100 else ""
            raise ConfigError(f"a ratio is the fraction of states to remove, 0 <= ratio < 1, got {value:g}{hint}")
    return tuple(sorted(set(values)))


def _parsed(text: str) -> list[float]:
    values = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        if ":" not in part:
            values.append(float(part))
            continue
        start, stop, step = (Decimal(number) for number in part.split(":"))
        if not (step > 0 and start <= stop and (stop - start) / step <= MOST_RATIOS):
            raise ValueError(part)
        values += [float(start + k * step) for k in range(int((stop - start) / step) + 1)]
    return values


def _checked_methods(methods: str | Sequence[str]) -> tuple[str, ...]:
    names = []
    for text in _listed(methods, "method"):
        try:
            chosen = (WHOLE_MODELS if is_of_whole_models(text) else METHODS).find(text)
        except InputError as error:
            more = f"; of whole models: {', '.join(WHOLE_MODELS)}" if "unknown method" in str(error) else ""
            raise ConfigError(f"{error}{more}") from None
        lacking = [name for name in getattr(chosen, "requires", ()) if name not in RECORDED]
        if lacking:
            raise ConfigError(f"the method {chosen.name!r} needs {', '.join(lacking)}, which a sweep does not have")
        names.append(chosen.name)
    return tuple(dict.fromkeys(names))


def _checked_allocations(allocations: str | Sequence[str]) -> tuple[str, ...]:
    names = []
    for text in _listed(allocations, "allocation"):
        try:
            names.append(OWN if text == OWN else ALLOCATIONS.find(text).name)
        except InputError as error:
            raise ConfigError(f"{error}; and {OWN!r}, each method's default") from None
    return tuple(dict.fromkeys(names))


def _listed(names: str | Sequence[str], what: str) -> list[str]:
    found = split_names(names) if isinstance(names, str) else [str(name) for name in names]
    if not found:
        raise ConfigError(f"name at least one {what}")
    return found
