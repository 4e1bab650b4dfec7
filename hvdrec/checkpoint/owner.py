"""The owner of a model_dir: the content of its lock, and the error for a second run."""

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

#: A run as described in its lock (host, process, since, run, and the heartbeat number); empty for none.
Owner = dict[str, Any]


def this_process() -> Owner:
    """Describes a run of this process."""
    return {
        "host": socket.gethostname(),
        "process": os.getpid(),
        "since": round(time.time(), 3),
        "run": uuid.uuid4().hex,
    }


def parse(text: str) -> Owner:
    """Parses a lock; empty if it can't be parsed."""
    try:
        owner = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    known = isinstance(owner, dict) and {"host", "process"} <= owner.keys()
    return owner if known and str(owner["process"]).isdigit() else {}


def is_here(owner: Owner) -> bool:
    """Whether a run is, or was, on this machine."""
    return bool(owner) and owner["host"] == socket.gethostname()


def has_ended(owner: Owner) -> bool:
    """Whether a run is known to have ended; unknown for runs on other machines."""
    return is_here(owner) and not is_alive(int(owner["process"]))


def refusal(folder: str, owner: Owner) -> str:
    """The error for a run that finds another one in its folder."""
    who = f"process {owner['process']} on {owner['host']}" if owner else "another process"
    return f"{folder} is in use by {who} ({folder.rstrip('/')}/{FILE_NAME}); give another --model_dir"


def watch(
    seen: Owner, read: Callable[[], Owner], seconds: float, looks: int, stopped: Callable[[], bool]
) -> Owner | None:
    """Waits for a run's next heartbeat.

    Args:
        seen: The parsed lock.
        read: Reads the lock again.
        seconds: How long to wait.
        looks: The number of reads in that time.
        stopped: Polled after each read; ends the wait.

    Returns:
        The parsed lock as soon as it changes, None if it never does.
    """
    for _ in range(looks):
        time.sleep(seconds / looks)
        now = read()
        if now != seen:
            return now
        if stopped():
            break
    return None
