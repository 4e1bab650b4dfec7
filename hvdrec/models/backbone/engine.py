"""Builds a backbone's layers and runs them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from hvdrec.config.backbone.check import Described, describe
from hvdrec.config.backbone.graph import Graph, build_graph
from hvdrec.config.backbone.groups import GroupWidths
from hvdrec.config.backbone.run import BlockError, Place, Run
from hvdrec.config.layers.shapes import Widths
from hvdrec.errors import ConfigError
from hvdrec.features.plan import Group, Kind
from hvdrec.layers.context import ForwardContext
from hvdrec.layers.expressions import TensorOperations
from hvdrec.layers.layer import Layer, LayerBuild
from hvdrec.layers.registry import build_layer
from hvdrec.models.backbone.input_layer import InputLayer
from hvdrec.models.base import ModelBuild
from hvdrec.models.inputs import ModelInputs, group_of


class Backbone(tf.Module):
    """The layers of `model_config.backbone`.

    Attributes:
        graph: The blocks.
        described: The blocks' layers and shapes.
        outputs: The output widths.
    """

    graph: Graph
    described: Described
    outputs: Widths

    def __init__(self, build: ModelBuild, l2: float) -> None:
        """Builds the layers, in the order in which EasyRec calls them first.

        Args:
            build: The arguments for building the model.
            l2: `l2_regularization` of kernels.

        Raises:
            ConfigError: A block's inputs don't fit it.
        """
        super().__init__()
        groups = {name: _widths(group) for name, group in build.plan.groups.items()}
        self.graph = build_graph(build.config.backbone, set(groups), _refuse)
        try:
            self.described = describe(self.graph, groups)
        except BlockError as error:
            raise ConfigError(f"{error.path}: {error}") from None
        self.outputs = self.described.outputs
        # Keyed by strings, because a SavedModel accepts only strings as keys in a module's attributes.
        self._layers: dict[str, Layer] = {}
        for called in self.described.layers:
            key = _layer_key(called.place)
            if key not in self._layers:
                self._layers[key] = build_layer(
                    called.class_name,
                    LayerBuild(build.store, called.place.scope, called.config, called.inputs, l2),
                )
        self._inputs: dict[str, InputLayer] = {}
        for read in self.described.inputs:
            key = _input_key(read.place, read.config)
            if key not in self._inputs:
                layer = InputLayer(build.store, read.group, read.config, read.widths.features)
                self._inputs[key] = layer

    def __call__(self, inputs: ModelInputs, run: ForwardContext) -> Any:
        """The output of the backbone: float32 of the widths `outputs`."""
        return Run(self.graph, _TensorBackend(self._layers, self._inputs, inputs, run))()

    def output(self, place: int, inputs: ModelInputs, run: ForwardContext) -> Any:
        """A single one of `output_blocks`: groups that it doesn't need may be missing."""
        needed = self.graph.needed_by(self.graph.main.output_blocks[place])
        return Run(self.graph, _TensorBackend(self._layers, self._inputs, inputs, run), needed)()[place]


class _TensorBackend(TensorOperations):
    """Runs a graph on tensors."""

    def __init__(
        self,
        layers: Mapping[str, Layer],
        groups: Mapping[str, InputLayer],
        inputs: ModelInputs,
        run: ForwardContext,
    ) -> None:
        self._layers, self._groups, self._inputs, self._run = layers, groups, inputs, run

    def input_layer(self, group: str, config: Any, place: Place) -> Any:
        """See `Backend`."""
        return self._groups[_input_key(place, config)](self._inputs, self._run)

    def raw_input(self, group: str, place: Place) -> Any:
        """See `Backend`."""
        if group_of(self._inputs.plan, group).texts:
            return self._inputs.texts(group)
        return self._inputs.features(group)

    def embedding_layer(self, group: str, config: Any, place: Place) -> Any:
        """See `Backend`."""
        return self._inputs.concat(group) if config.concat else self._inputs.features(group)

    def layer(self, config: Any, inputs: Any, place: Place) -> Any:
        """See `Backend`."""
        return self._layers[_layer_key(place)](inputs, self._run)

    mlp = layer


def _layer_key(place: Place) -> str:
    return "/".join(place.key)


def _input_key(place: Place, config: Any) -> str:
    """A package can read a group in several forms (`reset_input`)."""
    return f"{_layer_key(place)}#{config.SerializeToString(deterministic=True).hex()}"


def _refuse(path: str, text: str) -> None:
    raise ConfigError(f"{path}: {text}")


def _widths(group: Group) -> GroupWidths:
    plain = [feature.width for feature in group.features]
    return GroupWidths(
        features=tuple(plain if group.sequences else [width for _, width in group.widths]),
        sequences=tuple(feature.width for feature in group.sequences),
        texts=len(group.texts),
        numbers=len(group.widths) == len(plain)
        and all(feature.kind is Kind.NUMBERS for feature in group.features),
    )
