"""Reads TensorFlow V2 checkpoints, including EasyRec's partitioned variables."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path

import tensorflow as tf

from hvdrec.checkpoint.index import impossible
from hvdrec.errors import DamagedError, words

_PART = re.compile(r"/part_(\d+)(?=/|$)")

#: Errors of TensorFlow's reader for missing or damaged files.
READ_ERRORS = (tf.errors.OpError, ValueError, RuntimeError, OSError, LookupError, MemoryError)


def message(error: Exception) -> str:
    """An error's text on one line, without TensorFlow's notes about nodes."""
    reason = getattr(error, "strerror", None)
    return str(reason) if reason else words(error)


class Reader:
    """An open checkpoint.

    A variable saved in parts (`<name>/part_0`, `<name>/part_0/Adam`, ...) appears as one variable (`<name>`,
    `<name>/Adam`), with its parts joined along the rows.
    """

    def __init__(self, prefix: str) -> None:
        """Opens the checkpoint; tensors are read on request.

        Args:
            prefix: Path without `.index`, such as `model_dir/model.ckpt-120`.

        Raises:
            DamagedError: The checkpoint doesn't exist or its index can't be read.
        """
        self.prefix = prefix
        wrong = impossible(Path(f"{prefix}.index"))
        if wrong is not None:
            raise DamagedError(f"{prefix}.index: {wrong} has a shape or type that no variable has")
        try:
            self._reader = tf.compat.v1.train.NewCheckpointReader(prefix)
            stored = self._reader.get_variable_to_shape_map()
            self._dtypes = self._reader.get_variable_to_dtype_map()
        except READ_ERRORS as error:
            raise DamagedError(f"{prefix}: can't be opened as a checkpoint: {message(error)}") from error
        parts: dict[str, dict[int, str]] = {}
        for name in stored:
            found = _PART.findall(name)
            if len(found) == 1 and _PART.sub("", name) not in stored:
                parts.setdefault(_PART.sub("", name), {})[int(found[0])] = name
        joined = {p for numbered in parts.values() for p in numbered.values()}
        self._sources: dict[str, tuple[str, ...]] = {name: (name,) for name in stored if name not in joined}
        self.shapes = {name: tuple(stored[name]) for name in self._sources}
        for name, numbered in parts.items():
            self._join(name, numbered, {n: tuple(stored[n]) for n in numbered.values()})

    def _join(self, name: str, numbered: dict[int, str], shapes: dict[str, tuple[int, ...]]) -> None:
        names = tuple(numbered[i] for i in sorted(numbered))
        if sorted(numbered) != list(range(len(numbered))):
            raise DamagedError(f"{self.prefix}: {name} is saved in parts and some of them are missing")
        tails = {shapes[n][1:] for n in names}
        if any(not shapes[n] for n in names) or len(tails) != 1:
            raise DamagedError(f"{self.prefix}: the parts of {name} can't be joined along the rows")
        self._sources[name] = names
        self.shapes[name] = (sum(shapes[n][0] for n in names), *tails.pop())

    def __contains__(self, name: str) -> bool:
        return name in self._sources

    def dtype(self, name: str) -> tf.DType:
        """The element type of a variable."""
        return self._dtypes[self._sources[name][0]]

    def sources(self, name: str) -> tuple[str, ...]:
        """The names that a variable is saved under: its own, or those of its parts in order."""
        return self._sources[name]

    def nbytes(self, name: str) -> int:
        """The size of a variable's value in bytes."""
        return math.prod(self.shapes[name]) * self.dtype(name).size

    def read(self, names: Sequence[str]) -> list[tf.Tensor]:
        """Values of variables, on the host; TensorFlow checks the CRC32C of each.

        Raises:
            DamagedError: The data file is missing, too short, or a value has a wrong checksum.
        """
        sources = [source for name in names for source in self._sources[name]]
        if not sources:
            return []
        try:
            with tf.device("/CPU:0"):
                stored = tf.raw_ops.RestoreV2(
                    prefix=self.prefix,
                    tensor_names=sources,
                    shape_and_slices=[""] * len(sources),
                    dtypes=[self._dtypes[source] for source in sources],
                )
        except READ_ERRORS as error:
            raise DamagedError(f"{self.prefix}: can't be read: {message(error)}") from error
        parts = iter(stored)
        values = []
        for name in names:
            own = [next(parts) for _ in self._sources[name]]
            with tf.device("/CPU:0"):
                values.append(own[0] if len(own) == 1 else tf.concat(own, axis=0))
        return values
