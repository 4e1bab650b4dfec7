"""Draws the figures of bench/pairwise.py as a chart."""

from __future__ import annotations

import json
import pathlib
from typing import Any

#: Name of a contender in the chart, and its colour.
LINES = {
    "op": ("hvdrec, TensorFlow op", "#c1272d"),
    "function": ("hvdrec, Python function", "#e8963c"),
    "tensorflow": ("TensorFlow", "#4477aa"),
    "xla": ("TensorFlow, XLA", "#66aadd"),
    "pytorch": ("PyTorch", "#228833"),
    "libauc": ("LibAUC", "#777777"),
}


def draw(reports: list[pathlib.Path], out: pathlib.Path) -> None:
    """Time and memory over rows, both logarithmic, for the results with the most threads."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams.update({"svg.hashsalt": "hvdrec", "font.size": 9})
    from matplotlib import pyplot

    results: list[dict[str, Any]] = []
    for report in reports:
        results += json.loads(report.read_text())["results"]
    threads = max(result["threads"] for result in results)
    figure, sides = pyplot.subplots(1, 2, figsize=(8, 3.4), layout="constrained")
    for side, field, title in zip(
        sides,
        ("median_milliseconds", "megabytes"),
        ("milliseconds (median)", "peak megabytes"),
        strict=True,
    ):
        for contender, (name, colour) in LINES.items():
            points = sorted(
                (result["rows"], max(result[field], 0.1))
                for result in results
                if result["by"] == contender and result["threads"] == threads and field in result
            )
            if points:
                side.loglog(*zip(*points, strict=True), marker="o", markersize=3, color=colour, label=name)
        side.set_xlabel("rows")
        side.set_title(title, fontsize=9)
        side.grid(alpha=0.3)
    sides[0].legend(fontsize=7)
    figure.savefig(out, metadata={"Date": None})
