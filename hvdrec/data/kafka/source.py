"""KafkaInput: the messages of a topic as rows, and the offsets from which to continue after them."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from hvdrec.data.batch import BEGINNING, InputPosition, RowBlock
from hvdrec.data.kafka.topic import Bounds, Messages, Topic
from hvdrec.data.line_format import LineFormat
from hvdrec.data.rows import Block, FieldLike, names_to_read
from hvdrec.data.source import ReadPlan, RowSource
from hvdrec.errors import ConfigError

#: Replaces a line break within a message, and an empty message.
_BREAK = b"\0"
#: The number of a row in messages is its offset.
_NUMBERED = "offset"


@dataclasses.dataclass(frozen=True)
class KafkaStretch:
    """A part of a topic with an end, which is the same for all ranks.

    Attributes:
        message: The `KafkaServer`.
        bounds: Its beginning and end.
    """

    message: Any
    bounds: Bounds


def stretch_of(message: Any, what: str) -> KafkaStretch:
    """Returns a topic from the beginning given in the config to its current end.

    Args:
        message: The `KafkaServer`.
        what: The name of the setting, for messages.

    Raises:
        UserError: No broker responds, or an offset is invalid.
    """
    topic = Topic(message, what)
    try:
        return KafkaStretch(message, topic.bounds(range(len(topic.parts())), True, {}))
    finally:
        topic.close()


class KafkaFormat(LineFormat):
    """Messages of a topic, each a row of delimited text.

    A pass with an end reads one partition after the other; one without reads messages in the order they
    arrive, those of a partition in the partition's order.
    """

    numbered = _NUMBERED

    def __init__(
        self,
        topic: Topic,
        bounds: Bounds,
        fields: Sequence[FieldLike],
        declared: Sequence[str],
        separator: str,
        keep_raw: bool = False,
    ) -> None:
        """Opens the topic's partitions.

        Args:
            topic: The topic.
            bounds: The bounds of the partitions to read.
            fields: The columns to read, in the order of the result.
            declared: Names of all columns, in order.
            separator: The separator between cells.
            keep_raw: Also read all other columns, after those of `fields`.

        Raises:
            ConfigError: A field isn't declared.
        """
        names = names_to_read(fields, declared, keep_raw)
        parts = topic.parts()
        super().__init__(parts, names, separator.encode(), False, 0)  # type: ignore[arg-type]
        self._topic, self._bounds = topic, bounds
        self._columns = len(declared)
        columns = [declared.index(name) for name in names]
        for number in range(len(parts)):
            self.splitter.set_layout(number, columns, len(declared))
        #: What has been read: (number of the first row, rows, partition, first offset) of each block.
        self._read: collections.deque[tuple[int, int, int, int]] = collections.deque()
        self._rows = 0
        self._offsets = dict(bounds.start)

    def blocks(self, files: list[int]) -> Iterator[Block]:
        """See `Format.blocks`; the files are partitions."""
        bounds = self._bounds
        if bounds.end is None:
            yield from map(self._block, self._topic.messages(_of(bounds, files)))
            return
        for number in files:
            yield from map(self._block, self._topic.messages(_of(bounds, [number])))

    def _block(self, messages: Messages) -> Block:
        lines = [self._line(value) for value in messages.values]
        text = b"\n".join(lines) + b"\n"
        buffer = np.zeros(len(text) + self.native.LINE_PADDING, np.uint8)
        buffer[: len(text)] = np.frombuffer(text, np.uint8)
        block = self.native.LineBlock(buffer, 0, len(text), True, messages.partition, messages.first)
        assert block.rows == len(lines)
        self._read.append((self._rows, len(lines), messages.partition, messages.first))
        self._rows += len(lines)
        found: Block = block
        return found

    def _line(self, value: bytes) -> bytes:
        """A message as one line: a line break at its end is ignored, one within it makes a bad row."""
        line = value.removesuffix(b"\n").removesuffix(b"\r")
        if line and b"\n" not in line:
            return line
        text = line.replace(b"\n", _BREAK)
        if text.count(self._separator) + 1 == self._columns:
            text += self._separator
        return text or _BREAK

    def offsets_after(self, rows: int) -> tuple[tuple[int, int], ...]:
        """Offsets of the partitions after that many rows; `rows` must not decrease from call to call."""
        while self._read and self._read[0][0] < rows:
            begin, count, partition, first = self._read[0]
            self._offsets[partition] = first + min(count, rows - begin)
            if begin + count > rows:
                break
            self._read.popleft()
        return tuple(sorted(self._offsets.items()))

    def close(self) -> None:
        """Disconnects from the brokers."""
        self._topic.close()


class KafkaSource(RowSource):
    """Blocks of rows whose positions contain offsets.

    In training, partition p belongs to rank p mod N, and each rank reads its own in the order of arrival. A
    position therefore contains the offsets of the rank's partitions, and a run continues from those of all
    ranks, on any number of ranks.
    """

    numbered = _NUMBERED

    def __init__(
        self, message: Any, what: str, plan: ReadPlan, start: InputPosition = BEGINNING, **options: Any
    ) -> None:
        """Opens a topic.

        Args:
            message: The `KafkaServer`, or a `KafkaStretch`.
            what: The name of the setting, for messages.
            plan: Which rank gets which rows; `shard_files` distributes the partitions over the ranks.
            start: The position to continue from.
            options: See `KafkaFormat`.

        Raises:
            UserError: No broker responds, an offset is invalid, or a rank has no partition.
        """
        stretch = message if isinstance(message, KafkaStretch) else None
        topic = Topic(message if stretch is None else stretch.message, what)
        try:
            count = len(topic.parts())
            own = range(plan.rank, count, plan.size) if plan.shard_files else range(count)
            if not own:
                raise ConfigError(
                    f"{what}: {topic.name} has {count} partitions, and each of {plan.size} ranks needs one; "
                    "start fewer ranks, or give the topic more partitions"
                )
            bounds = stretch.bounds if stretch else topic.bounds(own, plan.epochs > 0, dict(start.offsets))
            data = KafkaFormat(topic, bounds, **options)
        except BaseException:
            topic.close()
            raise
        self._topic, self._kafka, self._begun = topic, data, start.row
        super().__init__(data, plan)

    def runs(self) -> Iterator[list[RowBlock]]:
        """See `RowSource.runs`."""
        for run in super().runs():
            yield [dataclasses.replace(block, position=self._at(block.position)) for block in run]

    def _at(self, position: InputPosition) -> InputPosition:
        if not self._plan.shard_files:
            return position
        offsets = self._kafka.offsets_after(position.row)
        return InputPosition(position.epoch, self._begun + position.row, offsets)

    def _turn_page(self) -> None:
        # More messages are known only when they arrive, and available rows must not wait for them.
        if self._plan.epochs:
            super()._turn_page()

    def _next_run(self) -> tuple[int, int]:
        found = super()._next_run()
        return (0, 0) if self._topic.stopped else found

    def stop(self) -> None:
        """See `RowSource.stop`."""
        super().stop()
        self._topic.stop()

    def close(self) -> None:
        """See `RowSource.close`."""
        super().close()
        self._kafka.close()


def _of(bounds: Bounds, partitions: Sequence[int]) -> Bounds:
    def chosen(offsets: Mapping[int, int]) -> dict[int, int]:
        return {p: offsets[p] for p in partitions}

    return Bounds(chosen(bounds.start), None if bounds.end is None else chosen(bounds.end))
