"""The shapes of what blocks take and give, known from the config alone."""

from __future__ import annotations

from typing import TypeAlias

#: The dimensions of a tensor without the batch's: D stands for [B, D], (F, D) for [B, F, D], () for [B];
#: None is a length that isn't known before the step.
Width: TypeAlias = int | tuple[int | None, ...]
#: The width of a tensor; a list of those of several, which may hold lists; None where there is nothing
#: (a sequence without a target, a block that only adds a loss).
Widths: TypeAlias = Width | list["Widths"] | None


class ShapeError(ValueError):
    """Inputs don't fit a layer; the text says what it needs and what was found."""


def described(widths: Widths) -> str:
    """Widths in words, for messages."""
    if widths is None:
        return "nothing"
    if isinstance(widths, list):
        return f"a list of {len(widths)} ({', '.join(described(each) for each in widths)})"
    return f"[{', '.join(['batch', *('?' if d is None else str(d) for d in dimensions(widths))])}]"


def dimensions(width: Width) -> tuple[int | None, ...]:
    """A width as a tuple: D and (D,) are the same."""
    return (width,) if isinstance(width, int) else width


def columns(inputs: Widths, needs: str = "one input [batch, columns]") -> int:
    """D of the one input [B, D] of a layer over columns.

    Args:
        inputs: What it gets.
        needs: What it needs, in words.

    Raises:
        ShapeError: It gets something else.
    """
    if isinstance(inputs, int):
        return inputs
    raise misfit(needs, inputs)


def features(inputs: Widths, needs: str = "") -> list[int]:
    """The widths of the features of a list of [B, D], or of [B, F, D].

    Raises:
        ShapeError: It gets something else, or no feature.
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
    """F and D of features of one width: of a list of F tensors [B, D], or of [B, F, D].

    Raises:
        ShapeError: It gets something else, or features of different widths.
    """
    needs = needs or "a list of features of one width, or [batch, features, width]"
    widths = features(inputs, needs)
    if len(set(widths)) > 1:
        raise misfit(needs, inputs)
    return len(widths), widths[0]


def sequence(inputs: Widths, needs: str = "") -> tuple[int, int | None]:
    """The widths of a sequence's elements and of its target, of what `output_seq_and_normal_feature` gives.

    That is a list of three: the elements [B, T, D], padded with zeros; the lengths [B]; and the target's
    features [B, D'], or nothing.

    Returns:
        D, and D' or None.

    Raises:
        ShapeError: It gets something else.
    """
    needs = needs or "the sequence of an input_layer with output_seq_and_normal_feature: true"
    if isinstance(inputs, list) and len(inputs) == 3:
        elements, lengths, target = inputs
        if isinstance(elements, tuple) and len(elements) == 2 and lengths == ():
            width = elements[1]
            if width is not None and (target is None or isinstance(target, int)):
                return width, target
    raise misfit(needs, inputs)


def misfit(needs: str, inputs: Widths) -> ShapeError:
    """The error of inputs that don't fit."""
    return ShapeError(f"needs {needs}, found {described(inputs)}")
