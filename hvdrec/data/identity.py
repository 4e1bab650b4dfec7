"""Identifies an input, because a position in it is meaningless in another."""

from __future__ import annotations

import concurrent.futures
import hashlib
from collections.abc import Sequence
from typing import Any

from hvdrec.data.rows import RowsFile

#: The number of files in a store that are queried concurrently.
_AT_ONCE = 16


def describe(files: Sequence[RowsFile]) -> dict[str, Any]:
    """The description of an input that a checkpoint saves with its position.

    Args:
        files: The input, in listed order.

    Returns:
        The number of files, their total size (bytes, or rows of tables), and a digest of their fingerprints,
        as JSON values.
    """
    with concurrent.futures.ThreadPoolExecutor(_AT_ONCE) as pool:
        sizes = list(pool.map(lambda file: file.size(), files))
        prints = list(pool.map(lambda file: file.fingerprint(), files))
    digest = hashlib.sha256(repr(list(zip(sizes, prints, strict=True))).encode()).hexdigest()
    return {"files": len(files), "size": sum(sizes), "sha256": digest}
