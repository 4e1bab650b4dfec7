"""The losses as functions of tensors, for any TensorFlow or Keras program; exported by `hvdrec.losses`."""

from hvdrec.losses.functional.embeddings import circle, in_batch_softmax, multi_similarity
from hvdrec.losses.functional.lists import jrc, listwise_distill, listwise_rank
from hvdrec.losses.functional.pairwise import (
    pairwise_focal,
    pairwise_hinge,
    pairwise_logistic,
    pairwise_square,
    pairwise_squared_hinge,
    ranknet,
)

__all__ = (
    "circle",
    "in_batch_softmax",
    "jrc",
    "listwise_distill",
    "listwise_rank",
    "multi_similarity",
    "pairwise_focal",
    "pairwise_hinge",
    "pairwise_logistic",
    "pairwise_square",
    "pairwise_squared_hinge",
    "ranknet",
)
