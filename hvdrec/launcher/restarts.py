"""Starts a run again where it has failed, from its last whole checkpoint."""

from __future__ import annotations

import dataclasses
import sys
import time

from hvdrec.launcher.ranks import Ranks
from hvdrec.launcher.run import Process

#: A mistake of the user's, which would only be made again.
_MISTAKE = 2
_CONTINUE = "--continue_train"
#: What the system gets to free ports and memory of the processes before.
_PAUSE_SECONDS = 1.0


def run_again_and_again(process: Process, restarts: int) -> int:
    """Runs ranks to the end; those that fail are all started again, `restarts` times at most.

    A signal to this process ends the run, and so does a mistake in the config or the command.

    Args:
        process: The command of `horovodrun`.
        restarts: How often.

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
            f"all are started again from the last checkpoint (restart {restart} of {restarts})",
            file=sys.stderr,
            flush=True,
        )
        time.sleep(_PAUSE_SECONDS)
    return Ranks(process).run()
