"""Arithmetic and conditions over named inputs: parses the text of `expression` into steps.

From the loosest binding to the tightest: ``|``; ``&``; ``> >= < <= ==``, which don't chain; ``+ -``;
``* /``; signs; functions and parentheses. A condition is the number 1 or 0. Nothing is evaluated as code.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple

from hvdrec.config.feature_values import NORMALIZERS
from hvdrec.config.names import hint, one_line

#: Binary operators by their sign, with the names of their steps.
LOGIC = {"|": "or", "&": "and"}
COMPARISONS = {">": "greater", ">=": "greater_equal", "<": "less", "<=": "less_equal", "==": "equal"}
_SUMS = {"+": "add", "-": "subtract"}
_PRODUCTS = {"*": "multiply", "/": "divide"}
BINARY = {**LOGIC, **COMPARISONS, **_SUMS, **_PRODUCTS}

#: Functions of one number; the prefixes ``tf.math.``, ``tf.`` and ``math.`` are allowed.
FUNCTIONS = NORMALIZERS

_MOST_NESTED = 50
_SIGNS = "+-*/()><=&|"
_WORD = re.compile(f"[^{re.escape(_SIGNS)}]+")
_NUMBER = re.compile(r"(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_MISTAKEN = {
    "&&": "write &",
    "||": "write |",
    "**": "powers are not supported; multiply, or use square()",
    "//": "integer division is not supported; use /",
    "=": "write ==",
    "!=": "!= is not supported; write (a < b) | (a > b)",
}


class Step(NamedTuple):
    """A step of a stack machine: it pushes an operand, or an operator replaces its operands with its result.

    Attributes:
        name: ``input``, ``number``, ``negate``, a function's name or a value of `BINARY`.
        value: The index of the input, or the number; else 0.
    """

    name: str
    value: float = 0.0


class Expression(NamedTuple):
    """A parsed expression.

    Attributes:
        inputs: The inputs it reads, in the order of their first use.
        steps: The steps; they leave one number on the stack.
    """

    inputs: tuple[str, ...]
    steps: tuple[Step, ...]


class Token(NamedTuple):
    """A token of the text. Its kind is ``input``, ``number`` or ``function``, or the sign itself."""

    kind: str
    text: str
    place: int


class ExpressionError(ValueError):
    """An expression that can't be used; the message gives position and reason."""

    def __init__(self, place: int, text: str) -> None:
        """Takes the position, counted from 0, and the problem there."""
        super().__init__(f"character {place + 1}: {text}")


def parse(text: str, names: Collection[str]) -> Expression:
    """Parses an expression.

    Args:
        text: The expression.
        names: The inputs that the expression may read.

    Raises:
        ExpressionError: The text isn't an expression.
    """
    return parse_tokens(tokenize(text, names))


def parse_tokens(tokens: Sequence[Token], constants: bool = False) -> Expression:
    """Parses the result of `tokenize`.

    Args:
        tokens: The tokens.
        constants: Whether to accept an expression that reads no input.

    Raises:
        ExpressionError: The tokens aren't an expression.
    """
    parser = _Parser(tokens)
    parser.expression()
    if not parser.inputs and not constants:
        raise ExpressionError(0, "it reads none of input_names")
    return Expression(tuple(parser.inputs), tuple(parser.steps))


def tokenize(text: str, names: Collection[str]) -> list[Token]:
    """Splits a text into tokens; an input's name may contain any characters except those of operators.

    Raises:
        ExpressionError: A part is not an operator, a number, a function or one of `names`.
    """
    tokens: list[Token] = []
    at = 0
    while at < len(text):
        if text[at].isspace():
            at += 1
            continue
        token = _sign(text, at) if text[at] in _SIGNS else _word(text, at, names)
        tokens.append(token)
        at = token.place + len(token.text)
    return [*tokens, Token("end", "", len(text))]


def _sign(text: str, at: int) -> Token:
    two = text[at : at + 2]
    sign = two if two in BINARY or two in _MISTAKEN else text[at]
    if sign in _MISTAKEN:
        raise ExpressionError(at, f"{sign} is not an operator: {_MISTAKEN[sign]}")
    return Token(sign, sign, at)


def _word(text: str, at: int, names: Collection[str]) -> Token:
    match = _WORD.match(text, at)
    assert match is not None
    word, end = match[0].rstrip(), match.end()
    called = text[end : end + 1] == "("
    if called and function_name(word):
        return Token("function", word, at)
    if word in names:
        return Token("input", word, at)
    number = _NUMBER.match(text, at)
    if number and (number.end() >= end or not text[number.end() : end].strip()):
        if not math.isfinite(float(number[0])):
            raise ExpressionError(at, f"{number[0]} is out of the range of a number")
        return Token("number", number[0], at)
    if word.endswith("!") and text[end : end + 1] == "=":
        raise ExpressionError(at + len(word) - 1, f"!= is not an operator: {_MISTAKEN['!=']}")
    shown = one_line(word, 60)
    if called:
        raise ExpressionError(
            at, f"{shown!r} is not a function; {hint(word.rpartition('.')[2], FUNCTIONS, 'functions are')}"
        )
    raise ExpressionError(at, f"{shown!r} is neither a number nor in input_names; {hint(word, names)}")


