"""What was compared, and where a comparison comes from."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from importlib import metadata
from typing import Any

import numpy as np

from ssmreduce.curves import margins
from ssmreduce.layers.layer import SSMLayer
from theory.systems.system import DiagonalStateSpace, System

PACKAGES = ("ssmreduce", "numpy", "scipy", "control", "slycot", "cvxpy", "matplotlib")
"""Their versions are recorded."""


def subject_of(source: SSMLayer | System, system: System) -> dict[str, Any]:
    """Name, kind, sizes and traits of a layer or system."""
    margin = margins(source)
    channels = int(np.prod(system.batch_shape)) if isinstance(system, DiagonalStateSpace) else 1
    paired = isinstance(system, DiagonalStateSpace) and system.conjugate_pairs
    subject = {
        "name": source.name if isinstance(source, SSMLayer) else "",
        "kind": source.kind.upper() if isinstance(source, SSMLayer) else type(system).__name__,
        "states": system.n,
        "real_states": 2 * system.n if paired or not system.is_real else system.n,
        "channels": channels,
        "batch": bool(isinstance(system, DiagonalStateSpace) and system.batch_shape),
        "inputs": system.m,
        "outputs": system.p,
        "dt": system.dt,
        "real": system.is_real,
        "bidirectional": bool(isinstance(system, DiagonalStateSpace) and system.is_bidirectional),
        "smallest_margin": float(margin.min()) if margin.size else None,
        "precision": str(source.dtype) if isinstance(source, SSMLayer) else "float64",
    }
    if isinstance(source, SSMLayer):
        subject |= {
            "discretization": source.discretization,
            "conj_sym": bool(source.conj_sym),
            "clip_eigs": bool(source.clip_eigs),
        }
    return subject


def provenance(seed: int, rtol: float, crosscheck: str, sweep_points: int, seconds: float) -> dict[str, Any]:
    """Date, settings, versions and cost."""
    versions: dict[str, str] = {"python": sys.version.split()[0]}
    for package in PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = "not installed"
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "seed": seed,
        "rtol": rtol,
        "crosscheck": crosscheck,
        "sweep_points": sweep_points,
        "seconds": round(seconds, 3),
        "versions": versions,
    }
