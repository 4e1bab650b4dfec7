"""Counts correctly ordered pairs incrementally, exactly and without sorting all rows again."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np


class OrderedPairs:
    """The pairs of a positive and a negative row of one group, among all rows so far.

    Rows are kept as 64-bit numbers that sort by group, then score, in sorted runs, where each is at least
    twice as long as the next: a batch of b rows among n costs b log^2 n, and a row 8 bytes.

    Attributes:
        twice_won: int64 [groups], twice the pairs in order; a tie counts 1.
        positives: int64 [groups].
        negatives: int64 [groups].
    """

    def __init__(self) -> None:
        """Starts without rows."""
        self.twice_won = self.positives = self.negatives = np.zeros(0, np.int64)
        self._places: dict[object, int] = {}
        self._runs: dict[bool, list[np.ndarray]] = {True: [], False: []}

    def add(self, groups: np.ndarray, scores: np.ndarray, positive: np.ndarray) -> None:
        """Adds rows.

        Args:
            groups: [B] ids of any type.
            scores: float32 [B].
            positive: bool [B].

        Raises:
            ValueError: A score isn't a number.
        """
        if np.isnan(scores).any():
            raise ValueError(f"score {int(np.flatnonzero(np.isnan(scores))[0])} of the batch is not a number")
        places = self._places_of(groups)
        keys = (places.astype(np.uint64) << np.uint64(32)) | _ascending(scores)
        up, down = np.sort(keys[positive]), np.sort(keys[~positive])
        self._count(up, [*self._runs[False], down], lambda below, tied: 2 * below + tied)
        self._count(down, self._runs[True], lambda below, tied: -2 * below - tied, missing=2)
        self.positives = self.positives + np.bincount(places[positive], minlength=self.positives.size)
        self.negatives = self.negatives + np.bincount(places[~positive], minlength=self.negatives.size)
        _keep(self._runs[True], up)
        _keep(self._runs[False], down)

    def _places_of(self, groups: np.ndarray) -> np.ndarray:
        distinct, inverse = np.unique(groups, return_inverse=True)
        known = self._places
        places = np.array([known.setdefault(g, len(known)) for g in distinct.tolist()], np.int64)
        more = len(known) - self.twice_won.size
        self.twice_won, self.positives, self.negatives = (
            np.concatenate([a, np.zeros(more, np.int64)])
            for a in (self.twice_won, self.positives, self.negatives)
        )
        return places[inverse.reshape(-1)]

    def _count(
        self,
        keys: np.ndarray,
        runs: list[np.ndarray],
        won: Callable[[np.ndarray, np.ndarray], np.ndarray],
        missing: int = 0,
    ) -> None:
        """Sums, by group, the pairs that each key wins against the runs' keys of its group.

        Args:
            keys: Sorted.
            runs: Sorted keys of the other class.
            won: Twice the won pairs, computed from the numbers of keys below and of ties.
            missing: The additional count of each key of the group in a run.
        """
        groups = (keys >> np.uint64(32)).astype(np.int64)
        first = groups.astype(np.uint64) << np.uint64(32)
        for run in runs:
            start = np.searchsorted(run, first, "left")
            low = np.searchsorted(run, keys, "left")
            high = np.searchsorted(run, keys, "right")
            twice = won(low - start, high - low)
            if missing:
                end = np.searchsorted(run, first | np.uint64(0xFFFFFFFF), "right")
                twice = twice + missing * (end - start)
            np.add.at(self.twice_won, groups, twice)


def _ascending(scores: np.ndarray) -> np.ndarray:
    """uint64 [B] below 2^32 - 1 that sort as the scores do."""
    bits = (np.ascontiguousarray(scores, np.float32) + np.float32(0.0)).view(np.uint32)
    negative = bits >> np.uint32(31) == 1
    return np.where(negative, ~bits, bits | np.uint32(0x80000000)).astype(np.uint64)


def _keep(runs: list[np.ndarray], keys: np.ndarray) -> None:
    if keys.size == 0:
        return
    while runs and runs[-1].size < 2 * keys.size:
        # Two sorted stretches, which a stable sort merges in one pass.
        keys = np.sort(np.concatenate([runs.pop(), keys]), kind="stable")
    runs.append(keys)
