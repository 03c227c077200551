"""Parameter trees: leaves by their places, the places of the batch norms, S4D layers with a copy for every channel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np


def one_copy_a_channel(params: Mapping[str, Any]) -> Mapping[str, Any]:
    """The tree with A and B of S4D layers written out for every channel, as those of a reduced layer are.

    Layers that share copies among their channels (channel h uses copy h mod n_ssm) would have other shapes reduced
    than whole.
    """
    encoder = dict(params["encoder"])
    for name, block in encoder.items():
        kernel = block.get("seq", {}).get("kernel")
        if kernel is not None:
            times = len(kernel["inv_dt"]) // len(kernel["A_real"])
            tiled = {key: np.tile(np.asarray(kernel[key]), (times, 1)) for key in ("A_real", "A_imag")}
            tiled["B"] = np.tile(np.asarray(kernel["B"]), (1, times, 1, 1))
            encoder[name] = with_leaves(block, ("seq", "kernel"), tiled)
    return {**params, "encoder": encoder}


def norm_places(stats: Mapping[str, Any]) -> tuple[tuple[str, ...], ...]:
    """Paths of the batch norms in the order in which they run: those of the blocks, then the last one."""
    encoder = stats.get("encoder", {})
    blocks = sorted((name for name in encoder if name.startswith("layers_")), key=lambda name: int(name.split("_")[1]))
    return tuple(("encoder", name, "norm") for name in blocks) + ((("encoder", "norm"),) if "norm" in encoder else ())


def at(tree: Mapping[str, Any], place: Sequence[str]) -> Any:
    """The subtree or leaf at a place."""
    for name in place:
        tree = tree[name]
    return tree


def with_leaves(tree: Mapping[str, Any], place: Sequence[str], leaves: Mapping[str, Any]) -> dict[str, Any]:
    """Return the tree with some leaves replaced."""
    if not place:
        return {**tree, **leaves}
    return {**tree, place[0]: with_leaves(tree[place[0]], place[1:], leaves)}


def flattened(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Leaves by ``/``-joined places."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        flat |= flattened(value, f"{prefix}{key}/") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return flat
