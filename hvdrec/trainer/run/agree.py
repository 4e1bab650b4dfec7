"""Keeps ranks together when one of them fails in Python."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from hvdrec.errors import UserError, words
from hvdrec.parallel.group import ReplicaGroup

T = TypeVar("T")


class PeerError(UserError):
    """Another rank failed; text and exit code are that rank's."""

    def __init__(self, text: str, exit_code: int = 1) -> None:
        super().__init__(text)
        self.exit_code = exit_code


def exit_code_of(error: BaseException) -> int:
    """With which exit code a process ends because of an error."""
    return error.exit_code if isinstance(error, UserError) else 1


def raise_together(group: ReplicaGroup, error: Exception | None) -> None:
    """Raises on every rank if any rank has an error (collective).

    Raises:
        Exception: This rank's own error, or PeerError with the first failing rank's message.
    """
    said = str(error) if error is None or isinstance(error, UserError) else words(error)
    failed = group.gather_objects(None if error is None else (said, exit_code_of(error)))
    if error is not None:
        raise error
    for rank, failure in enumerate(failed):
        if failure is not None:
            text, code = failure
            raise PeerError(f"rank {rank} failed: {text}", code)


def run_on_all_ranks(group: ReplicaGroup, work: Callable[[], T]) -> T:
    """Runs `work` on every rank; if it fails on one, all raise (collective).

    Raises:
        Exception: As `raise_together`.
    """
    result, error = None, None
    try:
        result = work()
    except Exception as failure:
        error = failure
    raise_together(group, error)
    return result  # type: ignore[return-value]
