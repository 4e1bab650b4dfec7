"""Builds the layers that a config can name, by EasyRec's `class_name`."""

from __future__ import annotations

from collections.abc import Callable

from hvdrec.config.layers.registry import SPECS
from hvdrec.config.layers.shapes import ShapeError, Widths
from hvdrec.config.layers.user import is_user_layer, user_layer, user_spec
from hvdrec.errors import ConfigError
from hvdrec.layers import batch_norm
from hvdrec.layers.attention import (
    bst,
    din,
    dot_attention,
    multi_head,
    transformer_block,
    transformer_encoder,
)
from hvdrec.layers.contrastive import auxiliary_loss
from hvdrec.layers.feed_forward import dense, highway, mlp
from hvdrec.layers.gating import gate, mask_block, mask_net, ppnet, senet
from hvdrec.layers.interaction import bilinear, cin, cross, dot_interaction, fibinet, fm
from hvdrec.layers.keras import (
    activation,
    concatenate,
    dot,
    dropout,
    elu,
    flatten,
    layer_normalization,
    leaky_relu,
    merge,
    permute,
    pooling,
    relu,
    repeat_vector,
    reshape,
    softmax,
    unit_normalization,
)
from hvdrec.layers.layer import Layer, LayerBuild
from hvdrec.layers.multi_task import aitm_tower, mmoe
from hvdrec.layers.numeric import auto_dis, nary_dis, periodic
from hvdrec.layers.sequence import seq_augment, text_cnn
from hvdrec.layers.text import (
    edit_distance,
    mapped_dot_product,
    overlap_feature,
    text_encoder,
    text_normalize,
)

#: `hvdrec.config.layers.registry` has the parameters of each.
BUILDERS: dict[str, Callable[[LayerBuild], Layer]] = {
    "MLP": mlp.build,
    "Highway": highway.build,
    "Gate": gate.build,
    "FM": fm.build,
    "DotInteraction": dot_interaction.build,
    "Cross": cross.build,
    "BiLinear": bilinear.build,
    "FiBiNet": fibinet.build,
    "SENet": senet.build,
    "CIN": cin.build,
    "MaskBlock": mask_block.build,
    "MaskNet": mask_net.build,
    "PPNet": ppnet.build,
    "AutoDisEmbedding": auto_dis.build,
    "NaryDisEmbedding": nary_dis.build,
    "PeriodicEmbedding": periodic.build,
    "DIN": din.build,
    "BST": bst.build,
    "Attention": dot_attention.build,
    "MultiHeadAttention": multi_head.build,
    "TransformerBlock": transformer_block.build,
    "TransformerEncoder": transformer_encoder.build,
    "TextCNN": text_cnn.build,
    "SeqAugment": seq_augment.build,
    "SeqAugmentOps": seq_augment.build_ops,
    "AuxiliaryLoss": auxiliary_loss.build,
    "MMoE": mmoe.build,
    "AITMTower": aitm_tower.build,
    "TextNormalize": text_normalize.build,
    "EditDistance": edit_distance.build,
    "OverlapFeature": overlap_feature.build,
    "MappedDotProduct": mapped_dot_product.build,
    "TextEncoder": text_encoder.build,
    "Dense": dense.build,
    "BatchNormalization": batch_norm.build,
    "Dropout": dropout.build,
    "LayerNormalization": layer_normalization.build,
    "Activation": activation.build,
    "ReLU": relu.build,
    "LeakyReLU": leaky_relu.build,
    "ELU": elu.build,
    "Softmax": softmax.build,
    "UnitNormalization": unit_normalization.build,
    **merge.BUILDERS,
    "Concatenate": concatenate.build,
    "Dot": dot.build,
    "Flatten": flatten.build,
    "Reshape": reshape.build,
    "Permute": permute.build,
    "RepeatVector": repeat_vector.build,
    "GlobalAveragePooling1D": pooling.build_average,
    "GlobalMaxPooling1D": pooling.build_max,
}


def build_layer(class_name: str, build: LayerBuild) -> Layer:
    """Builds the layer `class_name`, which can be a user layer (`config/layers/user.py`).

    Raises:
        ConfigError: The inputs don't fit the layer, or a user layer can't be built.
    """
    own = is_user_layer(class_name)
    try:
        spec = user_spec(class_name) if own else SPECS[class_name]
        outputs = spec.outputs(build.config, build.inputs)
    except ShapeError as error:
        raise ConfigError(f"layer {build.scope}: {class_name} {error}") from None
    return _user_layer(class_name, build, outputs) if own else BUILDERS[class_name](build)


def _user_layer(class_name: str, build: LayerBuild, outputs: Widths) -> Layer:
    try:
        layer = user_layer(class_name)(build)
    except Exception as error:
        problem = f"{class_name} can't be built: {type(error).__name__}: {error}"
        raise ConfigError(f"layer {build.scope}: {problem}") from error
    if not isinstance(layer, Layer):
        raise ConfigError(f"layer {build.scope}: {class_name} is not a hvdrec.layers.layer.Layer")
    layer.outputs = outputs
    return layer
