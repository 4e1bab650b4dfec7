"""`hvdrec.describe`: the groups, tables, layers, weights and losses of a config."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from hvdrec import storage
from hvdrec.commands.block_graph import BlockGraph, dot, svg
from hvdrec.config import Config
from hvdrec.config.backbone.check import Described
from hvdrec.config.layers.shapes import described as shown
from hvdrec.config.models.heads import HeadConfig
from hvdrec.config.models.registry import spec_of
from hvdrec.errors import ConfigError
from hvdrec.features import build_plan
from hvdrec.features.fields import heads_of
from hvdrec.features.plan import FeaturePlan
from hvdrec.layers.variables import VariableStore
from hvdrec.losses.labels import label_ranges
from hvdrec.models.backbone.engine import Backbone
from hvdrec.models.base import ModelBuild
from hvdrec.models.registry import build_model


def describe(config: Config, flags: Any) -> None:
    """Prints the model of a config, and writes the graph of its blocks.

    The tables are not allocated, so their size doesn't matter.

    Args:
        config: A checked config.
        flags: `DescribeFlags`.

    Raises:
        ConfigError: Parts of the config don't fit, or a drawing is requested and there are no blocks.
    """
    for warning in config.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    proto = config.proto
    heads = heads_of(proto)
    plan = build_plan(proto, label_ranges(heads))
    store = VariableStore(0)
    model = build_model(ModelBuild(proto.model_config, plan, store, heads))
    backbone = getattr(model, "backbone", None)
    blocks = backbone.described if isinstance(backbone, Backbone) else None
    sections = {
        "feature groups": _groups(plan),
        "tables": _tables(plan),
        "layers": _layers(blocks, store),
        "losses": _losses(heads, store),
    }
    print(f"model class {spec_of(proto.model_config).name}")
    for title, rows in sections.items():
        print(f"\n{title}")
        print("\n".join(_aligned(list(rows))) or "  none")
    if flags.graph:
        if not isinstance(backbone, Backbone):
            raise ConfigError("--graph: the model has no backbone, so there are no blocks to draw")
        drawn = BlockGraph.of(backbone.graph, backbone.described)
        storage.write_text(flags.graph, dot(drawn) if flags.graph.endswith(".dot") else svg(drawn))
        print(f"\nwrote {flags.graph}")


def _groups(plan: FeaturePlan) -> Iterator[tuple[str, ...]]:
    for group in plan.groups.values():
        yield group.name, "wide" if group.wide else "", f"{group.width} columns", ""
        for feature in (*group.features, *group.sequences, *group.texts):
            yield "", feature.feature, f"{feature.width} columns", feature.kind.value.replace("_", " ")


def _tables(plan: FeaturePlan) -> Iterator[tuple[str, ...]]:
    for table in plan.tables:
        if table.rules is not None:
            yield table.name, f"its ids x {table.dim}", f"{_bytes(table.dim * 4)} per id"
        else:
            yield table.name, f"{table.rows:,} x {table.dim}", _bytes(table.rows * table.dim * 4)
    fixed = [table for table in plan.tables if table.rules is None]
    if fixed:
        total = sum(table.rows * table.dim for table in fixed)
        yield "together", f"{sum(table.rows for table in fixed):,} rows", _bytes(total * 4)


def _layers(blocks: Described | None, store: VariableStore) -> Iterator[tuple[str, ...]]:
    """The blocks with their shapes, then all weights outside blocks."""
    left = {name: tuple(variable.shape) for name, variable in store.variables_by_name.items()}
    seen: set[tuple[str, str]] = set()
    for called in blocks.layers if blocks else ():
        if called.place.key in seen:
            continue
        seen.add(called.place.key)
        own = [name for name in left if name.startswith(f"{called.place.scope}/")]
        count = sum(math.prod(left.pop(name)) for name in own)
        shapes = f"{shown(called.inputs)} -> {shown(called.outputs)}"
        yield called.place.scope, called.class_name, f"{count:,} numbers", shapes
    for name, shape in left.items():
        yield name, "", f"{math.prod(shape):,} numbers", str(list(shape))
    total = sum(math.prod(variable.shape) for variable in store.variables_by_name.values())
    yield "together", "", f"{total:,} numbers", _bytes(total * 4)


def _losses(heads: Sequence[HeadConfig], store: VariableStore) -> Iterator[tuple[str, ...]]:
    for head in heads:
        for config in head.losses:
            weight = float(head.weight) * float(config.loss.weight if config.listed else 1.0)
            yield config.name, config.kind, f"of label {head.label}", f"weight {weight:g}"
    for added in store.added_losses:
        yield added.name, "of a block", "in training" if added.training_only else "", ""


def _aligned(rows: Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  " + "  ".join(c.ljust(w) for c, w in zip(r, widths, strict=True)).rstrip() for r in rows]


def _bytes(count: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"
