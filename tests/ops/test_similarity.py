"""Circle, multi-similarity and in-batch softmax loss, kernels and ops."""

from __future__ import annotations

import json
import pathlib
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from ops import similarity_oracles as oracles

from hvdrec.ops.circle import circle_loss
from hvdrec.ops.in_batch_softmax import in_batch_softmax
from hvdrec.ops.multi_similarity import multi_similarity_loss
from hvdrec.ops.native import load_native

IMPLEMENTATIONS = ("native", "tensorflow")
#: Sharp parameters send float32 exponents beyond one shift, through the slower way of the kernels.
CIRCLES = ({}, {"margin": 0.4, "gamma": 16.0}, {"margin": 0.25, "gamma": 256.0})
MULTIS = (
    {},
    {"lamb": 0.5, "mining_eps": 0.1},
    {"alpha": 1.0, "beta": 10.0, "lamb": 0.2},
    {"alpha": 60.0, "beta": 400.0, "lamb": 0.0},
    {"alpha": 60.0, "beta": 400.0, "lamb": 0.0, "mining_eps": 0.05},
)
CASES = [("circle_loss", p) for p in CIRCLES] + [("multi_similarity_loss", p) for p in MULTIS]
_DEFAULTS: dict[str, dict[str, Any]] = {
    "circle_loss": {"margin": 0.25, "gamma": 32.0},
    "multi_similarity_loss": {"alpha": 2.0, "beta": 50.0, "lamb": 1.0, "mining_eps": None},
}
_OPS = {"circle_loss": circle_loss, "multi_similarity_loss": multi_similarity_loss}


def _oracle(
    name: str, e: np.ndarray, labels: np.ndarray, sessions: np.ndarray | None, **parameters: Any
) -> tuple[float, np.ndarray]:
    function: Callable[..., Any] = oracles.circle if name == "circle_loss" else oracles.multi_similarity
    return function(e, labels, sessions, **{**_DEFAULTS[name], **parameters})


def _rows(
    seed: int, n: int, d: int, classes: int, copies: bool = False, dtype: Any = np.float64
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    e = generator.normal(size=(n, d))
    e /= np.linalg.norm(e, axis=1, keepdims=True)
    if copies and n > 1:
        e[n // 2 :] = e[: n - n // 2]
    return e.astype(dtype), generator.integers(-1, classes, n), generator.integers(0, 3, n)


def _close(found: np.ndarray, expected: np.ndarray, tolerance: float, least: float = 1e-3) -> None:
    scale = max(np.abs(expected).max(initial=0.0), least)
    assert np.abs(found - expected).max(initial=0.0) <= tolerance * scale


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 1000),
    n=st.integers(0, 300),
    d=st.sampled_from([1, 3, 16, 33]),
    classes=st.sampled_from([0, 1, 10, 200]),
    with_sessions=st.booleans(),
    copies=st.booleans(),
    case=st.sampled_from(CASES),
)
def test_kernels_against_float64(
    seed: int, n: int, d: int, classes: int, with_sessions: bool, copies: bool, case: tuple[str, dict]
) -> None:
    name, parameters = case
    e, labels, sessions = _rows(seed, n, d, classes, copies)
    given_sessions = sessions if with_sessions else None
    function = getattr(load_native(), name)
    value, gradient = _oracle(name, e, labels, given_sessions, **parameters)
    loss, found = function(e, labels, sessions=given_sessions, **parameters)
    assert loss == pytest.approx(value, rel=1e-10, abs=1e-12)
    # Of copies the hardest pairs are equal up to rounding, and mining goes by less or more.
    if not (copies and "mining_eps" in parameters):
        _close(found, gradient, 1e-9)
    single = e.astype(np.float32)
    value, gradient = _oracle(name, single, labels, given_sessions, **parameters)
    loss, found = function(single, labels, sessions=given_sessions, **parameters)
    assert found.dtype == np.float32
    sharpness = max(parameters.values(), default=32.0) / 32.0
    assert loss == pytest.approx(value, rel=1e-5 * max(sharpness, 1.0), abs=1e-6)
    if "mining_eps" not in parameters:
        _close(found, gradient, 2e-5 * max(sharpness, 1.0))


