"""Sends a model's deltas to a topic of Kafka."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from hvdrec.checkpoint.deltas import (
    SPARSE,
    DeltaFolder,
    Rows,
    Variables,
    encode_dense,
    encode_rows,
    split_rows,
)
from hvdrec.data.kafka.topic import client, reason
from hvdrec.errors import ConfigError, StorageError

_log = logging.getLogger(__name__)
_WHERE = "train_config.incr_save_config.kafka"
_SECONDS = 30.0
#: How long a message is waited for after a signal to stop, so that there is time to save.
_SECONDS_AFTER_SIGNAL = 5.0
_POLL_SECONDS = 0.2
#: EasyRec's variables: the largest request, the largest message of a new topic, and seconds of waiting.
_REQUEST, _MESSAGE, _TIMEOUT = "KAFKA_MAX_REQ_SIZE", "KAFKA_MAX_MSG_SIZE", "KAFKA_TIMEOUT"
_DEFAULTS = {_REQUEST: 64 << 20, _MESSAGE: 1 << 30, _TIMEOUT: 600}
#: librdkafka's limit of the two sizes.
_MOST = 1_000_000_000
#: The room that a message needs besides its value.
_AROUND = 4096


class DeltaTopic:
    """The topic; all messages go to partition 0, so that they are read in order."""

    def __init__(
        self, config: Any, journal: DeltaFolder, keep: bool, stopped: Callable[[], bool] = lambda: False
    ) -> None:
        """Doesn't connect yet.

        Args:
            config: The `IncrementSaveConfig.Kafka`.
            journal: Keeps the rows that were sent since the oldest checkpoint, for the run that resumes.
            keep: Whether the journal keeps everything (`debug_save_update`).
            stopped: Whether a signal has asked the run to stop.
        """
        self._config, self._journal, self._keep, self._stopped = config, journal, keep, stopped
        self._limits = {name: _number(name, default) for name, default in _DEFAULTS.items()}
        self._producer: Any = None

    @property
    def name(self) -> str:
        """Where the messages go."""
        return f"topic {self._config.topic} of {self._config.server}"

    def prepare(self, variables: Variables) -> None:
        """Connects, and creates the topic if it doesn't exist.

        Raises:
            ConfigError: A variable is too large for a message.
            StorageError: No broker responds, or it refuses.
        """
        rows = [(name, (shape[1] + 2,)) for name, shape in variables.tables]
        for name, shape in (*variables.dense, *rows):
            if 20 + 4 * int(np.prod(shape)) > self._most:
                raise ConfigError(
                    f"{_WHERE}: {name} doesn't fit in a message of {self._limits[_REQUEST]:,} bytes; set the "
                    f"environment variable {_REQUEST}"
                )
        kafka = client()
        from confluent_kafka.admin import AdminClient, NewTopic

        settings = {"bootstrap.servers": self._config.server, "log_level": 0}
        try:
            admin = AdminClient(settings)
            if self._config.topic not in admin.list_topics(timeout=_SECONDS).topics:
                largest = str(min(self._limits[_MESSAGE], (1 << 31) - 1))
                topic = NewTopic(self._config.topic, 1, 1, config={"max.message.bytes": largest})
                for made in admin.create_topics([topic], request_timeout=_SECONDS).values():
                    made.result()
                _log.info("created %s", self.name)
            self._producer = kafka.Producer(
                {
                    **settings,
                    "message.max.bytes": min(self._limits[_REQUEST], _MOST),
                    "message.timeout.ms": self._limits[_TIMEOUT] * 1000,
                    "enable.idempotence": True,
                }
            )
        except kafka.KafkaException as error:
            raise StorageError(f"{_WHERE}: {self.name}: {reason(error)}") from error

    @property
    def _most(self) -> int:
        return min(self._limits[_REQUEST], _MOST) - _AROUND

    def send_dense(self, step: int, values: Sequence[tuple[int, np.ndarray]], full_save: int) -> None:
        """Sends variables outside the tables.

        Raises:
            StorageError: They weren't delivered.
        """
        self._send(f"dense_update_{step}", [encode_dense(step, part) for part in _divide(values, self._most)])

    def send_rows(self, step: int, tables: Sequence[tuple[int, Rows]], full_save: int) -> None:
        """Sends rows of tables, in several messages if necessary.

        Raises:
            CheckpointError: The journal can't be written; nothing was sent.
            StorageError: They weren't delivered, or not all of them.
        """
        # First, because the run that resumes must know what may have been sent.
        self._journal.write(SPARSE, step, encode_rows(step, tables), full_save)
        self._send(
            f"sparse_update_{step}", [encode_rows(step, part) for part in split_rows(tables, self._most)]
        )

    def saved(self, oldest: int) -> None:
        """Called after a full save, with the oldest checkpoint that a run can resume from."""
        if not self._keep:
            self._journal.remove_up_to(oldest)

    def _send(self, key: str, messages: Sequence[bytes]) -> None:
        kafka, errors, lock = client(), list[str](), threading.Lock()

        def delivered(error: Any, message: Any) -> None:
            if error is not None:
                with lock:
                    errors.append(error.str())

        try:
            for message in messages:
                self._producer.produce(
                    self._config.topic, message, key=key, partition=0, on_delivery=delivered
                )
            left = self._flush()
        except (kafka.KafkaException, BufferError) as error:
            raise StorageError(f"{_WHERE}: {self.name}: {key}: {reason(error)}") from error
        if left or errors:
            if left:
                self._producer.purge()
            late = "before the run has to stop" if self._stopped() else f"within {self._limits[_TIMEOUT]} s"
            why = errors[0] if errors else f"not delivered {late}"
            raise StorageError(f"{_WHERE}: {self.name}: {key}: {why}")

    def _flush(self) -> int:
        """Waits until all messages are delivered; returns how many are not."""
        until = time.monotonic() + self._limits[_TIMEOUT]
        while (left := self._producer.flush(_POLL_SECONDS)) and time.monotonic() < until:
            if self._stopped():
                until = min(until, time.monotonic() + _SECONDS_AFTER_SIGNAL)
        return int(left)


def _divide(values: Sequence[tuple[int, np.ndarray]], most: int) -> Iterator[list[tuple[int, np.ndarray]]]:
    part, size = list[tuple[int, np.ndarray]](), 12
    for number, value in values:
        if part and size + 8 + value.nbytes > most:
            yield part
            part, size = [], 12
        part.append((number, value))
        size += 8 + value.nbytes
    if part:
        yield part


def _number(name: str, default: int) -> int:
    written = os.environ.get(name, "")
    if not written:
        return default
    if not written.isdecimal() or int(written) < 1:
        raise ConfigError(f"the environment variable {name} is {written!r}, not a whole number above 0")
    return int(written)
