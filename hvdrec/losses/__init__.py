"""Losses: the library's functions here, and the losses of a `pipeline.config` in the submodules.

`hvdrec.losses.pairwise_logistic(labels, scores)` and the like are plain functions of tensors. They are
defined in `hvdrec.losses.functional`, which is imported together with TensorFlow on first use. `registry`
builds the losses that a config names.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hvdrec.losses.functional import circle as circle
    from hvdrec.losses.functional import in_batch_softmax as in_batch_softmax
    from hvdrec.losses.functional import jrc as jrc
    from hvdrec.losses.functional import listwise_distill as listwise_distill
    from hvdrec.losses.functional import listwise_rank as listwise_rank
    from hvdrec.losses.functional import multi_similarity as multi_similarity
    from hvdrec.losses.functional import pairwise_focal as pairwise_focal
    from hvdrec.losses.functional import pairwise_hinge as pairwise_hinge
    from hvdrec.losses.functional import pairwise_logistic as pairwise_logistic
    from hvdrec.losses.functional import pairwise_square as pairwise_square
    from hvdrec.losses.functional import pairwise_squared_hinge as pairwise_squared_hinge
    from hvdrec.losses.functional import ranknet as ranknet

#: The functions of the library.
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


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(importlib.import_module("hvdrec.losses.functional"), name)
    raise AttributeError(f"module 'hvdrec.losses' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
