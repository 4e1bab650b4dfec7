"""By what an input is known again: a position in it is of no use in another."""

from __future__ import annotations

import concurrent.futures
import hashlib
from collections.abc import Sequence
from typing import Any

from hvdrec.data.rows import RowsFile

#: Files of a store that are asked about at once.
_AT_ONCE = 16


def describe(files: Sequence[RowsFile]) -> dict[str, Any]:
    """What a checkpoint keeps of the input that its position belongs to.

    Args:
        files: The input, in listed order.

    Returns:
        How many files there are, how much they hold (bytes, a table's rows), and a digest of their
        fingerprints; JSON values.
    """
    with concurrent.futures.ThreadPoolExecutor(_AT_ONCE) as pool:
        sizes = list(pool.map(lambda file: file.size(), files))
        prints = list(pool.map(lambda file: file.fingerprint(), files))
    digest = hashlib.sha256(repr(list(zip(sizes, prints, strict=True))).encode()).hexdigest()
    return {"files": len(files), "size": sum(sizes), "sha256": digest}
