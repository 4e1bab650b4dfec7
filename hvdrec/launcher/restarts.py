"""Restarts a failed run from its last complete checkpoint."""

from __future__ import annotations

import dataclasses
import sys
import time

from hvdrec.launcher.ranks import Ranks
from hvdrec.launcher.run import Process

#: A user error, which would only occur again.
_MISTAKE = 2
_CONTINUE = "--continue_train"
#: The time for the system to free ports and memory of the previous processes.
_PAUSE_SECONDS = 1.0


def run_again_and_again(process: Process, restarts: int) -> int:
    """Runs ranks until the end; if one fails, all are restarted, at most `restarts` times.

    A signal to this process ends the run, and so does an error in the config or the command.

    Args:
        process: The command of `horovodrun`.
        restarts: The maximum number of restarts.

    Returns:
        The last exit code.

    Raises:
        UserError: The command can't be started.
    """
    for restart in range(1, restarts + 1):
        began = time.monotonic()
        ranks = Ranks(process)
        code = ranks.run()
        if code in (0, _MISTAKE) or ranks.asked_to_stop:
            return code
        if _CONTINUE not in process.command:
            process = dataclasses.replace(process, command=(*process.command, _CONTINUE))
        print(
            f"hvdrec.launch: the ranks ended with exit code {code} after {time.monotonic() - began:.0f} s; "
            f"restarting all from the last checkpoint (restart {restart} of {restarts})",
            file=sys.stderr,
            flush=True,
        )
        time.sleep(_PAUSE_SECONDS)
    return Ranks(process).run()
