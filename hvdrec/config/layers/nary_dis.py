"""The parameters of NaryDisEmbedding."""

from __future__ import annotations

from hvdrec.config.layers.numeric import FORMS
from hvdrec.config.layers.shapes import Widths, columns
from hvdrec.config.layers.spec import LayerConfig, LayerSpec, OneOf, Parameter
from hvdrec.config.ranges import AT_LEAST_1, Range

#: Above all of them, in any base.
_NUMBERS = 2**32


def digits(base: int) -> int:
    """The number of digits of numbers below 2^32."""
    count, reached = 1, base
    while reached < _NUMBERS:
        count, reached = count + 1, reached * base
    return count


def nary_forms(count: int, width: int, copies: int, as_list: bool, as_tensor: bool) -> Widths:
    """The widths of `copies` sets of `count` embeddings of `width` columns.

    Args:
        count: The number of embeddings.
        width: The columns of each.
        copies: `num_replicas`.
        as_list: `output_tensor_list`.
        as_tensor: `output_3d_tensor`, which has no effect together with `output_tensor_list`.
    """
    flat: Widths = count * width
    apart: Widths = [width] * count if as_list else (count, width)
    if not (as_list or as_tensor):
        return flat if copies == 1 else [flat] * copies
    return [*([flat] * copies), *([apart] * copies)]


def _outputs(config: LayerConfig, inputs: Widths) -> Widths:
    return nary_forms(
        columns(inputs),
        config.embedding_dim * len(config.carries),
        config.num_replicas,
        config.output_tensor_list,
        config.output_3d_tensor,
    )


NARY_DIS = LayerSpec(
    "NaryDisEmbedding",
    "nary_dis_embedding",
    (
        Parameter("embedding_dim", int, required=True, allowed=AT_LEAST_1),
        Parameter("carries", int, required=True, repeated=True, allowed=Range(2, 2**16)),
        Parameter("multiplier", float, default=1.0),
        Parameter("intra_ary_pooling", str, default="sum", allowed=OneOf(("sum", "mean"))),
        Parameter("num_replicas", int, default=1, allowed=AT_LEAST_1),
        *FORMS,
    ),
    unread=("inter_ary_pooling",),
    outputs=_outputs,
    formula="N numbers [B, N] -> their concatenated embeddings [B, N C embedding_dim] for C `carries`; "
    "with `output_tensor_list` a list of that and the list of embeddings, with `output_3d_tensor` "
    "a list of that and [B, N, C embedding_dim]; `num_replicas` above 1 returns that many "
    "sets of embeddings, all concatenated ones first. A number times `multiplier`, truncated "
    "to an integer modulo 2^32, is written in each base of `carries`; each digit has an "
    "embedding by number, base, position and value, and the embeddings of the "
    "digits "
    "are summed or averaged (`intra_ary_pooling`).",
    source="Chen et al., CIKM 2022, Numerical Feature Representation with Hybrid N-ary Encoding",
)
