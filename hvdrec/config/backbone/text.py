"""The Python text of a config (`lambda`, `input_fn`, `input_slice`), parsed and never evaluated by Python.

EasyRec passes such text to `eval`. Here it is a small language: the text is parsed with `ast` and checked
against allow lists, and an `Evaluator` computes it over shapes or over tensors.
"""

from __future__ import annotations

import ast
import dataclasses
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from hvdrec.config.backbone.functions import ALIASES, FIRST, FUNCTIONS, PYTHON, REQUIRED, TYPES
from hvdrec.config.names import hint, one_line

#: Limits on the time and memory that a text can use.
_LONGEST_TEXT = 2_000
_DEEPEST = 40
_MOST_ELEMENTS = 10_000
_MOST_STEPS = 100_000
_LARGEST = 10**12
_LARGEST_POWER = 16

_BINARY = {
    ast.Add: "+",
    ast.Sub: "-",
    ast.Mult: "*",
    ast.Div: "/",
    ast.FloorDiv: "//",
    ast.Mod: "%",
    ast.Pow: "**",
    ast.MatMult: "@",
}
_UNARY = {ast.USub: "-", ast.UAdd: "+"}
_FORMS = (
    "arithmetic, slices, lists, comprehensions, the functions list, tuple, len, range and reversed, and "
    "functions of tf"
)


class TextError(ValueError):
    """A text isn't allowed, or doesn't fit its arguments; the message gives position and reason."""


@dataclasses.dataclass(frozen=True)
class Text:
    """A function in a config.

    Attributes:
        text: As written in the config.
        parameters: The names of its arguments.
        body: What it gives, checked.
    """

    text: str
    parameters: tuple[str, ...]
    body: ast.expr


class Operations(Protocol):
    """What an `Evaluator` does with tensors; each raises `TextError` where it can't be done."""

    def is_tensor(self, value: Any) -> bool:
        """Whether a value is a tensor."""

    def call(self, name: str, arguments: Mapping[str, Any]) -> Any:
        """A function of `FUNCTIONS` with all of its parameters."""

    def binary(self, sign: str, left: Any, right: Any) -> Any:
        """An operation of which at least one side is a tensor."""

    def negative(self, value: Any) -> Any:
        """-value."""

    def item(self, value: Any, index: tuple[Any, ...]) -> Any:
        """``value[index]``; each part of the index is a number, a slice of numbers, None or Ellipsis."""


def parse_function(text: str, arguments: int = 1) -> Text:
    """Parses ``lambda x: ...``.

    Args:
        text: The text.
        arguments: How many arguments it must take.

    Raises:
        TextError: It isn't allowed.
    """
    tree = _parsed(text)
    if not isinstance(tree, ast.Lambda):
        raise TextError("must be a function: lambda x: ...")
    names = tree.args
    if names.posonlyargs or names.vararg or names.kwonlyargs or names.kwarg or names.defaults:
        raise TextError("the lambda must have plain arguments without defaults")
    parameters = tuple(a.arg for a in names.args)
    if len(parameters) != arguments:
        raise TextError(f"the lambda must take {arguments} argument(s), takes {len(parameters)}")
    _allow(tree.body, frozenset(parameters), 0)
    return Text(text, parameters, tree.body)


def parse_slice(text: str, parameters: tuple[str, ...] = ("x",)) -> Text:
    """Parses ``[1:]``, an index or slice of the first of the `parameters`.

    Raises:
        TextError: It isn't allowed.
    """
    if not text.strip().startswith("["):
        raise TextError("must be an index or a slice in brackets, such as [0] or [1:]")
    body = _parsed(f"{parameters[0]}{text.strip()}")
    node = body
    while isinstance(node, ast.Subscript):
        node = node.value
    if not isinstance(node, ast.Name) or node.id != parameters[0]:
        raise TextError("must be an index or a slice in brackets, such as [0] or [1:]")
    _allow(body, frozenset(parameters), 0)
    return Text(text, parameters, body)


