"""`hvdrec.keras`: the losses and metrics in Keras 3, and in tf-keras 2 in a separate process."""

from __future__ import annotations

import importlib.util
import os
import pathlib
import subprocess
import sys
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from library.cases import (
    LISTS,
    PAIRS,
    close,
    embedding_oracle,
    embedding_rows,
    list_inputs,
    list_oracle,
    list_rows,
    pair_oracle,
    pair_rows,
)

import hvdrec
from hvdrec.metrics.grouped_auc import group_wins

#: Loss of Keras and case of the function.
OF_CASE = {
    "ranknet": "RankNetLoss",
    "pairwise_logistic": "PairwiseLogisticLoss",
    "pairwise_focal": "PairwiseFocalLoss",
    "pairwise_hinge": "PairwiseHingeLoss",
    "pairwise_squared_hinge": "PairwiseSquaredHingeLoss",
    "pairwise_square": "PairwiseSquareLoss",
}


def data(rows: int = 512) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features, labels that follow from them except for noise, and sessions."""
    generator = np.random.default_rng(1)
    x = generator.normal(size=(rows, 4)).astype(np.float32)
    y = (x @ [1.0, -1.0, 0.5, 0.0] + generator.normal(size=rows) > 0).astype(np.int64)
    return x, y, generator.integers(0, 40, rows) + (1 << 40)


def model(outputs: int = 1) -> Any:
    keras.utils.set_random_seed(3)
    return keras.Sequential([keras.layers.Input((4,)), keras.layers.Dense(outputs)])


@pytest.mark.parametrize("case", PAIRS, ids=lambda c: f"{c.function}-{'-'.join(c.options)}")
def test_losses_are_the_functions(case: Any) -> None:
    rows = pair_rows(100)
    loss = getattr(hvdrec.keras, OF_CASE[case.function])(sessions="session", **case.options)
    again = type(loss).from_config(loss.get_config())
    targets = {"label": rows["labels"][:, None], "session": rows["sessions"]}
    expected, slope = pair_oracle(case, rows, weights=rows["weights"], sessions=rows["sessions"])
    scores = tf.constant(rows["scores"][:, None])
    for each in (loss, again):
        with tf.GradientTape() as tape:
            tape.watch(scores)
            value = each(targets, scores, sample_weight=rows["weights"])
        close(value, expected)
        close(tape.gradient(value, scores)[:, 0], slope)


@pytest.mark.parametrize(
    ("name", "function", "options"),
    [
        ("CircleLoss", "circle", {"margin": 0.3, "gamma": 10.0}),
        (
            "MultiSimilarityLoss",
            "multi_similarity",
            {"alpha": 2.0, "beta": 9.0, "lamb": 0.4, "mining_eps": None},
        ),
    ],
)
def test_embedding_losses_are_the_functions(name: str, function: str, options: dict[str, Any]) -> None:
    rows = embedding_rows(40)
    loss = getattr(hvdrec.keras, name)(**options)
    loss = type(loss).from_config(loss.get_config())
    # Classes beyond 2^24 would run together as float32.
    labels = rows["labels"] + (1 << 40)
    expected, _ = embedding_oracle(function, rows["embeddings"], rows["labels"], None, options)
    close(loss(labels, rows["embeddings"]), expected)
    with pytest.raises(ValueError, match="does not support sample_weight"):
        loss(labels, rows["embeddings"], sample_weight=np.ones(40))


@pytest.mark.parametrize(("function", "options"), LISTS)
def test_list_losses_are_the_functions(function: str, options: dict[str, Any]) -> None:
    rows = list_rows(30)
    name = {"jrc": "JRC"}.get(function, function.title().replace("_", "")) + "Loss"
    loss = getattr(hvdrec.keras, name)(sessions="session", **options)
    loss = type(loss).from_config(loss.get_config())
    labels, outputs = list_inputs(function, rows)
    targets = {"label": labels[:, None], "session": rows["sessions"]}
    expected, _ = list_oracle(function, rows, options, rows["sessions"])
    close(loss(targets, outputs), expected)
    if function == "jrc":
        expected, _ = list_oracle(function, rows, options, rows["sessions"], rows["weights"])
        close(loss(targets, outputs, sample_weight=rows["weights"]), expected)
    else:
        with pytest.raises(ValueError, match="takes no sample_weight"):
            loss(targets, outputs, sample_weight=np.ones(30))


def test_probabilities() -> None:
    rows = pair_rows(100)
    loss = hvdrec.keras.PairwiseLogisticLoss(from_logits=False)
    expected, _ = pair_oracle(PAIRS[2], rows)
    close(loss(rows["labels"], tf.sigmoid(rows["scores"])), expected, 1e-5)
    assert np.isfinite(loss([1, 0], [0.0, 1.0]))


def test_fit_save_load(tmp_path: pathlib.Path) -> None:
    x, y, _ = data()
    trained = model()
    trained.compile("adam", loss=hvdrec.keras.PairwiseLogisticLoss(), metrics=[hvdrec.keras.ExactAUC()])
    trained.optimizer.learning_rate = 0.05
    before = trained.evaluate(x, y, verbose=0, return_dict=True)
    trained.fit(x, y, batch_size=100, epochs=3, verbose=0)
    after = trained.evaluate(x, y, verbose=0, return_dict=True)
    assert after["auc"] > max(before["auc"], 0.8)
    assert after["loss"] < before["loss"]
    trained.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert type(loaded.loss) is hvdrec.keras.PairwiseLogisticLoss
    assert loaded.evaluate(x, y, verbose=0, return_dict=True) == pytest.approx(after)


def test_fit_by_sessions_and_weights(tmp_path: pathlib.Path) -> None:
    x, y, sessions = data()
    weights = np.random.default_rng(0).choice([0.0, 1.0, 3.0], len(y)).astype(np.float32)
    by = hvdrec.keras.session_in_last_column
    trained = model()
    trained.compile(
        "sgd", loss=hvdrec.keras.PairwiseLogisticLoss(sessions=by), metrics=[hvdrec.keras.GroupedAUC(by)]
    )
    targets = np.stack([y, sessions], axis=1)
    scores = trained.predict(x, verbose=0)[:, 0]
    rows = {"labels": y, "scores": scores, "weights": weights, "sessions": sessions}
    expected, _ = pair_oracle(PAIRS[2], rows, weights=weights, sessions=sessions)
    found = trained.evaluate(
        x, targets, sample_weight=weights, batch_size=len(y), verbose=0, return_dict=True
    )
    close(found["loss"], expected)
    assert found["gauc"] == pytest.approx(grouped(sessions, scores, y > 0, "mean"), rel=1e-6)
    trained.fit(x, targets, sample_weight=weights, batch_size=128, verbose=0)
    trained.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.loss.sessions is by


def test_mixed_precision_and_compiled(caplog: pytest.LogCaptureFixture) -> None:
    from hvdrec.losses.functional import compiled

    compiled._told.clear()
    x, y, _ = data(64)
    half = keras.Sequential([keras.layers.Input((4,)), keras.layers.Dense(1, dtype="mixed_bfloat16")])
    half.compile("sgd", loss=hvdrec.keras.PairwiseHingeLoss(), jit_compile=True)
    loss = half.fit(x, y, verbose=0).history["loss"][0]
    assert np.isfinite(loss)
    assert "pairwise_hinge: jit_compile=True computes all pairs" in caplog.text


def test_masked_rows_count_for_nothing() -> None:
    rows = pair_rows(50)
    kept = rows["weights"] > 0
    scores = tf.constant(rows["scores"])
    loss = hvdrec.keras.PairwiseLogisticLoss()
    expected = loss(rows["labels"], scores, sample_weight=kept.astype(np.float32))
    scores._keras_mask = tf.constant(kept)
    assert float(loss(rows["labels"], scores)) == float(expected)


def grouped(ids: np.ndarray, scores: np.ndarray, positive: np.ndarray, reduction: str) -> float:
    wins, rows, positives = group_wins(ids, scores, positive)
    pairs = 2 * positives * (rows - positives)
    valid = pairs > 0
    weights = {"mean": np.ones_like(rows), "mean_by_sample_num": rows, "mean_by_positive_num": positives}
    w = weights[reduction][valid]
    return float((wins[valid] / pairs[valid] * w).sum() / w.sum())


@pytest.mark.parametrize("reduction", ["mean", "mean_by_sample_num", "mean_by_positive_num"])
def test_metrics_are_exact_at_every_batch(reduction: str) -> None:
    generator = np.random.default_rng(0)
    auc, gauc = hvdrec.keras.ExactAUC(), hvdrec.keras.GroupedAUC("id", reduction)
    parts: list[list[np.ndarray]] = [[], [], []]
    for count in (1, 300, 7, 120, 64, 64, 1000, 3):
        # Scores with ties, with both zeros, and of both signs.
        scores = (generator.integers(-5, 6, count) * np.float32(-0.25)).astype(np.float32)
        labels = generator.integers(0, 3, count).astype(np.float32)
        ids = generator.choice([-7, 3, 1 << 50, 11, 12, 13], count)
        auc.update_state(labels[:, None], scores[:, None])
        gauc.update_state({"label": labels, "id": ids}, scores)
        for part, column in zip(parts, (ids, scores, labels > 0), strict=True):
            part.append(column)
        columns = [np.concatenate(part) for part in parts]
        whole = grouped(np.zeros_like(columns[0]), *columns[1:], "mean") if len(columns[0]) > 1 else 0.0
        assert float(auc.result()) == np.float32(whole)
        if len(columns[0]) > 1:
            assert float(gauc.result()) == pytest.approx(grouped(*columns, reduction), rel=1e-6)
    auc.reset_state()
    assert float(auc.result()) == 0.0


def test_metrics_refuse_what_they_can_not() -> None:
    with pytest.raises(ValueError, match="metric auc does not support sample_weight"):
        hvdrec.keras.ExactAUC().update_state([1.0], [1.0], sample_weight=[1.0])
    with pytest.raises(ValueError, match="reduction is 'sum': must be one of mean, mean_by_sample_num"):
        hvdrec.keras.GroupedAUC("user", "sum")
    with pytest.raises(Exception, match="score 1 of the batch is not a number"):
        hvdrec.keras.ExactAUC().update_state([1.0, 0.0], [1.0, np.nan])
    auc = hvdrec.keras.ExactAUC()
    with pytest.raises(
        ValueError, match=r"metric auc can't be compiled by XLA; use compile\(jit_compile=False\)"
    ):
        tf.function(lambda: auc.update_state([1.0], [1.0]), jit_compile=True, autograph=False)()
    with pytest.raises(
        ValueError, match=r"sessions='user' needs y_true to be a dictionary .* but it is ndarray"
    ):
        hvdrec.keras.RankNetLoss(sessions="user")(np.ones(2), np.ones(2, np.float32))


LEGACY = """
import numpy as np, tensorflow as tf, tf_keras, hvdrec
assert issubclass(hvdrec.keras.RankNetLoss, tf_keras.losses.Loss)
by = hvdrec.keras.session_in_last_column
x = np.random.default_rng(0).normal(size=(200, 4)).astype("f")
y = np.stack([(x[:, 0] > 0).astype("i8"), np.arange(200) % 9 + (1 << 40)], axis=1)
model = tf_keras.Sequential([tf_keras.layers.Input((4,)), tf_keras.layers.Dense(1)])
model.compile("adam", loss=hvdrec.keras.PairwiseLogisticLoss(sessions=by), metrics=[hvdrec.keras.GroupedAUC(by)])
model.fit(x, y, verbose=0)
scores = model.predict(x, verbose=0)[:, 0]
found = model.evaluate(x, y, batch_size=200, verbose=0)
value, _ = hvdrec.numpy.pairwise_logistic(y[:, 0], scores, sessions=y[:, 1])
assert abs(found[0] - value) < 1e-6 * value, (found, value)
model.save("model.keras")
loaded = tf_keras.models.load_model("model.keras")
assert loaded.evaluate(x, y, batch_size=200, verbose=0) == found
print("done")
"""


@pytest.mark.skipif(importlib.util.find_spec("tf_keras") is None, reason="tf-keras is not installed")
def test_tf_keras_2(tmp_path: pathlib.Path) -> None:
    root = str(pathlib.Path(hvdrec.__file__).parents[1])
    environment = {**os.environ, "TF_USE_LEGACY_KERAS": "1", "PYTHONPATH": root}
    done = subprocess.run(
        [sys.executable, "-c", LEGACY],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=540,
    )
    assert done.stdout.endswith("done\n"), done.stderr[-3000:]
