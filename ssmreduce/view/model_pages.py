"""What the tables say of a checkpoint and of a reduced model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ssmreduce.results import bracket_from_dict, relative
from ssmreduce.view.table import Cell, Heading, Sheet, Styled
from ssmreduce.view.text import DASH, ends, number, percent

STARVED = 0.25
"""Part of the average share of states below which a layer is named: an allocation that leaves so little is suspect."""


def inspection_sheet(
    model: Mapping[str, Any], layers: Sequence[Mapping[str, Any]], targets: Sequence[float], *, certified: bool = True
) -> Sheet:
    """Lay out a checkpoint: `model`, `layers` and `certified` as :class:`ssmreduce.inspection.Inspection` has them."""
    options = ", ".join(f"{key}={value}" for key, value in model["options"].items()) or "none stored"
    assumed = ", ".join(f"{key}={value}" for key, value in model["assumed"].items())
    titles = ("layer", "name", "states", "channels", "directions", "1 - |pole| ≥", "slowest mode", "largest hsv")
    unstable = any(layer["unstable"] for layer in layers)
    condition = max((layer.get("eigenvector_condition", 0.0) for layer in layers), default=0.0)
    return Sheet(
        head=(
            Styled(
                f"{model['path']}: {model['architecture'].upper()}, {model['layers']} layers, "
                f"{model['states']} stored states, {model['parameters']} parameters",
                "best",
            ),
            f"layers:   {', '.join(model['stored_as'])}",
            f"options:  {options}",
            *([f"assumed:  {assumed} (nothing says otherwise)"] if assumed else []),
            f"training: {model['record'] or 'no record'}",
            *([f"left out: {model['left_out']}; it is not read"] if model["left_out"] else []),
            *(
                [f"read:     diagonalised, condition number of eigenvectors at most {condition:.3g}"]
                if condition
                else []
            ),
            "",
        ),
        headings=tuple(
            Heading(title=title, justify="left" if title == "name" else "right")
            for title in (*titles, *(f"{'error' if certified else 'bound'} ≤ {target:.3g}" for target in targets))
        ),
        rows=tuple(_inspected(layer, len(targets)) for layer in layers),
        tail=(
            "",
            *_savings(layers, targets),
            *(Styled(line, "dim") for line in (CERTIFIED if certified else BOUNDED)),
            *(
                [
                    Styled(
                        "unstable layers cannot be reduced: drop the unstable states, or pass --clip-eigs if the model "
                        "clips them",
                        "warn",
                    )
                ]
                if unstable
                else []
            ),
        ),
    )

CERTIFIED = (
    "error ≤ 0.1: stored states at which the certified error of balanced truncation falls below 0.1 of the norm of the",
    "layer, and what that saves of them; proved for all inputs. At one state less the error is not that small",
)

BOUNDED = (
    "bound ≤ 0.1: stored states at which the a-priori bound of balanced truncation falls below 0.1 of the largest",
    "Hankel singular value, and so of the norm; the error is usually smaller: without --no-certify it is certified",
)
"""What the last columns of an inspection mean."""


def _savings(layers: Sequence[Mapping[str, Any]], targets: Sequence[float]) -> list[Cell]:
    """Say in a line for each target what all layers together save."""
    stable = [layer for layer in layers if layer["enough"] is not None]
    states, work = (sum(layer[key] for layer in stable) for key in ("states", "multiplications"))
    lines: list[Cell] = []
    for i, target in enumerate(targets):
        kept, left = (sum(layer["enough"][i][key] for layer in stable) for key in ("order", "multiplications"))
        if states and work:
            lines.append(
                f"error ≤ {target:g}: {kept} of {states} stored states, {_share(kept, states)} less; "
                f"{_share(left, work)} less time a step (modelled: multiplications of the recurrences)"
            )
    return [*lines, ""] if lines else []


def _inspected(layer: Mapping[str, Any], targets: int) -> tuple[Cell, ...]:
    cells: list[Cell] = [
        str(layer["index"]),
        layer["name"],
        str(layer["states"]),
        str(layer["channels"]),
        "2" if layer["bidirectional"] else "1",
        number(layer["smallest_margin"], 3),
    ]
    if layer["unstable"]:
        return (*cells, Styled(f"{layer['unstable']} unstable", "bad"), DASH, *(DASH,) * targets)
    slowest = DASH if layer["slowest_samples"] is None else f"{layer['slowest_samples']:.4g} samples"
    return (*cells, slowest, number(layer["largest_hsv"]), *(_enough(layer, entry) for entry in layer["enough"]))


def _enough(layer: Mapping[str, Any], entry: Mapping[str, Any]) -> str:
    """States, and the part of them that is saved."""
    kept, states = entry["order"], layer["states"]
    return f"{kept} (-{_share(kept, states)})" if states else str(kept)


def _share(kept: int, of: int) -> str:
    """What is saved, in percent, rounded down."""
    return f"{100 * (of - kept) // of} %"


def reduction_sheet(result: Mapping[str, Any]) -> Sheet:
    """Lay out what ``ssmreduce reduce`` did, layer by layer; `result` is what its ``--json`` writes."""
    certified = bool(result["layers"]) and "error" in result["layers"][0]
    titles = ("layer", "name", "states", "kept", *(("error ≤", "norm ≥", "relative") if certified else ()))
    rows = []
    for row in result["layers"]:
        cells: list[Cell] = [str(row["layer"]), row["name"], str(row["states_before"]), str(row["states"])]
        if certified:
            error, norm = bracket_from_dict(row["error"]), bracket_from_dict(row["norm"])
            cells += [ends(error)[1], ends(norm)[0], percent(relative(error, norm))]
        rows.append(tuple(cells))
    told = f"{result['states_before']} stored states, {result['states']} kept ({result['method']}): {result['output']}"
    return Sheet(
        headings=tuple(Heading(title=title, justify="left" if title == "name" else "right") for title in titles),
        rows=tuple(rows),
        tail=(told, *_starved(result), *_left_out(result)),
    )


def _left_out(result: Mapping[str, Any]) -> list[Cell]:
    """Name what of the file is not in the one that was written."""
    what, moments = result["left_out"], ", ".join(result["moments"])
    told = [f"left out of the file: {what}; it is not read"] if what else []
    told += [f"left out: {moments}; of the sizes of the layers as they were"] if moments else []
    return [Styled(line, "warn") for line in told]


def _starved(result: Mapping[str, Any]) -> list[Cell]:
    """Name the layers that an allocation leaves with next to nothing."""
    if result["allocation"] in (None, "uniform") or not result["states_before"]:
        return []
    share = STARVED * result["states"] / result["states_before"]
    return [
        Styled(
            f"layer {row['layer']} keeps {row['states']} of {row['states_before']} states: the allocation "
            f"{result['allocation']} judges states relative to the largest of their layer, and the network may need "
            "them; compare with --allocation uniform",
            "warn",
        )
        for row in result["layers"]
        if row["states"] < share * row["states_before"]
    ]
