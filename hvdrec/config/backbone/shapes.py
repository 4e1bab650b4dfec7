"""Computes shapes for the Python text of a config."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeAlias

from hvdrec.config.backbone.functions import FUNCTIONS
from hvdrec.config.backbone.text import TextError
from hvdrec.config.layers.shapes import TEXT, Text, Widths, dimensions

#: The batch dimension.
BATCH: Final = "batch"
Dimension: TypeAlias = int | str | None


@dataclasses.dataclass(frozen=True)
class Shape:
    """A tensor represented by its shape.

    Attributes:
        dims: Its dimensions: `BATCH`, a number, or None if unknown before the step.
    """

    dims: tuple[Dimension, ...]

    def __str__(self) -> str:
        return f"[{', '.join('?' if d is None else str(d) for d in self.dims)}]"


@dataclasses.dataclass(frozen=True, repr=False)
class TextShape:
    """A tensor of texts, [B]; no operation of a config's Python text accepts it."""

    def __repr__(self) -> str:
        return "texts [batch]"


def as_shapes(widths: Widths) -> Any:
    """Converts widths to shapes, with the same nesting of lists."""
    if isinstance(widths, list):
        return [as_shapes(each) for each in widths]
    if isinstance(widths, Text):
        return TextShape()
    return None if widths is None else Shape((BATCH, *dimensions(widths)))


def as_widths(value: Any) -> Widths:
    """Converts shapes to widths.

    Raises:
        TextError: A value isn't a tensor with one row per row of the batch.
    """
    if isinstance(value, list):
        return [as_widths(each) for each in value]
    if value is None:
        return None
    if isinstance(value, TextShape):
        return TEXT
    if not isinstance(value, Shape):
        raise TextError(f"returns {value!r}, but a tensor is needed")
    rest = value.dims[1:]
    if value.dims[:1] != (BATCH,) or BATCH in rest:
        raise TextError(f"returns {value}; its first dimension is not the batch dimension")
    known = tuple(d for d in rest if not isinstance(d, str))
    return known[0] if len(known) == 1 and known[0] is not None else known


class ShapeOperations:
    """`Operations` on `Shape`."""

    def is_tensor(self, value: Any) -> bool:
        """Whether a value is a `Shape`."""
        return isinstance(value, Shape)

    def call(self, name: str, arguments: Mapping[str, Any]) -> Any:
        """The shape of a function's result."""
        first = next(iter(arguments.values()))
        return _RULES[FUNCTIONS[name].kind](first, arguments)

    def binary(self, sign: str, left: Any, right: Any) -> Shape:
        """The shape of a binary operation."""
        if sign == "@":
            return _matmul(left, {"b": right, "transpose_a": False, "transpose_b": False})
        if sign in ("//", "%"):
            raise TextError(f"{sign!r} is not supported on tensors")
        return _broadcast(left, {"y": right})

    def negative(self, value: Any) -> Shape:
        """The same shape."""
        return _tensor(value)

    def item(self, value: Any, index: tuple[Any, ...]) -> Shape:
        """The shape of an index or slice."""
        dims = list(_tensor(value).dims)
        found: list[Dimension] = []
        taken = sum(part is not None and part is not Ellipsis for part in index)
        if sum(part is Ellipsis for part in index) > 1:
            raise TextError("an index can have at most one ...")
        if taken > len(dims):
            raise TextError(f"{value} has {len(dims)} dimensions, but the index has {taken}")
        for part in index:
            if part is None:
                found.append(1)
            elif part is Ellipsis:
                count = len(dims) - taken
                found += dims[:count]
                del dims[:count]
            else:
                taken -= 1
                found += _sliced(dims.pop(0), part)
        return Shape((*found, *dims))


def _tensor(value: Any) -> Shape:
    if isinstance(value, Shape):
        return value
    # Like TensorFlow, which stacks a list where it expects a tensor.
    if isinstance(value, list) and value:
        return _stack(value, {"axis": 0})
    raise TextError(
        f"needs a tensor of numbers, found {value!r}" if not isinstance(value, list) else "the list is empty"
    )


def _tensors(value: Any) -> list[Shape]:
    if not isinstance(value, list) or not value:
        raise TextError(f"needs a list of tensors, found {'an empty list' if value == [] else value}")
    return [_tensor(each) for each in value]


def _axis(axis: Any, rank: int) -> int:
    if type(axis) is not int or not -rank <= axis < rank:
        raise TextError(f"axis {axis!r} is not a dimension of a tensor with {rank}")
    return axis % rank


def _alike(one: Dimension, other: Dimension) -> bool:
    return one is None or other is None or one == other


def _one(dims: Sequence[Dimension]) -> Dimension:
    """The known dimension among equal ones."""
    return next((d for d in dims if d is not None), None)


