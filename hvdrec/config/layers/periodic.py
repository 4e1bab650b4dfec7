"""The parameters of PeriodicEmbedding."""

from __future__ import annotations

from collections.abc import Iterator

from hvdrec.config.layers.numeric import FORMS, outputs
from hvdrec.config.layers.spec import ACTIVATIONS, LayerConfig, LayerSpec, Parameter
from hvdrec.config.ranges import AT_LEAST_1, POSITIVE


def _check(config: LayerConfig) -> Iterator[tuple[str, str]]:
    if config.embedding_dim % 2:
        yield (
            "embedding_dim",
            f"must be even, is {config.embedding_dim}: half of the columns are sines, half cosines",
        )


PERIODIC = LayerSpec(
    "PeriodicEmbedding",
    "periodic_embedding",
    (
        Parameter("embedding_dim", int, required=True, allowed=AT_LEAST_1),
        Parameter("sigma", float, required=True, allowed=POSITIVE),
        Parameter("add_linear_layer", bool, default=True),
        Parameter("linear_activation", str, default="relu", allowed=ACTIVATIONS),
        *FORMS,
    ),
    check=_check,
    outputs=outputs,
    formula="N numbers [B, N] -> their concatenated embeddings [B, N embedding_dim]; with "
    "`output_tensor_list` a list of that and the list of embeddings, with `output_3d_tensor` "
    "a list of that and [B, N, embedding_dim]. A "
    "number x "
    "gives `sin(2 pi c x)` and `cos(2 pi c x)` for embedding_dim / 2 learnt c, initialised from a normal of "
    "standard "
    "deviation `sigma`; with `add_linear_layer` they go through a dense layer for that number with "
    "`linear_activation`.",
    source="Gorishniy, Rubachev and Babenko, NeurIPS 2022, section 3.3",
)
