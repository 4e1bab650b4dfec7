"""Which run owns a model_dir: what its lock says, and the error a second run gets."""

from __future__ import annotations

import json
import os
import socket
import time
import uuid
from collections.abc import Callable
from typing import Any

from hvdrec.checkpoint.files import is_alive

FILE_NAME = ".lock"

#: A run, as its lock describes it (host, process, since, run, and the number of its beat); empty for none.
Owner = dict[str, Any]


def this_process() -> Owner:
    """A run of this process."""
    return {
        "host": socket.gethostname(),
        "process": os.getpid(),
        "since": round(time.time(), 3),
        "run": uuid.uuid4().hex,
    }


def parse(text: str) -> Owner:
    """What a lock says; nothing where it says nothing that can be understood."""
    try:
        owner = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    known = isinstance(owner, dict) and {"host", "process"} <= owner.keys()
    return owner if known and str(owner["process"]).isdigit() else {}


def is_here(owner: Owner) -> bool:
    """Whether a run is, or was, one of this machine."""
    return bool(owner) and owner["host"] == socket.gethostname()


def has_ended(owner: Owner) -> bool:
    """Whether a run is known to have ended; of another machine's that isn't known."""
    return is_here(owner) and not is_alive(int(owner["process"]))


def refusal(folder: str, owner: Owner) -> str:
    """The error of a run that finds another one in its folder."""
    who = f"process {owner['process']} on {owner['host']}" if owner else "another process"
    return f"{folder} is in use by {who} ({folder.rstrip('/')}/{FILE_NAME}); give another --model_dir"


def watch(
    seen: Owner, read: Callable[[], Owner], seconds: float, looks: int, stopped: Callable[[], bool]
) -> Owner | None:
    """Waits for a run's next beat.

    Args:
        seen: What its lock says.
        read: Reads it again.
        seconds: For how long.
        looks: How often to look in that time.
        stopped: Asked after each look; ends the waiting.

    Returns:
        What the lock says as soon as that is something else, None if it never is.
    """
    for _ in range(looks):
        time.sleep(seconds / looks)
        now = read()
        if now != seen:
            return now
        if stopped():
            break
    return None