@pytest.mark.parametrize(("name", "parameters"), CASES)
@pytest.mark.parametrize("impl", IMPLEMENTATIONS)
def test_ops_against_float64(name: str, parameters: dict, impl: str) -> None:
    e, labels, sessions = _rows(1, 150, 12, 8)
    for given_sessions in (None, sessions):
        value, gradient = _oracle(name, e, labels, given_sessions, **parameters)
        variable = tf.Variable(e)
        with tf.GradientTape() as tape:
            loss = _OPS[name](variable, labels, sessions=given_sessions, impl=impl, **parameters)
        assert float(loss) == pytest.approx(value, rel=1e-6)
        _close(tape.gradient(loss, variable).numpy(), gradient, 1e-5)
    assert float(
        _OPS[name](tf.constant(e), labels, sessions=sessions, gradient=False, impl=impl, **parameters)
    ) == pytest.approx(value, rel=1e-6)


def _reference_rows(golden: dict[str, Any], case: dict[str, Any]) -> tuple[np.ndarray, Any, Any]:
    arrays = {name: np.array(values) for name, values in golden["inputs"].items()}
    session = arrays["session"] if "session" in case["inputs"] else None
    if session is not None:
        session = np.unique(session, return_inverse=True)[1]
    return arrays["embeddings"], arrays["classes"].astype(np.int64), session


def test_golden_values(shared: pathlib.Path) -> None:
    golden = json.loads((shared / "golden" / "losses.json").read_text())
    functions = {"CIRCLE_LOSS": circle_loss, "MULTI_SIMILARITY_LOSS": multi_similarity_loss}
    done = 0
    for case in golden["cases"]:
        if case["name"] not in functions:
            continue
        embeddings, classes, session = _reference_rows(golden, case)
        variable = tf.Variable(embeddings)
        with tf.GradientTape() as tape:
            normalised = tf.math.l2_normalize(variable, axis=1)
            loss = functions[case["name"]](normalised, classes, sessions=session, **case["params"])
        assert float(loss) == pytest.approx(case["loss"], rel=1e-5)
        _close(tape.gradient(loss, variable).numpy(), np.array(case["grad"]["embeddings"]), 1e-4)
        done += 1
    assert done == 5


@pytest.mark.parametrize(("name", "parameters"), CASES)
def test_threads_ranges_of_anchors_and_order_of_rows(name: str, parameters: dict) -> None:
    function = getattr(load_native(), name)
    e, labels, sessions = _rows(2, 700, 24, 30, dtype=np.float32)
    loss, gradient = function(e, labels, sessions=sessions, **parameters)
    for threads in (2, 4):
        other, found = function(e, labels, sessions=sessions, threads=threads, **parameters)
        assert other == loss
        np.testing.assert_array_equal(found, gradient)
    parts = [
        function(e, labels, sessions=sessions, first_anchor=a, anchors=b - a, threads=2, **parameters)
        for a, b in ((0, 0), (0, 100), (100, 700))
    ]
    assert sum(part[0] for part in parts) == pytest.approx(loss, rel=1e-7)
    _close(sum(part[1] for part in parts), gradient, 3e-6)
    order = np.random.default_rng(0).permutation(len(e))
    other, found = function(e[order], labels[order], sessions=sessions[order], **parameters)
    assert other == pytest.approx(loss, rel=1e-7)
    _close(found, gradient[order], 3e-6)


@pytest.mark.parametrize("rows", [23, 49, 121])
def test_a_product_is_the_same_wherever_its_rows_are(rows: int) -> None:
    """Exponents of thousands of times a similarity show each of its bits."""
    e, labels, _ = _rows(5, rows, 20, 4, dtype=np.float32)
    function = load_native().multi_similarity_loss
    sharp = {"alpha": 20_000.0, "beta": 20_000.0, "lamb": 0.0}
    loss, _ = function(e, labels, **sharp)
    alone = [function(e, labels, first_anchor=a, anchors=1, **sharp)[0] for a in range(rows)]
    assert sum(alone) == pytest.approx(loss, rel=1e-12)
    for seed in range(3):
        order = np.random.default_rng(seed).permutation(rows)
        assert function(e[order], labels[order], **sharp)[0] == pytest.approx(loss, rel=1e-12)


@pytest.mark.parametrize(("name", "parameters"), [CASES[0], CASES[3], CASES[4]])
def test_gradient_against_finite_differences(name: str, parameters: dict) -> None:
    """Circle's gradient treats its weights as constants, so the differences do too."""
    if name == "circle_loss":
        parameters = {"margin": 0.25, "gamma": 4.0}
    e, labels, _ = _rows(3, 40, 5, 4)
    function = getattr(load_native(), name)
    _, gradient = function(e, labels, **parameters)
    step = 1e-6 * np.random.default_rng(1).normal(size=e.shape)
    if name == "circle_loss":
        before, after = (_frozen_circle(e + sign * step, e, labels, **parameters) for sign in (-1, 1))
    else:
        before, after = (function(e + sign * step, labels, **parameters)[0] for sign in (-1, 1))
    assert (after - before) / 2 == pytest.approx(np.sum(gradient * step), rel=1e-5)


