"""Reads TensorFlow V2 checkpoints, EasyRec's partitioned variables included."""

from __future__ import annotations

import re

import numpy as np
import tensorflow as tf

from hvdrec.errors import CheckpointError

_PART = re.compile(r"/part_(\d+)(?=/|$)")

#: What TensorFlow's reader raises for files that are missing or damaged.
READ_ERRORS = (tf.errors.OpError, ValueError, RuntimeError, OSError, LookupError, MemoryError)


def message(error: Exception) -> str:
    """An error's text on one line, without TensorFlow's notes about nodes."""
    text = getattr(error, "message", None) or getattr(error, "strerror", None) or str(error)
    return str(text).split(" [Op:")[0].split("\n")[0].strip() or type(error).__name__


class Reader:
    """An open checkpoint.

    A variable that was saved in parts (`<name>/part_0`, `<name>/part_0/Adam`, ...) is seen as the
    one variable it is (`<name>`, `<name>/Adam`), its parts joined along the rows.
    """

    def __init__(self, prefix: str) -> None:
        """Opens it; tensors are read when asked for.

        Args:
            prefix: Path without `.index`, as `model_dir/model.ckpt-120`.

        Raises:
            CheckpointError: It isn't there or its index can't be read.
        """
        self.prefix = prefix
        try:
            self._reader = tf.compat.v1.train.NewCheckpointReader(prefix)
        except READ_ERRORS as error:
            raise CheckpointError(f"{prefix}: can't be opened as a checkpoint: {message(error)}") from error
        stored = self._reader.get_variable_to_shape_map()
        self._dtypes = self._reader.get_variable_to_dtype_map()
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
            raise CheckpointError(f"{self.prefix}: {name} is saved in parts and some of them are missing")
        tails = {shapes[n][1:] for n in names}
        if any(not shapes[n] for n in names) or len(tails) != 1:
            raise CheckpointError(f"{self.prefix}: the parts of {name} don't fit together row by row")
        self._sources[name] = names
        self.shapes[name] = (sum(shapes[n][0] for n in names), *tails.pop())

    def __contains__(self, name: str) -> bool:
        return name in self._sources

    def dtype(self, name: str) -> tf.DType:
        """The element type of a variable."""
        return self._dtypes[self._sources[name][0]]

    def read(self, name: str) -> np.ndarray:
        """A variable's value.

        Raises:
            CheckpointError: The data file is missing, too short, or fails its checksum.
        """
        try:
            values = [self._reader.get_tensor(source) for source in self._sources[name]]
        except READ_ERRORS as error:
            raise CheckpointError(f"{self.prefix}: {name} can't be read: {message(error)}") from error
        return values[0] if len(values) == 1 else np.concatenate(values, axis=0)
