"""The variables of a model under EasyRec's names."""

from __future__ import annotations

import dataclasses
import math
import zlib
from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from hvdrec.layers import initializers, memory
from hvdrec.layers.initializers import Initializer


def variable_key(variable: tf.Variable) -> str:
    """The variable's name in checkpoints, without TensorFlow's ``:0``."""
    return variable.name.split(":")[0]


def replace_rows(variable: tf.Variable, rows: np.ndarray, values: tf.Tensor | np.ndarray) -> None:
    """Replaces rows of a variable [R, ...] in place, and leaves later reads without a copy.

    Args:
        variable: The variable.
        rows: int32 or int64 [U], distinct.
        values: The variable's type, [U, ...].
    """
    tf.raw_ops.ResourceScatterUpdate(resource=variable.handle, indices=rows, updates=values)
    # A scatter makes each later read a copy.
    tf.raw_ops.DisableCopyOnRead(resource=variable.handle)


@dataclasses.dataclass(frozen=True)
class Regularized:
    """A kernel and its `l2_regularization`; the penalty is ``scale / 2 * sum(w^2)``."""

    variable: tf.Variable
    scale: float


@dataclasses.dataclass(frozen=True)
class AddedLoss:
    """A loss that a layer adds to its model's loss.

    Attributes:
        name: Its name in logs.
        training_only: Whether evaluations exclude it.
    """

    name: str
    training_only: bool


class VariableStore(tf.Module):
    """Creates variables by name, with initial values that depend only on seed and name.

    Every rank therefore starts from the same numbers, regardless of the order of creation.
    """

    def __init__(self, seed: int, is_frozen: Callable[[str], bool] = lambda name: False) -> None:
        """Starts empty.

        Args:
            seed: `train_config.seed`.
            is_frozen: Returns whether the variable of this name is frozen.
        """
        super().__init__(name="variables")
        self.seed = seed
        self._is_frozen = is_frozen
        self.variables_by_name: dict[str, tf.Variable] = {}
        self.regularized: list[Regularized] = []
        self.added_losses: list[AddedLoss] = []
        self._trainable: list[tf.Variable] = []
        self._automatic: dict[str, int] = {}
        self._bytes = 0

    @property
    def dense_trainable(self) -> list[tf.Variable]:
        """Trainable variables in the order of creation, without embedding banks."""
        return self._trainable

    def create(
        self,
        name: str,
        shape: Sequence[int],
        initializer: Initializer = initializers.glorot_uniform,
        trainable: bool = True,
        l2: float = 0.0,
    ) -> tf.Variable:
        """Creates a float32 variable.

        Args:
            name: EasyRec's name, such as ``deep_feature/dnn_0/kernel``; must be new.
            shape: Its dimensions.
            initializer: Computes the initial value.
            trainable: False for moving averages and the like.
            l2: Scale of the L2 penalty, 0 for none.

        Returns:
            The variable.
        """
        if name in self.variables_by_name:
            raise ValueError(f"variable {name} is created twice")
        self._bytes += 4 * math.prod(shape)
        memory.need(self._bytes, f"the dense variables up to {name}, of shape {list(shape)},")
        value = initializer(tuple(shape), self.generator(name))
        variable = tf.Variable(value, trainable=trainable, name=name, dtype=tf.float32)
        self.variables_by_name[name] = variable
        if trainable and not self._is_frozen(name):
            self._trainable.append(variable)
        if l2 > 0.0:
            self.regularized.append(Regularized(variable, l2))
        return variable

    def add_loss(self, name: str, training_only: bool = True) -> None:
        """Declares a loss; a layer puts its value, a float32 scalar, into `ForwardContext.losses`.

        Args:
            name: Its name in logs; must be new.
            training_only: Whether the layer adds it only in training.
        """
        if any(each.name == name for each in self.added_losses):
            raise ValueError(f"loss {name} is added twice")
        self.added_losses.append(AddedLoss(name, training_only))

    def automatic(self, base: str) -> str:
        """The next of `base`, ``<base>_1``, ``<base>_2``, ...: Keras's names for unnamed layers."""
        number = self._automatic.get(base, 0)
        self._automatic[base] = number + 1
        return f"{base}_{number}" if number else base

    def generator(self, name: str) -> np.random.Generator:
        """The random number generator for `name`."""
        return np.random.Generator(np.random.Philox(key=[self.seed, zlib.crc32(name.encode())]))
