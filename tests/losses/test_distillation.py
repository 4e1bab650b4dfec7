"""Knowledge distillation, form by form, against its definition in float64, and its use in configs."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import text_format
from losses.running import parse

from hvdrec.config.models.distillation import heads_of_model
from hvdrec.config.models.heads import HeadConfig
from hvdrec.config.models.registry import SPECS
from hvdrec.config.protos import pipeline_pb2
from hvdrec.losses import registry
from hvdrec.losses.base import LossBatch
from hvdrec.losses.distillation import distillation_terms
from hvdrec.losses.labels import label_ranges
from hvdrec.losses.terms import TermBatch

Array = np.ndarray
LOGITS = np.array([0.4, -1.5, 2.0, 0.1])
TEACHER = np.array([1.0, -0.5, 0.3, -2.0])
WIDE = np.array([[0.4, -1.5, 2.0], [0.1, 0.3, -0.7]])
WIDE_TEACHER = np.array([[1.0, 0.5, 1.1], [-2.0, 0.2, 0.6]])


def sigmoid(x: Array) -> Array:
    return 1.0 / (1.0 + np.exp(-x))


def softmax(x: Array) -> Array:
    e = np.exp(x)
    return e / e.sum(axis=1, keepdims=True)


def bce(y: Array, p: Array) -> Array:
    return -y * np.log(p) - (1 - y) * np.log(1 - p)


def kl(y: Array, p: Array) -> Array:
    return y * np.log(y / p) + (1 - y) * np.log((1 - y) / (1 - p))


def one_head(kd: str, num_class: int = 1, model: str = "") -> HeadConfig:
    proto = pipeline_pb2.EasyRecConfig()
    text_format.Parse(
        f"data_config {{ label_fields: ['clk', 'soft'] }} model_config {{ model_class: 'DeepFM' "
        f"num_class: {num_class} {model} kd {{ soft_label_name: 'soft' {kd} }} }}",
        proto,
    )
    (head,) = heads_of_model(SPECS["DeepFM"], proto)
    return head


def distilled(
    kd: str, prediction: Array, soft: Array, num_class: int = 1, inside: Array | None = None
) -> tuple[str, float]:
    head = one_head(kd, num_class)
    (term,) = distillation_terms([head], lambda space, batch: tf.constant(inside, tf.float32))
    rows = LossBatch(
        tf.zeros(prediction.shape),
        tf.zeros([len(soft)]),
        tf.fill([len(soft)], 9.0),
        lambda name: tf.constant([1] * len(soft), tf.int64),
    )
    batch = TermBatch(
        outputs={},
        heads={"": rows},
        added={},
        label=lambda name: {"soft": tf.constant(soft, tf.float32)}[name],
        prediction=lambda name: {"logits": tf.constant(prediction, tf.float32)}[name],
        arrays={},
        training=True,
    )
    return term.name, float(term.compute(batch))


@pytest.mark.parametrize(
    ("kd", "expected"),
    [
        (
            "loss_type: BINARY_CROSS_ENTROPY_LOSS temperature: 3",
            bce(sigmoid(TEACHER / 3), sigmoid(LOGITS / 3)),
        ),
        ("loss_type: KL_DIVERGENCE_LOSS temperature: 2", kl(sigmoid(TEACHER / 2), sigmoid(LOGITS / 2))),
        ("loss_type: CROSS_ENTROPY_LOSS", bce(sigmoid(TEACHER), sigmoid(LOGITS))),
        ("loss_type: L2_LOSS temperature: 5", (TEACHER - LOGITS) ** 2),
        ("loss_type: SIGMOID_L2_LOSS", (TEACHER - LOGITS) ** 2),
        ("loss_type: CLASSIFICATION", bce(TEACHER, sigmoid(LOGITS))),
    ],
)
def test_forms_of_one_number(kd: str, expected: Array) -> None:
    name, value = distilled(f"pred_name: 'logits' loss_weight: 0.5 {kd}", LOGITS, TEACHER)
    assert name == "kd_loss_logits_soft"
    assert value == pytest.approx(0.5 * expected.mean(), rel=1e-5)
    inside = np.array([2.0, 0.0, 1.0, 1.0])
    space = "task_space_indicator_name: 'u' task_space_indicator_value: 'a'"
    _, value = distilled(f"pred_name: 'logits' {kd} {space}", LOGITS, TEACHER, inside=inside)
    assert value == pytest.approx((inside * expected).sum() / 3, rel=1e-5)


@pytest.mark.parametrize("kind", ["BINARY_CROSS_ENTROPY_LOSS", "KL_DIVERGENCE_LOSS", "CROSS_ENTROPY_LOSS"])
@pytest.mark.parametrize("is_logits", [True, False])
def test_probabilities_are_taken_as_what_they_are(kind: str, is_logits: bool) -> None:
    """Probabilities of a teacher, and of the model, give the same as their logits."""
    kd = f"pred_name: 'logits' loss_type: {kind} temperature: 2"
    _, expected = distilled(kd, LOGITS, TEACHER)
    words = f"{'pred' if is_logits else 'label'}_is_logits: false"
    given = (sigmoid(LOGITS), TEACHER) if is_logits else (LOGITS, sigmoid(TEACHER))
    assert distilled(f"{kd} {words}", *given)[1] == pytest.approx(expected, rel=1e-5)


def test_forms_of_several_classes() -> None:
    kd = "pred_name: 'logits' temperature: 2 loss_type: "
    p, y = softmax(WIDE / 2), softmax(WIDE_TEACHER / 2)
    _, value = distilled(kd + "KL_DIVERGENCE_LOSS", WIDE, WIDE_TEACHER, 3)
    assert value == pytest.approx((y * np.log(y / p)).sum(axis=1).mean(), rel=1e-5)
    _, value = distilled(kd + "CROSS_ENTROPY_LOSS", WIDE, WIDE_TEACHER, 3)
    assert value == pytest.approx(bce(y, p).mean(), rel=1e-5)
    # EasyRec's sigmoids take each number by itself.
    p, y = sigmoid(WIDE / 2), sigmoid(WIDE_TEACHER / 2)
    for given, words in ((WIDE_TEACHER, ""), (sigmoid(WIDE_TEACHER), "label_is_logits: false")):
        _, value = distilled(f"{kd} BINARY_CROSS_ENTROPY_LOSS {words}", WIDE, given, 3)
        assert value == pytest.approx(bce(y, p).mean(), rel=1e-5)
    _, value = distilled(kd + "L2_LOSS", WIDE, WIDE_TEACHER, 3)
    assert value == pytest.approx(((WIDE_TEACHER - WIDE) ** 2).mean(), rel=1e-5)
    p, y = softmax(WIDE / 2), softmax(WIDE_TEACHER / 2)
    of_probabilities = distilled(
        kd + "KL_DIVERGENCE_LOSS label_is_logits: false", WIDE, softmax(WIDE_TEACHER), 3
    )
    assert of_probabilities[1] == pytest.approx((y * np.log(y / p)).sum(axis=1).mean(), rel=1e-5)


@pytest.mark.parametrize(
    "text",
    [
        "loss_type: PAIRWISE_HINGE_LOSS pairwise_hinge_loss { session_name: 'u' }",
        "loss_type: LISTWISE_RANK_LOSS listwise_rank_loss { label_is_logits: true }",
        "loss_type: BINARY_FOCAL_LOSS",
    ],
)
def test_any_other_loss_takes_the_prediction_and_the_soft_label(text: str) -> None:
    soft = sigmoid(TEACHER)
    _, value = distilled(f"pred_name: 'logits' loss_weight: 3 {text}", LOGITS, soft)
    rows = LossBatch(
        tf.constant(LOGITS, tf.float32),
        tf.constant(soft, tf.float32),
        None,
        lambda name: tf.constant([1] * 4, tf.int64),
    )
    assert value == pytest.approx(3 * float(registry.build(parse(text), 1).compute(rows)), rel=1e-6)


def test_what_can_be_distilled_goes_by_the_losses() -> None:
    names: Callable[[str], list[str]] = lambda model: [  # noqa: E731
        d.prediction
        for p in ("logits", "probs", "y")
        for d in one_head(f"pred_name: '{p}' loss_type: L2_LOSS", model=model).distillations
    ]
    assert names("") == ["logits", "probs"]
    assert names("loss_type: L2_LOSS") == ["y"]
    assert names("losses { loss_type: L2_LOSS } losses { loss_type: CLASSIFICATION }") == [
        "logits",
        "probs",
        "y",
    ]


@pytest.mark.parametrize(
    ("kd", "ranges"),
    [
        ("loss_type: CLASSIFICATION", {"soft": (0.0, 1.0)}),
        ("loss_type: BINARY_FOCAL_LOSS", {"soft": (0.0, 1.0)}),
        ("loss_type: KL_DIVERGENCE_LOSS", {}),
        ("loss_type: KL_DIVERGENCE_LOSS label_is_logits: false", {"soft": (0.0, 1.0)}),
        ("loss_type: CROSS_ENTROPY_LOSS label_is_logits: false", {"soft": (0.0, 1.0)}),
        ("loss_type: SIGMOID_L2_LOSS", {}),
        ("loss_type: PAIR_WISE_LOSS", {}),
    ],
)
def test_soft_labels_that_a_loss_accepts(kd: str, ranges: dict[str, tuple[float, float]]) -> None:
    """A probability outside 0..1 would let the loss fall without end."""
    found = label_ranges([one_head(f'{kd} pred_name: "logits"')])
    assert {name: (r.low, r.high) for name, r in found.items() if name != "clk"} == ranges
    assert all("model_config.kd[0] accepts numbers" in r.why for name, r in found.items() if name != "clk")
