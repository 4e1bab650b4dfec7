"""Keras layers that merge several tensors into one."""

from __future__ import annotations

from collections.abc import Iterator

from hvdrec.config.layers.shapes import Width, Widths, dimensions, misfit, width
from hvdrec.config.layers.spec import LayerConfig, LayerSpec, Parameter


def one_shape(inputs: Widths) -> Width:
    """The width of tensors that must all have the same width.

    Raises:
        ShapeError: The widths differ, or there are fewer than two tensors.
    """
    if isinstance(inputs, list) and len(inputs) > 1:
        first = inputs[0]
        if first is not None and not isinstance(first, list) and all(each == first for each in inputs):
            return first
    raise misfit("a list of at least two tensors of the same shape", inputs)


def _two(config: LayerConfig, inputs: Widths) -> Widths:
    if isinstance(inputs, list) and len(inputs) != 2:
        raise misfit("a list of two tensors of the same shape", inputs)
    return one_shape(inputs)


def _merge(class_name: str, formula: str) -> LayerSpec:
    return LayerSpec(
        class_name,
        None,
        outputs=_two if class_name == "Subtract" else lambda config, inputs: one_shape(inputs),
        formula=f"a list of tensors of the same shape -> a tensor of that shape: {formula}.",
    )


def place(axis: int, rank: int) -> int | None:
    """The index of Keras's `axis` among the dimensions without the batch; None if it isn't one of them.

    Args:
        axis: The axis, where 0 is the batch and -1 the last.
        rank: The number of dimensions without the batch.
    """
    at = axis + rank if axis < 0 else axis - 1
    return at if 0 <= at < rank else None


def shapes_and_place(axis: int, inputs: Widths) -> tuple[list[tuple[int | None, ...]], int]:
    """The dimensions of tensors that are equal except along one axis, and the index of that axis.

    Raises:
        ShapeError: They differ elsewhere, there are fewer than two, or the axis doesn't exist.
    """
    if isinstance(inputs, list) and len(inputs) > 1:
        shapes = [dimensions(e) for e in inputs if e is not None and not isinstance(e, list)]
        at = place(axis, len(shapes[0])) if shapes else None
        if at is not None and len(shapes) == len(inputs):
            others = {(len(shape), shape[:at], shape[at + 1 :]) for shape in shapes}
            if len(others) == 1:
                return shapes, at
    raise misfit(f"a list of at least two tensors with equal shapes except along axis {axis}", inputs)


def _concatenate(config: LayerConfig, inputs: Widths) -> Widths:
    shapes, at = shapes_and_place(config.axis, inputs)
    lengths = [shape[at] for shape in shapes]
    known = [length for length in lengths if length is not None]
    joined = sum(known) if len(known) == len(lengths) else None
    return width((*shapes[0][:at], joined, *shapes[0][at + 1 :]))


def _check_axes(config: LayerConfig) -> Iterator[tuple[str, str]]:
    if config.axes == 0:
        yield "axes", "must not be 0, the batch axis"


def _dot(config: LayerConfig, inputs: Widths) -> Widths:
    needs = (
        "a list of two tensors [batch, columns] or [batch, length, columns], equally long on "
        f"axis {config.axes}"
    )
    if isinstance(inputs, list) and len(inputs) == 2:
        shapes = [dimensions(e) for e in inputs if e is not None and not isinstance(e, list)]
        ranks = {len(shape) for shape in shapes}
        if len(shapes) == 2 and len(ranks) == 1 and ranks <= {1, 2}:
            at = place(config.axes, ranks.pop())
            if at is not None and shapes[0][at] == shapes[1][at]:
                left = [*shapes[0][:at], *shapes[0][at + 1 :], *shapes[1][:at], *shapes[1][at + 1 :]]
                return width(tuple(left) or (1,))
    raise misfit(needs, inputs)


MERGES = (
    _merge("Add", "their sum"),
    _merge("Subtract", "the first minus the second"),
    _merge("Multiply", "their element-wise product"),
    _merge("Average", "their mean"),
    _merge("Maximum", "their element-wise maximum"),
    _merge("Minimum", "their element-wise minimum"),
)
CONCATENATE = LayerSpec(
    "Concatenate",
    None,
    (Parameter("axis", int, default=-1),),
    outputs=_concatenate,
    formula="a list of tensors with equal shapes except along `axis`, where 0 is the "
    "batch axis -> the tensors concatenated along it.",
)
DOT = LayerSpec(
    "Dot",
    None,
    (Parameter("axes", int, required=True), Parameter("normalize", bool, default=False)),
    check=_check_axes,
    outputs=_dot,
    formula="x and y [B, D] -> their dot product [B, 1]; x [B, T, D] and y [B, S, D] -> [B, T, S] with "
    "`axes: 2`, the axis that is summed over; `normalize` first divides by the norms along it.",
)
