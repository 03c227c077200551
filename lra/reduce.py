"""A whole model reduced from recorded inputs: ``python -m lra reduce``.

Examples come from the training split, unlabelled: half of those asked for are fitted, the other half judge. Test
examples and labels are never looked at.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping, MutableMapping
from pathlib import Path
from typing import Any

import numpy as np

import ssmreduce
from lra.clipping import clipping_effect, clipping_told, load_stable
from lra.errors import ConfigError
from lra.unlabelled import network_of
from ssmreduce.files.record import after_reduction
from ssmreduce.files.writing import write_files
from ssmreduce.methods.allocation import budget_of
from ssmreduce.recorded.outcome import Outcome
from ssmreduce.recorded.recipe import Recipe
from ssmreduce.recorded.search import Report, Search

METHOD = "recorded"
"""The whole recipe; any other name is a method of :data:`ssmreduce.METHODS` that needs no data."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Request:
    """What to reduce to, and from what; one of `ratio`, `budget` and `max_change`.

    Attributes
    ----------
    ratio : float, optional
        Fraction of the stored states to remove.
    budget : int, optional
        States to keep.
    max_change : float, optional
        The fewest states that change at most this part of the held-out predictions.
    examples : int, optional
        Of the training split; half are fitted, half judge. Left out: :func:`lra.unlabelled.usual_examples`.
    decoder_examples : int, optional
        Further ones, on which all layers at once, norms and decoder of the chosen model are fitted again
        (:attr:`Recipe.further`). Left out: :func:`lra.unlabelled.usual_further`.
    recipe : Recipe
    """

    ratio: float | None = None
    budget: int | None = None
    max_change: float | None = None
    examples: int | None = None
    decoder_examples: int | None = None
    recipe: Recipe = dataclasses.field(default_factory=Recipe)

    def __post_init__(self) -> None:
        if sum(size is not None for size in (self.ratio, self.budget, self.max_change)) != 1:
            raise ConfigError("give one of --ratio (states to remove), --budget (states to keep) and --max-change")
        if self.ratio is not None and not 0 <= self.ratio < 1:
            raise ConfigError(f"--ratio is the fraction of states to remove, 0 <= ratio < 1, got {self.ratio}")
        if self.examples is not None and self.examples < 4:
            raise ConfigError(f"--examples must be at least 4, got {self.examples}")
        if self.decoder_examples is not None and self.decoder_examples < 0:
            raise ConfigError(f"--decoder-examples must be at least 0, got {self.decoder_examples}")


def reduce_checkpoint(
    path: str | Path,
    output: str | Path,
    request: Request,
    *,
    data: str | None = None,
    clip_eigs: bool = False,
    report: Report | None = None,
) -> tuple[Outcome, dict[str, Any]]:
    """Reduce an exported model and write it as ``NAME.safetensors`` and ``NAME.json``; return what was found.

    Measured effects of layers are kept in ``NAME.partial.json`` while the search goes on: the same command started
    again goes on from there. `clip_eigs` is for models with unstable poles (:mod:`lra.clipping`).

    Raises
    ------
    CheckpointError, DataError, ConfigError, StabilityError, OrderError, ToleranceError, ConvergenceError
    """
    output = Path(output)
    if output.suffix != ".safetensors":
        output = output.with_name(output.name + ".safetensors")
    if not output.parent.is_dir():
        raise ConfigError(f"the folder {output.parent} is not there: make it first")
    model = load_stable(path, clip_eigs)
    recipe = request.recipe
    wanted = recipe.norms or recipe.decoder or recipe.together
    network, told = network_of(model, data, request.examples, request.decoder_examples if wanted else 0, recipe.seed)
    partial = Partial(output.with_name(output.stem + ".partial.json"), _key(Path(path), request, told))
    told |= clipping_effect(path, network)
    recipe = dataclasses.replace(recipe, further=told["further"])
    search = Search(network, recipe, report, partial)
    if request.max_change is not None:
        outcome = search.smallest(request.max_change)
    else:
        budget = request.budget
        if budget is None:
            budget = budget_of(search.network_states, request.ratio or 0.0, len(model.layers))
        outcome = search.reduce(budget)
    record = _record(model, outcome, dataclasses.replace(request, recipe=recipe), told)
    ssmreduce.save(network.with_parts(outcome.parts).with_training(after_reduction(model.training, record)), output)
    if not outcome.interrupted:
        partial.remove()
    return outcome, record


