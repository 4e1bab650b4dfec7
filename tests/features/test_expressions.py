"""ExprFeature: random expressions against a float64 reference, in the packer and in the serving graph."""

from __future__ import annotations

import math

import numpy as np
import pyarrow as pa
import pytest
import tensorflow as tf
from features.packing import pack, packer_for
from hypothesis import given, settings
from hypothesis import strategies as st

from hvdrec.errors import ConfigError, DataError
from hvdrec.features.serving import ServingGraph

#: A value is a number; a condition is 1.0 or 0.0; what has no value is None.
Value = float | None

_FUNCTIONS = {
    "abs": abs,
    "exp": math.exp,
    "expm1": math.expm1,
    "identity": float,
    "log": math.log,
    "log1p": math.log1p,
    "sigmoid": lambda x: 1 / (1 + math.exp(-x)),
    "sign": lambda x: math.copysign(1.0, x) if x else 0.0,
    "sqrt": math.sqrt,
    "square": lambda x: x * x,
    "tanh": math.tanh,
}
_BINARY = {
    "+": (4, lambda a, b: a + b),
    "-": (4, lambda a, b: a - b),
    "*": (5, lambda a, b: a * b),
    "/": (5, lambda a, b: a / b),
    ">": (3, lambda a, b: float(a > b)),
    ">=": (3, lambda a, b: float(a >= b)),
    "<": (3, lambda a, b: float(a < b)),
    "<=": (3, lambda a, b: float(a <= b)),
    "==": (3, lambda a, b: float(a == b)),
}
_LEVELS = {**{sign: level for sign, (level, _) in _BINARY.items()}, "&": 2, "|": 1}
_DECIDING = {"&": 0.0, "|": 1.0}

#: A tree: an input's name, a number, or an operator with its operands.
_LEAVES = st.one_of(st.sampled_from(["x", "f", "n"]), st.sampled_from([0.0, 0.5, 1.0, 2.0, 3e-2]))


def _extended(numbers: st.SearchStrategy) -> st.SearchStrategy:
    comparisons = st.tuples(st.sampled_from([">", ">=", "<", "<=", "=="]), numbers, numbers)
    conditions = st.recursive(
        comparisons, lambda inner: st.tuples(st.sampled_from("&|"), inner, inner), max_leaves=4
    )
    return st.one_of(
        st.tuples(st.sampled_from("+-*/"), numbers, numbers),
        st.tuples(st.just("negate"), numbers),
        st.tuples(st.sampled_from(sorted(_FUNCTIONS)), numbers),
        conditions,
    )


_TREES = st.recursive(_LEAVES, _extended, max_leaves=10).filter(lambda tree: bool(_inputs(tree)))


def _inputs(tree: object) -> set[str]:
    if isinstance(tree, tuple):
        return set().union(*(_inputs(part) for part in tree[1:]))
    return {tree} if isinstance(tree, str) else set()


def _text(tree: object, level: int = 0) -> str:
    """Written with the fewest parentheses; `level`: of the surrounding expression."""
    if not isinstance(tree, tuple):
        return repr(tree) if isinstance(tree, float) else str(tree)
    name, *parts = tree
    if name == "negate":
        return f"-{_text(parts[0], 6)}"
    if name in _FUNCTIONS:
        return f"tf.math.{name}({_text(parts[0])})"
    own = _LEVELS[name]
    # Comparisons don't chain, and the other operators take the left side first.
    text = f"{_text(parts[0], own + (own == 3))} {name} {_text(parts[1], own + 1)}"
    return f"({text})" if own < level else text


def _value(tree: object, row: dict[str, float]) -> Value:
    if not isinstance(tree, tuple):
        return row[tree] if isinstance(tree, str) else float(tree)  # type: ignore[arg-type]
    name, *parts = tree
    values = [_value(part, row) for part in parts]
    if name in _DECIDING:
        decides = _DECIDING[name]
        if decides in values:
            return decides
        return None if None in values else 1.0 - decides
    if None in values:
        return None
    function = _BINARY[name][1] if name in _BINARY else _FUNCTIONS.get(name, lambda x: -x)
    try:
        found = float(function(*values))
    except (ZeroDivisionError, ValueError, OverflowError):
        return None
    return found if math.isfinite(found) else None


_NUMBERS = st.one_of(
    st.integers(-3, 3).map(float), st.floats(-9, 9).filter(lambda x: x == 0 or abs(x) > 1e-3)
)
_ROWS = st.lists(
    st.fixed_dictionaries({"x": _NUMBERS, "f": _NUMBERS, "n": st.integers(-3, 3)}), min_size=1, max_size=6
)


def _feature(text: str) -> str:
    return f"""features {{ feature_name: "e" input_names: ["x", "f", "n"] feature_type: ExprFeature
    expression: "{text}" }}"""


