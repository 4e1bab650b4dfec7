"""Deltas: a model's changes between checkpoints, as EasyRec's messages, and the folder of such messages.

A message is an int32 header ``[kind, n, step, (id, count) * n]``, followed by n bodies. With kind 0 (dense) a
body consists of the ``count`` float32 values of a variable; with kind 1 (rows of tables) of ``count`` int64
row numbers and the float32 values of these rows. A table without a fixed size has ids instead of row numbers;
``~id`` removes an id, and has zeros as its values.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from hvdrec.checkpoint import files
from hvdrec.errors import CheckpointError, DamagedError

DENSE, SPARSE = 0, 1
_KINDS = {DENSE: "dense_update", SPARSE: "sparse_update"}
_NAME = re.compile(r"(dense|sparse)_update_(\d+)")
_DONE, _ABOUT = ".done", ".json"
#: A delta that the current run doesn't continue; only its row numbers are still needed.
_WITHDRAWN = ".withdrawn-"
#: The number of rows of a table without a fixed size.
ANY_ROWS = -1
#: Removes all ids of such a table: ``~id`` of the one number that is no id.
REMOVES_ALL = ~(2**63 - 1)
VARIABLES_FILE, UPDATE_FILE = "variables.json", "incr_update.txt"
DENSE_FILE, TABLES_FILE = "DENSE_UPDATE_VARIABLES", "embed_name_to_ids.txt"


class Rows(NamedTuple):
    """Rows of a table: their numbers or ids, int64 [n] ascending, and their values, float32 [n, dim]."""

    keys: np.ndarray
    values: np.ndarray


@dataclasses.dataclass(frozen=True)
class Variables:
    """What messages number: an id is an index in one of these.

    Attributes:
        dense: Names and shapes of the variables outside the tables.
        tables: Names and shapes, (rows, dim), of the tables; `ANY_ROWS` rows for those without a fixed size.
    """

    dense: tuple[tuple[str, tuple[int, ...]], ...]
    tables: tuple[tuple[str, tuple[int, int]], ...]

    def as_json(self) -> dict[str, Any]:
        """Ids and shapes by name."""
        return {
            kind: {name: {"id": i, "shape": list(shape)} for i, (name, shape) in enumerate(found)}
            for kind, found in (("dense", self.dense), ("tables", self.tables))
        }

    def texts(self) -> dict[str, str]:
        """The files that describe the ids: EasyRec's two, and one with the shapes."""
        return {
            DENSE_FILE: json.dumps({name: i for i, (name, _) in enumerate(self.dense)}, indent=2),
            TABLES_FILE: "".join(f"{name}\t{i}\n" for i, (name, _) in enumerate(self.tables)),
            VARIABLES_FILE: json.dumps(self.as_json(), indent=1) + "\n",
        }


def encode_dense(step: int, values: Sequence[tuple[int, np.ndarray]]) -> bytes:
    """The message with variables outside the tables: pairs of id and float32 value."""
    header = [DENSE, len(values), step]
    for number, value in values:
        header += [number, value.size]
    bodies = [np.ascontiguousarray(value, np.float32).tobytes() for _, value in values]
    return b"".join([np.asarray(header, np.int32).tobytes(), *bodies])


def encode_rows(step: int, tables: Sequence[tuple[int, Rows]]) -> bytes:
    """The message with rows of tables: pairs of a table's id and rows."""
    header = [SPARSE, len(tables), step]
    bodies = []
    for number, rows in tables:
        header += [number, len(rows.keys)]
        bodies += [np.ascontiguousarray(rows.keys, np.int64).tobytes()]
        bodies += [np.ascontiguousarray(rows.values, np.float32).tobytes()]
    return b"".join([np.asarray(header, np.int32).tobytes(), *bodies])


