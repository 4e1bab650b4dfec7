"""Retries failed requests to a store after a pause, for a limited time, with a log line each."""

from __future__ import annotations

import errno
import logging
import os
import random
import re
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from hvdrec.errors import StorageError, StoreGoneError, UserError
from hvdrec.storage.address import is_remote, scheme
from hvdrec.storage.secrets import without_secrets

T = TypeVar("T")

logger = logging.getLogger(__name__)

#: The number of seconds for which a store may fail.
VARIABLE = "HVDREC_STORE_PATIENCE"
_PATIENCE = 300.0
_FIRST_WAIT, _LONGEST_WAIT = 0.2, 15.0

#: Errors that a retry can't fix, as worded by Arrow's file systems.
_LASTING = re.compile(
    r"ACCESS_DENIED|NO_SUCH_BUCKET|NO_SUCH_UPLOAD|INVALID_ACCESS_KEY_ID|SIGNATURE|INVALID_CLIENT_TOKEN_ID|"
    r"UNRECOGNIZED_CLIENT|MISSING_AUTHENTICATION_TOKEN|EXPIRED_TOKEN|ExpiredToken|NOT_IMPLEMENTED|"
    r"HTTP status 4(?!08|29)\d\d|Unable to load lib|PermissionDenied|Permission denied|UNAUTHENTICATED"
)

#: Errors of the local disk.
_LOCAL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG, errno.EPERM, errno.ENAMETOOLONG)

#: Stores that have been given up: each gets one attempt per call, until it responds.
_given_up: set[str] = set()


def seconds(variable: str, default: float) -> float:
    """Reads a number of seconds from an environment variable.

    Raises:
        StorageError: The value isn't a number.
    """
    written = os.environ.get(variable, "")
    try:
        return max(0.0, float(written)) if written else default
    except ValueError:
        raise StorageError(f"{variable}: expected a number of seconds, found {written!r}") from None


def is_lasting(error: Exception) -> bool:
    """Whether an error is permanent: no permission, no such bucket, an invalid request."""
    if isinstance(error, UserError | FileNotFoundError | FileExistsError | PermissionError):
        return True
    # A file of Arrow's GCS client closes itself when a read of it fails, or its object is replaced meanwhile.
    if isinstance(error, ValueError) and "closed file" in str(error):
        return False
    if isinstance(error, IsADirectoryError | NotADirectoryError) or not isinstance(error, OSError):
        return True
    if error.errno in _LOCAL:
        return True
    return _LASTING.search(str(error)) is not None


def reason(error: Exception) -> str:
    """An error's text on one line, without secrets."""
    return without_secrets(str(error).split("\n")[0].strip() or type(error).__name__)


def retry(path: str, work: Callable[[], T], stopped: threading.Event | None = None) -> T:
    """Runs an operation on a store; while the store fails, retries after increasing pauses.

    Args:
        path: The path that is read or written. With a local path, `work` runs once.
        work: The operation, which restarts from the beginning each time.
        stopped: Once set, no further attempt is made.

    Returns:
        The result of `work`.

    Raises:
        FileNotFoundError: There is no such file.
        StoreGoneError: The store failed for longer than `HVDREC_STORE_PATIENCE`.
        StorageError: The store refuses, or the error is permanent.
    """
    if not is_remote(path):
        return work()
    store = _store_of(path)
    began = time.monotonic()
    wait = _FIRST_WAIT
    ended = stopped or threading.Event()
    while True:
        try:
            result = work()
        except (FileNotFoundError, UserError):
            raise
        except Exception as error:
            if is_lasting(error):
                if not isinstance(error, OSError):
                    raise
                raise StorageError(f"{path}: {reason(error)}") from error
            failed = time.monotonic() - began
            limit = 0.0 if store in _given_up else seconds(VARIABLE, _PATIENCE)
            if failed + wait > limit or ended.is_set():
                _given_up.add(store)
                lasted = f" for {failed:.0f} s" if limit else ""
                raise StoreGoneError(f"{path}: the store has failed{lasted}: {reason(error)}") from error
            logger.warning(
                "%s: %s; again in %.1f s (%.0f of %.0f s)", path, reason(error), wait, failed, limit
            )
            # Randomise the pause, because many ranks may be retrying.
            ended.wait(wait * random.uniform(0.8, 1.0))
            wait = min(2 * wait, _LONGEST_WAIT)
        else:
            if store in _given_up:
                _given_up.discard(store)
                logger.warning("%s: the store responds again", path)
            return result


def _store_of(path: str) -> str:
    return f"{scheme(path)}://{path.partition('://')[2].partition('/')[0]}"