@given(tree=_TREES, rows=_ROWS)
@settings(max_examples=200, deadline=None)
def test_both_forms_give_the_reference(tree: object, rows: list[dict[str, float]]) -> None:
    read = [{**row, "f": float(np.float32(row["f"]))} for row in rows]
    values = [_value(tree, row) for row in read]
    expected = [v if v is not None and abs(v) < 3e38 else None for v in values]
    cells = {n: [repr(row[n]).encode() for row in rows] for n in ("x", "f", "n")}
    packer = packer_for(_feature(_text(tree)), ["e"])
    graph = ServingGraph(packer.plan)  # type: ignore[attr-defined]
    inputs = {n: tf.constant(cells[n]) for n in graph.fields()}
    if None in expected:
        with pytest.raises(DataError, match=rf"row {expected.index(None) + 1}, .* is not a finite number"):
            pack(packer, **cells)
        with pytest.raises(tf.errors.InvalidArgumentError, match="is not a finite number"):
            graph(inputs)
        return
    wanted = np.asarray(expected, np.float32)[:, None]
    np.testing.assert_allclose(pack(packer, **cells)["dense"], wanted, rtol=1e-6, atol=1e-30)
    np.testing.assert_allclose(graph(inputs)["dense"].numpy(), wanted, rtol=1e-6, atol=1e-12)


def test_more_rows_than_a_tile() -> None:
    packer = packer_for(_feature("(x + 1) * n - f / 2"), ["e"])
    x, n, f = np.arange(1000.0), np.arange(1000) % 7, np.arange(1000) * 0.25
    cells = {k: [repr(v).encode() for v in values.tolist()] for k, values in (("x", x), ("n", n), ("f", f))}
    np.testing.assert_array_equal(
        pack(packer, **cells)["dense"][:, 0], ((x + 1) * n - f / 2).astype(np.float32)
    )


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (
            "n / x",
            r"f.csv, row 2, column 'n': the expression 'n / x' with n = 3, x = 0 is not a finite number",
        ),
        ("1 / (1 / x) + n", "row 2, column 'x': .* with x = 0, n = 3 is not a finite number"),
        ("log(x - 1)", "row 1, column 'x': .* with x = 1 is not"),
        ("exp(n * 100)", "row 2, column 'n': .* with n = 3 is not"),
    ],
)
def test_what_is_no_number_is_refused_with_its_place(text: str, error: str) -> None:
    packer = packer_for(_feature(text), ["e"])
    with pytest.raises(DataError, match=error):
        pack(packer, x=[b"1", b"0"], n=[b"0", b"3"])


def test_a_guard_decides_alone() -> None:
    packer = packer_for(_feature("(x > 0) & (n / x >= 2)"), ["e"])
    assert pack(packer, x=[b"0", b"1", b"2"], n=[b"3", b"3", b"3"])["dense"].tolist() == [[0], [1], [0]]


def test_bad_rows_are_left_out() -> None:
    packer = packer_for(_feature("n / x"), ["e"], ignore_error=True)
    cells = {"x": [b"1", b"0", b"y", b"2"], "n": [b"1", b"1", b"1", b"1"]}
    plan = packer.plan  # type: ignore[attr-defined]
    arrays = [pa.array(cells.get(f.name, [b"0"] * 4), pa.binary()) for f in plan.fields]
    batch = pa.RecordBatch.from_arrays(arrays, [f.name for f in plan.fields])
    rows, packed = packer.pack(batch, lambda i: f"f.csv, row {i + 1}")
    assert rows == 2
    assert packed["dense"].tolist() == [[1], [0.5]]


def test_cells_are_read_as_their_types_are() -> None:
    packer = packer_for(_feature("(f > 0.1) + 2*(x > 0.1) + 4*n").replace('"n"', '"n", "s", "b"'), ["e"])
    # 0.1 is above 0.1 in 32 bits, as in a request's float.
    assert pack(packer, f=[b"0.1"], x=[b"0.1"], n=[b" +7"])["dense"].tolist() == [[29]]
    packer = packer_for(_feature("s + b").replace('"n"', '"s", "b"'), ["e"])
    assert pack(packer, s=[b"2.5", b""], b=[b"true", b"0"])["dense"].tolist() == [[3.5], [0]]


def test_inputs_that_are_not_read_are_not_needed() -> None:
    packer = packer_for(_feature("n > 0"), ["e"])
    assert [f.name for f in packer.plan.fields] == ["n", "label"]  # type: ignore[attr-defined]


def test_what_cannot_be_an_expression_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"feature 'e': expression: 'n >', character 4: "):
        packer_for(_feature("n >"), ["e"])
