"""`hvdrec.losses` and `hvdrec.numpy` against float64, and the tensors that they accept."""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from library.cases import (
    EMBEDDINGS,
    LISTS,
    PAIRS,
    SOFTMAX,
    PairCase,
    close,
    embedding_oracle,
    embedding_rows,
    list_inputs,
    list_oracle,
    list_rows,
    pair_oracle,
    pair_rows,
    softmax_oracle,
)

import hvdrec
from bench.lightgbm_auc import objective
from hvdrec.losses.functional import compiled
from hvdrec.ops import library

#: Rows of a batch, and which of weights and sessions it has.
GIVEN = ((), ("weights",), ("sessions",), ("weights", "sessions"))


def name(case: Any) -> str | None:
    return f"{case.function}-{'-'.join(case.options)}" if isinstance(case, PairCase) else None


def value_and_gradients(
    function: str, *tensors: Any, by: int | tuple[int, ...] = 1, **options: Any
) -> list[Any]:
    places = (by,) if isinstance(by, int) else by
    inputs = [tf.convert_to_tensor(t) for t in tensors]
    watched = [inputs[i] for i in places]
    with tf.GradientTape() as tape:
        tape.watch(watched)
        value = getattr(hvdrec.losses, function)(*inputs, **options)
    return [value, *tape.gradient(value, watched)]


@pytest.mark.parametrize("given", GIVEN, ids=str)
@pytest.mark.parametrize("case", PAIRS, ids=name)
def test_pairs_in_every_tier(case: PairCase, given: tuple[str, ...]) -> None:
    rows = pair_rows(200)
    chosen = {key: rows[key] for key in given}
    expected, slope = pair_oracle(case, rows, **chosen)
    for impl in ("native", "tensorflow", None):
        if impl == "tensorflow" and "ohem_ratio" in case.options:
            continue  # Of tied pairs it takes the first, as EasyRec does.
        value, gradient = value_and_gradients(
            case.function, rows["labels"], rows["scores"], impl=impl, **chosen, **case.options
        )
        close(value, expected)
        close(gradient, slope)
    arrays = getattr(hvdrec.numpy, case.function)(rows["labels"], rows["scores"], **chosen, **case.options)
    close(arrays.value, expected)
    close(arrays.gradient, slope)
    exact = getattr(hvdrec.numpy, case.function)(
        rows["labels"], rows["scores"].astype(np.float64), **chosen, **case.options
    )
    close(exact.value, expected, 1e-10)
    close(exact.gradient, slope, 1e-10)


@pytest.mark.parametrize("by_session", [False, True])
@pytest.mark.parametrize(("function", "options", "oracle"), EMBEDDINGS)
def test_embeddings_in_every_tier(
    function: str, options: dict[str, Any], oracle: dict[str, Any], by_session: bool
) -> None:
    rows = embedding_rows(60)
    sessions = rows["sessions"] if by_session else None
    expected, slope = embedding_oracle(function, rows["embeddings"], rows["labels"], sessions, oracle)
    for impl in ("native", "tensorflow", None):
        value, gradient = value_and_gradients(
            function, rows["labels"], rows["embeddings"], impl=impl, sessions=sessions, **options
        )
        close(value, expected)
        close(gradient, slope, 3e-6)
    arrays = getattr(hvdrec.numpy, function)(rows["labels"], rows["embeddings"], sessions=sessions, **options)
    close(arrays.value, expected)
    close(arrays.gradient, slope, 3e-6)
    exact = getattr(hvdrec.numpy, function)(
        rows["labels"], rows["embeddings"].astype(np.float64), sessions=sessions, **options
    )
    close(exact.value, expected, 1e-10)
    close(exact.gradient, slope, 1e-10)


@pytest.mark.parametrize("given", [(), ("item_ids",), ("weights",), ("item_ids", "weights")], ids=str)
@pytest.mark.parametrize("options", SOFTMAX, ids=str)
def test_softmax_in_every_tier(options: dict[str, Any], given: tuple[str, ...]) -> None:
    rows = embedding_rows(40)
    chosen = {key: rows[key] for key in given}
    q, v = rows["embeddings"], rows["items"]
    expected = softmax_oracle(q, v, chosen.get("item_ids"), chosen.get("weights"), options)
    for impl in ("native", "tensorflow", None):
        found = value_and_gradients("in_batch_softmax", q, v, by=(0, 1), impl=impl, **chosen, **options)
        for ours, theirs in zip(found, expected, strict=True):
            close(ours, theirs, 5e-6)
    for ours, theirs in zip(hvdrec.numpy.in_batch_softmax(q, v, **chosen, **options), expected, strict=True):
        close(ours, theirs, 5e-6)


