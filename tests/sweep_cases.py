"""The sweep that several tests look at: ``swept`` of ``tests/lra/conftest.py``, run once a session."""

from __future__ import annotations

from typing import Any

from ssmreduce.files.shipped import shipped_checkpoint

CHECKPOINT = shipped_checkpoint("digits_s5")
METHODS = ("last", "random", "empirical")
SMALL: dict[str, Any] = {"methods": METHODS, "ratios": (0.0, 0.5), "seeds": 2, "recorded": 20}