def _parsed(text: str) -> ast.expr:
    if len(text) > _LONGEST_TEXT:
        raise TextError(f"is longer than {_LONGEST_TEXT} characters")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(text.strip(), mode="eval").body
    except SyntaxError as error:
        place = f" at character {error.offset}" if error.offset else ""
        raise TextError(f"is not a Python expression: {error.msg}{place}") from None
    except (ValueError, RecursionError, MemoryError, OverflowError):
        raise TextError("can't be parsed as a Python expression") from None


def _allow(node: ast.AST, names: frozenset[str], depth: int) -> None:
    """Checks that everything below a node is allowed.

    Args:
        node: The node.
        names: The names that are defined there.
        depth: The node's nesting depth.
    """
    if depth > _DEEPEST:
        raise TextError("is nested too deeply")
    below = depth + 1
    match node:
        case ast.Constant():
            if node.value is not Ellipsis and not isinstance(node.value, bool | int | float | str | None):
                raise _refused(node)
        case ast.Name():
            if node.id not in names:
                raise TextError(f"{_at(node)}: {node.id!r} is not known; {hint(node.id, (*names, 'tf'))}")
        case ast.BinOp(op=op) if type(op) in _BINARY:
            _allow(node.left, names, below)
            _allow(node.right, names, below)
        case ast.UnaryOp(op=op) if type(op) in _UNARY:
            _allow(node.operand, names, below)
        case ast.List() | ast.Tuple():
            for each in node.elts:
                _allow(each, names, below)
        case ast.Subscript():
            _allow(node.value, names, below)
            _allow(node.slice, names, below)
        case ast.Slice():
            for part in (node.lower, node.upper, node.step):
                if part is not None:
                    _allow(part, names, below)
        case ast.ListComp(generators=[ast.comprehension(target=ast.Name() as target) as loop]):
            if loop.ifs or loop.is_async:
                raise _refused(node)
            _allow(loop.iter, names, below)
            _allow(node.elt, names | {target.id}, below)
        case ast.Attribute():
            if _dotted(node) not in TYPES:
                raise _refused(node)
        case ast.Call():
            _allow_call(node, names, below)
        case _:
            raise _refused(node)


def _allow_call(node: ast.Call, names: frozenset[str], depth: int) -> None:
    name = _dotted(node.func)
    if name in names or name not in (*FUNCTIONS, *PYTHON):
        known = [*FUNCTIONS, *PYTHON]
        shown = name or _shown(node.func)
        raise TextError(
            f"{_at(node)}: the function {shown!r} is not among those allowed; {hint(shown, known)}"
        )
    for argument in node.args:
        _allow(argument, names, depth)
    for keyword in node.keywords:
        if keyword.arg is None or name in PYTHON:
            raise _refused(node)
        _allow(keyword.value, names, depth)
    if name in PYTHON and not 1 <= len(node.args) <= (3 if name == "range" else 1):
        raise TextError(f"{_at(node)}: {name} has the wrong number of arguments")
    if name in FUNCTIONS:
        _bind(node, name)


def _refused(node: ast.AST) -> TextError:
    return TextError(f"{_at(node)}: {_shown(node)!r} is not allowed; use {_FORMS}")


def _shown(node: ast.AST) -> str:
    try:
        return one_line(ast.unparse(node), 60)
    except RecursionError:
        return "..."


def _at(node: ast.AST) -> str:
    return f"character {getattr(node, 'col_offset', 0) + 1}"


