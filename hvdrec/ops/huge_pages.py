"""Huge pages for large tables."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from hvdrec.ops.library import load_ops


def use_huge_pages(variables: Sequence[tf.Variable]) -> int:
    """Moves the values of large variables to pages of 2 MB, as far as the system allows.

    Every access to a row of a large table at a random place otherwise needs a search for the address of its
    page. Values don't change. A variable that is assigned as a whole may be in ordinary pages again.

    Args:
        variables: Of any types, in this process's memory.

    Returns:
        The number of bytes that this applies to: 0 if all are small, or if the system has no such pages
        (`/sys/kernel/mm/transparent_hugepage/enabled` is `never`).
    """
    if not variables:
        return 0
    return int(load_ops().hvdrec_huge_pages([v.handle for v in variables]))
