"""A topic of Kafka: its partitions, the offsets to start at, and the messages from there on."""

from __future__ import annotations

import dataclasses
import importlib
import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from hvdrec.config.kafka import parse_offsets, parse_settings
from hvdrec.config.times import parse_time
from hvdrec.errors import ConfigError, DataError, StorageError

T = TypeVar("T")
_log = logging.getLogger(__name__)
#: The client, which uses librdkafka.
_CLIENT = "confluent_kafka"
_SECONDS = 30.0
#: The time that a poll waits for messages, and the most messages that it returns.
_POLL_SECONDS, _MOST_MESSAGES = 0.1, 8192


@dataclasses.dataclass(frozen=True)
class Partition:
    """A partition under its name in messages; a row's number is its offset."""

    name: str

    def size(self) -> int:
        """Unknown, because partitions grow."""
        return 0

    def fingerprint(self) -> str:
        """Its name; its messages never change."""
        return self.name


@dataclasses.dataclass(frozen=True)
class Bounds:
    """The beginning and end of a pass over some partitions.

    Attributes:
        start: The first offset, by partition.
        end: The offset after the last one; None for no end.
    """

    start: Mapping[int, int]
    end: Mapping[int, int] | None


@dataclasses.dataclass(frozen=True)
class Messages:
    """Consecutive messages of one partition, without a gap."""

    partition: int
    first: int
    values: list[bytes]


