"""Drawings of a backbone's blocks: for Graphviz, or as SVG."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from xml.sax.saxutils import escape

from hvdrec.config.backbone.check import Described
from hvdrec.config.backbone.graph import Block, Graph, Package
from hvdrec.config.layers.shapes import described as shown

_LINE, _PAD, _GAP_X, _GAP_Y, _CHARACTER = 16, 8, 24, 48, 7


@dataclasses.dataclass(frozen=True)
class BlockGraph:
    """Blocks and the edges between them.

    Attributes:
        nodes: The lines of each block's label, by its id.
        edges: Pairs (from, to).
    """

    nodes: Mapping[str, tuple[str, ...]]
    edges: tuple[tuple[str, str], ...]

    @staticmethod
    def of(graph: Graph, described: Described) -> BlockGraph:
        """The blocks of a graph with their output shapes."""
        nodes: dict[str, tuple[str, ...]] = {}
        edges: dict[tuple[str, str], None] = {}
        for package in (graph.main, *graph.packages.values()):
            for block in package.blocks.values():
                widths = described.blocks.get((package.name, block.name))
                kind = _kind(block)
                label = _id(graph, package, block.name)
                nodes[label] = (label, *([kind] if kind else []), shown(widths))
                for source in _sources(graph, package, block):
                    edges[source, label] = None
        if graph.top_mlp is not None:
            nodes["top_mlp"] = ("top_mlp", "MLP", shown(described.outputs))
            edges.update(((end, "top_mlp"), None) for end in _ends(graph, graph.main))
        return BlockGraph(nodes, tuple(edges))


def dot(graph: BlockGraph) -> str:
    """The graph in Graphviz's language."""
    lines = ["digraph backbone {", "  node [shape=box];"]
    lines += [
        f"  {_quoted(name)} [label={_quoted(chr(10).join(label))}];" for name, label in graph.nodes.items()
    ]
    lines += [f"  {_quoted(one)} -> {_quoted(other)};" for one, other in graph.edges]
    return "\n".join([*lines, "}", ""])


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


def svg(graph: BlockGraph) -> str:
    """The graph as SVG, with each block below everything it depends on."""
    depth = _depths(graph)
    layers: dict[int, list[str]] = {}
    for name in graph.nodes:
        layers.setdefault(depth[name], []).append(name)
    places: dict[str, tuple[float, float, float, float]] = {}
    widest, y = 0.0, float(_PAD)
    for level in sorted(layers):
        x, tallest = float(_PAD), 0
        for name in layers[level]:
            lines = graph.nodes[name]
            width = max(map(len, lines)) * _CHARACTER + 2 * _PAD
            height = len(lines) * _LINE + _PAD
            places[name] = x, y, width, height
            x += width + _GAP_X
            tallest = max(tallest, height)
        widest, y = max(widest, x), y + tallest + _GAP_Y
    drawn = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{widest:g}" height="{y:g}" '
        'font-family="monospace" font-size="12">',
        '<defs><marker id="end" markerWidth="8" markerHeight="8" refX="7" refY="4" orient="auto">'
        '<path d="M0,0 L8,4 L0,8 z"/></marker></defs>',
    ]
    for one, other in graph.edges:
        (x1, y1, w1, h1), (x2, y2, w2, _) = places[one], places[other]
        drawn.append(
            f'<line x1="{x1 + w1 / 2:g}" y1="{y1 + h1:g}" x2="{x2 + w2 / 2:g}" y2="{y2:g}" '
            'stroke="#888" marker-end="url(#end)"/>'
        )
    for name, (left, top, across, down) in places.items():
        drawn.append(
            f'<rect x="{left:g}" y="{top:g}" width="{across:g}" height="{down:g}" fill="#eef" stroke="#336"/>'
        )
        for i, line in enumerate(graph.nodes[name]):
            drawn.append(f'<text x="{left + _PAD:g}" y="{top + _LINE * (i + 1):g}">{escape(line)}</text>')
    return "\n".join([*drawn, "</svg>", ""])


def _depths(graph: BlockGraph) -> dict[str, int]:
    """The number of blocks above each one on the longest path."""
    depth = dict.fromkeys(graph.nodes, 0)
    for _ in graph.nodes:
        for one, other in graph.edges:
            depth[other] = max(depth[other], depth[one] + 1)
    return depth


def _id(graph: Graph, package: Package, name: str) -> str:
    return name if package is graph.main else f"{package.name}/{name}"


def _kind(block: Block) -> str:
    config, layer = block.config, block.layer
    if layer == "keras_layer":
        return str(config.keras_layer.class_name)
    if layer in ("repeat", "recurrent"):
        inner = getattr(config, layer)
        times = inner.num_repeat if layer == "repeat" else inner.num_steps
        return f"{layer} {times} x {inner.keras_layer.class_name}"
    if config.layers:
        return f"{len(config.layers)} layers"
    return layer or ""


def _ends(graph: Graph, package: Package) -> list[str]:
    return [_id(graph, package, name) for name in package.output_blocks or package.concat_blocks]


def _sources(graph: Graph, package: Package, block: Block) -> Iterator[str]:
    """The ids of the blocks that provide a block's inputs."""
    if block.group is not None:
        return
    for one in block.config.inputs:
        kind = one.WhichOneof("name")
        if kind == "package_name":
            yield from _ends(graph, graph.packages[one.package_name])
        elif kind == "use_package_input":
            yield from _givers(graph, package)
        else:
            name = getattr(one, kind)
            yield _id(graph, package if name in package.blocks else graph.main, name)


def _givers(graph: Graph, package: Package) -> Iterator[str]:
    """The ids of the blocks that are passed to a package as its input."""
    for user in (graph.main, *graph.packages.values()):
        for block in user.blocks.values():
            for one in block.config.inputs:
                if one.package_name == package.name and one.HasField("package_input"):
                    if one.package_input in user.blocks:
                        yield _id(graph, user, one.package_input)
                    else:
                        yield from _ends(graph, graph.packages[one.package_input])