def _frozen_circle(e: np.ndarray, at: np.ndarray, labels: np.ndarray, margin: float, gamma: float) -> float:
    """Circle loss of `e` with the weights that it has at `at`."""
    s, fixed = e @ e.T, at @ at.T
    same = labels[:, None] == labels[None, :]
    positive = same & ~np.eye(len(e), dtype=bool)
    x = np.where(positive, -gamma * np.maximum(1 + margin - fixed, 0) * (s - 1 + margin), -np.inf)
    y = np.where(~same, gamma * np.maximum(fixed + margin, 0) * (s - margin), -np.inf)
    joint = np.logaddexp.reduce(x, axis=1) + np.logaddexp.reduce(y, axis=1)
    return float(np.mean(np.logaddexp(0, joint)))


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 1000),
    n=st.integers(0, 200),
    more=st.integers(0, 150),
    ids=st.sampled_from([None, 1, 5, 1000]),
    weighted=st.booleans(),
    temperature=st.sampled_from([1.0, 0.05, 0.01]),
)
def test_softmax_against_float64(
    seed: int, n: int, more: int, ids: int | None, weighted: bool, temperature: float
) -> None:
    q, _, _ = _rows(seed, n, 9, 1)
    v, _, _ = _rows(seed + 1, n + more, 9, 1)
    generator = np.random.default_rng(seed)
    item_ids = None if ids is None else generator.integers(0, ids, n + more)
    weights = generator.integers(0, 3, n) / 2 if weighted else None
    for dtype, tolerance in ((np.float64, 1e-10), (np.float32, 1e-5)):
        a, b = q.astype(dtype), v.astype(dtype)
        w = None if weights is None else weights.astype(dtype)
        value, by_query, by_item = oracles.in_batch_softmax(a, b, temperature, item_ids, w)
        arguments = {"temperature": temperature, "item_ids": item_ids, "weights": w}
        loss, found_query, found_item = load_native().in_batch_softmax(a, b, **arguments)
        assert loss == pytest.approx(value, rel=tolerance, abs=tolerance)
        _close(found_query, by_query, tolerance, least=1.0)
        _close(found_item, by_item, tolerance, least=1.0)
        again = load_native().in_batch_softmax(a, b, threads=4, **arguments)
        assert again[0] == loss
        np.testing.assert_array_equal(again[2], found_item)


