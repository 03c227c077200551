"""Figures of a recorded run."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def draw(record: dict[str, Any], folder: Path) -> list[Path]:
    """Write ``growth.png`` (times against size, with fitted exponents) and ``ratios.png`` from a run's JSON record."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    folder.mkdir(parents=True, exist_ok=True)
    written = []
    if record["growth"]:
        figure, axis = plt.subplots(figsize=(7, 4.5), layout="constrained")
        for series in record["growth"]:
            slope = "" if series["exponent"] is None else f" (exponent {series['exponent']:.2f})"
            axis.loglog(series["sizes"], series["cpu"], "o-", label=series["case"] + slope)
        axis.set_xlabel("size")
        axis.set_ylabel("processor time (s)")
        axis.legend(fontsize=8)
        written.append(folder / "growth.png")
        figure.savefig(written[-1], dpi=150)
        plt.close(figure)
    ratios = [row for row in record["rows"] if row.get("ratio_cpu") and row["package"] != "ssmreduce"]
    if ratios:
        figure, axis = plt.subplots(figsize=(7, 1.0 + 0.4 * len(ratios)), layout="constrained")
        names = [f"{row['case']}\n{row['package']}" for row in ratios]
        bars = axis.barh(names, [row["ratio_cpu"] for row in ratios])
        axis.bar_label(bars, fmt="%.3g", padding=3)
        axis.set_xscale("log")
        axis.set_xlim(right=2.0 * max(row["ratio_cpu"] for row in ratios))  # room for the longest bar's label
        axis.set_xlabel("times the processor time of ssmreduce")
        axis.tick_params(labelsize=8)
        written.append(folder / "ratios.png")
        figure.savefig(written[-1], dpi=150)
        plt.close(figure)
    return written
