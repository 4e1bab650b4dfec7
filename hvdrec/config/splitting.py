"""Whether a config splits the rows of embedding tables over the ranks."""

from __future__ import annotations

from typing import Any

from hvdrec.config.names import enum_name
from hvdrec.config.protos import train_pb2

#: Values of `train_distribute` that request it.
STRATEGIES = ("EmbeddingParallelStrategy", "SokStrategy")


def is_split(train_config: Any) -> bool:
    """Whether tables are split, by `embedding_split` or, if that is AUTO, by `train_distribute`."""
    if train_config.embedding_split == train_pb2.EmbeddingSplit.AUTO:
        return enum_name(train_config, "train_distribute") in STRATEGIES
    return bool(train_config.embedding_split == train_pb2.EmbeddingSplit.SPLIT)
