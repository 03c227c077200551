"""Layers that are recognised and not read: what to say about each."""

from __future__ import annotations

FOREIGN: dict[tuple[str, ...], str] = {}
"""Last keys of a path to what the layer is."""
