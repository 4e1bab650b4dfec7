"""Python expressions in a config: what is allowed and refused, and that predicted shapes match tensors."""

from __future__ import annotations

import builtins
import contextlib
import string
from typing import Any
from unittest import mock

import pytest
import tensorflow as tf
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hvdrec.config.backbone.functions import FUNCTIONS
from hvdrec.config.backbone.shapes import BATCH, Shape, ShapeOperations
from hvdrec.config.backbone.text import Evaluator, TextError, parse_function, parse_slice
from hvdrec.layers.expressions import TensorOperations

ROWS = 5
#: What EasyRec's samples and docs write, and more of the kind, each with what it is given.
TEXTS = {
    "lambda x: x[0]": [(3,), (4,)],
    "lambda x: [x]": (4,),
    "lambda x: [x, x]": (4,),
    "lambda x: tf.add_n(x)": [(1,), (1,), (1,)],
    "lambda x: tf.concat(x, axis=1)": [(3,), (2,)],
    "lambda x: tf.stack(x, axis=1)": [(4,), (4,)],
    "lambda x: tf.reduce_sum(x, axis=1, keepdims=True)": (4,),
    "lambda x: tf.reduce_sum(x, axis=1, keep_dims=True)": (4,),
    "lambda x: list(x) + [None]": [(3,), (4,)],
    "lambda x: tf.reduce_mean(tf.math.square(x), axis=[1, 2])": (3, 4),
    "lambda x: [tf.expand_dims(each, 1) * 2 for each in x[1:]]": [(3,), (4,), (2,)],
    "lambda x: tf.nn.softmax(x[:, 1:3] / 0.5, axis=-1) - 1": (4,),
    "lambda x: x[..., -1]": (3, 4),
    "lambda x: x[:, None, ::2]": (4,),
    "lambda x: tf.transpose(x, perm=[0, 2, 1]) @ x": (3, 4),
    "lambda x: tf.matmul(x, x, transpose_b=True)": (3, 4),
    "lambda x: tf.split(x, 2, axis=1)[1]": (4,),
    "lambda x: tf.split(x, num_or_size_splits=[1, 3], axis=1)": (4,),
    "lambda x: tf.reshape(x, [-1, 2, 2])": (4,),
    "lambda x: tf.tile(tf.expand_dims(x, axis=1), [1, 3, 1])": (4,),
    "lambda x: tf.squeeze(x[:, :1], axis=1)": (4,),
    "lambda x: tf.unstack(x, axis=1)[::-1]": (3, 4),
    "lambda x: [x[i] for i in range(len(x))] * 2": [(3,), (4,)],
    "lambda x: tf.stop_gradient(-x ** 2 + tf.math.log1p(tf.nn.relu(x)))": (4,),
    "lambda x: tf.cast(x, tf.int32)": (4,),
    "lambda x: tf.nn.l2_normalize(x, axis=1)": (4,),
    "lambda x: tf.maximum(x[0], x[1]) * tf.sigmoid(x[0])": [(4,), (1,)],
}


def _shapes(given: Any) -> Any:
    return [_shapes(g) for g in given] if isinstance(given, list) else Shape((BATCH, *given))


def _tensors(given: Any) -> Any:
    if isinstance(given, list):
        return [_tensors(g) for g in given]
    return tf.random.stateless_uniform([ROWS, *given], [1, len(given)])


def _told(found: Any) -> Any:
    """The shape of a tensor, or of a `Shape` with the rows put in."""
    if isinstance(found, list):
        return [_told(f) for f in found]
    if isinstance(found, Shape):
        return [ROWS if d == BATCH else d for d in found.dims]
    return found.shape.as_list() if isinstance(found, tf.Tensor) else found


@pytest.mark.parametrize("text", TEXTS)
def test_shapes_foretell_tensors(text: str) -> None:
    parsed = parse_function(text)
    shape = Evaluator(ShapeOperations())(parsed, _shapes(TEXTS[text]))
    tensor = Evaluator(TensorOperations())(parsed, _tensors(TEXTS[text]))
    assert _told(shape) == _told(tensor)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_function_is_tensorflows(name: str) -> None:
    kind = FUNCTIONS[name].kind
    more = {
        "broadcast": "x, x",
        "concat": "[x, x], 1",
        "stack": "[x, x]",
        "add_n": "[x, x]",
        "reduce": "x, 1",
        "unstack": "x, axis=1",
        "split": "x, 2, 1",
        "expand_dims": "x, 1",
        "squeeze": "x[:, :, None], 2",
        "reshape": "x, [-1, 4]",
        "transpose": "x[:, None], [0, 2, 1]",
        "tile": "x, [1, 2]",
        "matmul": "x[:, :, None], x[:, None]",
        "same": {"tf.cast": "x, tf.float32", "tf.clip_by_value": "x, 0, 0.5"}.get(name, "x"),
    }[kind]
    parsed = parse_function(f"lambda x: {name}({more})")
    shape = Evaluator(ShapeOperations())(parsed, _shapes((4,)))
    assert _told(shape) == _told(Evaluator(TensorOperations())(parsed, _tensors((4,))))


