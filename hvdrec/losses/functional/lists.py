"""List-wise losses: the rows of a session compete in a softmax.

For B rows, time and memory are O(B), for any number and sizes of sessions. One pass computes the value and
the gradient.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from hvdrec.losses.functional import compiled
from hvdrec.losses.functional.inputs import column, floats, identity, number, same_rows
from hvdrec.losses.functional.replicas import joined
from hvdrec.losses.lists import generative_loss, listwise_loss, positions_as_masses
from hvdrec.ops.listwise import LOGITS, MASSES, SHARES


def jrc(
    labels: Any,
    logits: Any,
    *,
    weights: Any = None,
    sessions: Any = None,
    alpha: float = 0.5,
    same_label: bool = True,
    impl: str | None = None,
    cross_replica: bool = False,
) -> tf.Tensor:
    """Joint optimisation of ranking and calibration: EasyRec's JRC_LOSS with fixed weights.

    A row has a logit n for label 0 and p for label 1. The loss is alpha times the cross entropy of their
    softmax, which calibrates the probabilities, plus 1 - alpha times a term that orders the rows of
    a session: with `same_label` the mean over all rows j of w_j V / rows of j's session, where V is the
    sum over the session's rows of -log of the softmax, over the session, of the logit of their own label.
    Without it, a row competes only with the session's rows with the other label.

    Time and memory O(B).

    Args:
        labels: [B] or [B, 1], 0 or 1.
        logits: [B, 2], floating point: n and p.
        weights: [B] or [B, 1], or None for 1. The cross entropy is a mean over rows whose weight isn't 0.
        sessions: [B] or [B, 1] ids or texts. None: all rows are one session.
        alpha: Weight of the cross entropy, 0 to 1.
        same_label: Whether rows with the same label compete with each other.
        impl: ``native`` or ``tensorflow``, both of O(B); None takes ``native`` on a CPU.
        cross_replica: Forms sessions of the rows of all ranks of a Horovod job that averages gradients.

    Returns:
        Scalar, float64 for float64 logits, else float32; 0 without rows.

    Raises:
        ValueError: An argument has a wrong shape, type or value, or XLA is to compile it.
        UserError: The native library isn't built.

    Examples:
        >>> import hvdrec
        >>> loss = hvdrec.losses.jrc([1, 0, 0], [[0.0, 2.0], [0.0, 1.0], [0.0, -1.0]], sessions=[7, 7, 8])
        >>> print(f"{loss.numpy():.6f}")
        0.459977

    References:
        Sheng et al., "Joint Optimization of Ranking and Calibration with Contextualized Hybrid Model", KDD
        2023, eq. 6 to 9.
    """
    alpha = number("alpha", alpha, at_least=0.0)
    if alpha > 1.0:
        raise ValueError(f"alpha is {alpha:g}: must be at most 1")
    pairs = floats("logits", tf.convert_to_tensor(logits))
    if pairs.shape.rank not in (None, 2) or (pairs.shape.rank == 2 and pairs.shape[1] not in (2, None)):
        raise ValueError(f"logits have shape {pairs.shape}: must be [rows, 2]")
    given = {
        "labels": column("labels", labels, tf.int32),
        "weights": None if weights is None else column("weights", weights, pairs.dtype),
        "sessions": None if sessions is None else identity("sessions", sessions),
    }
    for name, tensor in given.items():
        if tensor is not None:
            same_rows(name, tensor, "logits", pairs)
    replicas = joined("jrc", tf.shape(pairs)[0], pairs.dtype) if cross_replica else None
    ranking = generative_loss(
        *(pairs, given["labels"]),
        sessions=given["sessions"],
        weights=given["weights"],
        same_label=same_label,
        impl=compiled.choose_for_lists("jrc", impl),
        replicas=replicas,
    )
    each = tf.nn.sparse_softmax_cross_entropy_with_logits(given["labels"], pairs)
    w = tf.ones_like(each) if given["weights"] is None else given["weights"]
    total, count = tf.reduce_sum(w * each), tf.reduce_sum(tf.cast(tf.not_equal(w, 0), pairs.dtype))
    if replicas is not None:
        # Parts whose mean over the ranks is the loss of all rows.
        count = replicas.sum(count, "count_of_weights") * replicas.share
    calibration = tf.math.divide_no_nan(total, count)
    return alpha * calibration + (1.0 - alpha) * ranking


def listwise_rank(
    labels: Any,
    scores: Any,
    *,
    sessions: Any = None,
    temperature: float = 1.0,
    label_is_logits: bool = False,
    impl: str | None = None,
    cross_replica: bool = False,
) -> tf.Tensor:
    """ListNet's top-one loss: EasyRec's LISTWISE_RANK_LOSS.

    The mean over sessions of -sum_i t_i log softmax(s / temperature)_i, the softmax over the rows of a
    session. t is the label, or with `label_is_logits` the softmax of labels / temperature over the session.

    Time and memory O(B).

    Args:
        labels: [B] or [B, 1], any numbers; no gradient flows to them.
        scores: [B] or [B, 1], floating point: the model's raw outputs (logits).
        sessions: [B] or [B, 1] ids or texts. None: all rows are one session.
        temperature: Divides the scores, and labels that are logits; above 0.
        label_is_logits: Whether the labels are logits, such as a teacher's, whose softmax gives the shares.
        impl: ``native`` or ``tensorflow``, both of O(B); None takes ``native`` on a CPU.
        cross_replica: Forms sessions of the rows of all ranks of a Horovod job that averages gradients.

    Returns:
        Scalar, float64 for float64 scores, else float32; 0 without rows.

    Raises:
        ValueError: An argument has a wrong shape, type or value, or XLA is to compile it.
        UserError: The native library isn't built.

    Examples:
        >>> import hvdrec
        >>> loss = hvdrec.losses.listwise_rank([1, 0, 0], [2.0, 1.0, -1.0])
        >>> print(f"{loss.numpy():.6f}")
        0.349012

    References:
        Cao et al., "Learning to Rank: From Pairwise Approach to Listwise Approach", ICML 2007, eq. 5 and 6.
    """
    temperature = number("temperature", temperature, above=0.0)
    form = LOGITS if label_is_logits else SHARES
    own = ("listwise_rank", labels, scores, sessions, temperature, form, impl, cross_replica)
    return _listwise(*own, scale=temperature if label_is_logits else 1.0)


def listwise_distill(
    labels: Any,
    scores: Any,
    *,
    sessions: Any = None,
    temperature: float = 1.0,
    last_position: float = 512.0,
    impl: str | None = None,
    cross_replica: bool = False,
) -> tf.Tensor:
    """Distillation of a teacher's ranking of each session: EasyRec's LISTWISE_DISTILL_LOSS.

    The mean over sessions of -sum_i t_i log softmax(s / temperature)_i, with t in proportion to
    log((1 + last_position) / position).

    Time and memory O(B).

    Args:
        labels: [B] or [B, 1], the rows' positions in the teacher's ranking, from 1, clipped to 1 and
            `last_position`. No gradient flows to them.
        scores: [B] or [B, 1], floating point: the model's raw outputs (logits).
        sessions: [B] or [B, 1] ids or texts. None: all rows are one session.
        temperature: Divides the scores, above 0.
        last_position: Positions after this one count as this one; at least 1 (EasyRec's
            `label_clip_max_value`).
        impl: ``native`` or ``tensorflow``, both of O(B); None takes ``native`` on a CPU.
        cross_replica: Forms sessions of the rows of all ranks of a Horovod job that averages gradients.

    Returns:
        Scalar, float64 for float64 scores, else float32; 0 without rows.

    Raises:
        ValueError: An argument has a wrong shape, type or value, or XLA is to compile it.
        UserError: The native library isn't built.

    Examples:
        >>> import hvdrec
        >>> loss = hvdrec.losses.listwise_distill([1, 2, 9], [2.0, 1.0, -1.0])
        >>> print(f"{loss.numpy():.6f}")
        1.465612

    References:
        Tang and Wang, "Ranking Distillation: Learning Compact Ranking Models With High Performance for
        Recommender System", KDD 2018, section 3.2.
    """
    temperature = number("temperature", temperature, above=0.0)
    most = number("last_position", last_position, at_least=1.0)
    own = ("listwise_distill", labels, scores, sessions, temperature, MASSES, impl, cross_replica)
    return _listwise(*own, most=most)


def _listwise(
    name: str,
    labels: Any,
    scores: Any,
    sessions: Any,
    temperature: float,
    form: str,
    impl: str | None,
    cross_replica: bool,
    scale: float = 1.0,
    most: float = 0.0,
) -> tf.Tensor:
    """The loss of labels divided by `scale`, or of positions up to `most`."""
    values = floats("scores", column("scores", scores))
    targets = column("labels", labels, values.dtype)
    ids = None if sessions is None else identity("sessions", sessions)
    for argument, tensor in (("labels", targets), ("sessions", ids)):
        if tensor is not None:
            same_rows(argument, tensor, "scores", values)
    return listwise_loss(
        values / temperature,
        tf.stop_gradient(positions_as_masses(targets, most) if most else targets / scale),
        sessions=ids,
        form=form,
        impl=compiled.choose_for_lists(name, impl),
        replicas=joined(name, tf.size(values), values.dtype) if cross_replica else None,
    )
