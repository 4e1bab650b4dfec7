"""Initial values of variables, drawn with numpy so that they are the same on every machine."""

from __future__ import annotations

import abc
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

Shape = tuple[int, ...]


class Initializer(abc.ABC):
    """Computes the initial value of a variable, as a whole or in part."""

    def __call__(self, shape: Shape, rng: np.random.Generator) -> np.ndarray:
        """The whole value, float32 of that shape."""
        return self.draw(shape, shape, 0, rng)

    @abc.abstractmethod
    def draw(self, shape: Shape, whole: Shape, first: int, rng: np.random.Generator) -> np.ndarray:
        """Part of a value.

        Args:
            shape: The part's shape.
            whole: The variable's shape.
            first: The number of the variable's elements before the part, in row-major order.
            rng: Its random numbers.

        Returns:
            float32 of the part's shape.
        """


class _Constant(Initializer):
    def __init__(self, values: float | Sequence[float]) -> None:
        self._values = np.asarray(values, np.float32).reshape(-1)

    def draw(self, shape: Shape, whole: Shape, first: int, rng: np.random.Generator) -> np.ndarray:
        size = math.prod(shape)
        # Like tf.constant_initializer, pad a short list with its last value.
        values = np.full(size, self._values[-1], np.float32)
        given = self._values[first : first + size]
        values[: given.size] = given
        return values.reshape(shape)


class _Normal(Initializer):
    def __init__(self, mean: float, stddev: float | Callable[[Shape], float], truncated: bool) -> None:
        self._mean, self._stddev, self._truncated = mean, stddev, truncated

    def draw(self, shape: Shape, whole: Shape, first: int, rng: np.random.Generator) -> np.ndarray:
        stddev = self._stddev(whole) if callable(self._stddev) else self._stddev
        values = rng.standard_normal(shape, np.float32)
        while self._truncated:
            outside = np.flatnonzero(np.abs(values) > 2.0)
            if outside.size == 0:
                break
            values.reshape(-1)[outside] = rng.standard_normal(outside.size, np.float32)
        values *= np.float32(stddev)
        values += np.float32(self._mean)
        return values


class _Uniform(Initializer):
    def __init__(self, limit: float | Callable[[Shape], float]) -> None:
        self._limit = limit

    def draw(self, shape: Shape, whole: Shape, first: int, rng: np.random.Generator) -> np.ndarray:
        limit = self._limit(whole) if callable(self._limit) else self._limit
        return ((rng.random(shape, np.float32) * 2.0 - 1.0) * np.float32(limit)).astype(np.float32)


def constant(values: float | Sequence[float]) -> Initializer:
    """One number everywhere, or the given numbers in row-major order, with the last one repeated."""
    return _Constant(values)


def truncated_normal(mean: float = 0.0, stddev: float = 1.0) -> Initializer:
    """Normal values; those beyond two standard deviations are redrawn (tf.random.truncated_normal)."""
    return _Normal(mean, stddev, truncated=True)


def random_normal(mean: float = 0.0, stddev: float = 1.0) -> Initializer:
    """Normal values."""
    return _Normal(mean, stddev, truncated=False)


def uniform(limit: float) -> Initializer:
    """Uniform within +-`limit`."""
    return _Uniform(limit)


def _fans(shape: Shape) -> tuple[int, int]:
    if len(shape) < 2:
        size = shape[0] if shape else 1
        return size, size
    receptive = math.prod(shape[:-2])
    return shape[-2] * receptive, shape[-1] * receptive


#: The standard deviation of a unit normal cut at two.
_CUT_STDDEV = 0.87962566103423978


def _by_fan_in(scale: float) -> tuple[Initializer, Initializer]:
    """Variance `scale` / fan_in, uniform or truncated normal (tf.keras's VarianceScaling)."""

    def variance(shape: Shape) -> float:
        return scale / max(1, _fans(shape)[0])

    return (
        _Uniform(lambda shape: math.sqrt(3.0 * variance(shape))),
        _Normal(0.0, lambda shape: math.sqrt(variance(shape)) / _CUT_STDDEV, truncated=True),
    )


zeros, ones = constant(0.0), constant(1.0)
#: Uniform within +-sqrt(6 / (fan_in + fan_out)) (Glorot and Bengio 2010).
glorot_uniform: Initializer = _Uniform(lambda shape: math.sqrt(6.0 / max(1, sum(_fans(shape)))))
#: Truncated normal of variance 2 / (fan_in + fan_out), as tf.glorot_normal_initializer.
glorot_normal: Initializer = _Normal(
    0.0, lambda shape: math.sqrt(2.0 / max(1, sum(_fans(shape)))) / _CUT_STDDEV, truncated=True
)
_he_uniform, _he_normal = _by_fan_in(2.0)
_lecun_uniform, _lecun_normal = _by_fan_in(1.0)

#: Initializers by Keras's names; `hvdrec.config.layers.spec.INITIALIZERS` lists them for configs.
NAMED: dict[str, Initializer] = {
    "zeros": zeros,
    "ones": ones,
    "glorot_uniform": glorot_uniform,
    "glorot_normal": glorot_normal,
    "he_uniform": _he_uniform,
    "he_normal": _he_normal,
    "lecun_uniform": _lecun_uniform,
    "lecun_normal": _lecun_normal,
    "truncated_normal": truncated_normal(0.0, 0.05),
    "random_normal": random_normal(0.0, 0.05),
    "random_uniform": uniform(0.05),
}


def named(name: str) -> Initializer:
    """The initializer of Keras's name with Keras's parameters, such as ``he_uniform`` (He et al. 2015).

    Raises:
        KeyError: The name is unknown; `hvdrec.config.layers.spec.INITIALIZERS` has the names.
    """
    return NAMED[name]


def from_config(message: Any, default: Initializer) -> Initializer:
    """The initializer of an `Initializer` message, or `default` if it isn't set."""
    kind = message.WhichOneof("initializer_oneof") if message is not None else None
    if kind is None:
        return default
    parameters = getattr(message, kind)
    if kind == "truncated_normal_initializer":
        return truncated_normal(parameters.mean, parameters.stddev)
    if kind == "random_normal_initializer":
        return random_normal(parameters.mean, parameters.stddev)
    if kind == "glorot_normal_initializer":
        return glorot_normal
    return constant(list(parameters.consts) or [0.0])


def embedding_default(dim: int) -> Initializer:
    """EasyRec's default for embedding tables: truncated normal, stddev 0.01 / sqrt(dim)."""
    return truncated_normal(0.0, 0.01 / math.sqrt(dim))
