"""TextCNN, SeqAugment and AuxiliaryLoss."""

from __future__ import annotations

import json
import pathlib
from typing import Any

import numpy as np
import pytest
from layers.making import Made, near, numbers, relu, softmax

LENGTHS = np.array([3, 0, 1], np.int32)


def _convolved(made: Made, name: str, x: np.ndarray) -> np.ndarray:
    kernel = made.value(f"{name}/kernel")
    size = len(kernel)
    places = range(x.shape[1] - size + 1)
    out = np.stack([np.einsum("bsd,sdf->bf", x[:, p : p + size], kernel) for p in places], 1)
    return relu(out + made.value(f"{name}/bias")).max(1)


@pytest.mark.parametrize(("fixed", "length"), [(4, 4), (2, 2), (0, 3)])
def test_text_cnn(fixed: int, length: int) -> None:
    made = Made(
        "TextCNN",
        [(None, 4), ()],
        filter_sizes=[1, 2],
        num_filters=[3, 2],
        pad_sequence_length=fixed,
        mlp={"hidden_units": [2], "use_final_bn": False},
    )
    made.shake()
    x = numbers(1, 3, 3, 4)
    seen = np.pad(x, [[0, 0], [0, 2], [0, 0]])[:, :length]
    pooled = np.concatenate([_convolved(made, "conv1d", seen), _convolved(made, "conv1d_1", seen)], 1)
    near(made.eval([x, LENGTHS]), made.dense("mlp/layer_0/dense", pooled, bias=False))


def test_text_cnn_of_rows_shorter_than_its_filters() -> None:
    made = Made("TextCNN", [(None, 4), ()], filter_sizes=[2], num_filters=[3], pad_sequence_length=0)
    x = numbers(1, 2, 1, 4)
    near(
        made.eval([x, np.ones(2, np.int32)]),
        _convolved(made, "conv1d", np.pad(x, [[0, 0], [0, 1], [0, 0]])),
    )


def _augmented(count: int, **rates: float) -> tuple[Made, np.ndarray, np.ndarray, np.ndarray]:
    """Rows with 10 elements of different numbers, after an augmentation."""
    made = Made("SeqAugment", [(None, 1), (), 4], **rates)
    x = np.tile(np.arange(1.0, 13.0)[None, :, None], [count, 1, 1])
    x[:, 10:] = 0.0
    lengths = np.full(count, 10, np.int32)
    (found, kept), _ = made.train([x, lengths, np.zeros((count, 4))])
    return made, x, found.numpy()[:, :, 0], kept.numpy()


def test_crop_keeps_a_run() -> None:
    _, _, found, kept = _augmented(400, crop_rate=0.4, mask_rate=0.0, reorder_rate=0.0)
    assert (kept == 4).all()
    assert (np.diff(found[:, :4], axis=1) == 1.0).all()
    assert (found[:, 4:] == 0.0).all()
    # EasyRec draws the beginning below length - count, so the last run there is never comes.
    assert set(found[:, 0]) == set(range(1, 7))


def test_mask_replaces_its_share() -> None:
    made, x, found, kept = _augmented(400, crop_rate=1.0, mask_rate=0.35, reorder_rate=0.0)
    assert (kept == 10).all()
    mask = np.float32(made.value("block/mask")[0, 0])
    assert ((found == mask).sum(1) == 3).all()
    assert ((found == mask) | (found == x[:, :, 0])).all()
    assert (found[:, 10:] == 0.0).all()
    shares = (found[:, :10] == mask).mean(0)
    assert np.abs(shares - 0.3).max() < 0.1


def test_reorder_shuffles_a_run() -> None:
    _, x, found, kept = _augmented(400, crop_rate=1.0, mask_rate=0.0, reorder_rate=0.5)
    assert (kept == 10).all()
    assert (np.sort(found, 1) == np.sort(x[:, :, 0], 1)).all()
    moved = found != x[:, :, 0]
    places = np.arange(12)
    spans = [places[row].max() - places[row].min() + 1 for row in moved if row.any()]
    assert max(spans) == 5
    assert (moved.any(1)).mean() > 0.9
    assert not moved[:, 9:].any()


