"""Runs a backbone's graph: over shapes to check it, over tensors to compute it.

Both use the same code, so what is checked is what is computed.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from hvdrec.config.backbone.graph import MAIN, Block, Graph, Package
from hvdrec.config.backbone.text import Evaluator, Operations, TextError, parse_function, parse_slice

#: The name of the final MLP, which is outside the scope of the rest.
TOP_MLP = "backbone_top_mlp"


class BlockError(ValueError):
    """A block's inputs don't fit it.

    Attributes:
        path: The field that is wrong.
    """

    def __init__(self, path: str, text: str) -> None:
        """Takes the path of the field and the problem."""
        super().__init__(text)
        self.path = path


@dataclasses.dataclass(frozen=True)
class Place:
    """The call site of a layer.

    Attributes:
        key: The key of the layer: the layers of a package are shared by all calls of the package.
        scope: The prefix that EasyRec gives its variables if it is called here first.
        path: The field of the layer's message.
    """

    key: tuple[str, str]
    scope: str
    path: str


class Backend(Operations, Protocol):
    """Operations on layers and tensors; they raise a `ValueError` (such as `TextError`) for a misfit."""

    def input_layer(self, group: str, config: Any, place: Place) -> Any:
        """The output of an `InputLayer` message for a feature group; the key is the group's."""

    def raw_input(self, group: str, place: Place) -> Any:
        """The numbers or the texts of a feature group, as a list."""

    def embedding_layer(self, group: str, config: Any, place: Place) -> Any:
        """The output of an `EmbeddingLayer` message: a feature group with one shared vocabulary."""

    def layer(self, config: Any, inputs: Any, place: Place) -> Any:
        """The output of a `KerasLayer` message."""

    def mlp(self, config: Any, inputs: Any, place: Place) -> Any:
        """The output of an `MLP` message."""

    def concat(self, values: Sequence[Any], axis: int) -> Any:
        """Concatenates tensors along the last axis."""


