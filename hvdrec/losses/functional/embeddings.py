"""Losses of embeddings over all pairs of a batch, with memory linear in the rows.

For B rows of D numbers, time is O(B^2 D), about two or three matrix products, and memory is O(B D): the B x B
matrix of similarities is processed in tiles and never stored.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from hvdrec.losses.base import Replicas
from hvdrec.losses.embeddings import EmbeddedRows, embedded_rows, normalised
from hvdrec.losses.functional import compiled
from hvdrec.losses.functional.inputs import column, floats, identity, number, same_rows
from hvdrec.losses.functional.replicas import joined
from hvdrec.losses.gathered import gather_embeddings, gather_rows
from hvdrec.ops import circle as circle_op
from hvdrec.ops import in_batch_softmax as softmax_op
from hvdrec.ops import multi_similarity as multi_similarity_op


def circle(
    labels: Any,
    embeddings: Any,
    *,
    sessions: Any = None,
    margin: float = 0.25,
    gamma: float = 32.0,
    normalize: bool = True,
    impl: str | None = None,
    cross_replica: bool = False,
) -> tf.Tensor:
    """Circle loss with every row as anchor: EasyRec's CIRCLE_LOSS.

    With s the similarities of an anchor and its positives p (other rows with its label and session) and
    negatives n (all other rows), it is the mean over anchors of

        log(1 + sum_n exp(gamma [s_n + m]+ (s_n - m)) sum_p exp(-gamma [1 + m - s_p]+ (s_p - 1 + m)))

    with m the margin. The weights [.]+ are treated as constants in the gradient. An anchor without positives
    or without negatives counts as 0.

    Time O(B^2 D), memory O(B D).

    Args:
        labels: [B] or [B, 1], classes of any type: only equality is meaningful.
        embeddings: [B, D], floating point.
        sessions: [B] or [B, 1], ids or strings: positives must also share the session. None means one
            session.
        margin: Positives should be above 1 - margin, negatives below margin.
        gamma: The factor of the similarities, above 0.
        normalize: Whether to scale the embeddings to norm 1, so that similarities are cosines.
        impl: ``native`` or ``tensorflow`` ([B, B] matrices); None selects ``native`` on a CPU and
            ``tensorflow`` on a GPU and inside `jit_compile=True`.
        cross_replica: Whether to pair the rows of all ranks of a Horovod job that averages gradients.

    Returns:
        Scalar, float64 for float64 embeddings, else float32; 0 for fewer than two rows.

    Raises:
        ValueError: An argument has the wrong shape, type or value.
        UserError: The native library isn't built.

    Examples:
        >>> import hvdrec
        >>> e = [[1.0, 0.0], [0.6, 0.8], [0.0, 1.0], [0.0, 2.0]]
        >>> print(f"{hvdrec.losses.circle(['x', 'x', 'y', 'y'], e).numpy():.5f}")
        14.30435

    References:
        Sun et al., "Circle Loss: A Unified Perspective of Pair Similarity Optimization", CVPR 2020, eq. 4 to
        6.
    """
    margin, gamma = number("margin", margin), number("gamma", gamma, above=0.0)
    chosen = compiled.choose("circle", impl, pairs=False)
    rows, replicas = _rows("circle", labels, embeddings, sessions, normalize, cross_replica)
    part = circle_op.circle_loss(
        rows.embeddings,
        rows.labels,
        sessions=rows.sessions,
        margin=margin,
        gamma=gamma,
        anchors=rows.anchors,
        impl=chosen,
    )
    return _whole(part, replicas)


def multi_similarity(
    labels: Any,
    embeddings: Any,
    *,
    sessions: Any = None,
    alpha: float = 2.0,
    beta: float = 50.0,
    lamb: float = 0.5,
    mining_eps: float | None = 0.1,
    normalize: bool = True,
    impl: str | None = None,
    cross_replica: bool = False,
) -> tf.Tensor:
    """Multi-similarity loss with every row as anchor: EasyRec's MULTI_SIMILARITY_LOSS, with the paper's
    defaults.

    With s the similarities of an anchor and its positives p (other rows with its label and session) and
    negatives n (all other rows), it is the mean over anchors of

        log(1 + sum_p exp(-alpha (s_p - lamb))) / alpha + log(1 + sum_n exp(beta (s_n - lamb))) / beta

    Time O(B^2 D), memory O(B D).

    Args:
        labels: [B] or [B, 1], classes of any type: only equality is meaningful.
        embeddings: [B, D], floating point.
        sessions: [B] or [B, 1], ids or strings: positives must also share the session. None means one
            session.
        alpha: Sharpness for positives, above 0.
        beta: Sharpness for negatives, above 0.
        lamb: The similarity threshold between positives and negatives.
        mining_eps: Of an anchor's pairs, keeps only the negatives with s_n > min s_p - eps and the positives
            with s_p < max s_n + eps; None uses all pairs.
        normalize: Whether to scale the embeddings to norm 1, so that similarities are cosines.
        impl: ``native`` or ``tensorflow`` ([B, B] matrices); None selects ``native`` on a CPU and
            ``tensorflow`` on a GPU and inside `jit_compile=True`.
        cross_replica: Whether to pair the rows of all ranks of a Horovod job that averages gradients.

    Returns:
        Scalar, float64 for float64 embeddings, else float32; 0 for fewer than two rows.

    Raises:
        ValueError: An argument has the wrong shape, type or value.
        UserError: The native library isn't built.

    Examples:
        >>> import hvdrec
        >>> e = [[1.0, 0.0], [0.6, 0.8], [0.0, 1.0], [0.0, 2.0]]
        >>> print(f"{hvdrec.losses.multi_similarity([7, 7, 8, 8], e).numpy():.5f}")
        0.15323

    References:
        Wang et al., "Multi-Similarity Loss with General Pair Weighting for Deep Metric Learning", CVPR 2019,
        eq. 8 to 11.
    """
    chosen = compiled.choose("multi_similarity", impl, pairs=False)
    rows, replicas = _rows("multi_similarity", labels, embeddings, sessions, normalize, cross_replica)
    part = multi_similarity_op.multi_similarity_loss(
        rows.embeddings,
        rows.labels,
        sessions=rows.sessions,
        alpha=number("alpha", alpha, above=0.0),
        beta=number("beta", beta, above=0.0),
        lamb=number("lamb", lamb),
        mining_eps=None if mining_eps is None else number("mining_eps", mining_eps),
        anchors=rows.anchors,
        impl=chosen,
    )
    return _whole(part, replicas)


def in_batch_softmax(
    queries: Any,
    items: Any,
    *,
    item_ids: Any = None,
    weights: Any = None,
    temperature: float = 1.0,
    normalize: bool = False,
    impl: str | None = None,
    cross_replica: bool = False,
) -> tf.Tensor:
    """Softmax cross entropy of queries and items with in-batch negatives; InfoNCE.

    It is the weighted mean over queries i of -log softmax_j(q_i . v_j / temperature) at j = i, the loss of
    two-tower models.

    Time O(B M D), memory O((B + M) D).

    Args:
        queries: [B, D], floating point.
        items: [M, D] with M at least B, with the type of the queries: item i is query i's, all others are its
            negatives.
        item_ids: [M] or [M, 1], ids or strings: other items with the id of item i are excluded for query i.
            None means that all items differ.
        weights: [B] or [B, 1], at least 0, treated as constant in the gradient; None for 1.
        temperature: Above 0.
        normalize: Whether to scale queries and items to norm 1, so that similarities are cosines.
        impl: ``native`` or ``tensorflow`` ([B, M] matrices); None selects ``native`` on a CPU and
            ``tensorflow`` on a GPU and inside `jit_compile=True`.
        cross_replica: Whether queries use the items of all ranks of a Horovod job that averages gradients.

    Returns:
        Scalar, float64 for float64 queries, else float32; 0 without queries or weight.

    Raises:
        ValueError: An argument has the wrong shape, type or value.
        UserError: The native library isn't built.

    Examples:
        >>> import hvdrec
        >>> loss = hvdrec.losses.in_batch_softmax([[1.0, 0.0], [0.0, 1.0]], [[2.0, 0.0], [1.0, 1.0]])
        >>> print(f"{loss.numpy():.6f}")
        0.313262

    References:
        Yi et al., "Sampling-Bias-Corrected Neural Modeling for Large Corpus Item Recommendations", RecSys
        2019, eq. 2. van den Oord, Li and Vinyals, "Representation Learning with Contrastive Predictive
        Coding", 2018, eq. 4.
    """
    temperature = number("temperature", temperature, above=0.0)
    q, v = _matrix("queries", queries, normalize), _matrix("items", items, normalize)
    if q.dtype != v.dtype:
        raise ValueError(f"queries are {q.dtype.name} and items {v.dtype.name}: must have the same type")
    ids = None if item_ids is None else identity("item_ids", item_ids)
    w = None if weights is None else column("weights", weights, q.dtype)
    for name, tensor, of, rows in (("item_ids", ids, "items", v), ("weights", w, "queries", q)):
        if tensor is not None:
            same_rows(name, tensor, of, rows)
    chosen = compiled.choose("in_batch_softmax", impl, pairs=False)
    replicas = joined("in_batch_softmax", tf.shape(q)[0], q.dtype) if cross_replica else None
    if replicas is None:
        return softmax_op.in_batch_softmax(
            q, v, temperature=temperature, item_ids=ids, weights=w, impl=chosen
        )
    v, ids = _items_of_all_ranks(v, ids, replicas)
    own = softmax_op.in_batch_softmax(q, v, temperature=temperature, item_ids=ids, weights=w, impl=chosen)
    weight = tf.cast(tf.shape(q)[0], q.dtype) if w is None else tf.reduce_sum(w)
    total = replicas.sum(weight, "weight")
    return tf.math.divide_no_nan(own * tf.stop_gradient(weight), total * replicas.share)


def _matrix(name: str, value: Any, normalize: bool) -> tf.Tensor:
    tensor = floats(name, tf.convert_to_tensor(value))
    if tensor.shape.rank not in (None, 2):
        raise ValueError(f"{name} have shape {tensor.shape}: must be [rows, dimensions]")
    return normalised(tensor) if normalize else tensor


def _rows(
    loss: str, labels: Any, embeddings: Any, sessions: Any, normalize: bool, cross_replica: bool
) -> tuple[EmbeddedRows, Replicas | None]:
    matrix = _matrix("embeddings", embeddings, normalize)
    classes = identity("labels", labels)
    visits = None if sessions is None else identity("sessions", sessions)
    for name, tensor in (("labels", classes), ("sessions", visits)):
        if tensor is not None:
            same_rows(name, tensor, "embeddings", matrix)
    replicas = joined(loss, tf.shape(matrix)[0], matrix.dtype) if cross_replica else None
    return embedded_rows(matrix, classes, visits, replicas, with_gradient=True), replicas


def _whole(part: tf.Tensor, replicas: Replicas | None) -> tf.Tensor:
    """The sum of the ranks' parts is the loss, but their gradients are averaged."""
    return part if replicas is None else part / replicas.share


def _items_of_all_ranks(
    items: tf.Tensor, ids: tf.Tensor | None, replicas: Replicas
) -> tuple[tf.Tensor, tf.Tensor | None]:
    """All ranks' items, with this rank's first, because item i must be query i's."""
    rows = tf.shape(items, tf.int64)[0]
    columns = [tf.zeros([rows], tf.int32)] if ids is None else [ids]
    (found,), first, counts = gather_rows(columns, replicas)
    everyone = gather_embeddings(items, counts, replicas)
    turn = tf.cast(-first, tf.int32)
    return tf.roll(everyone, turn, axis=0), None if ids is None else tf.roll(found, turn, axis=0)
