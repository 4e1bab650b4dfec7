"""ExprFeature: a number computed from several inputs."""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

from hvdrec.features.packer_spec import FeatureSpec
from hvdrec.features.serving.field_tensors import FieldTensors
from hvdrec.features.serving.raw_feature import FUNCTIONS

_ARITHMETIC: dict[str, Callable[[tf.Tensor, tf.Tensor], tf.Tensor]] = {
    "add": tf.add,
    "subtract": tf.subtract,
    "multiply": tf.multiply,
    "divide": tf.divide,
}
_COMPARISONS: dict[str, Callable[[tf.Tensor, tf.Tensor], tf.Tensor]] = {
    "greater": tf.greater,
    "greater_equal": tf.greater_equal,
    "less": tf.less,
    "less_equal": tf.less_equal,
    "equal": tf.equal,
}
#: The value of one side that decides the result regardless of the other.
_DECIDING = {"and": 0.0, "or": 1.0}


class ExpressionNumber(tf.Module):
    """As csrc/kernels/features/expr_feature.cc: undefined values are NaN, and refused at the end."""

    def __init__(self, spec: FeatureSpec) -> None:
        """Takes the feature's spec."""
        super().__init__()
        self._inputs = tuple(spec.inputs)
        self._steps = tuple(spec.steps)
        self._text = spec.expression

    def __call__(self, cells: FieldTensors) -> tf.Tensor:
        """The number of each row: float32 [B, 1]."""
        stack: list[tf.Tensor] = []
        for step in self._steps:
            if step.name == "input":
                stack.append(_number(cells, self._inputs[int(step.value)]))
            elif step.name == "number":
                stack.append(tf.fill([cells.rows], tf.constant(step.value, tf.float64)))
            elif step.name == "negate" or step.name in FUNCTIONS:
                x = stack.pop()
                result = -x if step.name == "negate" else FUNCTIONS[step.name](x)
                stack.append(_defined(result, x))
            else:
                right, left = stack.pop(), stack.pop()
                stack.append(_binary(step.name, left, right))
        number = tf.cast(stack.pop(), tf.float32)
        wrong = f"the expression {self._text} is not a finite number"
        return tf.debugging.check_numerics(number, wrong)[:, tf.newaxis]


def _number(cells: FieldTensors, field: int) -> tf.Tensor:
    """A field's numbers, rounded to its type: float64 [B]."""
    number = cells.number(field)
    if cells.field(field).dtype == "FLOAT":
        number = tf.cast(tf.cast(number, tf.float32), tf.float64)
    return _defined(number)


def _binary(name: str, left: tf.Tensor, right: tf.Tensor) -> tf.Tensor:
    if name in _ARITHMETIC:
        return _defined(_ARITHMETIC[name](left, right), left, right)
    if name in _COMPARISONS:
        return _defined(tf.cast(_COMPARISONS[name](left, right), tf.float64), left, right)
    decides = tf.constant(_DECIDING[name], tf.float64)
    either = tf.equal(left, decides) | tf.equal(right, decides)
    return tf.where(either, decides, _defined(1.0 - decides + tf.zeros_like(left), left, right))


def _defined(result: tf.Tensor, *operands: tf.Tensor) -> tf.Tensor:
    """NaN where the result is not finite, or where an operand is NaN."""
    defined = tf.math.is_finite(result)
    for operand in operands:
        defined &= ~tf.math.is_nan(operand)
    return tf.where(defined, result, tf.constant(float("nan"), tf.float64))
