"""First values of variables, drawn with numpy so that they are the same on every machine."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

Initializer = Callable[[tuple[int, ...], np.random.Generator], np.ndarray]


def zeros(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """All zero."""
    del rng
    return np.zeros(shape, np.float32)


def ones(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """All one."""
    del rng
    return np.ones(shape, np.float32)


def constant(values: float | Sequence[float]) -> Initializer:
    """One number everywhere, or the given numbers filled in row by row."""

    def initialize(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
        del rng
        flat = np.asarray(values, np.float32).reshape(-1)
        size = math.prod(shape)
        if flat.size == 1:
            return np.full(shape, flat[0], np.float32)
        # As tf.constant_initializer pads a short list: with its last value.
        padded = np.full(size, flat[-1], np.float32)
        padded[: min(size, flat.size)] = flat[:size]
        return padded.reshape(shape)

    return initialize


def truncated_normal(mean: float = 0.0, stddev: float = 1.0) -> Initializer:
    """Normal values, those beyond two standard deviations drawn again (tf.random.truncated_normal)."""

    def initialize(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
        values = rng.standard_normal(shape, np.float32)
        while True:
            outside = np.flatnonzero(np.abs(values) > 2.0)
            if outside.size == 0:
                return (values * np.float32(stddev) + np.float32(mean)).astype(np.float32)
            values.reshape(-1)[outside] = rng.standard_normal(outside.size, np.float32)

    return initialize


def random_normal(mean: float = 0.0, stddev: float = 1.0) -> Initializer:
    """Normal values."""

    def initialize(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
        return rng.standard_normal(shape, np.float32) * np.float32(stddev) + np.float32(mean)

    return initialize


def _fans(shape: tuple[int, ...]) -> tuple[int, int]:
    if len(shape) < 2:
        size = shape[0] if shape else 1
        return size, size
    receptive = math.prod(shape[:-2])
    return shape[-2] * receptive, shape[-1] * receptive


def glorot_uniform(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Uniform within +-sqrt(6 / (fan_in + fan_out)) (Glorot and Bengio 2010)."""
    return uniform(math.sqrt(6.0 / max(1, sum(_fans(shape)))))(shape, rng)


def glorot_normal(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Truncated normal of variance 2 / (fan_in + fan_out), as tf.glorot_normal_initializer."""
    # 0.8796... is the standard deviation of a unit normal cut at two.
    stddev = math.sqrt(2.0 / max(1, sum(_fans(shape)))) / 0.87962566103423978
    return truncated_normal(0.0, stddev)(shape, rng)


def _scaled(mode: float, normal: bool) -> Initializer:
    """Variance `mode` / fan_in, uniform or as a truncated normal (tf.keras's VarianceScaling)."""

    def initialize(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
        variance = mode / max(1, _fans(shape)[0])
        if normal:
            return truncated_normal(0.0, math.sqrt(variance) / 0.87962566103423978)(shape, rng)
        return uniform(math.sqrt(3.0 * variance))(shape, rng)

    return initialize


def uniform(limit: float) -> Initializer:
    """Uniform within +-`limit`."""

    def initialize(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
        return ((rng.random(shape, np.float32) * 2.0 - 1.0) * np.float32(limit)).astype(np.float32)

    return initialize


_NAMED: dict[str, Initializer] = {
    "zeros": zeros,
    "ones": ones,
    "glorot_uniform": glorot_uniform,
    "glorot_normal": glorot_normal,
    "he_uniform": _scaled(2.0, normal=False),
    "he_normal": _scaled(2.0, normal=True),
    "lecun_uniform": _scaled(1.0, normal=False),
    "lecun_normal": _scaled(1.0, normal=True),
    "truncated_normal": truncated_normal(0.0, 0.05),
    "random_normal": random_normal(0.0, 0.05),
    "random_uniform": uniform(0.05),
}


def named(name: str) -> Initializer:
    """The initializer of Keras's name with Keras's parameters, as ``he_uniform`` (He et al. 2015).

    Raises:
        KeyError: There is none; `hvdrec.config.layers.spec.INITIALIZERS` has the names.
    """
    return _NAMED[name]


def from_config(message: Any, default: Initializer) -> Initializer:
    """The initializer an `Initializer` message asks for, or `default` where there is none."""
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
