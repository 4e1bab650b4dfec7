"""The Keras that TensorFlow uses: its base classes, and how it keeps what is saved."""

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
    # Keras 2 has TensorFlow alone, and Keras 3 names what it runs on.
    name = backend.backend() if hasattr(backend, "backend") else "tensorflow"
    if name != "tensorflow":
        raise UserError(
            f"hvdrec.keras needs Keras on TensorFlow, but its backend is {name}: set KERAS_BACKEND=tensorflow"
        )
    return keras


KERAS: Any = _keras()


def registered(thing: Any) -> Any:
    """Lets Keras load the class or function by the name ``hvdrec>...`` without `custom_objects`."""
    return KERAS.utils.register_keras_serializable(package="hvdrec")(thing)


def saved(function: Callable[..., Any] | str | None) -> Any:
    """What stands for a function in a config."""
    if function is None or isinstance(function, str):
        return function
    return KERAS.utils.serialize_keras_object(function)


def loaded(config: Any) -> Any:
    """The function that `saved` made this of."""
    return KERAS.utils.deserialize_keras_object(config) if isinstance(config, dict) else config
