"""The losses and exact AUC for Keras: `model.compile(loss=hvdrec.keras.PairwiseLogisticLoss())`.

Keras here means TensorFlow's `tf.keras`: Keras 3, or tf-keras 2 with TF_USE_LEGACY_KERAS=1 in the
environment.
"""

from hvdrec.keras.embedding_losses import CircleLoss, MultiSimilarityLoss
from hvdrec.keras.list_losses import JRCLoss, ListwiseDistillLoss, ListwiseRankLoss
from hvdrec.keras.metrics import ExactAUC, GroupedAUC
from hvdrec.keras.pairwise_losses import (
    PairwiseFocalLoss,
    PairwiseHingeLoss,
    PairwiseLogisticLoss,
    PairwiseSquaredHingeLoss,
    PairwiseSquareLoss,
    RankNetLoss,
)
from hvdrec.keras.targets import session_in_last_column

__all__ = (
    "CircleLoss",
    "ExactAUC",
    "GroupedAUC",
    "JRCLoss",
    "ListwiseDistillLoss",
    "ListwiseRankLoss",
    "MultiSimilarityLoss",
    "PairwiseFocalLoss",
    "PairwiseHingeLoss",
    "PairwiseLogisticLoss",
    "PairwiseSquareLoss",
    "PairwiseSquaredHingeLoss",
    "RankNetLoss",
    "session_in_last_column",
)
