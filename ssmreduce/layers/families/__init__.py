"""What the kinds of layers differ in: shapes, system, and the way back from a system; one file a kind.

Holds: :class:`Family` and the registry :data:`FAMILIES`. Imports :mod:`theory` only; what a *code base* stores is in
:mod:`ssmreduce.layers.formats`. No other room asks of which kind a layer is.
"""

from __future__ import annotations

from ssmreduce.layers.families.family import CLIP, DISCRETIZATIONS, Family, Fields, discrete
from ssmreduce.layers.families.s4d import S4D
from ssmreduce.layers.families.s5 import S5

FAMILIES: dict[str, Family] = {family.kind: family for family in (S5(), S4D())}
"""Every kind of layer, by name."""

__all__ = ["CLIP", "DISCRETIZATIONS", "FAMILIES", "Family", "Fields", "discrete"]
