"""The parameters of AutoDisEmbedding."""

from __future__ import annotations

from hvdrec.config.layers.numeric import FORMS, outputs
from hvdrec.config.layers.spec import LayerSpec, Parameter
from hvdrec.config.ranges import ANY_NUMBER, AT_LEAST_1, POSITIVE

AUTO_DIS = LayerSpec(
    "AutoDisEmbedding",
    "auto_dis_embedding",
    (
        Parameter("embedding_dim", int, required=True, allowed=AT_LEAST_1),
        Parameter("num_bins", int, required=True, allowed=AT_LEAST_1),
        Parameter("temperature", float, required=True, allowed=POSITIVE),
        Parameter("keep_prob", float, default=0.8, allowed=ANY_NUMBER),
        *FORMS,
    ),
    outputs=outputs,
    formula="N numbers [B, N] -> their concatenated embeddings [B, N embedding_dim]; with "
    "`output_tensor_list` a list of that and the list of embeddings, with `output_3d_tensor` "
    "a list of that and [B, N, embedding_dim]. A "
    "number x "
    "takes of its `num_bins` meta-embeddings `softmax((W h + keep_prob h) / temperature)`, where "
    "`h = leaky_relu(w x)`.",
    source="Guo et al., KDD 2021, AutoDis, equations 6 to 9",
)
