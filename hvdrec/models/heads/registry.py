"""The kinds of heads by name; `hvdrec.config.models.heads.KINDS` has their properties for configs."""

from __future__ import annotations

from hvdrec.config.models.heads import HeadConfig
from hvdrec.models.heads.base import Head
from hvdrec.models.heads.embedding import EmbeddingHead
from hvdrec.models.heads.jrc import JRCHead
from hvdrec.models.heads.logit import LogitHead
from hvdrec.models.heads.match import InterestHead, MatchHead
from hvdrec.models.heads.product import AfterClickHead, ProductHead
from hvdrec.models.heads.softmax import SoftmaxHead
from hvdrec.models.heads.two_towers import TwoTowerHead
from hvdrec.models.heads.ziln import ZilnHead

HEADS: dict[str, type[Head]] = {
    "logit": LogitHead,
    "softmax": SoftmaxHead,
    "jrc": JRCHead,
    "ziln": ZilnHead,
    "product": ProductHead,
    "after_click": AfterClickHead,
    "two_towers": TwoTowerHead,
    "match": MatchHead,
    "interests": InterestHead,
    "embedding": EmbeddingHead,
}


def build_head(config: HeadConfig) -> Head:
    """Builds the head for a description."""
    return HEADS[config.kind](config)
