"""Exchanges the rows of a step between the ranks that need them and the ranks that own them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import tensorflow as tf

from hvdrec.layers.banks.deal import Deal

if TYPE_CHECKING:
    from hvdrec.parallel.group import ReplicaGroup

#: Row numbers or values of each bank, concatenated in the order of the ranks.
Banks = Sequence[tf.Tensor]

#: The most numbers in what a rank sends or receives at a time: Horovod counts them in int32.
MOST_NUMBERS = 2**31 - 1


def too_many(what: str) -> str:
    """The error for an exchange with more numbers."""
    return (
        f"{what} of split tables, and Horovod exchanges at most {MOST_NUMBERS:,} numbers at a time: set a "
        "smaller data_config.batch_size, or train on more ranks"
    )


class Route:
    """Which rows this rank requests from which rank in one step, and which rows others request from it.

    Attributes:
        rows: For each bank the requested rows, int32 [U], as given.
        local: For each bank the rows, by this rank's numbers, that all ranks request from it, int32 [A]:
            those of rank 0 first. A row that several ranks request is included several times.
    """

    def __init__(self, rows: Banks, deals: Sequence[Deal], group: ReplicaGroup, half: bool = False) -> None:
        """Sends the requests of this rank to the others (collective).

        Args:
            rows: For each bank distinct rows, int32 [U].
            deals: How the rows of each bank are distributed.
            group: The ranks.
            half: Whether `give` is called with rows that have one more number than those of `fetch`.
        """
        self.rows, self._more = list(rows), int(half)
        self._group, self._ranks = group, group.size
        self._order, self._back = list[tf.Tensor](), list[tf.Tensor]()
        wanted, counts = [], []
        for asked, deal in zip(rows, deals, strict=True):
            owner, own = deal.place(asked)
            positions = tf.dynamic_partition(tf.range(tf.size(asked)), owner, self._ranks)
            order = tf.concat(positions, axis=0)
            self._order.append(order)
            self._back.append(tf.math.invert_permutation(order))
            wanted.append(tf.gather(own, order))
            counts.append(tf.stack([tf.size(p) for p in positions]))
        #: int32 [ranks, banks]: the number of rows that this rank requests from each.
        self._sent = tf.stack(counts, axis=1)
        self._asked, self.local = self._tell(wanted)

    def _tell(self, wanted: Banks) -> tuple[tf.Tensor, list[tf.Tensor]]:
        """Sends each rank the number of rows requested from it for each bank, and the rows."""
        banks = len(wanted)
        by_rank = [tf.split(w, self._sent[:, b], num=self._ranks) for b, w in enumerate(wanted)]
        message = tf.concat(
            [part for r in range(self._ranks) for part in (self._sent[r], *(own[r] for own in by_rank))],
            axis=0,
        )
        lengths = banks + tf.reduce_sum(self._sent, axis=1)
        received, lengths = self._group.exchange(message, lengths, "banks/rows")
        messages = tf.split(received, lengths, num=self._ranks)
        asked = tf.stack([m[:banks] for m in messages])
        found = [tf.split(m[banks:], asked[r], num=banks) for r, m in enumerate(messages)]
        return asked, [tf.concat([f[b] for f in found], axis=0) for b in range(banks)]

    def fetch(self, values: Banks) -> list[tf.Tensor]:
        """Sends the rows of `local` to the ranks that requested them (collective).

        Args:
            values: For each bank the values of `local`, float32 [A, D].

        Returns:
            For each bank the values of `rows`, float32 [U, D].

        Raises:
            InvalidArgumentError: One of the ranks would have to exchange more than `MOST_NUMBERS` numbers.
        """
        widths = [int(v.shape[1]) for v in values]
        # `give` exchanges as many rows in the other direction, or fewer.
        wider = [width + self._more for width in widths]
        most = tf.reduce_max([tf.reduce_sum(tf.cast(c, tf.int64) * wider) for c in (self._asked, self._sent)])
        fits = tf.debugging.Assert(most <= MOST_NUMBERS, [too_many("this step needs too many rows"), most])
        with tf.control_dependencies([fits]):
            values = [tf.identity(v) for v in values]
        received = self._send(values, self._asked, "banks/values")
        found = self._taken(received, self._sent, widths)
        return [tf.gather(v, back) for v, back in zip(found, self._back, strict=True)]

    def give(self, values: Banks, banks: Sequence[int]) -> list[tf.Tensor]:
        """Sends values for `rows` to the ranks that own these rows (collective).

        Args:
            values: For some banks the values for `rows`, [U, D], all float32 or all float16.
            banks: The indices of these banks.

        Returns:
            For each of these banks the values for `local`, [A, D].
        """
        widths = [int(v.shape[1]) for v in values]
        ordered = [tf.gather(v, self._order[b]) for v, b in zip(values, banks, strict=True)]
        counts, asked = (tf.gather(c, list(banks), axis=1) for c in (self._sent, self._asked))
        return self._taken(self._send(ordered, counts, "banks/gradients"), asked, widths)

    def _send(self, values: Banks, counts: tf.Tensor, name: str) -> tf.Tensor:
        """Sends one message of flat numbers to each rank: its rows of the first bank, then of the next.

        Args:
            values: For each bank float32 [rows, D], those for rank 0 first.
            counts: int32 [ranks, banks], the number of rows for each.
            name: The name of the exchange.
        """
        lengths = tf.reduce_sum(counts * [int(v.shape[1]) for v in values], axis=1)
        if len(values) == 1:
            message = tf.reshape(values[0], [-1])
        else:
            by_rank = [tf.split(v, counts[:, b], num=self._ranks) for b, v in enumerate(values)]
            parts = [tf.reshape(own[r], [-1]) for r in range(self._ranks) for own in by_rank]
            message = tf.concat(parts, axis=0)
        return self._group.exchange(message, lengths, name)[0]

    def _taken(self, received: tf.Tensor, counts: tf.Tensor, widths: Sequence[int]) -> list[tf.Tensor]:
        """Unpacks what the ranks passed to `_send`; for each bank, that of rank 0 first."""
        if len(widths) == 1:
            return [tf.reshape(received, [-1, widths[0]])]
        lengths = tf.reshape(counts * widths, [-1])
        parts = tf.split(received, lengths, num=self._ranks * len(widths))
        return [
            tf.reshape(tf.concat(parts[b :: len(widths)], axis=0), [-1, width])
            for b, width in enumerate(widths)
        ]