def _dotted(node: ast.AST) -> str:
    """``tf.math.log`` of an attribute, or a name; empty for anything else."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return ".".join([node.id, *reversed(parts)]) if isinstance(node, ast.Name) else ""


def _bind(node: ast.Call, name: str) -> dict[str, ast.expr | None]:
    """The arguments of a call by parameter name; None for a default."""
    parameters = FUNCTIONS[name].parameters
    order = [p for p, _ in parameters]
    if len(node.args) > len(order):
        raise TextError(f"{_at(node)}: {name} takes at most {len(order)} arguments, found {len(node.args)}")
    bound: dict[str, ast.expr | None] = dict(zip(order, node.args, strict=False))
    for keyword in node.keywords:
        key = keyword.arg or ""
        if key == "name":
            continue
        key = ALIASES.get(key, key) if key not in order else key
        if key not in order and key in FIRST:
            key = order[0]
        if key not in order:
            raise TextError(f"{_at(node)}: {name} has no parameter {keyword.arg!r}; {hint(key, order)}")
        if key in bound:
            raise TextError(f"{_at(node)}: {name} is given {key} twice")
        bound[key] = keyword.value
    missing = [p for p, default in parameters if default is REQUIRED and p not in bound]
    if missing:
        raise TextError(f"{_at(node)}: {name} needs {missing[0]}")
    return {p: bound.get(p) for p in order}


class Evaluator:
    """Computes a `Text`."""

    def __init__(self, operations: Operations) -> None:
        """Takes the operations on tensors."""
        self._do = operations
        self._steps = 0

    def __call__(self, text: Text, *arguments: Any) -> Any:
        """The result of the function for its arguments.

        Raises:
            TextError: The function doesn't fit them.
        """
        self._steps = 0
        return self._value(text.body, dict(zip(text.parameters, arguments, strict=True)))

    def _value(self, node: ast.expr, names: Mapping[str, Any]) -> Any:
        self._steps += 1
        if self._steps > _MOST_STEPS:
            raise TextError(f"{_at(node)}: takes more than {_MOST_STEPS} steps")
        match node:
            case ast.Constant():
                return node.value
            case ast.Name():
                return names[node.id]
            case ast.Attribute():
                return TYPES[_dotted(node)]
            case ast.List() | ast.Tuple():
                return [self._value(each, names) for each in node.elts]
            case ast.UnaryOp():
                return self._unary(node, names)
            case ast.BinOp():
                left, right = self._value(node.left, names), self._value(node.right, names)
                return self._binary(node, _BINARY[type(node.op)], left, right)
            case ast.Subscript():
                return self._subscript(node, names)
            case ast.ListComp():
                loop = node.generators[0]
                assert isinstance(loop.target, ast.Name)
                over = self._listed(node, self._value(loop.iter, names))
                return [self._value(node.elt, {**names, loop.target.id: each}) for each in over]
            case ast.Call():
                return self._call(node, names)
        raise AssertionError(ast.dump(node))

    def _listed(self, node: ast.AST, value: Any) -> list[Any]:
        if not isinstance(value, list):
            raise TextError(f"{_at(node)}: needs a list, found {self._described(value)}")
        return value

    def _described(self, value: Any) -> str:
        if self._do.is_tensor(value):
            return "a tensor"
        return f"a list of {len(value)}" if isinstance(value, list) else f"{value!r}"

    def _unary(self, node: ast.UnaryOp, names: Mapping[str, Any]) -> Any:
        value = self._value(node.operand, names)
        if isinstance(node.op, ast.UAdd):
            return value
        if self._do.is_tensor(value):
            return self._do.negative(value)
        if isinstance(value, int | float):
            return -value
        raise TextError(f"{_at(node)}: can't negate {self._described(value)}")

    def _binary(self, node: ast.AST, sign: str, left: Any, right: Any) -> Any:
        if self._do.is_tensor(left) or self._do.is_tensor(right):
            other = right if self._do.is_tensor(left) else left
            if not self._do.is_tensor(other) and not isinstance(other, int | float):
                raise TextError(
                    f"{_at(node)}: {sign!r} can't be applied to a tensor and {self._described(other)}"
                )
            return self._do.binary(sign, left, right)
        if isinstance(left, list) and isinstance(right, list) and sign == "+":
            return _bounded(node, left + right)
        if sign == "*" and isinstance(left, list) != isinstance(right, list):
            elements, times = (left, right) if isinstance(left, list) else (right, left)
            if type(times) is int and len(elements) * times <= _MOST_ELEMENTS:
                return elements * times
        if isinstance(left, int | float) and isinstance(right, int | float):
            return _number(node, sign, left, right)
        found = f"{self._described(left)} and {self._described(right)}"
        raise TextError(f"{_at(node)}: {sign!r} can't be applied to {found}")

    def _subscript(self, node: ast.Subscript, names: Mapping[str, Any]) -> Any:
        value = self._value(node.value, names)
        parts = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        index = tuple(self._index(part, names) for part in parts)
        if self._do.is_tensor(value):
            return self._do.item(value, index)
        if not isinstance(value, list):
            raise TextError(f"{_at(node)}: {self._described(value)} has no elements")
        if len(index) != 1 or not (type(index[0]) is int or isinstance(index[0], slice)):
            raise TextError(f"{_at(node)}: a list must be indexed by one number or one slice")
        try:
            return value[index[0]]
        except IndexError:
            raise TextError(
                f"{_at(node)}: index {index[0]} is out of range for a list of {len(value)}"
            ) from None
        except ValueError as error:
            raise TextError(f"{_at(node)}: {error}") from None

    def _index(self, node: ast.expr, names: Mapping[str, Any]) -> Any:
        if isinstance(node, ast.Slice):
            parts = (node.lower, node.upper, node.step)
            return slice(*(None if p is None else self._whole(p, names) for p in parts))
        if isinstance(node, ast.Constant) and (node.value is None or node.value is Ellipsis):
            return node.value
        return self._whole(node, names)

    def _whole(self, node: ast.expr, names: Mapping[str, Any]) -> int:
        value = self._value(node, names)
        if type(value) is not int:
            raise TextError(f"{_at(node)}: an index must be a whole number, is {self._described(value)}")
        return value

    def _call(self, node: ast.Call, names: Mapping[str, Any]) -> Any:
        name = _dotted(node.func)
        if name in PYTHON:
            return self._python(node, name, [self._value(a, names) for a in node.args])
        bound = _bind(node, name)
        defaults = dict(FUNCTIONS[name].parameters)
        values = {p: defaults[p] if n is None else self._value(n, names) for p, n in bound.items()}
        try:
            return self._do.call(name, values)
        except TextError as error:
            raise TextError(f"{_at(node)}: {name}: {error}") from None

    def _python(self, node: ast.Call, name: str, values: Sequence[Any]) -> Any:
        if name == "range":
            if not all(type(v) is int for v in values) or (len(values) == 3 and values[2] == 0):
                raise TextError(f"{_at(node)}: range needs whole numbers")
            return _bounded(node, range(*values))
        elements = self._listed(node, values[0])
        if name == "len":
            return len(elements)
        return elements[::-1] if name == "reversed" else list(elements)


def _bounded(node: ast.AST, elements: Sequence[Any]) -> list[Any]:
    if len(elements) > _MOST_ELEMENTS:
        raise TextError(f"{_at(node)}: a list can have at most {_MOST_ELEMENTS} elements")
    return list(elements)


def _number(node: ast.AST, sign: str, left: int | float, right: int | float) -> int | float:
    """Arithmetic of two numbers."""
    if sign == "**" and abs(right) > _LARGEST_POWER:
        raise TextError(f"{_at(node)}: an exponent can be at most {_LARGEST_POWER}")
    try:
        found = {
            "+": lambda: left + right,
            "-": lambda: left - right,
            "*": lambda: left * right,
            "/": lambda: left / right,
            "//": lambda: left // right,
            "%": lambda: left % right,
            "**": lambda: left**right,
        }[sign]()
    except (KeyError, ArithmeticError):
        raise TextError(f"{_at(node)}: {left} {sign} {right} is undefined") from None
    if isinstance(found, complex) or abs(found) > _LARGEST:
        raise TextError(f"{_at(node)}: {left} {sign} {right} is too large")
    return found