def function_name(word: str) -> str:
    """The function that a name calls, without its prefix; empty if it is none."""
    prefix, _, name = word.rpartition(".")
    return name if name in FUNCTIONS and prefix in ("", "tf", "tf.math", "math") else ""


class _Parser:
    """A recursive-descent parser with one method per level of precedence; each appends its steps in order.

    These methods return whether the parsed part is a condition.
    """

    def __init__(self, tokens: Sequence[Token]) -> None:
        self.inputs: dict[str, int] = {}
        self.steps: list[Step] = []
        self._tokens = tokens
        self._next = 0
        self._nested = 0

    def expression(self) -> None:
        self._either()
        if self._peek().kind == ")":
            raise ExpressionError(self._peek().place, "this ) has no matching (")
        self._expect("end", "an operator")

    def _either(self) -> bool:
        return self._logic("|", self._both)

    def _both(self) -> bool:
        return self._logic("&", self._comparison)

    def _logic(self, sign: str, operand: Callable[[], bool]) -> bool:
        condition = operand()
        while self._peek().kind == sign:
            place = self._take().place
            right = operand()
            if not (condition and right):
                side = "right" if condition else "left"
                raise ExpressionError(
                    place, f"{sign} takes conditions, such as (a > 1) {sign} (b > 2); its {side} is a number"
                )
            self.steps.append(Step(LOGIC[sign]))
        return condition

    def _comparison(self) -> bool:
        condition = self._sum()
        if self._peek().kind not in COMPARISONS:
            return condition
        sign = self._take().kind
        self._sum()
        self.steps.append(Step(COMPARISONS[sign]))
        if self._peek().kind in COMPARISONS:
            raise ExpressionError(
                self._peek().place, "comparisons don't chain; write (a < b) & (b < c), or parentheses"
            )
        return True

    def _sum(self) -> bool:
        condition = self._product()
        while self._peek().kind in _SUMS:
            sign = self._take().kind
            self._product()
            self.steps.append(Step(_SUMS[sign]))
            condition = False
        return condition

    def _product(self) -> bool:
        condition = self._signed()
        while self._peek().kind in _PRODUCTS:
            sign = self._take().kind
            self._signed()
            self.steps.append(Step(_PRODUCTS[sign]))
            condition = False
        return condition

    def _signed(self) -> bool:
        signs = 0
        negative = False
        while self._peek().kind in _SUMS:
            negative ^= self._take().kind == "-"
            signs += 1
        condition = self._operand()
        if negative:
            self.steps.append(Step("negate"))
        return condition and not signs

    def _operand(self) -> bool:
        token = self._take()
        if token.kind == "number":
            self.steps.append(Step("number", float(token.text)))
        elif token.kind == "input":
            self.steps.append(Step("input", float(self.inputs.setdefault(token.text, len(self.inputs)))))
        elif token.kind == "function":
            self._parenthesis(self._take())
            self.steps.append(Step(function_name(token.text)))
        elif token.kind == "(":
            return self._parenthesis(token)
        else:
            found = "the end" if token.kind == "end" else token.text
            raise ExpressionError(
                token.place, f"expected an input, a number, a function or ( here, found {found}"
            )
        return False

    def _parenthesis(self, opened: Token) -> bool:
        self._nested += 1
        if self._nested > _MOST_NESTED:
            raise ExpressionError(opened.place, f"parentheses are nested more than {_MOST_NESTED} deep")
        condition = self._either()
        if self._peek().kind == "end":
            raise ExpressionError(opened.place, "this ( is not closed")
        self._expect(")", "an operator or )")
        self._nested -= 1
        return condition

    def _peek(self) -> Token:
        return self._tokens[self._next]

    def _take(self) -> Token:
        token = self._tokens[self._next]
        self._next += token.kind != "end"
        return token

    def _expect(self, kind: str, wanted: str) -> None:
        token = self._take()
        if token.kind != kind:
            raise ExpressionError(token.place, f"expected {wanted} here, found {token.text}")


def written(expression: Expression) -> str:
    """An expression as text, with parentheses around every operation except the outermost."""
    signs = {name: sign for sign, name in BINARY.items()}
    stack: list[tuple[str, bool]] = []

    def operand() -> str:
        text, whole = stack.pop()
        return text if whole else f"({text})"

    for step in expression.steps:
        if step.name == "input":
            stack.append((expression.inputs[int(step.value)], True))
        elif step.name == "number":
            stack.append((repr(step.value).removesuffix(".0"), True))
        elif step.name == "negate":
            stack.append((f"-{operand()}", True))
        elif step.name in FUNCTIONS:
            stack.append((f"{step.name}({stack.pop()[0]})", True))
        else:
            right = operand()
            stack.append((f"{operand()} {signs[step.name]} {right}", False))
    return stack[-1][0]
