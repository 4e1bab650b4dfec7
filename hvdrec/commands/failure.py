"""When one rank fails, the others say why before they stop."""

from __future__ import annotations

import contextlib
import json
import os
import time

import tensorflow as tf

from hvdrec.errors import UserError, words
from hvdrec.parallel import keeper
from hvdrec.parallel.group import ReplicaGroup
from hvdrec.trainer.run.agree import PeerError, exit_code_of

_FILE = os.path.join("logs", "failure.json")


def clear(model_dir: str) -> None:
    """Forgets the failure of an earlier run."""
    with contextlib.suppress(OSError):
        os.remove(os.path.join(model_dir, _FILE))


def record(model_dir: str, rank: int, message: str, exit_code: int | None = None) -> None:
    """Leaves why a rank failed, unless another failed before it.

    Args:
        model_dir: Where.
        rank: Which.
        message: Why.
        exit_code: The code it ends with; None if it is lost, so that starting it again may help.
    """
    path = os.path.join(model_dir, _FILE)
    with contextlib.suppress(OSError):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "x", encoding="utf-8") as file:
            code = {} if exit_code is None else {"exit_code": exit_code}
            json.dump({"rank": rank, "message": message, **code}, file)


def stop_all(group: ReplicaGroup, model_dir: str, error: BaseException) -> None:
    """Leaves the group because of `error`, so that no rank waits for this one for ever.

    The first rank to fail leaves its message in ``model_dir/logs/failure.json``; a rank whose
    collective broke because of it raises that message instead of Horovod's.

    Raises:
        PeerError: `error` is only the echo of another rank's failure.
    """
    if group.size == 1:
        return
    path = os.path.join(model_dir, _FILE)
    if isinstance(error, UserError) or not _is_echo(error):
        if not isinstance(error, PeerError):
            said = str(error) if isinstance(error, UserError) else words(error)
            record(model_dir, group.rank, said, exit_code_of(error))
        group.close()
        return
    group.close()
    for _ in range(20):
        try:
            with open(path, encoding="utf-8") as file:
                first = json.load(file)
            if "exit_code" not in first:
                keeper.tell(keeper.LOST)
            raise PeerError(
                f"rank {first['rank']} failed: {first['message']}", first.get("exit_code", 1)
            ) from error
        except (OSError, ValueError):
            time.sleep(0.1)
    keeper.tell(keeper.LOST)
    raise PeerError(
        "another rank is gone (killed, out of memory, its host is lost, or it has said why itself); the run "
        f"can go on from its last checkpoint (--continue_train); Horovod says: {words(error)}"
    ) from error


def _is_echo(error: BaseException) -> bool:
    """Whether Horovod failed only because another rank left.

    Its operations end in UnknownError then, with the words of whatever carries the messages.
    """
    return (
        "HorovodInternalError" in type(error).__name__
        or isinstance(error, tf.errors.UnknownError)
        or "Horovod" in str(error)
    )
