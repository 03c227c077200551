"""What the tables say: a comparison, second opinions on one norm, a checkpoint, a reduced model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ssmreduce.results import (
    ABOVE,
    AGREES,
    BELOW,
    DISAGREES,
    FAILED,
    NOT_AVAILABLE,
    UNDECIDED,
    WITNESS,
    Findings,
    Opinion,
    bracket_from_dict,
    relative,
)
from ssmreduce.view import verdict as words
from ssmreduce.view.columns import cells, columns, folded, statuses
from ssmreduce.view.table import Cell, Heading, Sheet, Styled
from ssmreduce.view.text import DASH, duration, ends, number, outward, percent
from theory.norms.bracket import Bracket

MOST_OPINIONS = 8
"""Lines on what python-control says otherwise; the report has the rest in its rows."""

STARVED = 0.25
"""Part of the average share of states below which a layer is named: an allocation that leaves so little is suspect."""


# --- a comparison ----------------------------------------------------------------------------------------------------


AS_ASKED = "as asked for"
"""What the provenance says of methods that somebody named: all of their rows are shown."""


def comparison_sheet(findings: Findings, written: Sequence[str] = (), *, every: bool = False, how: str = "") -> Sheet:
    """Lay out the best method of each kind at every order, or every row.

    Parameters
    ----------
    written : sequence of str
        Lines about files, below everything.
    every : bool, keyword only
        All rows; so it is, too, where methods were asked for by name.
    how : str, keyword only
        How to see what is left out.
    """
    everything = every or findings.provenance.get("methods") == AS_ASKED
    listed = findings.rows if everything else folded(findings)
    kept = columns(findings, listed)
    rows, starts = cells(findings, kept, listed)
    first, *rest = describe(findings)
    hidden = len(findings.rows) - len(listed)
    told = f"the best of each kind at each order; {hidden} rows of other methods are left out"
    folding = (f"{told}: {how}" if how else told,) if hidden else ()
    return Sheet(
        head=(Styled(first, "best"), *rest, ""),
        headings=tuple(column.heading for column in kept),
        rows=rows,
        starts=starts,
        tail=(*folding, *not_run(findings), "", *_closing(findings)),
        legend={i: (column.word, column.says(listed)) for i, column in enumerate(kept) if column.meaning},
        instead={i: statuses(listed) for i, column in enumerate(kept) if column.word == "status"},
        more="The report (to_html, --html FILE) and a wider terminal have them.",
        last=("", Styled(words.verdict(findings), "best"), *written),
    )


def not_run(findings: Findings) -> list[str]:
    """A line about the methods that may come closer than any that is shown."""
    names = findings.provenance.get("not_run")
    return [f"not run: {names} (they search for seconds to minutes); ask for them by name"] if names else []


def describe(findings: Findings) -> list[str]:
    """The layer and its norm, in a few lines."""
    s = findings.subject
    what = f"{s['kind']} layer" if s["kind"] in ("S5", "S4D") else s["kind"]
    name = f" {s['name']}" if s.get("name") else ""
    sizes = f"{s['states']} stored states"
    sizes += f" ({s['real_states']} real)" if s["real_states"] != s["states"] else ""
    sizes += (
        f" in each of {s['channels']} channels"
        if s.get("batch")
        else f", {_counted(s['inputs'], 'input')}, {_counted(s['outputs'], 'output')}"
    )
    traits = ["bidirectional"] if s.get("bidirectional") else []
    traits += ["continuous time" if s["dt"] is None else f"discrete time (dt = {s['dt']:g})"]
    traits += [] if s["real"] else ["complex"]
    traits += [f"{s['discretization']}"] if s.get("discretization") else []
    traits += [f"parameters in {s['precision']}"]
    low, high = ends(findings.norm, 6)
    unit = "rad/s" if s["dt"] is None else "rad/sample"
    lines = [
        f"{what}{name}: {sizes}; {', '.join(traits)}",
        f"norm of the layer: {low} to {high}, attained at {number(float(findings.norm.frequency))} {unit}",
    ]
    if s.get("smallest_margin") is not None:
        which = "-Re(pole)" if s["dt"] is None else "1 - |pole|"
        lines[1] += f"; smallest {which}: {number(s['smallest_margin'], 3)}"
    return lines


def _counted(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def peer_summary(findings: Findings) -> list[str]:
    """Where python-control's values lie, counted and measured, and what it got wrong."""
    opinions = [row.crosscheck for row in findings.rows if row.crosscheck is not None]
    if not opinions:
        return []

    def count(verdict: str) -> int:
        return sum(opinion.verdict == verdict for opinion in opinions)

    words = [f"linfnorm lies inside the bracket in {count(AGREES)} of {len(opinions)} rows"]
    for verdict in (BELOW, ABOVE):
        if count(verdict):
            most = max(abs(opinion.gap) for opinion in opinions if opinion.verdict == verdict)
            words.append(f"{verdict} it in {count(verdict)} (by at most {outward(most, 1, 2)})")
    for verdict, told in (
        (WITNESS, "only its gain at the witness was asked for, and agrees, in"),
        (DISAGREES, "it disagrees in"),
        (UNDECIDED, "float64 cannot tell in"),
        (FAILED, "it failed in"),
        (NOT_AVAILABLE, "it was not available in"),
    ):
        words += [f"{told} {count(verdict)}"] if count(verdict) else []
    lines = [f"python-control: {'; '.join(words)}; {duration(sum(o.seconds for o in opinions))}"]
    seen: set[str] = set()
    for row in findings.rows:
        o = row.crosscheck
        if o is not None and o.verdict in (DISAGREES, UNDECIDED, FAILED, NOT_AVAILABLE) and o.detail not in seen:
            seen.add(o.detail)
            lines.append(f"  {row.method}, order {row.order}: {o}" if o.verdict != NOT_AVAILABLE else f"  {o}")
    return lines[: 1 + MOST_OPINIONS]


def _closing(findings: Findings) -> list[Cell]:
    """Laws, the other program, the legend."""
    lines: list[Cell] = []
    if findings.provenance.get("interrupted"):
        lines.append(Styled(f"INTERRUPTED: {findings.provenance['interrupted']}", "warn"))
    if findings.violations:
        lines.append(Styled("A LAW IS VIOLATED; do not trust these rows:", "bad"))
        lines += [Styled(f"  {violation}", "bad") for violation in findings.violations]
    else:
        lines.append(Styled(f"floor <= error <= bound holds in every row{_swept(findings)}", "good"))
    return [*lines, *peer_summary(findings), ""]


def _swept(findings: Findings) -> str:
    if not findings.provenance.get("sweep_points") or findings.provenance.get("interrupted"):
        return ""
    return "; no error found above its bracket by an independent frequency sweep"


# --- one norm, one checkpoint, one reduced model ---------------------------------------------------------------------


def opinions_sheet(subject: str, bracket: Bracket, opinions: Sequence[Opinion]) -> Sheet:
    """Lay out second opinions on one norm."""
    low, high = ends(bracket, 9)
    ours = ("ssmreduce", f"{low} to {high}", number(float(bracket.frequency), 6), "", f"bracket {bracket.status}")
    rows = [
        (o.source, number(o.value, 9), number(o.frequency, 6), duration(o.seconds) if o.seconds else "", str(o))
        for o in opinions
    ]
    titles = ("source", "value", "at frequency", "time", "verdict")
    headings = tuple(Heading(title=t, justify="left" if t in ("source", "verdict") else "right") for t in titles)
    return Sheet(head=(subject, ""), headings=headings, rows=(ours, *rows))


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
