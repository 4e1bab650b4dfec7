"""The results of losses on arrays, and conversions of their arguments for the kernels."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np


class ValueAndGradient(NamedTuple):
    """The result of a loss.

    Attributes:
        value: The loss.
        gradient: Its gradient with respect to the scores or embeddings, with their shape and type.
    """

    value: float
    gradient: np.ndarray


class SoftmaxLoss(NamedTuple):
    """The result of `in_batch_softmax`.

    Attributes:
        value: The loss.
        query_gradient: Its gradient with respect to the queries.
        item_gradient: Its gradient with respect to the items.
    """

    value: float
    query_gradient: np.ndarray
    item_gradient: np.ndarray


class UnitRows:
    """Rows [B, D], optionally scaled to norm 1, and the gradient with respect to the given rows.

    Attributes:
        values: The rows for the kernel, float32 or float64.
    """

    def __init__(self, name: str, rows: Any, normalize: bool) -> None:
        """Converts and scales the rows.

        Raises:
            ValueError: They aren't a matrix of floating-point numbers.
        """
        given = floats(name, np.asarray(rows))
        if given.ndim != 2:
            raise ValueError(f"{name} have shape {list(given.shape)}: must be [rows, dimensions]")
        self._norms: np.ndarray | None = None
        if normalize:
            squares = np.einsum("ij,ij->i", given, given)[:, np.newaxis]
            # Below this the norm is a constant, as in tf.math.l2_normalize.
            self._small = squares < 1e-12
            self._norms = np.sqrt(np.maximum(squares, given.dtype.type(1e-12)))
            over = np.isinf(squares[:, 0])
            if over.any():
                largest = np.abs(given[over]).max(1, keepdims=True)
                self._norms[over] = largest * np.linalg.norm(given[over] / largest, axis=1, keepdims=True)
            given = given / self._norms
        self.values = np.ascontiguousarray(given)

    def back(self, gradient: np.ndarray) -> np.ndarray:
        """The gradient with respect to the given rows, from that with respect to `values`."""
        if self._norms is None:
            return gradient
        along = np.einsum("ij,ij->i", gradient, self.values)[:, np.newaxis]
        return (gradient - np.where(self._small, 0, along) * self.values) / self._norms


def check(right: bool, name: str, value: float, wanted: str) -> None:
    """Checks an option.

    Raises:
        ValueError: It isn't `right`; the message says that it must be `wanted`.
    """
    if not right:
        raise ValueError(f"{name} is {value:g}: must be {wanted}")


def finite(name: str, array: np.ndarray) -> np.ndarray:
    """The same array.

    Raises:
        ValueError: A row isn't finite.
    """
    wrong = np.argwhere(~np.isfinite(array))
    if len(wrong):
        raise ValueError(f"{name}: row {wrong[0][0]} is not finite")
    return array


def floats(name: str, array: np.ndarray) -> np.ndarray:
    """The array in the type that a kernel computes in: float64 for float64, float32 for narrower types.

    Raises:
        ValueError: Its numbers aren't floating-point numbers.
    """
    if array.dtype == np.float64 or array.dtype == np.float32:
        return np.ascontiguousarray(array)
    if array.dtype.kind == "f" or array.dtype.name == "bfloat16":
        return np.ascontiguousarray(array, np.float32)
    raise ValueError(f"{name} are {array.dtype.name}: must be floating-point numbers")


def column(name: str, value: Any, dtype: Any) -> np.ndarray:
    """[B] of this type, from [B] or [B, 1]; ValueError for other shapes."""
    return np.ascontiguousarray(value, dtype).reshape(row_count(name, value))


def row_count(name: str, value: Any) -> tuple[int]:
    """The shape (B,) of a column.

    Raises:
        ValueError: The value's shape is neither [B] nor [B, 1].
    """
    shape = np.shape(value)
    if len(shape) == 1 or (len(shape) == 2 and shape[1] == 1):
        return (shape[0],)
    raise ValueError(f"{name} has shape {list(shape)}: must be [rows] or [rows, 1]")


def session_ids(sessions: Any) -> np.ndarray | None:
    """int64 [B], or None for None."""
    return None if sessions is None else identity("sessions", sessions)


def identity(name: str, value: Any) -> np.ndarray:
    """int64 [B], equal where the values are equal."""
    array = np.asarray(value).reshape(row_count(name, value))
    if array.dtype.kind in "iub":
        return np.ascontiguousarray(array, np.int64)
    return np.unique(array, return_inverse=True)[1].astype(np.int64)
