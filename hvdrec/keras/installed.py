"""The Keras that TensorFlow uses: its base classes, and how it keeps what is saved."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from hvdrec.errors import UserError


def _keras() -> Any:
    try:
        keras = tf.keras
        version = getattr(keras, "__version__", None) or keras.version()
    except (ImportError, AttributeError) as error:
        raise UserError(f"hvdrec.keras needs Keras: pip install hvdrec[keras] ({error})") from error
    if str(version).startswith("3."):
        backend = keras.backend.backend()
        if backend != "tensorflow":
            raise UserError(
                f"hvdrec.keras needs Keras on TensorFlow, but its backend is {backend}: set "
                "KERAS_BACKEND=tensorflow"
            )
    return keras


KERAS: Any = _keras()


def registered(thing: Any) -> Any:
    """Lets Keras load the class or function by the name ``hvdrec>...`` without `custom_objects`."""
    saving = getattr(KERAS, "saving", None) or KERAS.utils
    return saving.register_keras_serializable(package="hvdrec")(thing)


def saved(function: Callable[..., Any] | str | None) -> Any:
    """What stands for a function in a config."""
    if function is None or isinstance(function, str):
        return function
    return KERAS.saving.serialize_keras_object(function)


def loaded(config: Any) -> Any:
    """The function that `saved` made this of."""
    return KERAS.saving.deserialize_keras_object(config) if isinstance(config, dict) else config
