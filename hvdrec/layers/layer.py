"""The interface of layers."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Sequence
from typing import Any, TypeAlias

import tensorflow as tf

from hvdrec.config.layers.shapes import Width, Widths, columns
from hvdrec.config.layers.spec import LayerConfig
from hvdrec.layers.context import ForwardContext
from hvdrec.layers.variables import VariableStore

__all__ = ["Inputs", "Layer", "LayerBuild", "Width", "Widths"]

#: The type of a layer's inputs and outputs: a tensor, a list of tensors (or of lists), or nothing.
Inputs: TypeAlias = tf.Tensor | Sequence["Inputs"] | None


class Layer(tf.Module, abc.ABC):
    """A piece of a model, built for inputs of known widths.

    Attributes:
        outputs: The output widths.
    """

    outputs: Widths

    @abc.abstractmethod
    def __call__(self, inputs: Any, run: ForwardContext) -> Inputs:
        """Maps inputs of the widths it was built for to outputs of the declared widths.

        Both are `Inputs`; a layer that accepts only one form documents it.

        It is called several times in one pass if a package is used several times.
        """


@dataclasses.dataclass(frozen=True)
class LayerBuild:
    """The arguments for building a layer named in a config.

    Attributes:
        store: Creates the variables.
        scope: Their prefix; ends with the layer's `name`.
        config: The layer's parameters, checked.
        inputs: The widths of its inputs, which fit by `LayerSpec.outputs`.
        l2: The model's `l2_regularization`, for the layer's kernels.
    """

    store: VariableStore
    scope: str
    config: LayerConfig
    inputs: Widths
    l2: float = 0.0

    @property
    def name(self) -> str:
        """The name of the layer, which is its block's: the last part of the scope."""
        return self.scope.rsplit("/", 1)[-1]

    def part(self, name: str, config: LayerConfig, inputs: Widths) -> LayerBuild:
        """The arguments for a layer within this one, with variables in ``<scope>/<name>``."""
        return dataclasses.replace(self, scope=f"{self.scope}/{name}", config=config, inputs=inputs)

    @property
    def columns(self) -> int:
        """The width of the single input of a layer over columns, [B, D]."""
        return columns(self.inputs)