def split_rows(tables: Sequence[tuple[int, Rows]], most: int) -> Iterator[list[tuple[int, Rows]]]:
    """Divides rows into messages of at most `most` bytes each; a row isn't divided."""
    message, size = list[tuple[int, Rows]](), 12
    for number, rows in tables:
        row_bytes, first = 8 + 4 * rows.values.shape[1], 0
        while first < len(rows.keys):
            room = (most - size - 8) // row_bytes
            if room < 1 and message:
                yield message
                message, size = [], 12
                continue
            last = min(len(rows.keys), first + max(1, room))
            message.append((number, Rows(rows.keys[first:last], rows.values[first:last])))
            size += 8 + (last - first) * row_bytes
            first = last
    if message:
        yield message


def rows_in(message: bytes, variables: Variables) -> dict[int, Rows]:
    """The rows of a message of kind `SPARSE`, by the table's id.

    Raises:
        DamagedError: It isn't such a message, or not one of these tables.
    """
    words = np.frombuffer(message[: len(message) // 4 * 4], np.int32)
    count = int(words[1]) if len(words) >= 3 and words[0] == SPARSE else -1
    if count < 0 or 3 + 2 * count > len(words):
        raise DamagedError("is not a message with rows of tables")
    place, found = 4 * (3 + 2 * count), {}
    for number, size in words[3 : 3 + 2 * count].reshape(-1, 2).tolist():
        if not 0 <= number < len(variables.tables) or size < 0:
            raise DamagedError(f"has rows of table {number}, which doesn't exist")
        rows, dim = variables.tables[number][1]
        end = place + size * (8 + 4 * dim)
        if end > len(message):
            raise DamagedError("is too short for its rows")
        keys = np.frombuffer(message, np.int64, size, place)
        values = np.frombuffer(message, np.float32, size * dim, place + 8 * size).reshape(size, dim)
        if rows != ANY_ROWS and size and not 0 <= keys.min() <= keys.max() < rows:
            raise DamagedError(f"has rows that table {number} doesn't have")
        if rows == ANY_ROWS and (keys == ~REMOVES_ALL).any():
            raise DamagedError(f"has a number that is no id in table {number}")
        found[number], place = Rows(keys, values), end
    if place != len(message):
        raise DamagedError("is too long for its rows")
    return found


class DeltaFolder:
    """The messages of a run as files, ``dense_update_<step>`` and ``sparse_update_<step>``.

    A message is valid when ``<name>.done`` exists, which contains its name: the message and ``<name>.json``
    (`step`, `full_save`, `sha256`) are on disk before.
    """

    def __init__(self, path: str | Path, hidden: bool = False) -> None:
        """Opens the folder; nothing is created before `claim`.

        Args:
            path: The folder.
            hidden: Whether the messages are kept only for this run, without marks for readers.
        """
        self.path, self._hidden = Path(path), hidden

    def steps(self, after: int = -1) -> list[tuple[str, int]]:
        """Kinds (``dense`` or ``sparse``) and steps of the messages after a step, valid or not."""
        with contextlib.suppress(FileNotFoundError):
            found = [_NAME.fullmatch(name) for name in os.listdir(self.path)]
            return sorted((f[1], int(f[2])) for f in found if f and int(f[2]) > after)
        return []

    def check(self, variables: Variables, resumed: bool) -> None:
        """Checks, without changing anything, that a run may write here.

        Args:
            variables: The run's.
            resumed: Whether it continues from a checkpoint.

        Raises:
            CheckpointError: The messages here belong to another run or model.
        """
        if not self.steps():
            return
        if not resumed:
            raise CheckpointError(
                f"{self.path} contains the deltas of another run; give another folder, or remove them"
            )
        try:
            text = (self.path / VARIABLES_FILE).read_text(encoding="utf-8")
        except OSError:
            text = ""
        if text != variables.texts()[VARIABLES_FILE]:
            raise CheckpointError(
                f"{self.path} contains the deltas of a model with other variables "
                f"({VARIABLES_FILE} differs); give another folder, or remove them"
            )

    def claim(self, variables: Variables, step: int) -> dict[int, np.ndarray] | None:
        """Prepares for messages after `step`: withdraws those that a killed run wrote after it.

        Args:
            variables: The run's.
            step: The step that the run starts at.

        Returns:
            The keys of rows in withdrawn messages, int64, by table id. Readers may have applied these, so the
            next message must contain the rows too; `forget` is called then. A run that makes no step writes
            the message of `step` again, so that one's rows are included. None: a message is damaged, so that
            it may have any rows.

        Raises:
            CheckpointError: The folder can't be written.
        """
        with files.explained(f"can't write to {self.path}"):
            self.path.mkdir(parents=True, exist_ok=True)
            for path in self.path.glob(".tmp-*"):
                path.unlink()
            for name, text in variables.texts().items():
                files.write_atomically(self.path / name, text)
            for kind, number in self.steps(step):
                name = f"{kind}_update_{number}"
                for suffix in (_DONE, _ABOUT):
                    (self.path / f"{name}{suffix}").unlink(missing_ok=True)
                files.sync_directory(self.path)
                os.replace(self.path / name, self.path / f"{_WITHDRAWN}{name}")
            found: dict[int, np.ndarray] = {}
            withdrawn = sorted(self.path.glob(f"{_WITHDRAWN}sparse_update_*"))
            here = self.path / f"{_KINDS[SPARSE]}_{step}"
            for path in [*withdrawn, here] if withdrawn and here.exists() else withdrawn:
                try:
                    rows = rows_in(path.read_bytes(), variables)
                except DamagedError:
                    return None
                for number, each in rows.items():
                    found[number] = np.union1d(found.get(number, np.empty(0, np.int64)), each.keys)
        return found

    def write(self, kind: int, step: int, message: bytes, full_save: int) -> str:
        """Writes a message; when it returns, the message is on disk and valid.

        Args:
            kind: `DENSE` or `SPARSE`.
            step: `global_step`.
            message: Its bytes.
            full_save: The step of the checkpoint since which rows are included.

        Returns:
            Its path.

        Raises:
            CheckpointError: It can't be written; earlier messages are unchanged.
        """
        name = f"{_KINDS[kind]}_{step}"
        path = self.path / name
        about = {"step": step, "full_save": full_save, "sha256": hashlib.sha256(message).hexdigest()}
        with files.explained(f"can't write {path}"):
            if not self._hidden:
                (self.path / f"{name}{_DONE}").unlink(missing_ok=True)
            temporary = self.path / f".tmp-{name}"
            with open(temporary, "wb") as file:
                file.write(message)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
            files.sync_directory(self.path)
            if not self._hidden:
                files.write_atomically(self.path / f"{name}{_ABOUT}", json.dumps(about) + "\n")
                files.write_atomically(self.path / f"{name}{_DONE}", name)
        return str(path)

    def forget(self) -> None:
        """Removes withdrawn messages, after their rows are in a valid one.

        Raises:
            CheckpointError: They can't be removed.
        """
        with files.explained(f"can't remove messages from {self.path}"):
            for path in self.path.glob(f"{_WITHDRAWN}*"):
                path.unlink(missing_ok=True)

    def remove_up_to(self, step: int) -> None:
        """Removes the messages of steps up to `step`, of a hidden folder.

        Raises:
            CheckpointError: They can't be removed.
        """
        with files.explained(f"can't remove messages from {self.path}"):
            for kind, number in self.steps():
                if number <= step:
                    (self.path / f"{kind}_update_{number}").unlink(missing_ok=True)


def plain_config(incr_save: Any, folder: str) -> Mapping[str, Any]:
    """Where messages are, in the form of EasyRec's ``incr_update.txt``.

    Args:
        incr_save: The `IncrementSaveConfig`.
        folder: The folder that `fs` writes to.
    """
    if incr_save.WhichOneof("incr_update") == "kafka":
        kafka = incr_save.kafka
        consumer: dict[str, Any] = {"offset": int(kafka.consumer.offset), "timeout": kafka.consumer.timeout}
        for name in ("config_topic", "config_global"):
            if kafka.consumer.HasField(name):
                consumer[name] = getattr(kafka.consumer, name)
        return {
            "storage": "kafka",
            "kafka": {"server": kafka.server, "topic": kafka.topic, "consumer": consumer},
        }
    return {"storage": "fs", "fs": {"incr_save_dir": incr_save.fs.mount_path or folder}}
