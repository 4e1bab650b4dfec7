"""A Kafka broker for tests: librdkafka's own mock cluster."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

#: Partitions of a topic, which is there once something is sent to it.
PARTITIONS = 4


class Broker:
    """One broker, as long as this object lives.

    Attributes:
        server: Its address.
    """

    server: str

    def __init__(self) -> None:
        """Starts it; skips the test where there is no client."""
        kafka = pytest.importorskip("confluent_kafka", reason="the extra hvdrec[kafka] isn't installed")
        self._owner = kafka.Producer({"test.mock.num.brokers": 1, "log_level": 0})
        broker = next(iter(self._owner.list_topics(timeout=60).brokers.values()))
        self.server = f"{broker.host}:{broker.port}"

    def create(self, topic: str) -> None:
        """Makes a topic, which the mock cluster can't be asked for."""
        self._owner.list_topics(topic, timeout=60)

    def send(self, topic: str, partition: int, lines: Sequence[str | bytes | None]) -> None:
        """Appends messages to a partition."""
        for line in lines:
            self._owner.produce(topic, line, partition=partition)
        assert not self._owner.flush(60)

    def message(self, topic: str, more: str = "") -> str:
        """A `KafkaServer` message as text."""
        return f'{{ server: "{self.server}" topic: "{topic}" group: "tests" {more} }}'
