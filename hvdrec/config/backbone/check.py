"""Checks a backbone, including all shapes, and describes it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from hvdrec.config.backbone.graph import Graph
from hvdrec.config.backbone.groups import GroupWidths, input_layer_widths
from hvdrec.config.backbone.run import BlockError, Place, Run
from hvdrec.config.backbone.shapes import ShapeOperations, as_shapes, as_widths, concatenated
from hvdrec.config.layers.mlp import MLP
from hvdrec.config.layers.registry import SPECS, unknown
from hvdrec.config.layers.shapes import TEXT, Widths, has_texts, misfit
from hvdrec.config.layers.spec import LayerConfig, LayerSpec, Problem
from hvdrec.config.layers.user import is_user_layer, user_spec


@dataclasses.dataclass(frozen=True)
class Called:
    """A call of a layer.

    Attributes:
        place: The call site.
        class_name: The layer's class.
        config: The layer's parameters.
        inputs: The input widths.
        outputs: The output widths.
    """

    place: Place
    class_name: str
    config: LayerConfig
    inputs: Widths
    outputs: Widths


@dataclasses.dataclass(frozen=True)
class ReadGroup:
    """A feature group as an input layer reads it.

    Attributes:
        place: The call site.
        group: The group's name.
        config: The `InputLayer` message.
        widths: The widths of its features.
    """

    place: Place
    group: str
    config: Any
    widths: GroupWidths


class ShapeBackend(ShapeOperations):
    """Runs a graph on shapes and records its layers.

    Attributes:
        layers: The calls of layers, in order.
        inputs: The calls of input layers, in order.
        warnings: (path, text) of parameters without effect.
    """

    def __init__(self, groups: Mapping[str, GroupWidths]) -> None:
        """Takes the groups that the graph can read."""
        self._groups = groups
        self.layers: list[Called] = []
        self.inputs: list[ReadGroup] = []
        self.warnings: list[tuple[str, str]] = []

    def input_layer(self, group: str, config: Any, place: Place) -> Any:
        """See `Backend`."""
        widths = self._groups[group]
        found = input_layer_widths(config, widths)
        self.inputs.append(ReadGroup(place, group, config, widths))
        return as_shapes(found)

    def raw_input(self, group: str, place: Place) -> Any:
        """See `Backend`."""
        widths = self._groups[group]
        if widths.texts and not (widths.features or widths.sequences):
            return as_shapes([TEXT] * widths.texts)
        if widths.texts or not widths.numbers:
            raise ValueError(
                "raw_input needs a group of numbers (RawFeatures without buckets and without embedding_dim) "
                "or one of texts (PassThroughFeatures)"
            )
        return as_shapes([*widths.features])

    def embedding_layer(self, group: str, config: Any, place: Place) -> Any:
        """See `Backend`."""
        widths = self._groups[group]
        if widths.sequences:
            raise ValueError("the feature group has sequences; use an input_layer, or make them TagFeatures")
        return as_shapes(widths.width if config.concat else [*widths.features])

    def layer(self, config: Any, inputs: Any, place: Place) -> Any:
        """See `Backend`."""
        spec = self._spec(config.class_name, f"{place.path}.class_name")
        read, problems = spec.read(config)
        self._note(problems, place)
        return self._call(spec, read, inputs, place, config.class_name)

    def mlp(self, config: Any, inputs: Any, place: Place) -> Any:
        """See `Backend`."""
        read, problems = MLP.read_message(config)
        self._note(problems, place)
        return self._call(MLP, read, inputs, place)

    def concat(self, values: Sequence[Any], axis: int) -> Any:
        """See `Backend`."""
        return concatenated(values, axis)

    def _spec(self, class_name: str, path: str) -> LayerSpec:
        if class_name in SPECS:
            return SPECS[class_name]
        if not is_user_layer(class_name):
            raise BlockError(path, unknown(class_name))
        try:
            return user_spec(class_name)
        except ValueError as error:
            raise BlockError(path, str(error)) from None

    def _note(self, problems: Sequence[Problem], place: Place) -> None:
        for problem in problems:
            path = f"{place.path}.{problem.path}" if problem.path else place.path
            if not problem.warning:
                raise BlockError(path, problem.text)
            self.warnings.append((path, problem.text))

    def _call(
        self, spec: LayerSpec, config: LayerConfig, inputs: Any, place: Place, class_name: str = ""
    ) -> Any:
        widths = as_widths(inputs)
        if has_texts(widths) and not spec.texts:
            raise misfit("numbers", widths)
        outputs = spec.outputs(config, widths)
        self.layers.append(Called(place, class_name or spec.class_name, config, widths, outputs))
        return as_shapes(outputs)


@dataclasses.dataclass(frozen=True)
class Described:
    """A backbone with consistent shapes.

    Attributes:
        layers: The calls of layers, in order.
        inputs: The calls of input layers, in order.
        outputs: The widths of the backbone's outputs.
        warnings: (path, text).
        blocks: The output widths of each block, by package and name; None if the output isn't tensors.
    """

    layers: tuple[Called, ...]
    inputs: tuple[ReadGroup, ...]
    outputs: Widths
    warnings: tuple[tuple[str, str], ...]
    blocks: Mapping[tuple[str, str], Widths]


def describe(graph: Graph, groups: Mapping[str, GroupWidths]) -> Described:
    """Runs a graph on shapes.

    Args:
        graph: A valid graph.
        groups: The feature groups that the graph reads.

    Raises:
        BlockError: A block's inputs don't fit it.
    """
    backend = ShapeBackend(groups)
    run = Run(graph, backend)
    found = run()
    try:
        outputs = as_widths(found)
    except ValueError as error:
        raise BlockError(graph.main.path, str(error)) from None
    blocks = {(p, name): _shown(value) for p, given in run.outputs.items() for name, value in given.items()}
    return Described(tuple(backend.layers), tuple(backend.inputs), outputs, tuple(backend.warnings), blocks)


def _shown(value: Any) -> Widths:
    try:
        return as_widths(value)
    except ValueError:
        return None
