"""Prints a short table of the results of bench/gpu/run.sh in a folder.

python bench/gpu/table.py RESULTS
"""

from __future__ import annotations

import json
import pathlib
import sys
from typing import Any


def checked(path: pathlib.Path) -> list[str]:
    """Summarizes gpu_check's report, even if incomplete: cases that pass, cases that fail, times of the largest."""
    cases: list[dict[str, Any]] = []
    for line in path.read_text().splitlines():
        if line.strip().startswith('{"case"'):
            cases.append(json.loads(line.strip().rstrip(",")))
    wrong = [case for case in cases if not case["holds"]]
    lines = [f"gpu_check: {len(cases)} cases, {len(wrong)} don't hold"]
    lines += [
        f"  {c['case']} {c['type']}: loss {c['loss_error']}, gradient {c['gradient_error']}, same bits {c['same_bits']}"
        for c in wrong[:40]
    ]
    for kind in ("float32", "float64"):
        for name in dict.fromkeys(case["case"].split()[0] for case in cases):
            of = [case for case in cases if case["case"].split()[0] == name and case["type"] == kind]
            if of:
                slowest = max(of, key=lambda case: case["gpu_ms"])
                lines.append(
                    f"  {name} {kind}: worst loss error {max(c['loss_error'] for c in of):.1e}, gradient "
                    f"{max(c['gradient_error'] for c in of):.1e}; slowest {slowest['case']}: "
                    f"{slowest['gpu_ms']:.2f} ms (CPU {slowest['cpu_ms']:.1f})"
                )
    return lines


def measured(path: pathlib.Path) -> list[str]:
    """Milliseconds and megabytes by loss, rows and contender."""
    results = json.loads(path.read_text())["results"]
    names = list(dict.fromkeys(entry["by"] for entry in results))
    lines = ["loss | rows | " + " | ".join(names)]
    for loss, rows in dict.fromkeys((entry["loss"], entry["rows"]) for entry in results):
        cells = {entry["by"]: entry for entry in results if (entry["loss"], entry["rows"]) == (loss, rows)}
        lines.append(f"{loss} | {rows:,} | " + " | ".join(cell(cells.get(name)) for name in names))
    lines += [
        f"{e['loss']} by {e['by']}, {e['rows']:,} rows: {e['launches']} launches, {e['copies']}"
        for e in results
        if "launches" in e and e["by"] == "hvdrec"
    ]
    return lines


def cell(entry: dict[str, Any] | None) -> str:
    if entry is None:
        return ""
    if "failed" in entry:
        return entry["failed"].partition(":")[0]
    return f"{entry['milliseconds']:.3f} ms {entry['megabytes']:,.0f} MB"


def main() -> None:
    folder = pathlib.Path(sys.argv[1])
    for name, show in (("gpu_check.json", checked), ("losses.json", measured), ("compiled.json", measured)):
        if (folder / name).exists():
            print("\n".join(show(folder / name)))
    if (folder / "sanitize.log").exists():
        print((folder / "sanitize.log").read_text().rstrip())
    for job in sorted(folder.glob("job_*.log")):
        print("\n".join(line for line in job.read_text().splitlines() if "samples/s" in line))


if __name__ == "__main__":
    main()