@pytest.mark.parametrize("by_session", [False, True])
@pytest.mark.parametrize(("function", "options"), LISTS)
def test_lists_in_every_tier(function: str, options: dict[str, Any], by_session: bool) -> None:
    rows = list_rows(30)
    chosen = {"sessions": rows["sessions"] if by_session else None}
    if function == "jrc" and by_session:
        chosen["weights"] = rows["weights"]
    expected, slope = list_oracle(function, rows, options, **chosen)
    labels, outputs = list_inputs(function, rows)
    for impl in ("native", "tensorflow", None):
        value, gradient = value_and_gradients(function, labels, outputs, impl=impl, **chosen, **options)
        close(value, expected)
        close(gradient, slope, 3e-6)
    arrays = getattr(hvdrec.numpy, function)(labels, outputs, **chosen, **options)
    close(arrays.value, expected)
    close(arrays.gradient, slope, 3e-6)
    exact = getattr(hvdrec.numpy, function)(labels, outputs.astype(np.float64), **chosen, **options)
    assert exact.gradient.dtype == np.float64
    close(exact.value, expected, 1e-10)
    close(exact.gradient, slope, 1e-7)


@pytest.mark.parametrize("dtype", [tf.bfloat16, tf.float32, tf.float64], ids=lambda d: d.name)
def test_types_of_lists(dtype: tf.DType) -> None:
    rows = list_rows(30)
    for function, options in LISTS:
        labels, outputs = list_inputs(function, rows)
        value, gradient = value_and_gradients(function, labels, tf.cast(outputs, dtype), **options)
        assert value.dtype == (tf.float64 if dtype == tf.float64 else tf.float32)
        assert gradient.dtype == dtype
        assert gradient.shape == outputs.shape


def test_no_lists() -> None:
    for function, _ in LISTS:
        labels, outputs = list_inputs(function, list_rows(0))
        value, gradient = value_and_gradients(function, labels, outputs)
        assert float(value) == getattr(hvdrec.numpy, function)(labels, outputs).value == 0.0
        assert gradient.shape == outputs.shape


def test_lists_are_not_for_xla() -> None:
    @tf.function(jit_compile=True, autograph=False)
    def run(labels: tf.Tensor, scores: tf.Tensor) -> tf.Tensor:
        return hvdrec.losses.listwise_rank(labels, scores)

    with pytest.raises(ValueError, match="listwise_rank can't be compiled by XLA; leave jit_compile=True"):
        run(tf.constant([1.0, 0.0]), tf.constant([1.0, 2.0]))


def test_the_tiers_name_the_same() -> None:
    offered = set(hvdrec.losses.__all__)
    assert offered == {n for n in hvdrec.numpy.__all__ if n.islower()}
    assert offered == {c.function for c in PAIRS} | {e[0] for e in EMBEDDINGS} | {
        "in_batch_softmax",
        *(function for function, _ in LISTS),
    }
    assert offered <= set(dir(hvdrec.losses))
    with pytest.raises(AttributeError, match=r"module 'hvdrec.losses' has no attribute 'pairwise_logistics'"):
        hvdrec.losses.pairwise_logistics  # noqa: B018


def test_the_modules_of_configs_do_not_hide_the_functions() -> None:
    from hvdrec.losses import registry

    assert registry.names()
    assert all(callable(getattr(hvdrec.losses, function)) for function in hvdrec.losses.__all__)


@pytest.mark.parametrize("dtype", [tf.float16, tf.bfloat16, tf.float32, tf.float64], ids=lambda d: d.name)
def test_types(dtype: tf.DType) -> None:
    rows = pair_rows(100)
    scores = tf.cast(rows["scores"], dtype)
    value, gradient = value_and_gradients("pairwise_logistic", rows["labels"].astype(np.int64), scores)
    assert value.dtype == (tf.float64 if dtype == tf.float64 else tf.float32)
    assert gradient.dtype == dtype
    held = {**rows, "scores": tf.cast(scores, tf.float64).numpy()}
    expected, slope = pair_oracle(PAIRS[2], held)
    close(value, expected, 1e-12 if dtype == tf.float64 else 1e-6)
    narrow = dtype in (tf.float16, tf.bfloat16)
    close(tf.cast(gradient, tf.float64), slope, 1e-2 if narrow else 1e-6)

    batch = embedding_rows(30)
    e = tf.cast(batch["embeddings"], dtype)
    value, gradient = value_and_gradients("circle", batch["labels"], e)
    expected, slope = embedding_oracle(
        "circle", tf.cast(e, tf.float64).numpy(), batch["labels"], None, {"margin": 0.25, "gamma": 32.0}
    )
    assert gradient.dtype == dtype
    close(value, expected, 1e-6)
    close(tf.cast(gradient, tf.float64), slope, 2e-2 if narrow else 3e-6)


