"""A rank's guard: suspends the launcher when it begins to kill, and resumes it when the rank requests it or
dies.

Run as ``python -I -S launcher_guard.py PID`` by `launcher_process`, in the rank's process group. A launcher
signals the whole group, and SIGKILL follows SIGTERM so soon that on a busy machine a rank, with its many
threads and the GIL, may not run at all in between; this process does nothing but wait, and as root it runs
before all others.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from types import FrameType

HOLD = b"h"


def guard(launcher: int, control: int) -> None:
    """Returns when the control pipe is closed.

    Args:
        launcher: The process to suspend at SIGTERM, or on receiving the byte HOLD.
        control: A pipe; only the rank has the other end.
    """
    held = False

    def hold(number: int = 0, frame: FrameType | None = None) -> None:
        nonlocal held
        held = True
        os.kill(launcher, signal.SIGSTOP)

    # Only root, or a process with CAP_SYS_NICE, may.
    with contextlib.suppress(AttributeError, OSError):
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    signal.signal(signal.SIGTERM, hold)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # The rank waits for this before it continues.
    os.write(1, HOLD)
    while os.read(control, 1) == HOLD:
        hold()
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if held:
        os.kill(launcher, signal.SIGCONT)


if __name__ == "__main__":
    guard(int(sys.argv[1]), sys.stdin.fileno())
