"""The losses on numpy arrays, with value and gradient: for LightGBM, XGBoost, and programs without
TensorFlow.

The functions are those of `hvdrec.losses`, with the same names, arguments and definitions; TensorFlow isn't
needed. They release the GIL while they compute, and return the same bits for any number of threads.
"""

from hvdrec.numpy.arrays import SoftmaxLoss, ValueAndGradient
from hvdrec.numpy.embeddings import circle, in_batch_softmax, multi_similarity
from hvdrec.numpy.lists import jrc, listwise_distill, listwise_rank
from hvdrec.numpy.pairwise import (
    pairwise_focal,
    pairwise_hinge,
    pairwise_logistic,
    pairwise_square,
    pairwise_squared_hinge,
    ranknet,
)

__all__ = (
    "SoftmaxLoss",
    "ValueAndGradient",
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
