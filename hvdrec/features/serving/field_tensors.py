"""The inputs of a request, read as text or numbers by the rules of csrc/kernels/rows/arrow_cells.cc."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import tensorflow as tf

from hvdrec.features.plan import Field

_TRUE = ("1", "true", "True", "TRUE")
_FALSE = ("0", "false", "False", "FALSE")


def present(values: tf.Tensor) -> tf.Tensor:
    """Which elements of lists are values, bool [B, K]: empty strings and -1 are not."""
    return tf.not_equal(values, "" if values.dtype == tf.string else tf.cast(-1, values.dtype))


class FieldTensors:
    """One tensor for each field of the plan.

    A field's tensor is [B]: strings as in a CSV file (an empty one is replaced by the field's default), or
    numbers of any type. It can be [B, K] for a feature with several values.
    """

    def __init__(self, fields: Sequence[Field], tensors: Mapping[str, tf.Tensor]) -> None:
        """Takes the tensors by field name; fields that no feature reads can be missing."""
        self._fields = fields
        self._tensors = [tensors.get(f.name) for f in fields]
        self.rows = tf.shape(next(t for t in self._tensors if t is not None))[0]

    def field(self, index: int) -> Field:
        """The field's declaration."""
        return self._fields[index]

    def tensor(self, index: int) -> tf.Tensor:
        """The field's tensor, unchanged."""
        tensor = self._tensors[index]
        if tensor is None:
            raise ValueError(f"no input is given for the field {self._fields[index].name}")
        return tensor

    def is_list(self, index: int) -> bool:
        """Whether the field has several values per row."""
        return self.tensor(index).shape.rank == 2

    def filled(self, index: int) -> tf.Tensor:
        """A string field with the default in empty cells: string [B]."""
        text = self.tensor(index)
        default = self._fields[index].default
        return tf.where(tf.equal(text, ""), tf.constant(default), text) if default else text

    def text(self, index: int, precision: int = -1) -> tf.Tensor:
        """FieldTensors as text: string [B].

        Args:
            index: The field.
            precision: Digits after the decimal point if the field has fractions; below 0 means six.
        """
        kind = self._fields[index].dtype
        if self.tensor(index).dtype == tf.string and kind == "STRING":
            return self.filled(index)
        if self.tensor(index).dtype == tf.bool:
            return tf.where(self.tensor(index), "1", "0")
        if self.tensor(index).dtype.is_integer or kind in ("INT32", "INT64", "BOOL"):
            return tf.strings.as_string(self.integer(index))
        return tf.strings.as_string(self.number(index), precision=precision)

    def integer(self, index: int) -> tf.Tensor:
        """FieldTensors as whole numbers: int64 [B]."""
        tensor = self.tensor(index)
        if tensor.dtype != tf.string:
            return tf.cast(tensor, tf.int64)
        if self._fields[index].dtype == "BOOL":
            return tf.cast(self.number(index), tf.int64)
        return parse_integers(self._zero_for_empty(index), narrow=self._fields[index].dtype == "INT32")

    def number(self, index: int) -> tf.Tensor:
        """FieldTensors as numbers: float64 [B]."""
        tensor = self.tensor(index)
        kind = self._fields[index].dtype
        if tensor.dtype != tf.string:
            return tf.cast(tensor, tf.float64)
        if kind in ("INT32", "INT64"):
            return tf.cast(self.integer(index), tf.float64)
        text = self._zero_for_empty(index)
        return parse_numbers(_bool_digits(text) if kind == "BOOL" else text)

    def _zero_for_empty(self, index: int) -> tf.Tensor:
        text = self.tensor(index)
        return tf.where(tf.equal(text, ""), tf.constant(self._fields[index].default or "0"), text)


def parse_integers(text: tf.Tensor, narrow: bool = False) -> tf.Tensor:
    """Whole numbers from text, ignoring surrounding spaces: int64, the shape of `text`.

    Args:
        text: string.
        narrow: Whether they must fit 32 bits.
    """
    digits = tf.strings.regex_replace(tf.strings.strip(text), r"^\+([^-])", r"\1")
    return tf.cast(tf.strings.to_number(digits, tf.int32 if narrow else tf.int64), tf.int64)


def parse_numbers(text: tf.Tensor) -> tf.Tensor:
    """Numbers from text, ignoring surrounding spaces: float64, the shape of `text`."""
    return tf.strings.to_number(tf.strings.strip(text), tf.float64)


def _bool_digits(text: tf.Tensor) -> tf.Tensor:
    """1 and 0 for true and false; anything else becomes text that fails to parse."""
    word = tf.strings.strip(text)[:, None]
    true = tf.reduce_any(tf.equal(word, list(_TRUE)), axis=1)
    false = tf.reduce_any(tf.equal(word, list(_FALSE)), axis=1)
    return tf.where(true, "1", tf.where(false, "0", tf.strings.join(["not a BOOL: ", text])))
