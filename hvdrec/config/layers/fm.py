"""The parameters of FM."""

from __future__ import annotations

from hvdrec.config.layers.shapes import Widths, embeddings
from hvdrec.config.layers.spec import LayerConfig, LayerSpec, Parameter


def _outputs(config: LayerConfig, inputs: Widths) -> Widths:
    _, width = embeddings(inputs)
    return width if config.use_variant else 1


FM = LayerSpec(
    "FM",
    "fm",
    (Parameter("use_variant", bool, default=False),),
    unread=("l2_regularization",),
    outputs=_outputs,
    formula="F embeddings [B, D], or [B, F, D] -> [B, 1]: the sum over pairs of embeddings of their dot "
    "products, `((sum v)^2 - sum v^2) / 2`; with `use_variant` without the sum over D, [B, D].",
    source="Rendle, ICDM 2010, equation 3",
)
