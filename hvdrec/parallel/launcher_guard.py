"""A rank's guard: stops the launcher when it begins to kill, lets it go when the rank says so or dies.

Run as ``python -I -S launcher_guard.py PID`` by `launcher_process`, in the rank's process group. A launcher
signals the whole group, and SIGKILL follows SIGTERM so soon that on a busy machine a rank, with its many
threads and one lock for all Python code, may come to nothing in between; this process only waits.
"""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType

HOLD = b"h"


def guard(launcher: int, control: int) -> None:
    """Returns when the control pipe is closed.

    Args:
        launcher: The process to stop at SIGTERM, or at a byte HOLD.
        control: A pipe whose other end the rank alone has.
    """
    held = False

    def hold(number: int = 0, frame: FrameType | None = None) -> None:
        nonlocal held
        held = True
        os.kill(launcher, signal.SIGSTOP)

    signal.signal(signal.SIGTERM, hold)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # What the rank waits for before it goes on.
    os.write(1, HOLD)
    while os.read(control, 1) == HOLD:
        hold()
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if held:
        os.kill(launcher, signal.SIGCONT)


if __name__ == "__main__":
    guard(int(sys.argv[1]), sys.stdin.fileno())
