"""Layers that are recognised and not read: what to say about each."""

from __future__ import annotations

FOREIGN = {
    ("log_w_real",): "an S4D checkpoint from before version 3; convert it with the S4 code's convert_v3_to_v4",
    ("inv_w_real",): "an S4D checkpoint from before version 3; convert it with the S4 code's convert_v3_to_v4",
}
"""Last keys of a path to what the layer is."""
