"""The input and output shapes of blocks, computed from the config alone."""

from __future__ import annotations

import enum
from typing import Final, TypeAlias


class Text(enum.Enum):
    """The type of `TEXT`."""

    TEXT = "text"


#: The width of a tensor of texts, string [B].
TEXT: Final = Text.TEXT
#: The dimensions of a tensor without the batch: D stands for [B, D], (F, D) for [B, F, D], () for [B];
#: None is a length that is unknown before the step.
Width: TypeAlias = int | tuple[int | None, ...] | Text
#: The width of a tensor; a list of widths for several, which can be nested; None where there is nothing
#: (a sequence without a target, a block that only adds a loss).
Widths: TypeAlias = Width | list["Widths"] | None


class ShapeError(ValueError):
    """Inputs don't fit a layer; the message gives what it needs and what was found."""


def described(widths: Widths) -> str:
    """Describes widths, for messages."""
    if widths is None:
        return "nothing"
    if isinstance(widths, list):
        return f"a list of {len(widths)} ({', '.join(described(each) for each in widths)})"
    if widths is TEXT:
        return "texts [batch]"
    return f"[{', '.join(['batch', *('?' if d is None else str(d) for d in dimensions(widths))])}]"


def dimensions(width: Width) -> tuple[int | None, ...]:
    """A width as a tuple; D and (D,) are the same.

    Raises:
        ShapeError: It belongs to texts.
    """
    if isinstance(width, Text):
        raise misfit("numbers", width)
    return (width,) if isinstance(width, int) else width


def width(dims: tuple[int | None, ...]) -> Width:
    """Dimensions as a width; the inverse of `dimensions`."""
    return dims[0] if len(dims) == 1 and dims[0] is not None else dims


def last_axis(
    inputs: Widths, needs: str = "one input [batch, ..., columns]"
) -> tuple[tuple[int | None, ...], int]:
    """The dimensions of a tensor between the batch and the last one, and the last one.

    Raises:
        ShapeError: The input isn't one tensor, or its last dimension is unknown.
    """
    if inputs is not None and not isinstance(inputs, list):
        *before, last = dimensions(inputs) or (None,)
        if last is not None:
            return tuple(before), last
    raise misfit(needs, inputs)


def columns(inputs: Widths, needs: str = "one input [batch, columns]") -> int:
    """D of the single input [B, D] of a layer over columns.

    Args:
        inputs: The layer's inputs.
        needs: A description of what the layer needs.

    Raises:
        ShapeError: The inputs have other shapes.
    """
    if isinstance(inputs, int):
        return inputs
    raise misfit(needs, inputs)


def features(inputs: Widths, needs: str = "") -> list[int]:
    """The widths of the features of a list of [B, D], or of [B, F, D].

    Raises:
        ShapeError: The inputs have other shapes, or there is no feature.
    """
    needs = needs or "a list of features, each [batch, width], or [batch, features, width]"
    found: list[Widths] = []
    if isinstance(inputs, list):
        found = inputs
    elif isinstance(inputs, tuple) and len(inputs) == 2 and inputs[0] is not None:
        found = [inputs[1]] * inputs[0]
    if not found or not all(isinstance(each, int) for each in found):
        raise misfit(needs, inputs)
    return [each for each in found if isinstance(each, int)]


def embeddings(inputs: Widths, needs: str = "") -> tuple[int, int]:
    """F and D of features of the same width: of a list of F tensors [B, D], or of [B, F, D].

    Raises:
        ShapeError: The inputs have other shapes, or the features differ in width.
    """
    needs = needs or "a list of features of the same width, or [batch, features, width]"
    widths = features(inputs, needs)
    if len(set(widths)) > 1:
        raise misfit(needs, inputs)
    return len(widths), widths[0]


def has_texts(inputs: Widths) -> bool:
    """Whether any of the inputs is text."""
    return any(map(has_texts, inputs)) if isinstance(inputs, list) else inputs is TEXT


def text_list(inputs: Widths) -> list[Widths]:
    """Requires a text or a list of texts; returns them as a list.

    Raises:
        ShapeError: The inputs are something else.
    """
    found: list[Widths] = inputs if isinstance(inputs, list) else [inputs]
    if not found or any(each is not TEXT for each in found):
        raise misfit("a text or a list of texts, from a raw_input over PassThroughFeatures", inputs)
    return found


def text_pair(inputs: Widths) -> None:
    """Requires a list of two texts.

    Raises:
        ShapeError: The inputs are something else.
    """
    if inputs != [TEXT, TEXT]:
        raise misfit("a list of two texts, from a raw_input over two PassThroughFeatures", inputs)


def sequence(inputs: Widths, needs: str = "") -> tuple[int, int | None]:
    """The widths of a sequence's elements and target in the output of `output_seq_and_normal_feature`.

    That output is a list of three: the elements [B, T, D], padded with zeros; the lengths [B]; and the
    target's features [B, D'], or nothing. A list of the first two is a sequence without a target.

    Returns:
        D, and D' or None.

    Raises:
        ShapeError: The inputs have other shapes.
    """
    needs = needs or "the sequence of an input_layer with output_seq_and_normal_feature: true"
    if isinstance(inputs, list) and len(inputs) in (2, 3):
        elements, lengths, target = [*inputs, None][:3]
        if isinstance(elements, tuple) and len(elements) == 2 and lengths == ():
            width = elements[1]
            if width is not None and (target is None or isinstance(target, int)):
                return width, target
    raise misfit(needs, inputs)


def misfit(needs: str, inputs: Widths) -> ShapeError:
    """The error for inputs that don't fit."""
    return ShapeError(f"needs {needs}, found {described(inputs)}")
