"""Keras layers that change the shape of their input."""

from __future__ import annotations

import math
from collections.abc import Iterator

from hvdrec.config.layers.shapes import Widths, columns, dimensions, misfit, width
from hvdrec.config.layers.spec import LayerConfig, LayerSpec, Parameter
from hvdrec.config.ranges import AT_LEAST_1, Range


def size(inputs: Widths) -> int:
    """The number of elements per row of a tensor.

    Raises:
        ShapeError: The input isn't one tensor, or a dimension is unknown.
    """
    if inputs is not None and not isinstance(inputs, list):
        known = [each for each in dimensions(inputs) if each is not None]
        if len(known) == len(dimensions(inputs)):
            return math.prod(known)
    raise misfit("one tensor with known dimensions", inputs)


def _reshape(config: LayerConfig, inputs: Widths) -> Widths:
    return width(target_shape(config.target_shape, inputs))


def target_shape(target: tuple[int, ...], inputs: Widths) -> tuple[int, ...]:
    """`target_shape` with its -1 replaced by a number.

    Raises:
        ShapeError: The number of elements doesn't fit it.
    """
    total, known = size(inputs), math.prod(each for each in target if each > 0)
    if total % known or (-1 not in target and total != known):
        raise misfit(f"as many numbers per row as target_shape ({', '.join(map(str, target))}) has", inputs)
    return tuple(total // known if each == -1 else each for each in target)


def _check_target(config: LayerConfig) -> Iterator[tuple[str, str]]:
    if 0 in config.target_shape or config.target_shape.count(-1) > 1:
        yield "target_shape", "must be positive numbers; one of them can be -1"


def _check_dims(config: LayerConfig) -> Iterator[tuple[str, str]]:
    if sorted(config.dims) != list(range(1, len(config.dims) + 1)):
        yield "dims", f"must be a permutation of the numbers from 1 to {len(config.dims)}"


def _permute(config: LayerConfig, inputs: Widths) -> Widths:
    if inputs is not None and not isinstance(inputs, list):
        before = dimensions(inputs)
        if len(before) == len(config.dims):
            return width(tuple(before[each - 1] for each in config.dims))
    raise misfit(f"one tensor of {len(config.dims)} dimensions besides the batch", inputs)


def _pooled(config: LayerConfig, inputs: Widths) -> Widths:
    if isinstance(inputs, tuple) and len(inputs) == 2 and inputs[1] is not None:
        return inputs[1]
    raise misfit("one tensor [batch, length, columns]", inputs)


FLATTEN = LayerSpec(
    "Flatten",
    None,
    outputs=lambda config, inputs: size(inputs),
    formula="[B, ...] -> [B, columns]: all numbers of a row in one dimension.",
)
RESHAPE = LayerSpec(
    "Reshape",
    None,
    (Parameter("target_shape", int, required=True, repeated=True, allowed=Range(-1)),),
    check=_check_target,
    outputs=_reshape,
    formula="[B, ...] -> [B, target_shape]: the numbers of a row in another shape; -1 is inferred.",
)
PERMUTE = LayerSpec(
    "Permute",
    None,
    (Parameter("dims", int, required=True, repeated=True, allowed=AT_LEAST_1),),
    check=_check_dims,
    outputs=_permute,
    formula="[B, ...] -> the dimensions after the batch, numbered from 1, in the order `dims`.",
)
REPEAT_VECTOR = LayerSpec(
    "RepeatVector",
    None,
    (Parameter("n", int, required=True, allowed=AT_LEAST_1),),
    outputs=lambda config, inputs: (config.n, columns(inputs)),
    formula="[B, D] -> [B, n, D]: the row repeated n times.",
)
POOLINGS = tuple(
    LayerSpec(
        class_name,
        None,
        outputs=_pooled,
        formula=f"[B, T, D] -> [B, D]: the {what} over T, including padding.",
    )
    for class_name, what in (("GlobalAveragePooling1D", "mean"), ("GlobalMaxPooling1D", "maximum"))
)
SHAPING = (FLATTEN, RESHAPE, PERMUTE, REPEAT_VECTOR, *POOLINGS)