class Run:
    """One pass through a graph."""

    def __init__(self, graph: Graph, backend: Backend, only: frozenset[str] | None = None) -> None:
        """Takes the graph, which must be valid, and the operations to run it with.

        Args:
            graph: The graph.
            backend: The operations.
            only: The blocks outside packages to compute; any other output is None.
        """
        self._graph, self._do, self._only = graph, backend, only
        self._evaluate = Evaluator(backend)
        #: The outputs of blocks, by package; the last call is kept.
        self._outputs: dict[str, dict[str, Any]] = {}
        self._inputs: dict[str, Any] = {}
        self._reset: dict[str, Any] = {}

    def __call__(self) -> Any:
        """The output of the backbone: a tensor, or a list of tensors.

        Raises:
            BlockError: A block's inputs don't fit it.
        """
        found = self._package(self._graph.main, "")
        if self._graph.top_mlp is None:
            return found
        path = f"{self._graph.main.path}.top_mlp"
        found = self._guard(path, lambda: self._merged(found, -1) if isinstance(found, list) else found)
        place = Place((MAIN, TOP_MLP), TOP_MLP, path)
        return self._guard(path, lambda: self._do.mlp(self._graph.top_mlp, found, place))

    @property
    def outputs(self) -> Mapping[str, Mapping[str, Any]]:
        """The output of each block of each package, in its last call."""
        return self._outputs

    def _package(self, package: Package, scope: str) -> Any:
        scope = f"{scope}{package.name}/"
        outputs = self._outputs[package.name] = {}
        skipped = self._only is not None and package.name == MAIN
        for name in package.order:
            if name in package.blocks and not (skipped and name not in (self._only or ())):
                outputs[name] = self._block(package, package.blocks[name], scope)
        if package.output_blocks:
            return [outputs.get(name) for name in package.output_blocks]
        found = [outputs[name] for name in package.concat_blocks]
        path = package.path if len(found) < 2 else f"{package.path}.concat_blocks"
        return self._guard(path, lambda: self._merge(found, -1))

    def _block(self, package: Package, block: Block, scope: str) -> Any:
        config, layer = block.config, block.layer
        place = Place((package.name, block.name), f"{scope}{block.name}", block.path)
        if config.layers:
            value = self._block_input(package, block, scope)
            for i, one in enumerate(config.layers):
                name = f"{block.name}_l{i}"
                inner = Place((package.name, name), f"{scope}{name}", f"{block.path}.layers[{i}]")
                value = self._layer(one, one.WhichOneof("layer"), value, inner)
            return value
        if layer is None:
            return self._block_input(package, block, scope)
        if block.group is not None:
            return self._guard(block.path, lambda: self._input(package, block, place))
        value = self._block_input(package, block, f"{scope}{block.name}_input/")
        return self._layer(config, layer, value, place)

    def _input(self, package: Package, block: Block, place: Place) -> Any:
        group = block.group or ""
        if block.layer == "raw_input":
            return self._do.raw_input(group, place)
        if block.layer == "embedding_layer":
            return self._do.embedding_layer(group, block.config.embedding_layer, place)
        config = self._reset.get(package.name, block.config.input_layer)
        return self._do.input_layer(group, config, dataclasses.replace(place, key=(package.name, group)))

    def _block_input(self, package: Package, block: Block, scope: str) -> Any:
        """The merged inputs of a block."""
        config, values = block.config, []
        for i, one in enumerate(config.inputs):
            path = f"{block.path}.inputs[{i}]"
            value = self._one_input(package, one, path, scope)
            if one.ignore_input:
                continue
            if one.HasField("input_slice"):
                value = self._text(f"{path}.input_slice", one.input_slice, value, cut=True)
            if one.HasField("input_fn"):
                value = self._text(f"{path}.input_fn", one.input_fn, value)
            values.append(value)
        if not config.merge_inputs_into_list:
            if not values:
                raise BlockError(f"{block.path}.inputs", "all inputs are ignored")
            joined, axis = values, config.input_concat_axis
            values = self._guard(f"{block.path}.inputs", lambda: self._merge(joined, axis))
        if config.HasField("extra_input_fn"):
            values = self._text(f"{block.path}.extra_input_fn", config.extra_input_fn, values)
        return values

    def _one_input(self, package: Package, one: Any, path: str, scope: str) -> Any:
        kind = one.WhichOneof("name")
        if kind == "use_package_input":
            if package.name not in self._inputs:
                text = f"package {package.name!r} is used somewhere without a package_input"
                raise BlockError(f"{path}.use_package_input", text)
            return self._inputs[package.name]
        if kind == "package_name":
            return self._one_package(package, one, path, scope)
        name = getattr(one, kind)
        own = self._outputs[package.name]
        return own[name] if name in own else self._outputs[MAIN][name]

    def _one_package(self, package: Package, one: Any, path: str, scope: str) -> Any:
        used = self._graph.packages[one.package_name]
        if one.HasField("reset_input"):
            self._reset[used.name] = one.reset_input
        if one.HasField("package_input"):
            own = self._outputs[package.name]
            if one.package_input in own:
                given = own[one.package_input]
            else:
                given = self._package(self._graph.packages[one.package_input], scope)
            if one.HasField("package_input_fn"):
                given = self._text(f"{path}.package_input_fn", one.package_input_fn, given)
            self._inputs[used.name] = given
        return self._package(used, scope)

    def _layer(self, config: Any, layer: str | None, value: Any, place: Place) -> Any:
        path = f"{place.path}.{layer}"
        if layer == "lambda":
            text = getattr(config, "lambda").expression
            return self._text(f"{path}.expression", text, value)
        if layer == "keras_layer":
            return self._keras(config.keras_layer, value, place, f"{path}")
        if layer == "repeat":
            return self._repeat(config.repeat, value, place, path)
        if layer == "recurrent":
            return self._recurrent(config.recurrent, value, place, path)
        raise BlockError(place.path, "has no layer")

    def _keras(self, config: Any, value: Any, place: Place, path: str, number: int | None = None) -> Any:
        end = "" if number is None else f"_{number}"
        (package, name), scope = place.key, place.scope
        inner = Place((package, f"{name}{end}"), f"{scope}{end}", path)
        return self._guard(path, lambda: self._do.layer(config, value, inner))

    def _repeat(self, config: Any, value: Any, place: Place, path: str) -> Any:
        found = []
        for i in range(config.num_repeat):
            given = value
            if config.HasField("input_slice"):
                given = self._text(f"{path}.input_slice", config.input_slice, given, i, cut=True)
            if config.HasField("input_fn"):
                given = self._text(f"{path}.input_fn", config.input_fn, given, i)
            found.append(self._keras(config.keras_layer, given, place, f"{path}.keras_layer", i))
        if len(found) > 1 and config.HasField("output_concat_axis"):
            axis = config.output_concat_axis
            return self._guard(f"{path}.output_concat_axis", lambda: self._merged(found, axis))
        return found[0] if len(found) == 1 else found

    def _recurrent(self, config: Any, value: Any, place: Place, path: str) -> Any:
        fixed = config.fixed_input_index if config.HasField("fixed_input_index") else None
        if fixed is not None and (not isinstance(value, list) or fixed >= len(value)):
            raise BlockError(
                f"{path}.fixed_input_index", f"the block needs a list of more than {fixed} inputs"
            )
        for i in range(config.num_steps):
            found = self._keras(config.keras_layer, value, place, f"{path}.keras_layer", i)
            if fixed is None:
                value = found
                continue
            given = list(value)
            new = iter(found if isinstance(found, list) else [found] * (len(given) - 1))
            try:
                value = [each if j == fixed else next(new) for j, each in enumerate(given)]
            except StopIteration:
                raise BlockError(path, f"a step returns fewer than {len(given) - 1} outputs") from None
        if fixed is not None:
            value = [each for j, each in enumerate(value) if j != fixed]
            return value[0] if len(value) == 1 else value
        return value

    def _text(self, path: str, text: str, *arguments: Any, cut: bool = False) -> Any:
        """The result of a field's Python text for its arguments."""

        def compute() -> Any:
            if cut:
                return self._evaluate(parse_slice(text, ("x", "i")[: len(arguments)]), *arguments)
            return self._evaluate(parse_function(text, len(arguments)), *arguments)

        return self._guard(path, compute)

    def _guard(self, path: str, compute: Any) -> Any:
        try:
            return compute()
        except BlockError:
            raise
        except ValueError as error:
            raise BlockError(path, str(error)) from None

    def _merge(self, values: list[Any], axis: int) -> Any:
        """Merges inputs: the only one, the lists joined, or the tensors concatenated."""
        if len(values) == 1:
            return values[0]
        if any(isinstance(value, list) for value in values):
            return [each for value in values for each in (value if isinstance(value, list) else [value])]
        return self._merged(values, axis)

    def _merged(self, values: list[Any], axis: int) -> Any:
        if not all(self._do.is_tensor(value) for value in values):
            raise TextError("only tensors can be concatenated; one of the inputs is not a tensor")
        return values[0] if len(values) == 1 else self._do.concat(values, axis)
