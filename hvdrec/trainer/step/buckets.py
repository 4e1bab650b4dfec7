"""Which dense gradients travel together: the upper layers' before the lower ones'."""

from __future__ import annotations

from collections.abc import Sequence

#: On several machines, each bucket has about this many bytes or more: a message costs the ranks half a
#: millisecond to agree on, in which a link of 10 Gbit/s carries as much.
_WORTH = 1 << 20
#: With two buckets, steps were a twentieth slower than with one: the larger half, the first layer's, is sent
#: after the backward pass in any case.
_LEAST = 3
#: The most buckets that are chosen; the last one is sent after the backward pass however many there are.
_MOST = 4


def choose_buckets(sizes: Sequence[int], wished: int, one_host: bool) -> int:
    """The number of buckets.

    Args:
        sizes: The bytes of each gradient.
        wished: `train_config.allreduce_buckets`; 0 for a number that suits the network.
        one_host: Whether all ranks are on one machine, where there is no link to wait for.

    Returns:
        At least 1.
    """
    if wished:
        return wished
    count = 1 if one_host else min(_MOST, sum(sizes) // _WORTH)
    return count if count >= _LEAST else 1


def plan_buckets(sizes: Sequence[int], count: int) -> list[list[int]]:
    """Divides gradients into buckets of similar size, in the order in which a backward pass finds them.

    That order is taken from the variables alone, the last created first, so that all ranks and all runs
    have the same buckets. It need not be exact: a gradient that comes later delays only its own bucket.

    Args:
        sizes: The bytes of each gradient, in the order in which the variables were created.
        count: The number of buckets, 1 or more.

    Returns:
        The indices of each bucket's gradients, in ascending order; none is empty, and there are at most
        `count`. A single empty one if there are no gradients.
    """
    if count == 1 or not sizes:
        return [list(range(len(sizes)))]
    buckets: list[list[int]] = [[] for _ in range(count)]
    total, before = max(sum(sizes), 1), 0
    for i in reversed(range(len(sizes))):
        # A gradient belongs where its middle is.
        middle = before + sizes[i] / 2
        buckets[min(int(count * middle / total), count - 1)].insert(0, i)
        before += sizes[i]
    return [bucket for bucket in buckets if bucket]
