"""Runs a notebook's code without Jupyter, and with ``--write`` stores what its cells print and draw.

python build_support/notebook.py [--write] docs/notebooks/pairwise_auc.ipynb
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import io
import json
import linecache
import os
import pathlib
import sys
from typing import Any

os.environ["MPLBACKEND"] = "agg"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


def main() -> None:
    """Runs the cells in order, in the notebook's folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true")
    parser.add_argument("notebook", type=pathlib.Path)
    arguments = parser.parse_args()
    path = arguments.notebook.resolve()
    notebook = json.loads(path.read_text(encoding="utf-8"))
    os.chdir(path.parent)
    names: dict[str, Any] = {"__name__": "__main__"}
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    for number, cell in enumerate(cells, start=1):
        cell["outputs"] = run("".join(cell["source"]), f"{path.name}[{number}]", names)
        cell["execution_count"] = number
    if arguments.write:
        path.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def run(source: str, name: str, names: dict[str, Any]) -> list[dict[str, Any]]:
    """Runs a cell in the notebook's namespace; returns what it printed and drew as notebook outputs."""
    printed = io.StringIO()
    # Code that needs the source of a cell's function, such as TensorFlow's AutoGraph, can find it.
    linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
    with contextlib.redirect_stdout(printed):
        exec(compile(source, name, "exec"), names)
    sys.stdout.write(printed.getvalue())
    outputs: list[dict[str, Any]] = []
    if printed.getvalue():
        outputs.append(
            {
                "name": "stdout",
                "output_type": "stream",
                "text": printed.getvalue().splitlines(keepends=True),
            }
        )
    return [*outputs, *drawn()]


def drawn() -> list[dict[str, Any]]:
    """The figures that the cell left open, which are then closed."""
    if "matplotlib.pyplot" not in sys.modules:
        return []
    from matplotlib import pyplot

    outputs = []
    for number in pyplot.get_fignums():
        picture = io.BytesIO()
        pyplot.figure(number).savefig(picture, format="png", dpi=70, metadata={"Software": None})
        outputs.append(
            {
                "output_type": "display_data",
                "metadata": {},
                "data": {
                    "image/png": base64.b64encode(picture.getvalue()).decode(),
                    "text/plain": ["<Figure>"],
                },
            }
        )
    pyplot.close("all")
    return outputs


if __name__ == "__main__":
    main()
