"""The functions of `tf` that a config's Python text may call, and their parameters.

`hvdrec.config.backbone.shapes` implements them on shapes, `hvdrec.layers.expressions` on tensors.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

REQUIRED: Final = object()


class Function(NamedTuple):
    """A function of `tf`.

    Attributes:
        kind: How it changes shapes.
        parameters: The names of the parameters in order, each with its default.
    """

    kind: str
    parameters: tuple[tuple[str, Any], ...]


def _of(kind: str, *names: str, **defaults: Any) -> Function:
    return Function(kind, (*((n, REQUIRED) for n in names), *defaults.items()))


_UNARY = _of("same", "x")
_BINARY = _of("broadcast", "x", "y")
_REDUCE = _of("reduce", "input_tensor", axis=None, keepdims=False)

_BOTH: dict[str, Function] = {
    **dict.fromkeys(
        ("abs", "exp", "sqrt", "square", "sigmoid", "tanh", "sign", "negative", "floor", "round"), _UNARY
    ),
    **dict.fromkeys(
        ("add", "subtract", "multiply", "divide", "maximum", "minimum", "pow", "squared_difference"), _BINARY
    ),
    **dict.fromkeys(("reduce_sum", "reduce_mean", "reduce_max", "reduce_min", "reduce_prod"), _REDUCE),
    "add_n": _of("add_n", "inputs"),
}
_MATH: dict[str, Function] = {
    **dict.fromkeys(("log", "log1p", "rsqrt", "reciprocal", "softplus", "ceil", "sin", "cos"), _UNARY),
    "reduce_logsumexp": _REDUCE,
    "l2_normalize": _of("same", "x", axis=None),
}
_NN: dict[str, Function] = {
    **dict.fromkeys(
        ("relu", "relu6", "elu", "selu", "sigmoid", "tanh", "softplus", "softsign", "swish", "silu"), _UNARY
    ),
    "gelu": _of("same", "x", approximate=False),
    "leaky_relu": _of("same", "x", alpha=0.2),
    "softmax": _of("same", "x", axis=-1),
    "log_softmax": _of("same", "x", axis=-1),
    "l2_normalize": _of("same", "x", axis=None),
}
_PLAIN: dict[str, Function] = {
    **dict.fromkeys(("identity", "stop_gradient", "zeros_like", "ones_like"), _UNARY),
    "cast": _of("same", "x", "dtype"),
    "clip_by_value": _of("same", "x", "clip_value_min", "clip_value_max"),
    "concat": _of("concat", "values", "axis"),
    "stack": _of("stack", "values", axis=0),
    "unstack": _of("unstack", "value", num=None, axis=0),
    "split": _of("split", "value", "num_or_size_splits", axis=0),
    "expand_dims": _of("expand_dims", "input", "axis"),
    "squeeze": _of("squeeze", "input", axis=None),
    "reshape": _of("reshape", "tensor", "shape"),
    "transpose": _of("transpose", "x", perm=None),
    "tile": _of("tile", "input", "multiples"),
    "matmul": _of("matmul", "a", "b", transpose_a=False, transpose_b=False),
}

#: All functions by the name used in a config, such as ``tf.math.log``.
FUNCTIONS: dict[str, Function] = {
    **{f"tf.{name}": function for name, function in (*_PLAIN.items(), *_BOTH.items())},
    **{f"tf.math.{name}": function for name, function in (*_BOTH.items(), *_MATH.items())},
    **{f"tf.nn.{name}": function for name, function in _NN.items()},
    # Functions of TensorFlow 1, which is EasyRec's `tf`.
    **{f"tf.{name}": _MATH[name] for name in ("log", "log1p", "rsqrt", "reduce_logsumexp", "sin", "cos")},
    "tf.div": _BINARY,
    "tf.nn.l2_normalize": _NN["l2_normalize"],
    "tf.linalg.matmul": _PLAIN["matmul"],
}
#: Other names for parameters.
ALIASES = {"keep_dims": "keepdims", "reduction_indices": "axis", "dim": "axis", "squeeze_dims": "axis"}
#: Other names for the first parameter.
FIRST = ("x", "input", "input_tensor", "tensor", "value", "values", "inputs", "features", "logits", "a")
#: Types, for ``tf.cast``.
TYPES = {"tf.float32": "float32", "tf.int32": "int32"}
#: Python's built-in functions.
PYTHON = ("list", "tuple", "len", "range", "reversed")