def _sliced(size: Dimension, part: Any) -> list[Dimension]:
    if isinstance(part, slice):
        if part.step == 0:
            raise TextError("a slice's step can't be 0")
        if part == slice(None):
            return [size]
        if size == BATCH:
            raise TextError("the batch dimension can't be sliced")
        return [len(range(size)[part]) if isinstance(size, int) else None]
    if size == BATCH:
        raise TextError("the batch dimension can't be sliced")
    if isinstance(size, int) and not -size <= part < size:
        raise TextError(f"index {part} is out of range for a dimension of {size}")
    return []


def _same(first: Any, arguments: Mapping[str, Any]) -> Shape:
    value = _tensor(first)
    if "axis" in arguments and arguments["axis"] is not None:
        axes = arguments["axis"] if isinstance(arguments["axis"], list) else [arguments["axis"]]
        if 0 in [_axis(axis, len(value.dims)) for axis in axes]:
            raise TextError("must not be taken over the batch")
    return value


def _broadcast(first: Any, arguments: Mapping[str, Any]) -> Shape:
    sides = [first, arguments["y"]]
    shapes = [Shape(()) if isinstance(s, int | float) else _tensor(s) for s in sides]
    rank = max(len(s.dims) for s in shapes)
    padded = [(*[1] * (rank - len(s.dims)), *s.dims) for s in shapes]
    found: list[Dimension] = []
    for one, other in zip(*padded, strict=True):
        if one == 1 or other == 1:
            found.append(other if one == 1 else one)
        elif _alike(one, other):
            found.append(_one([one, other]))
        else:
            raise TextError(f"the shapes {shapes[0]} and {shapes[1]} don't match")
    return Shape(tuple(found))


def _reduce(first: Any, arguments: Mapping[str, Any]) -> Shape:
    value, axis = _tensor(first), arguments["axis"]
    rank = len(value.dims)
    axes = (
        range(rank)
        if axis is None
        else [_axis(a, rank) for a in (axis if isinstance(axis, list) else [axis])]
    )
    if BATCH in (value.dims[a] for a in axes):
        raise TextError("must not be computed over the batch dimension; give an axis")
    kept = [1 if i in axes else d for i, d in enumerate(value.dims) if i not in axes or arguments["keepdims"]]
    return Shape(tuple(kept))


def _concat(first: Any, arguments: Mapping[str, Any]) -> Shape:
    return concatenated(_tensors(first), arguments["axis"])


def concatenated(shapes: Sequence[Shape], axis: int) -> Shape:
    """The shape of concatenated tensors.

    Raises:
        TextError: They differ in another dimension, or are concatenated along the batch.
    """
    rank = len(shapes[0].dims)
    if any(len(s.dims) != rank for s in shapes):
        raise TextError(f"tensors of different ranks can't be concatenated: {_listed(shapes)}")
    place = _axis(axis, rank)
    dims: list[Dimension] = []
    for i, sizes in enumerate(zip(*(s.dims for s in shapes), strict=True)):
        if i == place:
            if BATCH in sizes:
                raise TextError("tensors can't be concatenated along the batch dimension")
            known = [d for d in sizes if isinstance(d, int)]
            dims.append(sum(known) if len(known) == len(sizes) else None)
        elif any(not _alike(sizes[0], size) for size in sizes):
            raise TextError(f"tensors can't be concatenated along axis {axis}: {_listed(shapes)}")
        else:
            dims.append(_one(sizes))
    return Shape(tuple(dims))


def _listed(shapes: Sequence[Shape]) -> str:
    return ", ".join(map(str, shapes[:8])) + ("" if len(shapes) <= 8 else f" and {len(shapes) - 8} more")


def _equal(shapes: Sequence[Shape]) -> list[Dimension]:
    first = shapes[0].dims
    for shape in shapes:
        alike = len(shape.dims) == len(first) and all(map(_alike, shape.dims, first))
        if not alike:
            raise TextError(f"the tensors must have the same shape: {_listed(shapes)}")
    return [_one(sizes) for sizes in zip(*(s.dims for s in shapes), strict=True)]


def _add_n(first: Any, arguments: Mapping[str, Any]) -> Shape:
    return Shape(tuple(_equal(_tensors(first))))


def _stack(first: Any, arguments: Mapping[str, Any]) -> Shape:
    shapes = _tensors(first)
    dims = _equal(shapes)
    dims.insert(_axis(arguments["axis"], len(dims) + 1), len(shapes))
    return Shape(tuple(dims))


def _unstack(first: Any, arguments: Mapping[str, Any]) -> list[Shape]:
    value = _tensor(first)
    axis = _axis(arguments["axis"], len(value.dims))
    size = value.dims[axis]
    if not isinstance(size, int) or arguments["num"] not in (None, size):
        raise TextError(
            f"{value} can't be unstacked into {arguments['num'] or 'a known number of'} "
            f"parts along axis {axis}"
        )
    return [Shape((*value.dims[:axis], *value.dims[axis + 1 :]))] * size


