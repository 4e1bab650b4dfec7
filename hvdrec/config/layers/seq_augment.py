"""The parameters of SeqAugment and SeqAugmentOps."""

from __future__ import annotations

from hvdrec.config.layers.shapes import Widths, sequence
from hvdrec.config.layers.spec import LayerConfig, LayerSpec, Parameter
from hvdrec.config.ranges import FRACTION


def _outputs(config: LayerConfig, inputs: Widths) -> Widths:
    sequence(inputs)
    assert isinstance(inputs, list)
    return inputs[:2]


def _spec(class_name: str) -> LayerSpec:
    return LayerSpec(
        class_name,
        "seq_aug",
        (
            Parameter("mask_rate", float, default=0.6, allowed=FRACTION),
            Parameter("crop_rate", float, default=0.2, allowed=FRACTION),
            Parameter("reorder_rate", float, default=0.6, allowed=FRACTION),
        ),
        outputs=_outputs,
        formula="a sequence: elements [B, T, D] and lengths [B] -> elements [B, T, D] and lengths [B]. "
        "In training each row is changed in one way, chosen at random: it is cut to "
        "`crop_rate` of its elements from a random position "
        "(1: "
        "not done), `mask_rate` of its elements replaced by a learnt vector (0: not done), or "
        "`reorder_rate` of its elements from a random position are shuffled (0: "
        "not done). Evaluation leaves rows unchanged.",
        source="Xie et al., ICDE 2022, CL4SRec, section 3.2",
    )


SEQ_AUGMENT, SEQ_AUGMENT_OPS = _spec("SeqAugment"), _spec("SeqAugmentOps")
