"""What every layer is."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Sequence
from typing import TypeAlias

import tensorflow as tf

from hvdrec.config.layers.spec import LayerConfig
from hvdrec.errors import ConfigError
from hvdrec.layers.context import ForwardContext
from hvdrec.layers.variables import VariableStore

#: What a layer takes and gives: a tensor, or one for each of several features.
Inputs: TypeAlias = tf.Tensor | Sequence[tf.Tensor]
#: The dimensions of a tensor without the batch's: D stands for [B, D], (F, D) for [B, F, D]; None is
#: a length that isn't known before the step.
Width: TypeAlias = int | tuple[int | None, ...]
#: The width of a tensor, or a list of those of several.
Widths: TypeAlias = Width | list[Width]


class Layer(tf.Module, abc.ABC):
    """A piece of a model, built for inputs of known widths.

    Attributes:
        outputs: The widths of what it gives.
    """

    outputs: Widths

    @abc.abstractmethod
    def __call__(self, inputs: Inputs, run: ForwardContext) -> Inputs:
        """Maps inputs of the widths it was built for to outputs of the widths it tells."""


@dataclasses.dataclass(frozen=True)
class LayerBuild:
    """What a layer that a config names is built from.

    Attributes:
        store: Makes the variables.
        scope: Their prefix.
        config: The layer's parameters, checked.
        inputs: The widths of its inputs.
        l2: `l2_regularization` of the model, for the layer's kernels.
    """

    store: VariableStore
    scope: str
    config: LayerConfig
    inputs: Widths
    l2: float = 0.0

    @property
    def columns(self) -> int:
        """The width of the one input of a layer over columns.

        Raises:
            ConfigError: The inputs are others than one tensor [B, D].
        """
        if isinstance(self.inputs, int):
            return self.inputs
        raise ConfigError(
            f"layer {self.scope}: needs one input [batch, columns], found {described(self.inputs)}"
        )


def described(widths: Widths) -> str:
    """Widths in words, for messages."""
    if isinstance(widths, list):
        return f"a list of {len(widths)} ({', '.join(described(each) for each in widths)})"
    dimensions = (widths,) if isinstance(widths, int) else widths
    return f"[batch, {', '.join('?' if d is None else str(d) for d in dimensions)}]"
