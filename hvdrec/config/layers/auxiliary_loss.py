"""The parameters of AuxiliaryLoss."""

from __future__ import annotations

from hvdrec.config.layers.shapes import Widths, misfit
from hvdrec.config.layers.spec import LayerConfig, LayerSpec, OneOf, Parameter
from hvdrec.config.ranges import STRENGTH, STRENGTH_ABOVE_0


def _outputs(config: LayerConfig, inputs: Widths) -> Widths:
    if isinstance(inputs, list) and len(inputs) == 2:
        first, second = inputs
        if isinstance(first, int) and first == second:
            return None
    raise misfit("a list of two tensors [batch, columns] with the same number of columns", inputs)


AUXILIARY_LOSS = LayerSpec(
    "AuxiliaryLoss",
    None,
    (
        Parameter("loss_type", str, required=True, allowed=OneOf(("l2_loss", "info_nce", "nce_loss"))),
        Parameter("loss_weight", float, default=1.0, allowed=STRENGTH),
        Parameter("temperature", float, default=0.1, allowed=STRENGTH_ABOVE_0),
    ),
    outputs=_outputs,
    formula="x and y, both [B, D] -> nothing, so it is an `ignore_input: true` of another block; adds "
    "`loss_weight` times a "
    "loss to the model's. `l2_loss`: the mean over rows of `|x - y|^2`. `info_nce`: the mean cross entropy "
    "of "
    "`softmax(x y / temperature)` over all y of the batch, where the class of each row is "
    "its own y. `nce_loss`: the same for each of the 2 B vectors against all "
    "others. The loss is named `<block>_l2_loss`, "
    "`<block>_info_nce_loss` or `<block>_nce_loss`; the batch is the rows of one rank.",
    source="van den Oord et al. 2018, InfoNCE; Xie et al., ICDE 2022, CL4SRec, equation 4",
)
