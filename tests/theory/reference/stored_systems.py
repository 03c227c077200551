"""Systems of a JSON file, every number a hexadecimal float: the same bits on every processor.

A system that is drawn and then passed through ``exp``, a matrix product or LAPACK differs in its last bits between
processors; a reference to 30 digits belongs to one of them only.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from theory.systems.system import DiagonalStateSpace, StateSpace

FOLDER = Path(__file__).parent
FIELDS = {StateSpace: ("A", "B", "C", "D"), DiagonalStateSpace: ("poles", "B", "C", "C_reverse", "D")}
OPTIONS = {StateSpace: ("dt",), DiagonalStateSpace: ("dt", "conjugate_pairs", "delay", "delay_reverse")}


def _written(array: np.ndarray) -> dict[str, Any]:
    parts = {"real": array.real, "imag": array.imag} if np.iscomplexobj(array) else {"real": array}
    return {"shape": array.shape} | {key: [float(x).hex() for x in part.ravel()] for key, part in parts.items()}


def _read(stored: dict[str, Any]) -> np.ndarray:
    array = np.array([float.fromhex(x) for x in stored["real"]])
    if "imag" in stored:
        whole = np.empty(array.size, complex)
        whole.real, whole.imag = array, [float.fromhex(x) for x in stored["imag"]]
        array = whole
    return array.reshape(stored["shape"])


def write(path: Path, systems: dict[str, StateSpace | DiagonalStateSpace]) -> None:
    """Write systems by name."""
    document = {}
    for name, system in systems.items():
        arrays = {key: getattr(system, key) for key in FIELDS[type(system)]}
        document[name] = {
            "options": {key: getattr(system, key) for key in OPTIONS[type(system)]},
            "arrays": {key: _written(array) for key, array in arrays.items() if array is not None},
        }
    path.write_text(json.dumps(document, indent=1) + "\n")


def read(path: Path) -> dict[str, StateSpace | DiagonalStateSpace]:
    """Read systems by name; each has the bits that were written."""
    found: dict[str, StateSpace | DiagonalStateSpace] = {}
    for name, stored in json.loads(path.read_text()).items():
        arrays = {key: _read(array) for key, array in stored["arrays"].items()}
        kind = DiagonalStateSpace if "poles" in arrays else StateSpace
        found[name] = kind(**arrays, **stored["options"])
    return found
