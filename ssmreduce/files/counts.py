"""Numbers of states that a module keeps beside its arrays, as leaves of its tree: Equinox writes its ints as well."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ssmreduce.layers.layer import SSMLayer
from ssmreduce.layers.location import joints, split

Path = tuple[str, ...]

NAMES = frozenset({"P", "N", "state_dim", "d_state", "n_states", "state_size", "ssm_size"})
"""How modules call them."""


def recounted(
    leaves: Mapping[Path, Any], names: Sequence[str], before: Sequence[SSMLayer], after: Sequence[SSMLayer]
) -> dict[Path, Any]:
    """Return what such numbers become where layers change their sizes: of stored states, or of both of each pair.

    A number that is neither is another thing's, and stays.
    """
    places = {split(name) if name else (): (old.order, new.order) for name, old, new in zip(names, before, after)}
    found: dict[Path, Any] = {}
    for path, leaf in leaves.items():
        parts = joints(path)
        if parts[-1] not in NAMES or parts[:-1] not in places or not is_count(leaf):
            continue
        old, new = places[parts[:-1]]
        times = {old: 1, 2 * old: 2}.get(int(leaf))
        if times is not None and old != new:
            value = times * new
            found[path] = np.asarray(value, leaf.dtype) if hasattr(leaf, "dtype") else value
    return found


def is_count(leaf: Any) -> bool:
    """Whether a leaf is one whole number."""
    return not isinstance(leaf, bool) and np.ndim(leaf) == 0 and np.asarray(leaf).dtype.kind in "iu"
