"""Circle loss of a batch of embeddings."""

from __future__ import annotations

import tensorflow as tf

from hvdrec.ops.library import implementation, load_ops
from hvdrec.ops.similarity import Pairs, masked_logsumexp


def circle_loss(
    embeddings: tf.Tensor,
    labels: tf.Tensor,
    *,
    sessions: tf.Tensor | None = None,
    margin: float = 0.25,
    gamma: float = 32.0,
    anchors: tuple[tf.Tensor, tf.Tensor] | None = None,
    gradient: bool = True,
    impl: str = "native",
) -> tf.Tensor:
    """Mean over anchors of softplus(LSE_n g a_n (s_n - m) + LSE_p -g a_p (s_p - 1 + m)).

    Circle loss (Sun et al., CVPR 2020, equation 6) with every row as anchor: s are the dot
    products with the anchor's positives p (rows of its label and session) and negatives n (all
    others), g = gamma, m = margin. The weights a_p = [1 + m - s_p]_+ and a_n = [s_n + m]_+ are treated as
    constants in the gradient. An anchor without positives or without negatives counts as 0.

    Args:
        embeddings: float32 or float64 [N, D], usually of norm 1.
        labels: int64 [N].
        sessions: int64 [N]; None means that all rows are one session.
        margin: m.
        gamma: g.
        anchors: The first anchor row, and the number of anchors; None means all rows. The sum over them is
            still divided by N.
        gradient: Whether a gradient will be needed.
        impl: ``native`` takes O(N^2 D) time and O(N D) memory; ``tensorflow`` holds [N, N]
            matrices.

    Returns:
        Scalar, 0 for fewer than two rows; NaN if an embedding is not finite.
    """
    chosen = implementation(_IMPLEMENTATIONS, impl)
    return chosen(embeddings, Pairs(labels, sessions, anchors), margin, gamma, gradient)


def _native(embeddings: tf.Tensor, pairs: Pairs, margin: float, gamma: float, gradient: bool) -> tf.Tensor:
    loss, _ = load_ops().hvdrec_circle_loss(
        embeddings, **pairs.op_inputs(), margin=margin, gamma=gamma, with_gradient=gradient
    )
    return loss


def _tensorflow(
    embeddings: tf.Tensor, pairs: Pairs, margin: float, gamma: float, gradient: bool
) -> tf.Tensor:
    del gradient
    positive, negative = pairs.masks()
    s = tf.matmul(embeddings, embeddings, transpose_b=True)
    constant = tf.stop_gradient(s)
    positive_logits = -gamma * tf.nn.relu(1.0 + margin - constant) * (s - (1.0 - margin))
    negative_logits = gamma * tf.nn.relu(constant + margin) * (s - margin)
    joint = masked_logsumexp(positive_logits, positive) + masked_logsumexp(negative_logits, negative)
    return pairs.mean(tf.nn.softplus(joint))


_IMPLEMENTATIONS = {"native": _native, "tensorflow": _tensorflow}
