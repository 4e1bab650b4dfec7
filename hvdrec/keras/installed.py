"""The Keras that TensorFlow uses: its base classes, and its serialization."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from hvdrec.errors import UserError


def _keras() -> Any:
    try:
        keras = tf.keras
        backend = keras.backend
    except (ImportError, AttributeError) as error:
        raise UserError(f"hvdrec.keras needs Keras: pip install hvdrec[keras] ({error})") from error
    # Keras 2 runs only on TensorFlow, and Keras 3 reports its backend.
    name = backend.backend() if hasattr(backend, "backend") else "tensorflow"
    if name != "tensorflow":
        raise UserError(
            f"hvdrec.keras needs Keras on TensorFlow, but its backend is {name}: set KERAS_BACKEND=tensorflow"
        )
    return keras


KERAS: Any = _keras()


def registered(thing: Any) -> Any:
    """Lets Keras load the class or function as ``hvdrec>...`` without `custom_objects`."""
    return KERAS.utils.register_keras_serializable(package="hvdrec")(thing)


def saved(function: Callable[..., Any] | str | None) -> Any:
    """The representation of a function in a config."""
    if function is None or isinstance(function, str):
        return function
    return KERAS.utils.serialize_keras_object(function)


def loaded(config: Any) -> Any:
    """The function that `saved` was applied to."""
    return KERAS.utils.deserialize_keras_object(config) if isinstance(config, dict) else config