@pytest.mark.parametrize("length", [1.0, 30.0], ids=["one shift", "a shift for each row and block"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_softmax_of_several_panels(length: float, dtype: type) -> None:
    """More queries than are taken at once, with duplicates, weights, and items of single queries."""
    n, shared, owned, temperature = 501, 640, 37, 0.125
    rng = np.random.default_rng(3)
    q = (length * _rows(1, n, 9, 1)[0]).astype(dtype)
    v = _rows(2, shared + owned, 9, 1)[0].astype(dtype)
    ids, owners = rng.integers(0, 300, shared), rng.integers(0, n, owned)
    weights = rng.integers(0, 3, n).astype(dtype)
    queries, items = tf.constant(q), tf.constant(v)
    with tf.GradientTape() as tape:
        tape.watch([queries, items])
        loss = in_batch_softmax(
            *(queries, items), temperature=temperature, item_ids=ids, weights=weights, owners=owners
        )
    by_query, by_item = (g.numpy() for g in tape.gradient(loss, [queries, items]))
    z = q.astype(np.float64) @ v.astype(np.float64).T / temperature
    z[:, :shared][(ids[:n, None] == ids[None, :]) & ~np.eye(n, shared, dtype=bool)] = -np.inf
    z[:, shared:][owners[None, :] != np.arange(n)[:, None]] = -np.inf
    sums = np.logaddexp.reduce(z, axis=1)
    slopes = (np.exp(z - sums[:, None]) - np.eye(n, len(v))) * weights[:, None] / weights.sum() / temperature
    tolerance = 1e-5 if dtype == np.float32 else 1e-10
    assert loss.numpy() == pytest.approx(np.sum(weights * (sums - np.diag(z))) / weights.sum(), rel=tolerance)
    _close(by_query, slopes @ v, tolerance, least=0)
    _close(by_item, slopes.T @ q, tolerance, least=0)


def test_softmax_keeps_digits_where_it_is_small() -> None:
    """Queries at their items: log-sum less own logit, or probability less 1, would leave rounding only."""
    q, _, _ = _rows(1, 150, 64, 1, dtype=np.float32)
    noise, _, _ = _rows(2, 150, 64, 1, dtype=np.float32)
    v = q + np.float32(0.3) * noise
    value, by_query, by_item = oracles.in_batch_softmax(q, v, 0.05, None, None)
    assert value < 1e-4
    loss, found_query, found_item = load_native().in_batch_softmax(q, v, temperature=0.05)
    assert loss == pytest.approx(value, rel=1e-6)
    _close(found_query, by_query, 5e-6, least=0)
    _close(found_item, by_item, 5e-6, least=0)


@pytest.mark.parametrize("impl", IMPLEMENTATIONS)
def test_softmax_op(impl: str) -> None:
    q, _, _ = _rows(5, 60, 7, 1)
    v, _, _ = _rows(6, 90, 7, 1)
    ids = np.random.default_rng(0).integers(0, 20, 90)
    weights = np.random.default_rng(1).uniform(0, 2, 60)
    value, by_query, by_item = oracles.in_batch_softmax(q, v, 0.1, ids, weights)
    queries, items = tf.Variable(q), tf.Variable(v)
    with tf.GradientTape() as tape:
        loss = in_batch_softmax(queries, items, temperature=0.1, item_ids=ids, weights=weights, impl=impl)
    assert float(loss) == pytest.approx(value, rel=1e-7)
    found = tape.gradient(loss, [queries, items])
    _close(found[0].numpy(), by_query, 1e-6)
    _close(found[1].numpy(), by_item, 1e-6)


@pytest.mark.parametrize("impl", IMPLEMENTATIONS)
@pytest.mark.parametrize("rows", [0, 1])
def test_no_pairs(rows: int, impl: str) -> None:
    e = tf.Variable(np.ones([rows, 3], np.float32))
    labels = tf.zeros([rows], tf.int64)
    for loss_of in (
        lambda: circle_loss(e, labels, impl=impl),
        lambda: multi_similarity_loss(e, labels, impl=impl),
        lambda: multi_similarity_loss(e, labels, mining_eps=0.1, impl=impl),
        lambda: in_batch_softmax(e, e, impl=impl),
    ):
        with tf.GradientTape() as tape:
            loss = loss_of()
        assert float(loss) == 0.0
        np.testing.assert_array_equal(tape.gradient(loss, e).numpy(), np.zeros([rows, 3]))


def test_numbers_that_are_not_finite() -> None:
    e, labels, _ = _rows(0, 10, 4, 3, dtype=np.float32)
    bad = e.copy()
    bad[7, 2] = np.inf
    native = load_native()
    for run in (
        lambda: native.circle_loss(bad, labels),
        lambda: native.multi_similarity_loss(bad, labels),
        lambda: native.in_batch_softmax(bad, e),
    ):
        with pytest.raises(ValueError, match="row 7 is not finite"):
            run()
    weights = np.full(10, 1.0, np.float32)
    weights[3] = np.nan
    with pytest.raises(ValueError, match="weights: row 3 is not finite"):
        native.in_batch_softmax(e, e, weights=weights)
    variable = tf.Variable(bad)
    for loss_of in (
        lambda: circle_loss(variable, labels),
        lambda: multi_similarity_loss(variable, labels),
        lambda: in_batch_softmax(variable, variable),
    ):
        with tf.GradientTape() as tape:
            loss = loss_of()
        assert np.isnan(float(loss))
        assert np.isnan(tape.gradient(loss, variable).numpy()).all()


@pytest.mark.parametrize(("dtype", "large"), [(np.float32, 1e25), (np.float64, 1e200)])
def test_products_that_overflow(dtype: type, large: float) -> None:
    variable = tf.Variable(np.full((40, 4), large, dtype))
    for loss_of in (
        lambda: in_batch_softmax(variable, variable),
        lambda: in_batch_softmax(variable, variable, temperature=0.1, item_ids=np.arange(40) % 7),
    ):
        with tf.GradientTape() as tape:
            loss = loss_of()
        assert np.isnan(float(loss))
        assert np.isnan(tape.gradient(loss, variable).numpy()).all()


def test_arguments_are_checked() -> None:
    e, labels, _ = _rows(0, 10, 4, 3)
    native = load_native()
    for error, message, run in (
        (TypeError, "labels: needs int64, is int32", lambda: native.circle_loss(e, labels.astype(np.int32))),
        (ValueError, r"labels: needs shape \[10\]", lambda: native.circle_loss(e, labels[:5])),
        (ValueError, "not C-contiguous", lambda: native.circle_loss(e[:, ::2], labels)),
        (TypeError, "embeddings: needs float32", lambda: native.circle_loss(e.astype(int), labels)),
        (ValueError, "out of range", lambda: native.circle_loss(e, labels, first_anchor=8, anchors=3)),
        (ValueError, r"needs shape \[rows, dim\]", lambda: native.circle_loss(e[0], labels)),
        (ValueError, "above 0", lambda: native.multi_similarity_loss(e, labels, alpha=0.0)),
        (ValueError, "above 0", lambda: native.in_batch_softmax(e, e, temperature=0.0)),
        (ValueError, "a row for each query", lambda: native.in_batch_softmax(e, e[:5])),
        (ValueError, "out of range", lambda: native.circle_loss(e, labels, first_anchor=11)),
        # Their sum is beyond int64.
        (
            ValueError,
            "out of range",
            lambda: native.circle_loss(e, labels, first_anchor=2**62, anchors=2**62),
        ),
        (
            ValueError,
            "out of range",
            lambda: native.circle_loss(e, labels, first_anchor=1, anchors=2**63 - 1),
        ),
        (ValueError, "out of range", lambda: native.circle_loss(e, labels, first_anchor=-(2**63))),
    ):
        with pytest.raises(error, match=message):
            run()
    with pytest.raises(tf.errors.InvalidArgumentError):
        circle_loss(tf.constant(e), labels, sessions=tf.constant([1, 2], tf.int64))
    for anchors in ((2**62, 2**62), (1, 2**63 - 1), (-1, 1)):
        with pytest.raises(tf.errors.InvalidArgumentError, match="anchors: out of range"):
            circle_loss(tf.constant(e), labels, anchors=tuple(tf.constant(a, tf.int64) for a in anchors))
    with pytest.raises(ValueError, match="impl 'other' is not one of"):
        circle_loss(tf.constant(e), labels, impl="other")


def test_shapes_in_a_graph() -> None:
    traced = tf.function(lambda e, y: circle_loss(e, y)).get_concrete_function(
        tf.TensorSpec([None, 8], tf.float32), tf.TensorSpec([None], tf.int64)
    )
    assert traced.output_shapes == tf.TensorShape([])


def test_second_derivatives_are_refused() -> None:
    e, labels, _ = _rows(0, 10, 4, 3)
    variable = tf.Variable(e)
    for loss_of in (
        lambda: circle_loss(variable, labels),
        lambda: multi_similarity_loss(variable, labels),
        lambda: in_batch_softmax(variable, variable),
    ):
        with tf.GradientTape() as outer:
            with tf.GradientTape() as inner:
                loss = loss_of()
            norm = tf.reduce_sum(tf.square(inner.gradient(loss, variable)))
        with pytest.raises(NotImplementedError, match="no second derivative"):
            outer.gradient(norm, variable)


def _kilobytes(field: str) -> int:
    lines = pathlib.Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(field)).split()[1])