def _record(model: ssmreduce.Model, outcome: Outcome, request: Request, told: Mapping[str, Any]) -> dict[str, Any]:
    """What the file says about this reduction: every step and its data."""
    wholes, smalls = model.layers, outcome.parts.layers
    return outcome.record(wholes) | {
        "ratio": request.ratio,
        "budget": request.budget,
        "max_change": request.max_change,
        "seed": request.recipe.seed,
        "certified_errors": [_certified(whole, small) for whole, small in zip(wholes, smalls, strict=True)],
        "recipe": dataclasses.asdict(request.recipe),
        "data": dict(told),
    }


def _certified(whole: ssmreduce.SSMLayer, small: ssmreduce.SSMLayer) -> list[float]:
    """Bracket of the layer's error for all inputs, the largest over the channels of S4D."""
    if small is whole:
        return [0.0, 0.0]
    bracket = ssmreduce.error_norm(whole.system, small.system, rtol=1e-2)
    return [float(np.max(bracket.lower)), float(np.max(bracket.upper))]


class Partial(MutableMapping[str, float]):
    """Measured effects, written whole to a file whenever one is added; those of another request are not read."""

    def __init__(self, path: Path, key: str) -> None:
        self.path, self.key = path, key
        self.values_: dict[str, float] = {}
        try:
            held = json.loads(path.read_text(encoding="utf-8"))
            if held["key"] == key:
                self.values_ = {str(name): float(value) for name, value in held["effects"].items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            pass  # none, or damaged: it is measured again

    def __getitem__(self, name: str) -> float:
        return self.values_[name]

    def __setitem__(self, name: str, value: float) -> None:
        self.values_[name] = value
        plain = {key: value if np.isfinite(value) else str(value) for key, value in self.values_.items()}
        write_files({self.path: (json.dumps({"key": self.key, "effects": plain}) + "\n").encode()})

    def __delitem__(self, name: str) -> None:
        del self.values_[name]

    def __iter__(self) -> Any:
        return iter(self.values_)

    def __len__(self) -> int:
        return len(self.values_)

    def remove(self) -> None:
        """Take the file away: the search is over."""
        self.path.unlink(missing_ok=True)


def _key(path: Path, request: Request, told: Mapping[str, Any]) -> str:
    """What the effects depend on: the file's bytes, the examples, the split."""
    file = path if path.suffix else path.with_name(path.name + ".safetensors")
    facts = {
        "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
        "data": dict(told),
        "fit": request.recipe.fit_fraction,
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def described(outcome: Outcome, record: Mapping[str, Any]) -> str:
    """The outcome for people: what each stage of the chosen candidate gained, and what is known of the result."""
    lines, chosen = [], f"{outcome.observability}, {outcome.allocation} "
    for stage in outcome.stages:
        if stage.kept and stage.detail.startswith(chosen):
            lines.append(f"  {stage.name:13s} {stage.before:9.2e} -> {stage.after:9.2e}   {stage.detail}")
    certified = ", ".join(f"{upper:.3g}" for _, upper in record["certified_errors"])
    lines.extend(clipping_told(record["data"]))
    before = sum(record["orders_before"])
    lines.append(
        f"{sum(outcome.orders)} of {before} states ({1 - sum(outcome.orders) / before:.1%} removed), by layer "
        f"{', '.join(map(str, outcome.orders))}"
    )
    lines.append(f"certified error of each layer, for all inputs: at most {certified}")
    lines.append(
        f"on held-out, unlabelled examples: divergence {outcome.divergence:.2e}, "
        f"{outcome.changed:.2%} of the predictions changed"
    )
    return "\n".join(lines)