@pytest.mark.parametrize("shape", [[None], [None, 1], None])
def test_unknown_batch_size_in_a_function(shape: list[int | None] | None) -> None:
    signature = [tf.TensorSpec(shape, tf.float32)] * 2

    @tf.function(input_signature=signature, autograph=False)
    def run(labels: tf.Tensor, scores: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch(scores)
            value = hvdrec.losses.pairwise_logistic(labels, scores)
        return value, tape.gradient(value, scores)

    for count in (0, 1, 7, 300):
        rows = pair_rows(count)
        labels, scores = rows["labels"], rows["scores"]
        if shape is not None and len(shape) == 2:
            labels, scores = labels[:, None], scores[:, None]
        value, gradient = run(labels, scores)
        expected, slope = pair_oracle(PAIRS[2], rows)
        assert gradient.shape == scores.shape
        close(value, expected)
        close(np.ravel(gradient), slope)


def test_sessions_and_classes_of_any_type() -> None:
    rows = pair_rows(100)
    ids = rows["sessions"]
    _, expected = value_and_gradients("ranknet", rows["labels"], rows["scores"], sessions=ids)
    for other in (ids.astype(str), ids.astype(np.float64), (ids - ids.min()).astype(np.int8), ids[:, None]):
        _, gradient = value_and_gradients("ranknet", rows["labels"], rows["scores"], sessions=other)
        np.testing.assert_array_equal(gradient, expected)
        arrays = hvdrec.numpy.ranknet(rows["labels"], rows["scores"], sessions=other)
        np.testing.assert_array_equal(arrays.gradient, expected)
    near = np.array([0.2, 0.7, -0.0, 0.0], np.float32)
    e = np.eye(4, dtype=np.float32) + 0.5
    whole = hvdrec.losses.circle([0, 1, 2, 2], e)
    assert float(hvdrec.losses.circle(near, e)) == float(whole)
    assert hvdrec.numpy.circle(near, e).value == pytest.approx(float(whole), rel=1e-6)


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (([[1, 0]], [1.0, 2.0]), {}, r"labels has shape \(1, 2\): must be \[rows\] or \[rows, 1\]"),
        (([1, 0, 1], [1.0, 2.0]), {}, "labels have 3 rows and scores 2: must be equal"),
        (([1, 0], [1, 2]), {}, "scores are int32: must be float16, bfloat16, float32 or float64"),
        (([1, 0], [1.0, 2.0]), {"weights": [1.0]}, "weights have 1 rows and scores 2"),
        (([1, 0], [1.0, 2.0]), {"temperature": 0}, "temperature is 0: must be a number above 0"),
        (([1, 0], [1.0, 2.0]), {"margin": float("nan")}, "margin is nan: must be a number"),
        (([1, 0], [1.0, 2.0]), {"ohem_ratio": 1.5}, "ohem_ratio is 1.5: must be above 0 and at most 1"),
        (([1, 0], [1.0, 2.0]), {"impl": "fast"}, "impl is 'fast': must be 'native', 'tensorflow' or None"),
        (([1, 0], [1.0, 2.0]), {"sessions": [1j, 2j]}, "sessions are complex128: must be integers"),
    ],
)
def test_wrong_arguments(arguments: tuple[Any, Any], options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        hvdrec.losses.pairwise_logistic(*arguments, **options)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: hvdrec.numpy.ranknet([1, 0], [1, 2]), "scores are int64: must be floating-point numbers"),
        (lambda: hvdrec.numpy.ranknet([1, 0], [[1.0, 2.0]]), r"scores has shape \[1, 2\]: must be \[rows\]"),
        (
            lambda: hvdrec.numpy.ranknet([1, 0], [1.0, 2.0], temperature=0),
            "temperature is 0: must be above 0",
        ),
        (lambda: hvdrec.numpy.pairwise_hinge([1, 0], [1.0, 2.0], ohem_ratio=0), "ohem_ratio is 0"),
        (
            lambda: hvdrec.numpy.ranknet([1, 0], [np.nan, 2.0]),
            "row 0: score, label or weight is not a finite",
        ),
        (
            lambda: hvdrec.numpy.circle([1], [1.0]),
            r"embeddings have shape \[1\]: must be \[rows, dimensions\]",
        ),
        (lambda: hvdrec.numpy.circle([1], [[1.0]], gamma=0), "gamma is 0: must be above 0"),
        (lambda: hvdrec.losses.circle([1], [1.0]), r"embeddings have shape \(1,\): must be \[rows, dim"),
        (lambda: hvdrec.losses.circle([1, 2], [[1.0]]), "labels have 2 rows and embeddings 1"),
        (lambda: hvdrec.losses.jrc([1], [[1.0]]), r"logits have shape \(1, 1\): must be \[rows, 2\]"),
        (lambda: hvdrec.losses.jrc([1], [[1.0, 0.0]], alpha=2), "alpha is 2: must be at most 1"),
        (lambda: hvdrec.losses.listwise_rank([1, 0], [1.0]), "labels have 2 rows and scores 1"),
        (lambda: hvdrec.losses.listwise_distill([1], [1.0], last_position=0), "last_position is 0: must be"),
        (lambda: hvdrec.losses.listwise_rank([1], [1.0], impl="fast"), "impl is 'fast': must be 'native'"),
        (lambda: hvdrec.numpy.jrc([1], [[1.0]]), r"logits have shape \[1, 1\]: must be \[rows, 2\]"),
        (lambda: hvdrec.numpy.jrc([1], [[1.0, 0.0]], alpha=2), "alpha is 2: must be from 0 to 1"),
        (lambda: hvdrec.numpy.listwise_rank([1, 0], [np.inf, 2.0]), "scores: row 0 is not finite"),
        (lambda: hvdrec.numpy.listwise_rank([1], [1.0], temperature=0), "temperature is 0: must be above 0"),
        (
            lambda: hvdrec.losses.in_batch_softmax([[1.0]], np.ones([1, 1])),
            "queries are float32 and items float64: must have the same type",
        ),
    ],
)
def test_wrong_arguments_elsewhere(call: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def compiled_loss(**options: Any) -> Any:
    @tf.function(jit_compile=True, autograph=False)
    def run(labels: tf.Tensor, scores: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch(scores)
            value = hvdrec.losses.pairwise_logistic(labels, scores, **options)
        return value, tape.gradient(value, scores)

    return run


def test_jit_compile_says_that_it_makes_all_pairs(caplog: pytest.LogCaptureFixture) -> None:
    compiled._told.clear()
    rows = pair_rows(50)
    run = compiled_loss()
    with caplog.at_level(logging.WARNING, logger="hvdrec"):
        value, gradient = run(tf.constant(rows["labels"]), tf.constant(rows["scores"]))
    assert "pairwise_logistic: jit_compile=True computes all pairs" in caplog.text
    expected, slope = pair_oracle(PAIRS[2], rows)
    close(value, expected)
    close(gradient, slope)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"impl": "native"}, "impl='native' can't be compiled by XLA; remove jit_compile=True"),
        ({"ohem_ratio": 0.5}, "ohem_ratio below 1 can't be compiled by XLA; remove jit_compile=True"),
    ],
)
def test_jit_compile_refuses_what_it_can_not(options: dict[str, Any], message: str) -> None:
    rows = pair_rows(50)
    with pytest.raises(ValueError, match=message):
        compiled_loss(**options)(tf.constant(rows["labels"]), tf.constant(rows["scores"]))


