"""The Keras base class of all losses of this library."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from hvdrec.keras.installed import KERAS, loaded, saved
from hvdrec.keras.targets import Sessions, split


class BatchLoss(KERAS.losses.Loss):
    """A loss over all rows of a batch together, which returns one number instead of a mean over rows.

    A subclass lists its options in `OPTIONS`, as attributes that `get_config` saves.
    """

    OPTIONS: tuple[str, ...] = ()

    def __init__(self, name: str, sessions: Sessions, **options: Any) -> None:
        """Keeps the options.

        Args:
            name: The loss's name.
            sessions: How `y_true` contains sessions.
            **options: The options in `OPTIONS`.
        """
        super().__init__(name=name)
        self.sessions = loaded(sessions)
        self.options = options

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> tf.Tensor:
        """The loss of a batch.

        Keras's own `__call__` multiplies the rows' losses by `sample_weight`; here a weight applies to pairs.

        Args:
            y_true: Labels, or the value from which `sessions` extracts labels and sessions.
            y_pred: The model's output.
            sample_weight: [B] or [B, 1], or None.

        Returns:
            Scalar.
        """
        labels, sessions = split(y_true, self.sessions)
        with tf.name_scope(self.name):
            mask = getattr(y_pred, "_keras_mask", None)
            if mask is not None:
                kept = tf.cast(tf.reshape(mask, [-1]), tf.float32)
                sample_weight = kept if sample_weight is None else kept * tf.reshape(sample_weight, [-1])
            return self.compute(labels, tf.convert_to_tensor(y_pred), sample_weight, sessions)

    def call(self, y_true: Any, y_pred: Any) -> tf.Tensor:
        """The loss of a batch without weights."""
        return self(y_true, y_pred)

    def compute(self, labels: Any, outputs: tf.Tensor, weights: Any, sessions: Any) -> tf.Tensor:
        """The loss; for subclasses."""
        raise NotImplementedError

    def get_config(self) -> dict[str, Any]:
        """The arguments of the constructor, to save and `from_config`."""
        return {"name": self.name, "sessions": saved(self.sessions), **self.options}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        """Creates a loss from the result of `get_config`."""
        return cls(**config)
