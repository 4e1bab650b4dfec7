"""A rank's side of its keeper: the process that starts it again under Horovod's elastic driver.

`hvdrec.launcher.keeper` is the other side. A rank tells it, through a pipe, what it needs to know when the
rank is gone: whether the run has begun, how far it came, and whether the rank ends because another one is
lost.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
from collections.abc import Mapping

#: The pipe's descriptor.
PIPE = "HVDREC_KEEPER_PIPE"
#: The step that this run began at, where a checkpoint of its own must be there.
BEGAN = "HVDREC_KEEPER_BEGAN"
#: Set by `horovodrun` with a discovery script: ranks come and go.
ELASTIC = "HOROVOD_ELASTIC"
#: What a rank tells: "step 1200" (a checkpoint of it is about to be written), that a signal has come, that
#: another rank is lost.
STEP, SIGNAL, LOST = "step", "signal", "lost"

_PR_SET_PDEATHSIG = 1


def is_wanted(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether this process is to be a keeper: the elastic driver has started it."""
    return environment.get(ELASTIC, "") not in ("", "0")


def is_kept() -> bool:
    """Whether a keeper has started this process."""
    return PIPE in os.environ


def tell(word: str, number: int | None = None) -> None:
    """Tells the keeper, if there is one."""
    descriptor = os.environ.get(PIPE, "")
    if descriptor.isdigit():
        line = word if number is None else f"{word} {number}"
        with contextlib.suppress(OSError):
            os.write(int(descriptor), f"{line}\n".encode())


def began_at() -> int | None:
    """The step that this run began at, where its own checkpoints must be in model_dir by now."""
    text = os.environ.get(BEGAN, "")
    return int(text) if text.isdigit() else None


def end_with_keeper() -> None:
    """Has the kernel end this process with its keeper: it must not train beside the one that replaces it."""
    if not is_kept():
        return
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
