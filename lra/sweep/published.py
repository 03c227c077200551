"""What papers report of the same task and architecture: points for the figure, of models that are not ours.

Of each task a paper gives the part of the states that its own threshold removes at a small loss, without retraining,
and the accuracy that is left. The figures of single tasks come from notes on the papers; AIRE's mean is the abstract's.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Published:
    """One reduced model of a paper.

    Attributes
    ----------
    method : str
        Name of the method here.
    title : str
        The paper's name of it.
    key : str
        Of the paper in ``docs/references.bib``: where the figures are read.
    task, architecture : str
        As the records of our models have them.
    removed : float
        Percent of the states.
    accuracy : float
        Percent that are left.
    full : float or None
        Percent of the model with all its states, where the paper says it.
    """

    method: str
    title: str
    key: str
    task: str
    architecture: str
    removed: float
    accuracy: float
    full: float | None = None


S5_TABLE = {  # full accuracy, then percent removed and accuracy left: LAST, AIRE
    "listops": (61.48, (0.0, 61.48), (20.0, 61.48)),
    "text": (88.88, (60.0, 88.52), (80.0, 88.24)),
    "retrieval": (91.20, (50.0, 90.42), (50.0, 90.11)),
    "image": (87.30, (30.0, 86.34), (65.0, 87.30)),
    "pathfinder": (95.15, (30.0, 94.45), (80.0, 95.15)),
    "pathx": (98.41, (30.0, 97.95), (70.0, 98.41)),
    "speech35": (96.43, (20.0, 96.31), (45.0, 96.40)),
}
"""LAST and AIRE on S5, at 16 kHz for speech."""
LAST_CURVES = {  # percent removed, accuracy left; read off LAST's figures by the authors of SBP25
    "smnist": ((60.0, 95.1), (70.0, 89.2), (80.0, 62.4), (90.0, 27.7)),
    "image": ((60.0, 62.9), (70.0, 36.7), (80.0, 17.4), (90.0, 11.2)),
    "text": ((60.0, 88.5), (70.0, 85.1), (80.0, 80.3), (90.0, 57.1)),
    "pathfinder": ((60.0, 50.5), (70.0, 50.1), (80.0, 50.0), (90.0, 50.3)),
    "pathx": ((60.0, 50.3), (70.0, 49.2), (80.0, 49.5), (90.0, 49.6)),
}


def published(task: str, architecture: str) -> tuple[Published, ...]:
    """Return what is reported of S5 models of this task, by method and ratio; nothing for other architectures."""
    if architecture != "s5":
        return ()
    found: dict[tuple[str, float], Published] = {}
    of = {"task": task, "architecture": architecture}
    for removed, left in LAST_CURVES.get(task, ()):
        found["last", removed] = Published(
            method="last", title="LAST", key="SBP25", removed=removed, accuracy=left, **of
        )
    if task in S5_TABLE:  # the paper's own word where there are two
        full, last, aire = S5_TABLE[task]
        for method, key, (removed, left) in (("last", "GMKP24", last), ("aire", "PCM26", aire)):
            found[method, removed] = Published(
                method=method, title=method.upper(), key=key, removed=removed, accuracy=left, full=full, **of
            )
    return tuple(found[place] for place in sorted(found))
