"""The dense layer against its formula in float64, both implementations."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from hvdrec.ops.dense_layer import Norm, dense_layer

IMPLEMENTATIONS = ("native", "tensorflow")
EPSILON = 1e-3


class Oracle:
    """The layer in float64 and its gradient of sum(weight * y), by hand; row r counts `counts[r]` times."""

    def __init__(
        self, values: list[np.ndarray], norm: bool, relu: bool, weight: np.ndarray, counts: np.ndarray
    ) -> None:
        x, kernel, bias, gamma, beta = (v.astype(np.float64) for v in values)
        shares = (counts / counts.sum())[:, np.newaxis].astype(np.float64)
        linear = x @ kernel + bias
        self.mean = (shares * linear).sum(0)
        self.variance = (shares * (linear - self.mean) ** 2).sum(0)
        inverse = 1.0 / np.sqrt(self.variance + EPSILON)
        center = (linear - self.mean) * inverse
        before = gamma * center + beta if norm else linear
        self.y = np.maximum(before, 0.0) if relu else before
        g = weight * (before > 0.0) if relu else weight.astype(np.float64)
        if norm:
            self.gamma, self.beta = (g * center).sum(0), g.sum(0)
            g = gamma * inverse * (g - shares * (g.sum(0) + center * (g * center).sum(0)))
        self.x, self.kernel, self.bias, self.linear = g @ kernel.T, x.T @ g, g.sum(0), g


@pytest.mark.parametrize("impl", IMPLEMENTATIONS)
@pytest.mark.parametrize("relu", [True, False])
@pytest.mark.parametrize("norm", [True, False])
@pytest.mark.parametrize("shape", [(1, 1, 1), (7, 3, 5), (300, 65, 40), (129, 70, 200)])
@pytest.mark.parametrize("counted", [False, True])
@pytest.mark.parametrize("multiplied", [False, True])
def test_values_and_gradients(
    shape: tuple[int, int, int], norm: bool, relu: bool, impl: str, counted: bool, multiplied: bool
) -> None:
    rows, inputs, outputs = shape
    rng = np.random.default_rng(rows)
    sizes = [(rows, inputs), (inputs, outputs), (outputs,), (outputs,), (outputs,)]
    values = [rng.normal(0.5, 1.0, size).astype(np.float32) for size in sizes]
    counts = np.ones(rows, np.float32)
    if counted:
        # None of the rows of a whole block counts.
        counts = rng.integers(1, 9, rows).astype(np.float32) * (np.arange(rows) < 128)
    weight = rng.normal(size=(rows, outputs)).astype(np.float32)
    expected = Oracle(values, norm, relu, weight, counts)
    tensors = [tf.constant(v) for v in values]
    if multiplied:
        tensors[0] = tensors[0] @ tensors[1]
    with tf.GradientTape() as tape:
        tape.watch(tensors)
        x, kernel, *more = tensors
        part = Norm(*more[1:], EPSILON, counts if counted else None) if norm else None
        out = dense_layer(x, None if multiplied else kernel, more[0], part, relu, impl=impl)
        target = tf.reduce_sum(weight * out.y)
    gradients = tape.gradient(target, tensors)

    def close(found: tf.Tensor, wanted: np.ndarray) -> None:
        np.testing.assert_allclose(found, wanted, rtol=2e-4, atol=2e-4 * max(1.0, np.abs(wanted).max()))

    close(out.y, expected.y)
    close(gradients[0], expected.linear if multiplied else expected.x)
    if not multiplied:
        close(gradients[1], expected.kernel)
    close(gradients[2], np.zeros(outputs) if norm else expected.bias)
    if norm:
        close(out.mean, expected.mean)
        close(out.variance, expected.variance)
        close(gradients[3], expected.gamma)
        close(gradients[4], expected.beta)
    else:
        assert out.mean is None
        assert out.variance is None


def test_a_bias_before_a_norm_has_no_gradient_at_all() -> None:
    rng = np.random.default_rng(0)
    x, kernel = (tf.constant(rng.normal(size=s).astype(np.float32)) for s in [(50, 8), (8, 6)])
    bias = tf.ones([6])
    with tf.GradientTape() as tape:
        tape.watch(bias)
        out = dense_layer(x, kernel, bias, Norm(tf.ones([6]), tf.zeros([6]), EPSILON), True)
        target = tf.reduce_sum(out.y**3)
    np.testing.assert_array_equal(tape.gradient(target, bias), np.zeros(6))


def test_the_backward_pass_knows_which_numbers_the_relu_let_pass() -> None:
    rng = np.random.default_rng(3)
    x, gamma = (tf.constant(rng.normal(size=size).astype(np.float32)) for size in [(200, 90), (90,)])
    zeros = tf.zeros([90])
    before = dense_layer(x, None, zeros, Norm(gamma, zeros, EPSILON), relu=False).y.numpy()
    # In some row of each column the sum with beta is exactly 0, so any other rounding is noticed.
    beta = tf.constant(-before[np.arange(90), np.arange(90)])
    with tf.GradientTape() as tape:
        tape.watch(beta)
        y = dense_layer(x, None, zeros, Norm(gamma, beta, EPSILON), relu=True).y
        target = tf.reduce_sum(y)
    assert np.count_nonzero(y.numpy().diagonal()) == 0
    np.testing.assert_array_equal(tape.gradient(target, beta), np.count_nonzero(y, axis=0))


@pytest.mark.parametrize("norm", [True, False])
def test_a_gradient_that_others_need_is_not_overwritten(norm: bool) -> None:
    rng = np.random.default_rng(4)
    x, kernel, upstream = (
        tf.constant(rng.normal(size=s).astype(np.float32)) for s in [(50, 8), (8, 6), (50, 6)]
    )

    @tf.function
    def gradients(upstream: tf.Tensor, shared: bool) -> tuple[tf.Tensor, tf.Tensor]:
        passed = upstream * 2.0
        with tf.GradientTape() as tape:
            tape.watch(x)
            part = Norm(tf.ones([6]), tf.zeros([6]), EPSILON) if norm else None
            y = dense_layer(x, kernel, tf.zeros([6]), part, True).y
        found = tape.gradient(y, x, output_gradients=passed)
        with tf.control_dependencies([found]):
            return found, passed + 1.0 if shared else tf.zeros([])

    alone, _ = gradients(upstream, shared=False)
    found, after = gradients(upstream, shared=True)
    np.testing.assert_array_equal(found, alone)
    np.testing.assert_array_equal(after, upstream * 2.0 + 1.0)


@pytest.mark.parametrize("impl", IMPLEMENTATIONS)
@pytest.mark.parametrize("norm", [True, False])
def test_no_rows(norm: bool, impl: str) -> None:
    tensors = [tf.zeros([0, 3]), tf.ones([3, 2]), tf.ones([2]), tf.ones([2]), tf.ones([2])]
    with tf.GradientTape() as tape:
        tape.watch(tensors)
        part = Norm(tensors[3], tensors[4], EPSILON) if norm else None
        out = dense_layer(*tensors[:3], part, True, impl=impl)
        target = tf.reduce_sum(out.y)
    for gradient in tape.gradient(target, tensors, unconnected_gradients=tf.UnconnectedGradients.ZERO):
        np.testing.assert_array_equal(gradient, np.zeros(gradient.shape))
    if norm:
        np.testing.assert_array_equal(out.mean, [0.0, 0.0])
        np.testing.assert_array_equal(out.variance, [0.0, 0.0])


def test_far_from_zero_the_variance_keeps_its_digits() -> None:
    rng = np.random.default_rng(2)
    x = (1000.0 + rng.normal(size=(1000, 1))).astype(np.float32)
    out = dense_layer(x, tf.ones([1, 1]), tf.zeros([1]), Norm(tf.ones([1]), tf.zeros([1]), EPSILON), False)
    assert float(out.variance[0]) == pytest.approx(x.astype(np.float64).var(), rel=1e-4)


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(tf.errors.InvalidArgumentError, match="do not match"):
        dense_layer(tf.zeros([4, 3]), tf.zeros([2, 5]), tf.zeros([5]), None, True)
    with pytest.raises(tf.errors.InvalidArgumentError, match="bias has 4 elements, not 5"):
        dense_layer(tf.zeros([4, 2]), tf.zeros([2, 5]), tf.zeros([4]), None, True)


def test_the_same_bits_for_any_number_of_threads(bits_of_threads: list[dict[str, list]]) -> None:
    first, *others = [found["dense_layer"] for found in bits_of_threads]
    assert len(first) > 20
    assert all(found == first for found in others)


#: Rows, inputs, outputs: for AMX or too small for it, none a multiple of its blocks, and several groups of rows.
PRODUCTS = [(1, 100, 150), (33, 161, 97), (300, 65, 40), (1003, 112, 256), (2500, 290, 300), (40, 7, 5)]


def products(x: np.ndarray, w: np.ndarray, upstream: np.ndarray) -> list[np.ndarray]:
    """x w, upstream w^T, x^T upstream."""
    tensors = [tf.constant(x), tf.constant(w)]
    with tf.GradientTape() as tape:
        tape.watch(tensors)
        y = dense_layer(*tensors, tf.zeros([w.shape[1]]), None, False).y
    return [v.numpy() for v in (y, *tape.gradient(y, tensors, output_gradients=tf.constant(upstream)))]


@pytest.mark.parametrize("shape", PRODUCTS)
@pytest.mark.parametrize("spread", [0.0, 3.0])
def test_products_are_as_exact_as_those_of_floats(shape: tuple[int, int, int], spread: float) -> None:
    """Errors relative to the sum of the absolute terms, by the bound of kernels/layers/amx_product.h."""
    rows, inputs, outputs = shape
    rng = np.random.default_rng(inputs)
    x, w, upstream = (
        (rng.normal(size=size) * np.exp(spread * rng.normal(size=size))).astype(np.float32)
        for size in [(rows, inputs), (inputs, outputs), (rows, outputs)]
    )
    factors = [(x, w), (upstream, w.T), (x.T, upstream)]
    for found, (a, b) in zip(products(x, w, upstream), factors, strict=True):
        a, b = a.astype(np.float64), b.astype(np.float64)
        error = np.abs(found - a @ b) / (np.abs(a) @ np.abs(b)) * 2.0**24
        in_turn = np.zeros(found.shape, np.float32)
        for k in range(a.shape[1]):
            in_turn += np.outer(a[:, k], b[k]).astype(np.float32)
        of_floats = np.abs(in_turn - a @ b) / (np.abs(a) @ np.abs(b)) * 2.0**24
        assert error.max() < a.shape[1] / 4 + 20
        assert np.sqrt((error**2).mean()) < 1.5 * np.sqrt((of_floats**2).mean())


@pytest.mark.parametrize("shape", PRODUCTS)
def test_results_of_a_row_do_not_depend_on_others(shape: tuple[int, int, int]) -> None:
    rows, inputs, outputs = shape
    rng = np.random.default_rng(1)
    x, w = (rng.normal(size=size).astype(np.float32) for size in [(rows, inputs), (inputs, outputs)])
    whole = dense_layer(x, w, tf.zeros([outputs]), None, False).y.numpy()
    for begin in range(0, rows, max(1, rows // 3)):
        some = dense_layer(x[begin : begin + 37], w, tf.zeros([outputs]), None, False).y.numpy()
        np.testing.assert_array_equal(some, whole[begin : begin + 37])


def test_extreme_numbers() -> None:
    """The largest one isn't rounded to infinity, and what isn't finite stays so, in its row alone."""
    rng = np.random.default_rng(3)
    x = rng.normal(size=(50, 128)).astype(np.float32)
    w = np.eye(128, 150, dtype=np.float32)
    x[3, 5], x[3, 6] = np.finfo(np.float32).max, -np.finfo(np.float32).max
    x[4, 7], x[5, 8], x[6, 9] = np.inf, -np.inf, np.nan
    found = dense_layer(x, w, tf.zeros([150]), None, False).y.numpy()[:, :128]
    bad = ~np.isfinite(x)
    assert not np.isfinite(found[bad]).any()
    finite = ~bad.any(axis=1)
    np.testing.assert_array_equal(found[finite], x[finite])


@pytest.mark.parametrize("norm", [True, False])
@pytest.mark.parametrize("axis", [1, -1])
def test_parts_of_a_concatenation_are_read_where_they_are(norm: bool, axis: int) -> None:
    rng = np.random.default_rng(6)
    widths = (1, 16, 0, 64)
    parts = [tf.constant(rng.normal(size=(300, width)).astype(np.float32)) for width in widths]
    kernel = tf.constant(rng.normal(size=(sum(widths), 33)).astype(np.float32))
    weight = tf.constant(rng.normal(size=(300, 33)).astype(np.float32))
    more = Norm(tf.ones([33]), tf.zeros([33]), EPSILON) if norm else None

    def run(parts: list[tf.Tensor], whole: bool) -> list[tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch([*parts, kernel])
            x = tf.concat(parts, axis=axis)
            y = dense_layer(tf.identity(x) if whole else x, kernel, tf.zeros([33]), more, True).y
            loss = tf.reduce_sum(y * weight)
        return [y, *tape.gradient(loss, [*parts, kernel])]

    traced = tf.function(lambda: run(parts, whole=False))
    graph = traced.get_concrete_function().graph
    reads = [op for op in graph.get_operations() if any(i.op.type == "ConcatV2" for i in op.inputs)]
    assert not reads
    layer = next(op for op in graph.get_operations() if op.type == "HvdrecDenseLayer")
    assert layer.get_attr("parts") == len(widths)
    for found, wanted in zip(traced(), tf.function(lambda: run(parts, whole=True))(), strict=True):
        np.testing.assert_array_equal(found, wanted)


def test_rows_that_are_concatenated_stay_whole() -> None:
    rows = [tf.ones([2, 3]), tf.zeros([1, 3])]
    run = tf.function(
        lambda: dense_layer(tf.concat(rows, axis=0), tf.ones([3, 4]), tf.zeros([4]), None, False).y
    )
    np.testing.assert_array_equal(run(), [[3.0] * 4] * 2 + [[0.0] * 4])