class Topic:
    """The topic of a `KafkaServer` message.

    Offsets are stored in checkpoints, not by Kafka: nothing is committed for the group.
    """

    def __init__(self, message: Any, what: str) -> None:
        """Stores the message; connects only when needed.

        Args:
            message: The `KafkaServer`.
            what: The name of the setting, for messages.
        """
        self._message, self._what = message, what
        self.name = f"topic {message.topic} of {message.server}"
        self._stopped = threading.Event()
        self._consumer: Any = None

    def parts(self) -> list[Partition]:
        """Its partitions.

        Raises:
            DataError: There is no such topic.
            StorageError: No broker responds.
        """
        return [Partition(f"{self._message.topic}, partition {p}") for p in range(self._count())]

    def stop(self) -> None:
        """Makes `messages` end."""
        self._stopped.set()

    @property
    def stopped(self) -> bool:
        """Whether `stop` was called."""
        return self._stopped.is_set()

    def close(self) -> None:
        """Disconnects from the brokers."""
        self.stop()
        if self._consumer is not None:
            self._consumer.close()
            self._consumer = None

    def _count(self) -> int:
        topic = self._message.topic
        found = self._ask(lambda c: c.list_topics(topic, _SECONDS)).topics.get(topic)
        if found is None or found.error is not None or not found.partitions:
            reason = "" if found is None or found.error is None else f": {found.error.str()}"
            raise DataError(f"{self._what}: there is no topic {topic!r} at {self._message.server}{reason}")
        return len(found.partitions)

    def bounds(self, partitions: Sequence[int], ends: bool, resumed: Mapping[int, int]) -> Bounds:
        """The offsets to start at, and the current ends of the partitions.

        Args:
            partitions: The partitions.
            ends: Whether there is an end.
            resumed: Offsets to continue from, which override those of the config.

        Raises:
            DataError: An offset is past the end of its partition, or of a partition that isn't there.
        """
        marks = {p: self._watermarks(p) for p in partitions}
        asked = {**self._configured(partitions), **resumed}
        start = {}
        for partition, (low, high) in marks.items():
            offset = asked.get(partition, low)
            if offset > high:
                raise DataError(
                    f"{self._what}: offset {offset} of partition {partition} of {self.name} is beyond its "
                    f"end, {high}; check that it is the same topic"
                )
            if offset < low and partition in asked:
                _log.warning(
                    "%s, partition %d: messages %d to %d no longer exist; reading "
                    "starts at %d, the first that is available",
                    *(self.name, partition, offset, low - 1, low),
                )
            start[partition] = max(offset, low)
        return Bounds(start, {p: high for p, (_, high) in marks.items()} if ends else None)

    def _configured(self, partitions: Sequence[int]) -> dict[int, int]:
        kind = self._message.WhichOneof("offset")
        if kind == "offset_info":
            offsets, count = parse_offsets(self._message.offset_info), self._count()
            for partition in offsets:
                if partition >= count:
                    raise DataError(
                        f"{self._what}.offset_info: {self.name} has no partition {partition}, but {count} of "
                        "them, from 0"
                    )
            return offsets
        if kind is None:
            return {}
        seconds = parse_time(self._message.offset_time)
        assert seconds is not None
        at = [self._place(p, int(seconds * 1000)) for p in partitions]
        found = self._ask(lambda c: c.offsets_for_times(at, _SECONDS))
        # -1: no message is that new, so reading starts with the next one to arrive.
        return {p.partition: p.offset if p.offset >= 0 else self._watermarks(p.partition)[1] for p in found}

    def _watermarks(self, partition: int) -> tuple[int, int]:
        low, high = self._ask(lambda c: c.get_watermark_offsets(self._place(partition), _SECONDS))
        return int(low), int(high)

    def messages(self, bounds: Bounds) -> Iterator[Messages]:
        """The messages of some partitions, in order within each partition.

        Waits for more messages if there is no end.

        Args:
            bounds: The bounds of these partitions.

        Raises:
            StorageError: The brokers report an error.
        """
        ends = bounds.end
        left = {p: s for p, s in bounds.start.items() if ends is None or s < ends[p]}
        if not left:
            return
        self._ask(lambda c: c.assign([self._place(p, s) for p, s in left.items()]))
        while left and not self._stopped.is_set():
            found = self._ask(lambda c: c.consume(_MOST_MESSAGES, _POLL_SECONDS))
            for partition, mine in _by_partition(found).items():
                if ends is not None:
                    mine = [m for m in mine if m.offset() < ends[partition]]
                yield from _without_gaps(partition, [(m.offset(), m.value() or b"") for m in mine])
            if ends is not None:
                # Transaction markers use offsets but aren't messages, so the reader's position counts.
                for place in self._ask(lambda c: c.position([self._place(p) for p in left])):
                    if place.offset >= ends[place.partition]:
                        del left[place.partition]

    def _place(self, partition: int, offset: int | None = None) -> Any:
        kind = client().TopicPartition
        topic = self._message.topic
        return kind(topic, partition) if offset is None else kind(topic, partition, offset)

    def _ask(self, question: Callable[[Any], T]) -> T:
        """Sends a request to the brokers.

        Raises:
            StorageError: They can't be reached, or return an error.
        """
        kafka = client()
        try:
            if self._consumer is None:
                self._consumer = kafka.Consumer(self._settings())
            answer = question(self._consumer)
        except kafka.KafkaException as error:
            raise StorageError(f"{self._what}: {self.name}: {reason(error)}") from error
        return answer

    def _settings(self) -> dict[str, Any]:
        message = self._message
        try:
            given = {**parse_settings(message.config_global), **parse_settings(message.config_topic)}
        except ValueError as error:
            raise ConfigError(f"{self._what}: {error}") from None
        return {
            # It would print what exceptions also report.
            "log_level": 0,
            **given,
            "bootstrap.servers": message.server,
            "group.id": message.group,
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "enable.partition.eof": False,
            # A deleted offset must not be skipped silently.
            "auto.offset.reset": "error",
        }


def _by_partition(messages: Sequence[Any]) -> dict[int, list[Any]]:
    kafka, found = client(), dict[int, list[Any]]()
    for message in messages:
        if message.error() is not None:
            raise kafka.KafkaException(message.error())
        found.setdefault(message.partition(), []).append(message)
    return found


def _without_gaps(partition: int, messages: Sequence[tuple[int, bytes]]) -> Iterator[Messages]:
    """Splits messages where offsets are missing, as after compaction."""
    start = 0
    for i in range(1, len(messages) + 1):
        if i == len(messages) or messages[i][0] != messages[i - 1][0] + 1:
            yield Messages(partition, messages[start][0], [value for _, value in messages[start:i]])
            start = i


def reason(error: Exception) -> str:
    """The text of an error of the client."""
    found = error.args[0] if error.args else error
    return found.str() if hasattr(found, "str") else str(found)


def client() -> Any:
    """The client library.

    Raises:
        ConfigError: It isn't installed.
    """
    try:
        return importlib.import_module(_CLIENT)
    except ImportError as error:
        raise ConfigError(
            "data_config.input_type: KafkaInput needs the package confluent-kafka: pip install hvdrec[kafka] "
            f"({error})"
        ) from None
