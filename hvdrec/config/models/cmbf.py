"""CMBF in configs."""

from __future__ import annotations

from typing import Any

from hvdrec.config.models.check import ModelCheck
from hvdrec.config.models.modalities import (
    GENERAL,
    GROUPS_OF_TOKENS,
    IMAGE,
    TEXT,
    check_heads,
    check_modalities,
    check_places,
)
from hvdrec.config.models.spec import ModelSpec
from hvdrec.config.ranges import AT_LEAST_1, BELOW_1

_COUNTS = (
    *("multi_head_num", "image_multi_head_num", "text_multi_head_num", "image_feature_patch_num"),
    *("text_head_size", "image_head_size", "image_cross_head_size", "text_cross_head_size"),
)
_DROPOUTS = ("hidden_dropout_prob", "attention_probs_dropout_prob", "text_seq_emb_dropout_prob")


class CMBFSpec(ModelSpec):
    """Images, general features, texts and other features: at least one of these groups."""

    name = "CMBF"
    block = "cmbf"
    order = GROUPS_OF_TOKENS
    sequence_groups = (TEXT,)
    ranges = {
        **{f"CMBFTower.{name}": AT_LEAST_1 for name in _COUNTS},
        **{f"CMBFTower.{name}": BELOW_1 for name in _DROPOUTS},
    }

    def check(self, check: ModelCheck) -> None:
        """See `check_fusion`."""
        check_fusion(check, check.block.config, f"{check.path}.config")


def check_fusion(check: ModelCheck, tower: Any, path: str) -> None:
    """Checks a `CMBFTower` at `path`."""
    check_modalities(check)
    check_places(check, tower, path)
    heads = tower.multi_head_num
    if IMAGE in check.groups:
        _check_images(check, tower, path)
        if tower.image_self_attention_layer_num:
            width = tower.image_head_size * tower.image_multi_head_num
            what = "image_head_size times image_multi_head_num"
            check_heads(check, f"{path}.multi_head_num", heads, width, what)
    if (GENERAL in check.groups or TEXT in check.groups) and tower.text_self_attention_layer_num:
        width = tower.text_head_size * tower.text_multi_head_num
        check_heads(check, f"{path}.multi_head_num", heads, width, "text_head_size times text_multi_head_num")


def _check_images(check: ModelCheck, tower: Any, path: str) -> None:
    widths = check.widths(IMAGE)
    patches = tower.image_feature_patch_num
    cut = len(widths) == 1 and tower.image_self_attention_layer_num
    if patches > 1 and not cut:
        check.report.warn(
            f"{path}.image_feature_patch_num",
            "has an effect only on a single image with image_self_attention_layer_num above 0, as in EasyRec",
        )
    for name, width in widths.items():
        if cut and patches and width % patches:
            check.error(
                f"{path}.image_feature_patch_num",
                f"{name!r} has {width} numbers, not a multiple of {patches}",
            )
    if tower.image_feature_dim and not (cut and patches == 1):
        check.report.warn(
            f"{path}.image_feature_dim",
            "has an effect only on a single uncut image with "
            "image_self_attention_layer_num above 0, as in EasyRec",
        )
