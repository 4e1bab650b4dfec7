"""The layers that a config can name, by EasyRec's `class_name`."""

from __future__ import annotations

from hvdrec.config.layers.aitm_tower import AITM_TOWER
from hvdrec.config.layers.attention import ATTENTION
from hvdrec.config.layers.auto_dis import AUTO_DIS
from hvdrec.config.layers.auxiliary_loss import AUXILIARY_LOSS
from hvdrec.config.layers.batch_norm import BATCH_NORMALIZATION
from hvdrec.config.layers.bilinear import BILINEAR
from hvdrec.config.layers.bst import BST
from hvdrec.config.layers.cin import CIN
from hvdrec.config.layers.cross import CROSS
from hvdrec.config.layers.dense import DENSE
from hvdrec.config.layers.din import DIN
from hvdrec.config.layers.dot_interaction import DOT_INTERACTION
from hvdrec.config.layers.edit_distance import EDIT_DISTANCE
from hvdrec.config.layers.fibinet import FIBINET
from hvdrec.config.layers.fm import FM
from hvdrec.config.layers.gate import GATE
from hvdrec.config.layers.highway import HIGHWAY
from hvdrec.config.layers.keras.by_column import BY_COLUMN
from hvdrec.config.layers.keras.merging import CONCATENATE, DOT, MERGES
from hvdrec.config.layers.keras.shaping import SHAPING
from hvdrec.config.layers.mapped_dot_product import MAPPED_DOT_PRODUCT
from hvdrec.config.layers.mask_block import MASK_BLOCK
from hvdrec.config.layers.mask_net import MASK_NET
from hvdrec.config.layers.mlp import MLP
from hvdrec.config.layers.mmoe import MMOE
from hvdrec.config.layers.multi_head_attention import MULTI_HEAD_ATTENTION
from hvdrec.config.layers.nary_dis import NARY_DIS
from hvdrec.config.layers.overlap_feature import OVERLAP_FEATURE
from hvdrec.config.layers.periodic import PERIODIC
from hvdrec.config.layers.ppnet import PPNET
from hvdrec.config.layers.senet import SENET
from hvdrec.config.layers.seq_augment import SEQ_AUGMENT, SEQ_AUGMENT_OPS
from hvdrec.config.layers.spec import LayerSpec
from hvdrec.config.layers.text_cnn import TEXT_CNN
from hvdrec.config.layers.text_encoder import TEXT_ENCODER
from hvdrec.config.layers.text_normalize import TEXT_NORMALIZE
from hvdrec.config.layers.transformer_block import TRANSFORMER_BLOCK
from hvdrec.config.layers.transformer_encoder import TRANSFORMER_ENCODER
from hvdrec.config.names import hint

_EASYREC = (
    *(MLP, HIGHWAY, GATE),
    *(FM, DOT_INTERACTION, CROSS, BILINEAR, FIBINET, SENET, CIN),
    *(MASK_BLOCK, MASK_NET, PPNET),
    *(AUTO_DIS, NARY_DIS, PERIODIC),
    *(DIN, BST, ATTENTION, MULTI_HEAD_ATTENTION, TRANSFORMER_BLOCK, TRANSFORMER_ENCODER),
    *(TEXT_CNN, SEQ_AUGMENT, SEQ_AUGMENT_OPS, AUXILIARY_LOSS),
    *(MMOE, AITM_TOWER),
    *(TEXT_NORMALIZE, EDIT_DISTANCE, OVERLAP_FEATURE, MAPPED_DOT_PRODUCT, TEXT_ENCODER),
)
_KERAS = (DENSE, BATCH_NORMALIZATION, *BY_COLUMN, *MERGES, CONCATENATE, DOT, *SHAPING)

#: EasyRec's layers that are not supported, with the reason.
REFUSED = {
    "EmbeddingLayer": "takes ids, which no block gives; use embedding_layer {} in place of keras_layer",
}

SPECS: dict[str, LayerSpec] = {spec.class_name: spec for spec in (*_EASYREC, *_KERAS)}


def unknown(class_name: str) -> str:
    """The error text for a layer that is not in `SPECS`."""
    if class_name in REFUSED:
        return f"{class_name} {REFUSED[class_name]}"
    return f"there is no layer {class_name!r}; {hint(class_name, tuple(SPECS))}"
