"""The common base of model classes with a backbone."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any, ClassVar

from hvdrec.config.backbone.check import Described, describe
from hvdrec.config.backbone.embedding import check_embedding_layers, embedding_layers
from hvdrec.config.backbone.graph import Graph, build_graph
from hvdrec.config.backbone.groups import group_widths, wide_output_dim
from hvdrec.config.backbone.run import BlockError
from hvdrec.config.expand import feature_list, feature_name
from hvdrec.config.models.check import PATH, ModelCheck
from hvdrec.config.models.spec import ModelSpec
from hvdrec.config.names import enum_name

_INPUTS = f"{PATH}.backbone"


def graph_of(model: Any) -> Graph:
    """The graph of a `model_config`'s backbone; it may be invalid."""
    return build_graph(model.backbone, {g.group_name for g in model.feature_groups}, lambda path, text: None)


class BackboneSpec(ModelSpec):
    """A model class with a `backbone`, and its other fields in `model_params`.

    Attributes:
        reads: The fields of `model_params` that the class reads.
    """

    block = "model_params"
    backbone = True
    sequences = True
    reads: ClassVar[tuple[str, ...]] = ("l2_regularization",)

    def group_order(self, model: Any) -> Iterable[str]:
        """The groups that blocks read, in the order of first use."""
        return graph_of(model).groups()

    def wide_width(self, model: Any) -> int:
        """`wide_output_dim` of an input layer."""
        return wide_output_dim(graph_of(model))

    def text_groups(self, model: Any) -> Collection[str]:
        """Those that only blocks with `raw_input` read."""
        blocks = [block for block in graph_of(model).all_blocks() if block.group is not None]
        other = {block.group for block in blocks if block.layer != "raw_input"}
        return {block.group for block in blocks if block.group is not None} - other

    def embedding_layers(self, model: Any) -> Mapping[str, Any]:
        """Those of blocks."""
        return embedding_layers(graph_of(model))

    def check(self, check: ModelCheck) -> None:
        """Checks the graph, every layer's parameters, and all shapes."""
        if not check.model.HasField("backbone"):
            check.error(f"{PATH}.backbone", f"is missing; {self.name} needs it")
            return
        for field, _ in check.block.ListFields():
            if field.name not in self.reads:
                check.report.warn(f"{check.path}.{field.name}", f"has no effect on {self.name}")
        described = self.described(check)
        if described is not None:
            self.check_outputs(check, described)

    def described(self, check: ModelCheck) -> Described | None:
        """The backbone's shapes; None after a reported error."""
        faults: list[str] = []

        def report(path: str, text: str) -> None:
            faults.append(path)
            check.error(path, text)

        graph = build_graph(check.model.backbone, check.groups, report)
        read = graph.groups()
        wide = self._wide(check, graph, read)
        features = {feature_name(feature): feature for feature in feature_list(check.proto)}
        check_embedding_layers(graph, check.groups, features, report)
        if faults:
            return None
        widths = group_widths(check.proto, wide, embedding_layers(graph))
        if any(name not in widths for name in read):
            return None
        try:
            found = describe(graph, widths)
        except BlockError as error:
            check.error(error.path, str(error))
            return None
        for path, text in dict.fromkeys(found.warnings):
            check.report.warn(path, text)
        for name in check.groups:
            if name not in read:
                place = list(check.model.feature_groups).index(check.groups[name])
                check.report.warn(f"{PATH}.feature_groups[{place}]", f"no block reads group {name!r}")
        return found

    def _wide(self, check: ModelCheck, graph: Graph, read: Iterable[str]) -> int:
        """The width of embeddings in wide groups."""
        given = wide_output_dim(graph)
        for block in graph.all_blocks():
            other = block.config.input_layer.wide_output_dim
            if block.layer == "input_layer" and other not in (0, given):
                check.error(
                    f"{block.path}.input_layer.wide_output_dim",
                    f"is {other}, but another block has {given}; all must be the same",
                )
        for name in read:
            group = check.groups.get(name)
            if group is not None and enum_name(group, "wide_deep") == "WIDE" and not given:
                check.error(
                    _INPUTS,
                    f"group {name!r} is wide_deep: WIDE; give a block input_layer {{ wide_output_dim: ... }} "
                    f"over it",
                )
        return given or 1

    def check_outputs(self, check: ModelCheck, described: Described) -> None:
        """Checks the backbone's outputs."""
