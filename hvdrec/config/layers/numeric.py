"""The output widths of numeric embeddings."""

from __future__ import annotations

from hvdrec.config.layers.shapes import Widths, columns
from hvdrec.config.layers.spec import LayerConfig, Parameter

#: The parameters that all of these layers have.
FORMS = (
    Parameter("output_3d_tensor", bool, default=False),
    Parameter("output_tensor_list", bool, default=False),
)


def forms(count: int, width: int, as_list: bool, as_tensor: bool) -> Widths:
    """The widths of `count` embeddings of `width` columns: concatenated, and on request also separate.

    Args:
        count: The number of embeddings.
        width: The columns of each.
        as_list: `output_tensor_list`.
        as_tensor: `output_3d_tensor`, which has no effect together with `output_tensor_list`.
    """
    flat = count * width
    if as_list:
        return [flat, [width] * count]
    return [flat, (count, width)] if as_tensor else flat


def outputs(config: LayerConfig, inputs: Widths) -> Widths:
    """The output widths of a layer with one embedding per number."""
    return forms(columns(inputs), config.embedding_dim, config.output_tensor_list, config.output_3d_tensor)
