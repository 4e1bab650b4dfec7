"""`embedding_layer`: a feature group through tables of one width."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from hvdrec.config.backbone.graph import Graph
from hvdrec.config.names import enum_name

#: What makes one vector of several values here, by `combiner`. ``weight``: their mean by their weights.
COMBINERS = {"weight": "mean", "mean": "mean", "sum": "sum"}
_IDS = ("IdFeature", "TagFeature", "ComboFeature", "LookupFeature")


def embedding_layers(graph: Graph) -> dict[str, Any]:
    """The `EmbeddingLayer` message of each feature group that is read by one."""
    blocks = [block for block in graph.all_blocks() if block.layer == "embedding_layer"]
    return {block.group or "": block.config.embedding_layer for block in blocks}


def embedded(feature: Any, layer: Any) -> Any:
    """A `FeatureConfig` with width and combiner of an embedding layer, and a table of its own."""
    copy = type(feature)()
    copy.CopyFrom(feature)
    copy.embedding_dim = layer.embedding_dim
    copy.combiner = COMBINERS[layer.combiner]
    copy.ClearField("embedding_name")
    return copy


def check_embedding_layers(
    graph: Graph,
    groups: Mapping[str, Any],
    features: Mapping[str, Any],
    report: Callable[[str, str], None],
) -> None:
    """Checks them: ids alone, one layer for a group, a combiner that is known.

    Args:
        graph: The backbone.
        groups: Feature groups by name.
        features: Features by name.
        report: Takes the path of a field and what is wrong with it.
    """
    reads: dict[str, list[Any]] = {}
    for block in graph.all_blocks():
        if block.group is not None:
            reads.setdefault(block.group, []).append(block)
    for name, layer in embedding_layers(graph).items():
        blocks = reads[name]
        path = next(f"{b.path}.embedding_layer" for b in blocks if b.layer == "embedding_layer")
        if any(b.layer != "embedding_layer" or b.config.embedding_layer != layer for b in blocks):
            text = f"group {name!r} is read by another layer too; give that one a group of its own"
            report(path, text)
        if not layer.embedding_dim:
            report(f"{path}.embedding_dim", "must be at least 1, is 0")
        if layer.combiner not in COMBINERS:
            report(f"{path}.combiner", f"must be one of {', '.join(COMBINERS)}, is {layer.combiner!r}")
        for feature in groups[name].feature_names if name in groups else ():
            if feature in features and not _has_ids(features[feature]):
                report(path, f"needs ids, and feature {feature!r} has none: numbers need boundaries")


def _has_ids(feature: Any) -> bool:
    return enum_name(feature, "feature_type") in _IDS or bool(feature.boundaries)
