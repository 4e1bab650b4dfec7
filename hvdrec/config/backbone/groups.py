"""What feature groups pass to a backbone, computed from the config alone."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from hvdrec.config.backbone.embedding import embedded
from hvdrec.config.backbone.graph import Graph
from hvdrec.config.combiners import combined_width
from hvdrec.config.expand import feature_list, feature_name
from hvdrec.config.layers.shapes import Widths
from hvdrec.config.models.attention import attended_width
from hvdrec.config.names import enum_name


@dataclasses.dataclass(frozen=True)
class GroupWidths:
    """The widths of a group's features.

    Attributes:
        features: The widths of features with one value per row, in the group's order. If no feature remains a
            sequence, they are followed by the widths of sequences combined into one vector and of
            `sequence_features`.
        sequences: The widths of the elements of sequences.
        numbers: Whether all features with one value per row are numbers.
        texts: How many features are texts, which have no width.
    """

    features: tuple[int, ...]
    sequences: tuple[int, ...] = ()
    numbers: bool = False
    texts: int = 0

    @property
    def width(self) -> int:
        """The columns of the concatenated features."""
        return sum(self.features)


def group_widths(
    proto: Any, wide: int, layers: Mapping[str, Any] = MappingProxyType({})
) -> dict[str, GroupWidths]:
    """The widths of all groups of a config.

    Args:
        proto: The config; the features of its groups must exist.
        wide: The width of embeddings in wide groups.
        layers: The `EmbeddingLayer` of groups that are read by one.
    """
    configs = {feature_name(config): config for config in feature_list(proto)}

    def own(group: str) -> dict[str, Any]:
        layer = layers.get(group)
        return configs if layer is None else {n: embedded(c, layer) for n, c in configs.items()}

    return {
        group.group_name: _widths(proto, group, own(group.group_name), wide)
        for group in proto.model_config.feature_groups
        if all(name in configs for name in group.feature_names)
    }


def _widths(proto: Any, group: Any, configs: Mapping[str, Any], wide: int) -> GroupWidths:
    is_wide = enum_name(group, "wide_deep") == "WIDE"
    every = [configs[name] for name in group.feature_names]
    chosen = [c for c in every if enum_name(c, "feature_type") != "PassThroughFeature"]
    sequences = [c for c in chosen if _is_sequence(c)]
    combined = [c for c in chosen if c.HasField("sequence_combiner")]
    plain = [c for c in chosen if c not in sequences and c not in combined]
    features = [wide if is_wide else _width(c) for c in plain]
    if not sequences:
        features += [combined_width(c.sequence_combiner, _width(c)) for c in combined]
        features += [attended_width(proto, attention) for attention in group.sequence_features]
    return GroupWidths(
        features=tuple(features),
        sequences=tuple(_width(c) for c in sequences),
        texts=len(every) - len(chosen),
        numbers=len(features) == len(plain) > 0 and not is_wide and all(_is_number(c) for c in plain),
    )


def _is_sequence(config: Any) -> bool:
    kind = enum_name(config, "feature_type")
    return kind == "SequenceFeature" and not config.HasField("sequence_combiner")


def _is_number(config: Any) -> bool:
    buckets = config.boundaries or config.num_buckets > 1 or config.embedding_dim
    return enum_name(config, "feature_type") in ("RawFeature", "ExprFeature") and not buckets


def _width(config: Any) -> int:
    if enum_name(config, "feature_type") == "ExprFeature":
        return 1
    return int(config.embedding_dim) or max(1, int(config.raw_input_dim))


def wide_output_dim(graph: Graph) -> int:
    """The width of embeddings in wide groups, set by an `input_layer`; 0 if none sets it."""
    for block in graph.all_blocks():
        if block.layer == "input_layer" and block.config.input_layer.wide_output_dim:
            return int(block.config.input_layer.wide_output_dim)
    return 0


def input_layer_widths(config: Any, group: GroupWidths) -> Widths:
    """The output of an input layer for a group.

    Args:
        config: The `InputLayer` message.
        group: The group.

    Raises:
        ValueError: The message and the group don't fit.
    """
    chosen = [name for name in _OUTPUTS if getattr(config, name)]
    if group.texts:
        raise ValueError("the feature group has PassThroughFeatures, which only a raw_input block reads")
    if len(chosen) > 1:
        raise ValueError(f"{' and '.join(chosen)} can't be set together")
    if config.output_seq_and_normal_feature:
        return _sequence_widths(config, group)
    if group.sequences:
        raise ValueError(
            "the feature group has sequences, which can't be concatenated with features of one "
            "value per row; set output_seq_and_normal_feature: true, or make them TagFeatures"
        )
    if config.do_batch_norm and config.do_layer_norm:
        raise ValueError("do_batch_norm and do_layer_norm can't be set together")
    if config.only_output_feature_list:
        return [*group.features]
    if config.output_2d_tensor_and_feature_list:
        return [group.width, [*group.features]]
    if config.only_output_3d_tensor:
        if len(set(group.features)) != 1:
            widths = ", ".join(map(str, group.features))
            raise ValueError(f"only_output_3d_tensor needs features of the same width, found {widths}")
        return (len(group.features), group.features[0])
    return group.width


_OUTPUTS = (
    "only_output_feature_list",
    "only_output_3d_tensor",
    "output_2d_tensor_and_feature_list",
    "output_seq_and_normal_feature",
)


def _sequence_widths(config: Any, group: GroupWidths) -> Widths:
    for field in ("do_batch_norm", "do_layer_norm", "dropout_rate", "feature_dropout_rate"):
        if getattr(config, field):
            raise ValueError(f"{field} has no effect with output_seq_and_normal_feature; remove it")
    if not group.sequences:
        raise ValueError("output_seq_and_normal_feature needs a SequenceFeature in the feature group")
    if not config.concat_seq_feature:
        return [[(None, width) for width in group.sequences], (), [*group.features]]
    return [(None, sum(group.sequences)), (), sum(group.features) or None]
