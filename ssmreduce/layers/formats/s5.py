"""The reference S5 code, and all that keep its names: LAST, event-ssm, discretax, linax."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ssmreduce.layers.formats.layer_format import Array, Arrays, Recognized, expect, paired, pairs
from theory.errors import DimensionError, InputError

AMBIGUITY = (
    " (S5, LAST, discretax, linax: 'zoh' unless configured otherwise; event-ssm has the same keys and is 'dirac', or "
    "'zoh' for its zoh and async)"
)


def is_sequence(place: str) -> bool:
    """Whether a layer lies where the reference code and s5-pytorch put it: ``layers_0/seq``, ``blocks.0.s5.seq``."""
    return place.rpartition("/")[2] == "seq"


class ReferenceS5(Recognized):
    """Eigenvalues, B and C as real pairs; the reverse direction in C2."""

    name, kind, title = "s5", "s5", "reference S5"
    anchor = "Lambda_re"
    keys: tuple[str, ...] = ("Lambda_re", "Lambda_im", "B", "log_step")
    optional: tuple[str, ...] = ("C", "C1", "C2", "D")
    discretizations: tuple[str, ...] = ("zoh", "bilinear", "dirac")
    ambiguity = AMBIGUITY
    stores_fields = True
    wide = False

    def recognizes(self, raw: Mapping[str, Array], options: Mapping[str, Any]) -> bool:
        """Tell by the number of columns of C."""
        C = raw.get("C")
        wide = C is not None and C.ndim == 3 and C.shape[1] == 2 * raw["Lambda_re"].size > 0
        return wide == self.wide

    def presumed(self, raw: Mapping[str, Array], place: str) -> Mapping[str, Any]:
        """The reference code's default where the tree is that code's: it alone has two directions, and says ``seq``."""
        dense = "D" in raw and raw["D"].ndim == 2
        return {"discretization": "zoh"} if not dense and (self.wide or "C1" in raw or is_sequence(place)) else {}

    def missing(self, raw: Mapping[str, Array]) -> list[str]:
        """What the layer lacks: the output matrix may be C, or C1 and C2, not both."""
        if "P" in raw:
            raise InputError(
                "this is an S4 (diagonal plus low rank) layer: it has a parameter P. Only S5 and S4D are read"
            )
        lacking = super().missing(raw)
        if "C" not in raw:
            absent = [key for key in ("C1", "C2") if key not in raw]
            lacking += [" and ".join(absent) + " (or C)"] if absent else []
        elif not lacking and ("C1" in raw or "C2" in raw):
            raise InputError(
                "the layer has C and also C1 or C2; one of the two ways to store the output matrix is needed"
            )
        return lacking

    def decode(self, raw: Mapping[str, Array]) -> dict[str, Any]:
        """See :class:`LayerFormat`."""
        real = expect("Lambda_re", raw["Lambda_re"], None)
        P = real.shape[0]
        imag = expect("Lambda_im", raw["Lambda_im"], P)
        B = expect("B", raw["B"], P, None, 2)
        H = B.shape[1]
        log_step = raw["log_step"]
        log_step = log_step[:, 0] if log_step.ndim == 2 and log_step.shape[1] == 1 else log_step
        expect("log_step", log_step, P)
        reverse: Array | None = None
        D = raw.get("D", np.zeros(H))  # event-ssm's use_D=False
        p = D.shape[0] if D.ndim == 2 else H
        expect("D", D, p, H) if D.ndim == 2 else expect("D", D, H)
        if "C1" in raw:
            forward, reverse = expect("C1", raw["C1"], p, P, 2), expect("C2", raw["C2"], p, P, 2)
        else:
            both = raw["C"]
            if both.ndim != 3 or both.shape[0] != p or both.shape[1] not in (P, 2 * P) or both.shape[2] != 2:
                raise DimensionError(
                    f"C must have shape ({p}, {P}, 2), or ({p}, {2 * P}, 2) when bidirectional",
                    C=both.shape,
                    B=B.shape,
                )
            forward = both[:, :P]
            reverse = both[:, P:] if both.shape[1] == 2 * P and P else None
        return {
            "Lambda": real.astype(np.float64) + 1j * imag.astype(np.float64),
            "B": paired(B),
            "C": paired(forward),
            "C_reverse": None if reverse is None else paired(reverse),
            "D": D.astype(np.float64),
            "log_step": log_step.astype(np.float64),
        }

    def encode(self, fields: Mapping[str, Any], dtype: np.dtype[Any]) -> Arrays:
        """See :class:`LayerFormat`."""
        C, reverse = fields["C"], fields["C_reverse"]
        raw = {
            "Lambda_re": fields["Lambda"].real.astype(dtype),
            "Lambda_im": fields["Lambda"].imag.astype(dtype),
            "B": pairs(fields["B"], dtype),
            "D": fields["D"].astype(dtype),
            "log_step": fields["log_step"].astype(dtype)[:, None],
        }
        if reverse is None:
            return raw | {"C": pairs(C, dtype)}
        if self.wide:
            return raw | {"C": pairs(np.concatenate([C, reverse], axis=1), dtype)}
        return raw | {"C1": pairs(C, dtype), "C2": pairs(reverse, dtype)}

    def select(self, raw: Arrays, index: Array) -> Arrays:
        """See :class:`LayerFormat`."""
        P = raw["Lambda_re"].shape[0]
        chosen = {key: raw[key][index] for key in ("Lambda_re", "Lambda_im", "B", "log_step")}
        chosen |= {"D": raw["D"]} if "D" in raw else {}
        for key in ("C", "C1", "C2"):
            if key in raw:
                wide = key == "C" and raw[key].shape[1] == 2 * P
                chosen[key] = raw[key][:, np.concatenate([index, index + P]) if wide else index]
        return chosen


class WideS5(ReferenceS5):
    """The reverse direction in the second half of C."""

    name, title = "s5-wide", "reference S5 (C_init=complex_normal, bidirectional)"
    keys = ("Lambda_re", "Lambda_im", "B", "C", "log_step")
    optional = ("D",)
    wide = True


FORMATS = (ReferenceS5(), WideS5())