def test_memory_grows_with_the_rows_alone() -> None:
    """A matrix of all pairs would take 1 GB."""
    e, labels, _ = _rows(0, 16_384, 8, 1000, dtype=np.float32)
    try:
        pathlib.Path("/proc/self/clear_refs").write_text("5")
    except OSError as error:
        pytest.skip(f"the peak of memory can't be read here: {error}")
    before = _kilobytes("VmRSS")
    load_native().circle_loss(e, labels, threads=2)
    load_native().in_batch_softmax(e, e, threads=2)
    assert _kilobytes("VmHWM") - before < 64 * 1024


def test_the_interpreter_goes_on_meanwhile() -> None:
    """The lock of the interpreter is given up: a thread gets on while a kernel works."""
    e, labels, _ = _rows(0, 3000, 64, 100, dtype=np.float32)
    started, counted = threading.Event(), []

    def run() -> None:
        started.set()
        load_native().circle_loss(e, labels)
        counted.append(len(counted))

    thread = threading.Thread(target=run)
    thread.start()
    started.wait()
    steps = 0
    while thread.is_alive():
        steps += 1
    assert steps > 0
    assert counted


@pytest.mark.parametrize("rows", [40, 90])
def test_in_batch_softmax_has_the_same_bits_wherever_its_memory_is(rows: int) -> None:
    rng = np.random.default_rng(0)
    queries, items = (rng.normal(size=(rows, 8)).astype(np.float32) for _ in range(2))
    found, held = set(), []
    for _ in range(60):
        held += [bytearray(int(rng.integers(1, 9)) * 16), bytearray(int(rng.integers(3, 60_000)))]
        loss, by_query, by_item = load_native().in_batch_softmax(queries, items, temperature=0.5, threads=1)
        found.add((loss, by_query.tobytes(), by_item.tobytes()))
    assert len(found) == 1
