"""A parameter tree may hold the same network several times: which copy is meant, which follow it, which are moments.

Paths only: names split at their joints, without the arrays. An exponential moving average (``ema_params``), a second
state (``after_step/params``) and the moments of an optimizer (``opt_state.0.mu``) repeat the paths of the layers.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from theory.errors import InputError

Path = tuple[str, ...]

OPTIMIZERS = re.compile(r"(opt_state|optim(izer)?(_(g|d|gen|disc|generator|discriminator))?(_state)?(_dict)?)s?")
"""Names under which states of optimizers lie in Flax, Optax, PyTorch and Lightning files; adversaries have two."""

MOMENTS = frozenset(
    {
        *("mu", "nu", "exp_avg", "exp_avg_sq", "exp_avgs", "exp_avg_sqs"),
        *("momentum", "momentum_buffer", "grad", "grads", "gradients"),
    }
)
"""Names of what repeats the paths of the weights and is no weight. A network may use them, too: only a copy counts."""

AVERAGES = re.compile(r"(^|_)(ema|swa|avg|average|averaged|shadow|polyak|teacher|target|best|after|backup|old)(_|$)")
"""Names of copies of the weights."""

STEMS = 16
"""Names that each name is compared with; a network that has more unlike ones has no twins."""


def is_of_optimizer(path: Path) -> bool:
    """Whether a path lies in the state of an optimizer."""
    return any(OPTIMIZERS.fullmatch(part.lower()) for part in path)


def moments_among(bases: Iterable[Path]) -> frozenset[Path]:
    """Return the places under which moments repeat other layers, where no name says that they are an optimizer's.

    Optax's state is a tuple, and so is what is written of a model and its state: ``1/0/mu`` and ``1/0/nu`` repeat what
    lies in ``0``. Both of the two must be there, since networks have modules of these names.
    """
    all_of = list(bases)
    plain = [base for base in all_of if MOMENTS.isdisjoint(base)]
    tails: dict[Path, set[Path]] = {}
    for base in all_of:
        for i, part in enumerate(base):
            if part in MOMENTS:
                tails.setdefault(base[: i + 1], set()).add(base[i + 1 :])
                break
    pair = {"mu": "nu", "nu": "mu"}
    return frozenset(
        place
        for place, below in tails.items()
        if (place[-1] not in pair or tails.get((*place[:-1], pair[place[-1]])) == below)
        and all(any(base[len(base) - len(tail) :] == tail for base in plain) for tail in below)
    )


def weights_among(bases: Iterable[Path], prefix: str | None) -> list[Path]:
    """Return the bases that are no optimizer's; all of them where a prefix says what is meant."""
    found = list(bases)
    if prefix:
        return found
    found = [base for base in found if not is_of_optimizer(base)]
    places = moments_among(found)
    return [base for base in found if not any(base[: len(place)] == place for place in places)]


def states_of_optimizers(tree: Mapping[Any, Any], prefix: Path = ()) -> frozenset[Path]:
    """Return the paths of PyTorch's states of optimizers, under whatever names: known by what they hold."""
    found: set[Path] = set()
    for key, value in tree.items():
        path = (*prefix, str(key))
        several = value if isinstance(value, (list, tuple)) and value else (value,)
        if all(isinstance(each, Mapping) and each.keys() >= {"state", "param_groups"} for each in several):
            found.add(path)
        elif isinstance(value, Mapping):
            found |= states_of_optimizers(value, path)
    return frozenset(found)


def lists_of_weights(tree: Mapping[Any, Any], shapes: Iterable[tuple[int, ...]], prefix: Path = ()) -> set[Path]:
    """Return the paths of lists that hold an array of each of the `shapes`, as often: averages without names."""
    wanted, found = Counter(shapes), set[Path]()
    for key, value in tree.items():
        path = (*prefix, str(key))
        if isinstance(value, Mapping):
            found |= lists_of_weights(value, wanted.elements(), path)
        elif isinstance(value, (list, tuple)) and wanted:
            held = Counter(tuple(each.shape) for each in value if hasattr(each, "shape"))
            found |= {path} if wanted <= held else set()
    return found


def main_prefix(bases: Iterable[Path], prefix: str | None) -> Path:
    """Return the path under which the layers that are meant lie.

    Parameters
    ----------
    bases : iterable of paths
        Where each layer of the tree lies, without those of optimizers.
    prefix : str, optional
        The caller's choice: a path, or "" for everything.

    Raises
    ------
    InputError
        Nothing lies under `prefix`; or none is given, and the tree holds twins under different names.
    """
    found = list(bases)
    if prefix is not None:
        chosen = tuple(part for part in re.split(r"[/.]", prefix) if part)
        if found and not any(base[: len(chosen)] == chosen for base in found):
            tops = sorted({"/".join(base[:1]) for base in found})
            raise InputError(f"no layer lies under prefix={prefix!r}; layers lie under {', '.join(tops[:6])}")
        return chosen
    root: Path = ("params",) if any(base[0] == "params" for base in found if base) else ()
    inside = [base[len(root) :] for base in found if base[: len(root)] == root]
    shared = _shared(inside)
    groups: dict[str, list[Path]] = {}
    for base in inside:
        if len(base) > len(shared):
            groups.setdefault(base[len(shared)], []).append(base[len(shared) + 1 :])
    _require_one_copy(groups, (*root, *shared))
    return root


def _shared(paths: list[Path]) -> Path:
    """The beginning that all paths have in common, short of any whole path."""
    if not paths:
        return ()
    length = 0
    while all(len(path) > length + 1 and path[length] == paths[0][length] for path in paths):
        length += 1
    return paths[0][:length]


def _require_one_copy(groups: Mapping[str, list[Path]], place: Path) -> None:
    """Refuse two parts of a network with the same layers under names that are no numbers: two copies of one."""
    seen: dict[tuple[Path, ...], dict[str, str]] = {}
    for name, bases in groups.items():
        length = len(_shared(bases))
        tails = tuple(sorted(base[length:] for base in bases))
        stem = re.sub(r"[0-9]+", "", name)
        alike = seen.setdefault(tails, {})
        for other in list(alike.values())[:STEMS]:
            unlike = bool(AVERAGES.search(name.lower())) != bool(AVERAGES.search(other.lower()))
            if stem not in alike and (len(bases) > 1 or unlike):
                one, two = ("/".join((*place, word)) for word in (other, name))
                raise InputError(
                    f"the tree holds the same layers ({len(bases)}) under {one!r} and under {two!r}, as weights and "
                    f"their average do: pass prefix={one!r} or prefix={two!r} (--prefix on the command line), and the "
                    "other is cut alike; prefix='' takes all of them as one network"
                )
        alike.setdefault(stem, name)


def copies_of(main: Path, bases: Iterable[Path]) -> dict[str, dict[Path, Path]]:
    """Return the other places where all layers under `main` lie again: ``{prefix: {base: base of its copy}}``."""
    found = list(bases)
    inside = [base for base in found if base[: len(main)] == main]
    tails = [base[len(main) :] for base in inside]
    wanted, places = set(tails), dict[Path, set[Path]]()
    for base in found:
        for cut in range(len(base)) if base[: len(main)] != main else ():
            if base[cut:] in wanted:
                places.setdefault(base[:cut], set()).add(base[cut:])
    return {
        "/".join(place): {base: place + base[len(main) :] for base in inside}
        for place, there in sorted(places.items())
        if there == wanted
    }
