"""Checks this machine and says how to fix problems: ``python -m hvdrec.doctor``.

The exit code is 0 if everything that training needs is available, 1 otherwise.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from hvdrec import __version__
from hvdrec.commands.closed_pipe import until_closed
from hvdrec.ops.environment import Finding, examine


def mark(finding: Finding) -> str:
    """`ok`; for a problem `FAIL` if training needs it, else `warn`."""
    if not finding.remedy:
        return "ok"
    return "FAIL" if finding.needed else "warn"


def render(findings: Sequence[Finding]) -> str:
    """The report as aligned lines; a failing one is followed by its remedy."""
    width = max(len(finding.what) for finding in findings)
    lines = []
    for finding in findings:
        lines.append(f"{mark(finding):4}  {finding.what:{width}}  {finding.found}")
        if finding.remedy:
            lines.append(f"{'':4}  {'':{width}}  -> {finding.remedy}")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the report and returns the exit code; `arguments` is the command line."""
    argparse.ArgumentParser("python -m hvdrec.doctor", description=__doc__).parse_args(arguments)
    print(f"hvdrec {__version__}")
    findings = examine()
    print(render(findings))
    fatal = sum(finding.fatal for finding in findings)
    if fatal:
        print(f"{fatal} of {len(findings)} checks failed: training can't run yet")
        return 1
    print("everything that training needs is available")
    return 0


if __name__ == "__main__":
    sys.exit(until_closed(main))