def test_without_the_native_library_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    library.load_ops.cache_clear()
    monkeypatch.setattr(library, "PATH", tmp_path / "_ops.so")
    with pytest.raises(hvdrec.errors.UserError, match=r"^the TensorFlow ops hvdrec/_ops.so are not built.*$"):
        hvdrec.losses.ranknet([1, 0], [1.0, 2.0])
    value = hvdrec.losses.ranknet([1, 0], [1.0, 2.0], impl="tensorflow")
    assert float(value) == pytest.approx(np.log1p(np.e))


def test_cross_replica_needs_horovod_started() -> None:
    pytest.importorskip("horovod.tensorflow", reason="Horovod is not installed")
    with pytest.raises(ValueError, match=r"cross_replica=True needs horovod.tensorflow.init\(\) first"):
        hvdrec.losses.ranknet([1, 0], [1.0, 2.0], cross_replica=True)


def test_the_objective_for_lightgbm() -> None:
    generator = np.random.default_rng(0)
    labels, scores = generator.integers(0, 2, 40).astype(np.float64), generator.normal(size=40)
    data = SimpleNamespace(get_label=lambda: labels)
    gradient, second = objective(scores, data)
    step = 1e-4 * np.eye(40)
    for i in range(0, 40, 7):
        losses = [hvdrec.numpy.ranknet(labels, scores + sign * step[i]) for sign in (1, -1)]
        assert gradient[i] == pytest.approx(
            40 * (losses[0].value - losses[1].value) / 2e-4, rel=1e-6, abs=1e-6
        )
        changed = (losses[0].gradient[i] - losses[1].gradient[i]) / 2e-4
        assert second[i] == pytest.approx(40 * changed, rel=1e-5)
