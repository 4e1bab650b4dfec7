"""The blocks and packages of a backbone as a graph, in the order in which EasyRec calls them.

The order matters beyond what depends on what: the names of embedding tables hang on it. So it is EasyRec's
(`easy_rec/python/utils/dag.py`): of the blocks that are ready, the one that became so last comes first.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

from hvdrec.config.names import hint
from hvdrec.config.protos import backbone_pb2

PATH = "model_config.backbone"
#: The name of the graph outside of all packages, and the scope of its variables.
MAIN = "backbone"
#: Layers that read a feature group.
INPUTS = ("input_layer", "raw_input", "embedding_layer")

#: Takes the path of a field and what is wrong with it.
Report = Callable[[str, str], None]


@dataclasses.dataclass(frozen=True)
class Block:
    """A block.

    Attributes:
        name: Its name.
        config: The `Block` message.
        path: Where that is; of a feature group that a block names as its input, the place of that.
    """

    name: str
    config: Any
    path: str

    @property
    def layer(self) -> str | None:
        """The field of its layer, as ``keras_layer``; None where it has none or is a sequence of `layers`."""
        return self.config.WhichOneof("layer")

    @property
    def group(self) -> str | None:
        """The feature group it reads, of a block of `INPUTS`."""
        if self.layer not in INPUTS:
            return None
        return self.config.inputs[0].feature_group_name if self.config.inputs else ""


@dataclasses.dataclass
class Package:
    """A graph of blocks: the backbone's own, or one of its packages.

    Attributes:
        name: `MAIN`, or the package's.
        path: Where it is.
        blocks: By name, those of feature groups that blocks name as inputs among them.
        order: The blocks in the order they are called, and between them packages they need.
        concat_blocks: What is put together to what it gives.
        output_blocks: What it gives as a list; `concat_blocks` doesn't count then.
    """

    name: str
    path: str
    blocks: dict[str, Block] = dataclasses.field(default_factory=dict)
    order: list[str] = dataclasses.field(default_factory=list)
    concat_blocks: tuple[str, ...] = ()
    output_blocks: tuple[str, ...] = ()
    edges: dict[str, dict[str, None]] = dataclasses.field(default_factory=dict)

    def add_edge(self, before: str, after: str) -> None:
        """Notes that `after` needs `before`."""
        self.edges.setdefault(before, {})
        self.edges.setdefault(after, {})
        self.edges[before][after] = None


@dataclasses.dataclass(frozen=True)
class Graph:
    """A backbone.

    Attributes:
        main: The graph outside of all packages.
        packages: By name.
        top_mlp: The `MLP` message after it, or None.
    """

    main: Package
    packages: Mapping[str, Package]
    top_mlp: Any

    def groups(self) -> list[str]:
        """The feature groups in the order in which they are first read."""
        found: dict[str, None] = {}

        def read(package: Package, around: tuple[str, ...]) -> None:
            if package.name in around:
                return
            for name in package.order:
                block = package.blocks.get(name)
                if block is None:
                    continue
                if block.group is not None:
                    found[block.group] = None
                    continue
                for one in block.config.inputs:
                    inner = [one.package_name] if one.WhichOneof("name") == "package_name" else []
                    if inner and one.HasField("package_input") and one.package_input not in package.blocks:
                        inner.insert(0, one.package_input)
                    for each in inner:
                        if each in self.packages:
                            read(self.packages[each], (*around, package.name))

        read(self.main, ())
        return list(found)

    def needed_by(self, block: str) -> frozenset[str]:
        """The blocks and packages that a block outside of packages needs, itself included."""
        found, new = {block}, [block]
        while new:
            name = new.pop()
            before = [b for b, after in self.main.edges.items() if name in after and b not in found]
            found.update(before)
            new.extend(before)
        return frozenset(found)

    def groups_for(self, block: str) -> list[str]:
        """The feature groups that a block outside of packages needs, in the order of `groups`."""
        needed = self.needed_by(block)
        read = {b.group for name, b in self.main.blocks.items() if name in needed}
        waiting, seen = [self.packages[name] for name in needed if name in self.packages], set[str]()
        while waiting:
            package = waiting.pop()
            seen.add(package.name)
            read |= {b.group for b in package.blocks.values()}
            waiting += [p for n, p in self.packages.items() if n in package.edges and n not in seen]
        return [name for name in self.groups() if name in read]

    @property
    def resets_inputs(self) -> bool:
        """Whether a use of a package changes the input layers of those after it."""
        return any(one.HasField("reset_input") for block in self.all_blocks() for one in block.config.inputs)

    def all_blocks(self) -> Iterator[Block]:
        """Every block, those of packages last."""
        for package in (self.main, *self.packages.values()):
            yield from package.blocks.values()


def build_graph(backbone: Any, groups: Collection[str], report: Report) -> Graph:
    """Builds the graph of a `BackboneTower`.

    Args:
        backbone: The message.
        groups: The names of the feature groups.
        report: Takes what is wrong: names that aren't there or are there twice, cycles, blocks without
            inputs. The graph is of use only where there is nothing.
    """
    return _Builder(backbone, groups, report).graph()


class _Builder:
    def __init__(self, backbone: Any, groups: Collection[str], report: Report) -> None:
        self._backbone, self._groups, self._report = backbone, groups, report
        self._names = {block.name for block in backbone.blocks}
        self._main = Package(MAIN, PATH)
        self._packages: dict[str, Package] = {}

    def graph(self) -> Graph:
        main, packages = self._main, self._packages
        for i, config in enumerate(self._backbone.packages):
            path = f"{PATH}.packages[{i}]"
            if not config.name or config.name in (*packages, MAIN):
                self._report(f"{path}.name", f"{config.name!r} is missing, taken or reserved")
            packages[config.name] = Package(config.name, path)
        self._fill(main, self._backbone)
        for config in self._backbone.packages:
            self._fill(packages[config.name], config)
        uses = {name: _used(package, packages) for name, package in packages.items()}
        for name, used in uses.items():
            for other in used:
                if other in main.edges:
                    main.add_edge(other, name)
        for package in (main, *packages.values()):
            self._sort(package)
            self._finish(package)
        self._check_packages(packages, uses)
        top = self._backbone.top_mlp if self._backbone.HasField("top_mlp") else None
        return Graph(main, packages, top)

    def _fill(self, package: Package, config: Any) -> None:
        for i, message in enumerate(config.blocks):
            path = f"{package.path}.blocks[{i}]"
            if not message.name:
                self._report(f"{path}.name", "is missing")
            elif message.name in package.blocks:
                self._report(f"{path}.name", f"there are two blocks named {message.name!r}")
            elif message.name in self._packages:
                self._report(f"{path}.name", f"{message.name!r} is the name of a package")
            package.blocks[message.name] = Block(message.name, message, path)
            package.edges.setdefault(message.name, {})
        for block in list(package.blocks.values()):
            if not block.config.inputs:
                self._report(block.path, f"block {block.name!r} has no inputs")
            elif block.layer in INPUTS:
                self._check_input_block(block)
            else:
                for j, one in enumerate(block.config.inputs):
                    self._connect(package, block, one, f"{block.path}.inputs[{j}]")
        package.concat_blocks, package.output_blocks = (
            tuple(config.concat_blocks),
            tuple(config.output_blocks),
        )

    def _check_input_block(self, block: Block) -> None:
        inputs = block.config.inputs
        if len(inputs) != 1 or inputs[0].WhichOneof("name") != "feature_group_name":
            text = f"block {block.name!r} with {block.layer} takes one input, a feature_group_name"
            self._report(f"{block.path}.inputs", text)
        elif inputs[0].feature_group_name not in self._groups:
            self._unknown_group(inputs[0].feature_group_name, f"{block.path}.inputs[0]")

    def _unknown_group(self, name: str, path: str) -> None:
        near = hint(name, self._groups)
        self._report(f"{path}.feature_group_name", f"no group of feature_groups is named {name!r}; {near}")

    def _connect(self, package: Package, block: Block, one: Any, path: str) -> None:
        """Adds the edges of one input."""
        kind = one.WhichOneof("name")
        if kind is None:
            self._report(path, "needs feature_group_name, block_name, package_name or use_package_input")
        elif kind == "use_package_input":
            if package is self._main or not one.use_package_input:
                self._report(f"{path}.{kind}", "is for blocks of a package, and true there")
        elif kind == "package_name":
            self._connect_package(package, block, one, path)
        else:
            self._connect_block(package, block, one, path)
        if kind != "package_name":
            for field in ("package_input", "package_input_fn", "reset_input"):
                if one.HasField(field):
                    self._report(f"{path}.{field}", "is for inputs with a package_name")

    def _connect_package(self, package: Package, block: Block, one: Any, path: str) -> None:
        if one.package_name not in self._packages:
            near = hint(one.package_name, self._packages)
            self._report(f"{path}.package_name", f"no package is named {one.package_name!r}; {near}")
            return
        package.add_edge(one.package_name, block.name)
        if not one.HasField("package_input"):
            return
        given = one.package_input
        if given == block.name or (given not in package.blocks and given not in self._packages):
            near = hint(given, [*package.blocks, *self._packages])
            self._report(f"{path}.package_input", f"no other block or package is named {given!r}; {near}")
            return
        package.add_edge(given, one.package_name)

    def _connect_block(self, package: Package, block: Block, one: Any, path: str) -> None:
        kind = one.WhichOneof("name")
        name = getattr(one, kind)
        if name == block.name:
            self._report(f"{path}.{kind}", f"block {block.name!r} is its own input")
        elif name in package.blocks:
            package.add_edge(name, block.name)
        elif kind == "feature_group_name":
            if name not in self._groups:
                self._unknown_group(name, path)
                return
            message = backbone_pb2.Block(name=name, input_layer=backbone_pb2.InputLayer())
            message.inputs.add(feature_group_name=name)
            package.blocks[name] = Block(name, message, path)
            package.add_edge(name, block.name)
        elif package is not self._main and name in self._names:
            self._main.add_edge(name, package.name)
        else:
            near = hint(name, [*package.blocks, *self._names])
            self._report(f"{path}.block_name", f"no block is named {name!r}; {near}")

    def _sort(self, package: Package) -> None:
        waiting = dict.fromkeys(package.edges, 0)
        for needing in package.edges.values():
            for name in needing:
                waiting[name] += 1
        ready = [name for name, count in waiting.items() if not count]
        while ready:
            name = ready.pop()
            package.order.append(name)
            for after in package.edges[name]:
                waiting[after] -= 1
                if not waiting[after]:
                    ready.append(after)
        stuck = [name for name in package.edges if name not in package.order]
        if stuck:
            cycle = _cycle(package.edges, stuck)
            path = next((package.blocks[n].path for n in cycle if n in package.blocks), package.path)
            self._report(f"{path}.inputs", f"blocks need each other: {' -> '.join(cycle)}")

    def _finish(self, package: Package) -> None:
        """Checks what the package gives; without a word of the config, what no block takes."""
        for field in ("concat_blocks", "output_blocks"):
            for i, name in enumerate(getattr(package, field)):
                if name not in package.blocks:
                    near = hint(name, package.blocks)
                    self._report(f"{package.path}.{field}[{i}]", f"no block is named {name!r}; {near}")
        if not package.concat_blocks and not package.output_blocks:
            leaves = [name for name, after in package.edges.items() if not after and name in package.blocks]
            package.concat_blocks = tuple(leaves)
        if not package.blocks:
            self._report(package.path, "has no blocks")

    def _check_packages(self, packages: Mapping[str, Package], edges: Mapping[str, dict[str, None]]) -> None:
        """No package may need itself, through whatever others."""
        left, found = dict(edges), True
        while found:
            found = False
            for name in [n for n, used in left.items() if not any(u in left for u in used)]:
                del left[name]
                found = True
        if left:
            cycle = _cycle(left, list(left))
            self._report(f"{packages[cycle[0]].path}.name", f"packages need each other: {' -> '.join(cycle)}")


def _used(package: Package, packages: Mapping[str, Package]) -> dict[str, None]:
    """The packages that blocks of a package name."""
    return {
        used: None
        for block in package.blocks.values()
        for one in block.config.inputs
        if one.WhichOneof("name") == "package_name"
        for used in (one.package_name, one.package_input)
        if used in packages and used not in package.blocks
    }


def _cycle(edges: Mapping[str, Mapping[str, None]], among: Sequence[str]) -> list[str]:
    """A way along edges that ends where it began; `among` must hold one."""
    inside = set(among)
    # What no edge within leads to, or from, is no part of a cycle.
    while True:
        led_to = {after for name in inside for after in edges[name] if after in inside}
        leading = {name for name in inside if any(after in inside for after in edges[name])}
        if led_to & leading == inside:
            break
        inside = led_to & leading
    way = [next(name for name in among if name in inside)]
    while way[-1] not in way[:-1]:
        way.append(next(after for after in edges[way[-1]] if after in inside))
    return way[way.index(way[-1]) :]
