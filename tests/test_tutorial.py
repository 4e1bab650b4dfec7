"""The tutorial's commands, config and program work as described, one after the other."""

from __future__ import annotations

import os
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]


def _run(command: list[str], folder: pathlib.Path) -> str:
    path = f"{pathlib.Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, f"{command}:\n{done.stdout[-2000:]}{done.stderr[-3000:]}"
    return done.stdout


def test_tutorial(tmp_path: pathlib.Path) -> None:
    (tmp_path / "data").symlink_to(ROOT / "data")
    printed = []
    text = (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")
    for language, code in re.findall(r"^```(\w*)\n(.*?)^```$", text, re.M | re.S):
        if language == "sh":
            lines = [line for line in code.splitlines() if not line.startswith("source ")]
            printed.append(_run(["bash", "-ec", "\n".join(lines)], tmp_path))
        elif language == "python":
            printed.append(_run([sys.executable, "-c", code], tmp_path))
        elif language == "protobuf":
            (tmp_path / "runs" / "tutorial" / "adult.config").write_text(code, encoding="utf-8")
    shown = "\n".join(printed)
    aucs = [float(found) for found in re.findall(r"auc[ =:\"]+(0\.\d+)", shown)]
    assert len(aucs) >= 3, shown
    assert min(aucs) > 0.87, shown
    predictions = (tmp_path / "runs" / "tutorial" / "predictions.csv").read_text().splitlines()
    assert predictions[0] == "probs,label"
    assert len(predictions) == 1 + len((ROOT / "data" / "adult" / "test.csv").read_text().splitlines())
    served = re.search(r"^\[(0\.\d+) +(0\.\d+)\]$", shown, re.M)
    assert served, shown
    assert len(list((tmp_path / "runs" / "tutorial" / "model" / "export" / "best").iterdir())) >= 1