def test_values_are_tensorflows() -> None:
    x = _tensors((4,))
    found = Evaluator(TensorOperations())(parse_function("lambda x: 2 * x[:, 1:] - tf.exp(x)[:, :1] / 4"), x)
    tf.debugging.assert_near(found, 2 * x[:, 1:] - tf.exp(x)[:, :1] / 4)
    second = Evaluator(TensorOperations())(parse_slice("[i]", ("x", "i")), [x, 2 * x], 1)
    tf.debugging.assert_near(second, 2 * x)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("x[0]", "must be a function: lambda x"),
        ("lambda: 1", "must take 1 argument"),
        ("lambda x, *y: x", "plain arguments"),
        ("lambda x=1: x", "plain arguments"),
        ("lambda x: y", "character 11: 'y' is not known"),
        (
            "lambda x: __import__('os').system('x')",
            "character 11: the function \"__import__('os').system\" is not among those",
        ),
        ("lambda x: eval('1')", "the function 'eval' is not among those allowed"),
        ("lambda x: tf.io.read_file('a')", "'tf.io.read_file' is not among those allowed"),
        ("lambda x: tf.py_function(x, x, x)", "'tf.py_function' is not among"),
        ("lambda x: x.__class__", "'x.__class__' is not allowed"),
        ("lambda x: tf.__loader__", "'tf.__loader__' is not allowed"),
        ("lambda x: (lambda y: y)(x)", "is not among those allowed"),
        ("lambda x: [y for y in x if y]", "is not allowed"),
        ("lambda x: {1: x}", "is not allowed"),
        ("lambda x: f'{x}'", "is not allowed"),
        ("lambda x: (y := x)", "is not allowed"),
        ("lambda x: x if x else x", "is not allowed"),
        ("lambda x: tf.concat(*x)", "is not allowed"),
        ("lambda x: tf.concat(x)", "tf.concat needs axis"),
        ("lambda x: tf.concat(x, axs=1)", "tf.concat has no parameter 'axs'; did you mean axis"),
        ("lambda x: tf.reduce_summ(x)", "did you mean tf.reduce_sum"),
        ("lambda x: tf.exp(x", "is not a Python expression"),
        ("lambda x: " + "-" * 60 + "x", "nested too deeply"),
        ("lambda x: " + "(" * 3000 + "x", "longer than"),
        ("lambda x: 'a'.join(x)", "is not among those allowed"),
        ("lambda x: 1j", "is not allowed"),
    ],
)
def test_what_is_refused(text: str, said: str) -> None:
    with pytest.raises(TextError) as caught:
        parse_function(text)
    assert said in str(caught.value)


@pytest.mark.parametrize("text", ["0]", "[0", "[0]+[1]", "[__import__('os')]", "", "[0](x)"])
def test_what_is_no_slice(text: str) -> None:
    with pytest.raises(TextError):
        parse_slice(text)


@pytest.mark.parametrize(
    ("text", "given", "said"),
    [
        ("lambda x: x[2]", [(3,), (4,)], "index 2 is out of range for a list of 2"),
        ("lambda x: tf.concat(x, axis=1)", [(3,), (2, 4)], "different ranks"),
        ("lambda x: tf.concat(x, axis=0)", [(3,), (3,)], "can't be concatenated along the batch dimension"),
        ("lambda x: tf.add_n(x)", [(3,), (4,)], "the same shape: [batch, 3], [batch, 4]"),
        ("lambda x: tf.reduce_sum(x)", (3,), "must not be computed over the batch dimension"),
        ("lambda x: x[0]", (3,), "the batch dimension can't be sliced"),
        ("lambda x: x[:, 4]", (3,), "index 4 is out of range for a dimension of 3"),
        ("lambda x: tf.reshape(x, [-1, 5])", (3,), "has 3 numbers per row, not 5"),
        ("lambda x: x + [1]", (3,), "can't be applied to a tensor and a list of 1"),
        ("lambda x: [0] * 9 ** 9", (3,), "can't be applied"),
        ("lambda x: 9 ** 9 ** 9", (3,), "an exponent can be at most 16"),
        ("lambda x: 1 / 0", (3,), "1 / 0 is undefined"),
        ("lambda x: [[0 for j in range(9999)] for i in range(9999)]", (3,), "takes more than"),
        ("lambda x: range(100000)", (3,), "at most 10000 elements"),
    ],
)
def test_what_does_not_fit(text: str, given: Any, said: str) -> None:
    with pytest.raises(TextError) as caught:
        Evaluator(ShapeOperations())(parse_function(text), _shapes(given))
    assert said in str(caught.value)


_PARTS = st.sampled_from(
    [
        *"x[](),:+-*/.'\"=0129 ",
        *("lambda x: ", "tf.", "tf.concat(", "axis=", "for y in x", " if ", "range(", "None", "..."),
        *("__import__('os')", "eval(", "open('/etc/passwd')", "x.__init__", "getattr(x, ", "__class__"),
    ]
)


@settings(max_examples=150, deadline=None)
@given(st.one_of(st.lists(_PARTS, max_size=12).map("".join), st.text(string.printable, max_size=30)))
@example("\x00")
@example("lambda x: " + "[" * 200 + "]" * 200)
@example("lambda x: {" + "-" * 1900 + "x}")
def test_nothing_a_text_says_is_run(text: str) -> None:
    """Any text is refused or computed by the evaluator alone; Python's own functions are never reached."""
    with contextlib.ExitStack() as stack:
        own = [mock.patch.object(builtins, name) for name in ("eval", "exec", "open")]
        called = [stack.enter_context(each) for each in own]
        for parse in (parse_function, parse_slice):
            with contextlib.suppress(TextError):
                Evaluator(ShapeOperations())(parse(text), [Shape((BATCH, 3)), Shape((BATCH, 3))])
    assert not any(each.called for each in called)