def test_each_row_gets_one_change() -> None:
    made, x, found, kept = _augmented(600, crop_rate=0.5, mask_rate=0.5, reorder_rate=0.5)
    mask = np.float32(made.value("block/mask")[0, 0])
    cropped, masked = kept == 5, (found == mask).any(1)
    reordered = ~cropped & ~masked
    assert not (cropped & masked).any()
    for share in (cropped.mean(), masked.mean(), reordered.mean()):
        assert abs(share - 1 / 3) < 0.07
    assert (np.sort(found[reordered], 1) == np.sort(x[reordered, :, 0], 1)).all()


def test_augmentation_leaves_empty_rows_and_evaluations() -> None:
    made = Made("SeqAugmentOps", [(None, 2), ()])
    assert made.value("block/mask").shape == (2,)
    x = numbers(1, 3, 4, 2) * (np.arange(4) < LENGTHS[:, None])[:, :, None]
    near(made.eval([x, LENGTHS]), [x, LENGTHS])
    one, two = made.train([x, LENGTHS], seed=1)[0], made.train([x, LENGTHS], seed=1)[0]
    near(one[0], two[0], rtol=0.0, atol=0.0)
    assert (one[0][1].numpy() == 0.0).all()
    assert one[1][1] == 0


def _reference(kind: str, x: np.ndarray, y: np.ndarray) -> float:
    if kind == "l2_loss":
        return float(((x - y) ** 2).sum(1).mean())
    if kind == "info_nce":
        return float(-np.log(np.diag(softmax(x @ y.T / 0.2))).mean())
    both, total = np.concatenate([x, y]), 0.0
    for i in range(len(both)):
        powers = np.exp(both @ both[i] / 0.2)
        partner = (i + len(x)) % len(both)
        total -= np.log(powers[partner] / (powers.sum() - powers[i]))
    return total / len(both)


@pytest.mark.parametrize(
    ("kind", "name"),
    [("l2_loss", "block_l2_loss"), ("info_nce", "block_info_nce_loss"), ("nce_loss", "block_nce_loss")],
)
def test_auxiliary_loss(kind: str, name: str) -> None:
    made = Made("AuxiliaryLoss", [3, 3], loss_type=kind, loss_weight=0.5, temperature=0.2)
    assert [loss.name for loss in made.store.added_losses] == [name]
    x, y = numbers(1, 5, 3), numbers(2, 5, 3)
    output, run = made.train([x, y])
    assert output is None
    near(run.losses[name], 0.5 * _reference(kind, x, y))
    _, empty = made.train([np.zeros((0, 3)), np.zeros((0, 3))])
    near(empty.losses[name], 0.0)


def test_easyrecs_info_nce(shared: pathlib.Path) -> None:
    """Its value and gradient for the same numbers."""
    import tensorflow as tf

    from hvdrec.layers.contrastive.auxiliary_loss import info_nce

    golden = json.loads((shared / "golden" / "losses.json").read_text())
    (case,) = (case for case in golden["cases"] if case["name"] == "info_nce")
    inputs = [tf.constant(golden["inputs"][name], tf.float32) for name in case["inputs"]]
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        loss = info_nce(*inputs, case["params"]["temperature"])
    near(loss, case["loss"])
    for name, gradient in zip(case["inputs"], tape.gradient(loss, inputs), strict=True):
        near(gradient, np.array(case["grad"][name]))


def test_losses_have_finite_gradients() -> None:
    import tensorflow as tf

    from hvdrec.layers.contrastive.auxiliary_loss import nce_loss

    x = tf.constant(numbers(1, 4, 3), tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(x)
        loss = nce_loss(x, 2.0 * x, 0.5)
    gradient: Any = tape.gradient(loss, x)
    step = 1e-3
    ahead = nce_loss(x + step * tf.sign(gradient), 2.0 * (x + step * tf.sign(gradient)), 0.5)
    behind = nce_loss(x - step * tf.sign(gradient), 2.0 * (x - step * tf.sign(gradient)), 0.5)
    near((ahead - behind) / (2.0 * step), np.abs(gradient).sum(), rtol=2e-2)