def _split(first: Any, arguments: Mapping[str, Any]) -> list[Shape]:
    value, parts = _tensor(first), arguments["num_or_size_splits"]
    axis = _axis(arguments["axis"], len(value.dims))
    size = value.dims[axis]
    if not isinstance(size, int):
        raise TextError(f"{value} can't be split along axis {axis}")
    sizes = parts
    if type(parts) is int:
        if not 0 < parts <= size or size % parts:
            raise TextError(f"a dimension of {size} can't be split into {parts} equal parts")
        sizes = [size // parts] * parts
    if not isinstance(sizes, list) or not all(type(s) is int and s >= 0 for s in sizes) or sum(sizes) != size:
        raise TextError(f"the sizes {parts} don't add up to {size}")
    return [Shape((*value.dims[:axis], s, *value.dims[axis + 1 :])) for s in sizes]


def _expand_dims(first: Any, arguments: Mapping[str, Any]) -> Shape:
    dims = list(_tensor(first).dims)
    dims.insert(_axis(arguments["axis"], len(dims) + 1), 1)
    return Shape(tuple(dims))


def _squeeze(first: Any, arguments: Mapping[str, Any]) -> Shape:
    value, axis = _tensor(first), arguments["axis"]
    if axis is None:
        if None in value.dims:
            raise TextError(f"{value} has unknown dimensions; give an axis")
        return Shape(tuple(d for d in value.dims if d != 1))
    axes = [_axis(a, len(value.dims)) for a in (axis if isinstance(axis, list) else [axis])]
    wrong = [value.dims[a] for a in axes if value.dims[a] != 1]
    if wrong:
        raise TextError(f"a dimension of {wrong[0] or 'unknown size'} can't be squeezed out of {value}")
    return Shape(tuple(d for i, d in enumerate(value.dims) if i not in axes))


def _reshape(first: Any, arguments: Mapping[str, Any]) -> Shape:
    value, shape = _tensor(first), arguments["shape"]
    if not isinstance(shape, list) or not all(type(s) is int and s >= -1 for s in shape):
        raise TextError("shape must be a list of whole numbers")
    rest = [d for d in value.dims if d != BATCH]
    if shape[:1] != [-1] or -1 in shape[1:] or not all(isinstance(d, int) for d in rest):
        raise TextError("shape must begin with -1, the batch, and give all other dimensions")
    size = math.prod(d for d in rest if isinstance(d, int))
    if BATCH not in value.dims or math.prod(shape[1:]) != size:
        raise TextError(f"{value} has {size} numbers per row, not {math.prod(shape[1:])}")
    return Shape((BATCH, *shape[1:]))


def _transpose(first: Any, arguments: Mapping[str, Any]) -> Shape:
    value, perm = _tensor(first), arguments["perm"]
    rank = len(value.dims)
    perm = list(range(rank))[::-1] if perm is None else perm
    if (
        not isinstance(perm, list)
        or not all(type(p) is int for p in perm)
        or sorted(perm) != list(range(rank))
    ):
        raise TextError(f"perm must contain each number from 0 to {rank - 1} once")
    return Shape(tuple(value.dims[p] for p in perm))


def _tile(first: Any, arguments: Mapping[str, Any]) -> Shape:
    value, times = _tensor(first), arguments["multiples"]
    if not isinstance(times, list) or len(times) != len(value.dims) or not all(type(t) is int for t in times):
        raise TextError(f"multiples must be a list of {len(value.dims)} whole numbers")
    dims: list[Dimension] = []
    for size, count in zip(value.dims, times, strict=True):
        if (size == BATCH and count != 1) or not 1 <= count <= 10_000:
            raise TextError(f"can't repeat a dimension of {size} {count} times")
        dims.append(size * count if isinstance(size, int) else size)
    return Shape(tuple(dims))


def _matmul(first: Any, arguments: Mapping[str, Any]) -> Shape:
    left, right = list(_tensor(first).dims), list(_tensor(arguments["b"]).dims)
    if len(left) != len(right) or len(left) < 3 or not all(map(_alike, left[:-2], right[:-2])):
        raise TextError(
            f"needs two tensors [batch, n, m] and [batch, m, k], found {Shape(tuple(left))} and "
            f"{Shape(tuple(right))}"
        )
    for dims, turned in ((left, arguments["transpose_a"]), (right, arguments["transpose_b"])):
        if turned:
            dims[-2:] = dims[:-3:-1]
    if not _alike(left[-1], right[-2]):
        raise TextError(f"{Shape(tuple(left))} and {Shape(tuple(right))} can't be multiplied")
    return Shape((*left[:-1], right[-1]))


_RULES: dict[str, Callable[[Any, Mapping[str, Any]], Any]] = {
    "same": _same,
    "broadcast": _broadcast,
    "reduce": _reduce,
    "add_n": _add_n,
    "concat": _concat,
    "stack": _stack,
    "unstack": _unstack,
    "split": _split,
    "expand_dims": _expand_dims,
    "squeeze": _squeeze,
    "reshape": _reshape,
    "transpose": _transpose,
    "tile": _tile,
    "matmul": _matmul,
}
