"""A trained model with unstable poles, as its code's ``clip_eigs`` would run it, and what that costs.

S5 learns eigenvalues that nothing keeps in the left half plane unless ``clip_eigs`` does. A pole slightly outside of
the unit circle does no harm over the samples of a task, but no error of such a layer is finite for all inputs.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

import ssmreduce
from lra.network import LraNetwork
from ssmreduce.network import changed, divergence
from theory.errors import StabilityError


def load_stable(path: str | Path, clip_eigs: bool) -> ssmreduce.Model:
    """Return the model, with its poles clipped if that is asked for.

    Raises
    ------
    StabilityError
        It has unstable poles, and they are not to be clipped.
    CheckpointError
    """
    model = ssmreduce.load(path)
    unstable = {index: int((layer.margin <= 0).sum()) for index, layer in enumerate(model.layers)}
    unstable = {index: count for index, count in unstable.items() if count}
    if not unstable:
        return model
    if not clip_eigs:
        where = ", ".join(f"{count} of layer {index + 1}" for index, count in unstable.items())
        least = min(float(layer.margin.min()) for layer in model.layers)
        raise StabilityError(
            f"unstable poles: {where}; the smallest 1-|pole| is {least:.3g}. With --clip-eigs the model is reduced "
            "whose eigenvalues are held left of the axis, as S5 does under clip_eigs; what that alone changes is told",
            np.concatenate([layer.poles[layer.margin <= 0].ravel() for layer in model.layers]), least,
        )  # fmt: skip
    return ssmreduce.load(path, clip_eigs=True)


def clipping_effect(path: str | Path, network: LraNetwork, most: int = 200) -> dict[str, Any]:
    """What clipping alone did to the outputs on the first examples of a network; nothing where nothing was clipped."""
    model = ssmreduce.load(path)
    count = sum(int((layer.margin <= 0).sum()) for layer in model.layers)
    if not count:
        return {}
    rows = np.arange(min(most, network.count))
    before, after = (
        one.run(one.parts, rows).logits.astype(float)
        for one in (LraNetwork(model, network.x, network.lengths, network.batch, network.devices), network)
    )
    told = {"poles": count, "examples": len(rows), "changed_predictions": changed(before, after)}
    return {"clipped": told | {"divergence": divergence(before, after)}}


def clipping_told(data: Mapping[str, Any]) -> list[str]:
    """The effect for people, a line or none."""
    if "clipped" not in data:
        return []
    told = data["clipped"]
    return [
        f"{told['poles']} unstable poles were clipped first: divergence {told['divergence']:.2e}, "
        f"{told['changed_predictions']:.2%} of the predictions changed; all else is relative to the clipped model"
    ]
