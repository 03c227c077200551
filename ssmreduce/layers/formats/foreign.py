"""Layers that are recognised and not read: what to say about each."""

from __future__ import annotations

SELECTIVE = (
    "a selective layer (Mamba, S6): its step, its input matrix and its output matrix are computed from the input at "
    "every sample, so it is no linear time-invariant system; it has no transfer function, no Gramians, no error that "
    "holds for all inputs. Pruning from data can cut such layers; this program does not"
)

FOREIGN: dict[tuple[str, ...], str] = {("A_log",): SELECTIVE}
"""Last keys of a path to what the layer is."""
