"""Multi-head attention with Keras's variables."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import tensorflow as tf

from hvdrec.config.layers.attention import query_value_key
from hvdrec.layers import initializers
from hvdrec.layers.attention.scores import attend, causal, softmax
from hvdrec.layers.context import ForwardContext
from hvdrec.layers.initializers import Initializer
from hvdrec.layers.layer import Inputs, Layer, LayerBuild, Widths
from hvdrec.layers.variables import VariableStore

#: Added to the score of a masked position.
_FLOOR = -1e9


@dataclasses.dataclass(frozen=True)
class HeadShape:
    """The configuration of the heads.

    Attributes:
        heads: The number of heads.
        key: Columns of a head's queries and keys.
        value: Columns of a head's values.
        outputs: Columns of the output.
        dropout: The dropout of the softmax.
        use_bias: Whether the projections have biases.
        kernel: The kernels' initializer.
        bias: The biases' initializer.
    """

    heads: int
    key: int
    value: int
    outputs: int
    dropout: float = 0.0
    use_bias: bool = True
    kernel: Initializer = initializers.glorot_uniform
    bias: Initializer = initializers.zeros


class Heads(tf.Module):
    """Multi-head attention (Vaswani et al. 2017, section 3.2.2)."""

    def __init__(
        self, store: VariableStore, scope: str, shape: HeadShape, widths: tuple[int, int, int]
    ) -> None:
        """Creates ``<scope>/{query,key,value,attention_output}/{kernel,bias}``.

        Args:
            store: Creates the variables.
            scope: Their prefix.
            shape: The configuration of the heads.
            widths: Columns of queries, values and keys.
        """
        super().__init__()
        self._scope, self._shape = scope, shape

        def projection(
            name: str, kernel: tuple[int, ...], bias: tuple[int, ...]
        ) -> tuple[tf.Variable, tf.Variable | None]:
            made = store.create(f"{scope}/{name}/kernel", kernel, shape.kernel)
            return made, store.create(f"{scope}/{name}/bias", bias, shape.bias) if shape.use_bias else None

        query, value, key = widths
        per_key, per_value = (shape.heads, shape.key), (shape.heads, shape.value)
        self._query = projection("query", (query, *per_key), per_key)
        self._key = projection("key", (key, *per_key), per_key)
        self._value = projection("value", (value, *per_value), per_value)
        self._output = projection("attention_output", (*per_value, shape.outputs), (shape.outputs,))

    def __call__(
        self,
        query: tf.Tensor,
        value: tf.Tensor,
        key: tf.Tensor,
        run: ForwardContext,
        seen: tf.Tensor | None = None,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Applies attention.

        Args:
            query: float32 [B, Q, D].
            value: float32 [B, T, E].
            key: float32 [B, T, E'].
            run: The forward pass.
            seen: bool, broadcast over [B, heads, Q, T]: the visible positions; None for all.

        Returns:
            float32 [B, Q, outputs], and the softmax [B, heads, Q, T].
        """
        q = _projected("btd,dnh->bnth", query, self._query)
        k = _projected("btd,dnh->bnth", key, self._key)
        v = _projected("btd,dnh->bnth", value, self._value)
        scores = tf.matmul(q / math.sqrt(self._shape.key), k, transpose_b=True)
        shares = softmax(scores, seen, _FLOOR)
        rate = self._shape.dropout if run.training else 0.0
        seed = run.seed_for(f"{self._scope}/probabilities") if rate > 0.0 else None
        kernel, bias = self._output
        result = tf.einsum("bnth,nho->bto", attend(shares, v, rate, seed), kernel)
        return result if bias is None else result + bias, shares


def _projected(equation: str, x: tf.Tensor, variables: tuple[tf.Variable, tf.Variable | None]) -> tf.Tensor:
    kernel, bias = variables
    heads = tf.einsum(equation, x, kernel)
    return heads if bias is None else heads + bias[:, None]


class MultiHeadAttention(Layer):
    """EasyRec's block MultiHeadAttention."""

    outputs: Widths

    def __init__(self, build: LayerBuild) -> None:
        """Creates the heads."""
        super().__init__()
        config = build.config
        # The specs allow nothing else for tensors with three axes.
        assert config.attention_axes in ((), (1,))
        query, value, key = query_value_key(build.inputs)
        shape = HeadShape(
            config.num_heads,
            config.key_dim,
            config.value_dim or config.key_dim,
            config.output_shape or query[1],
            config.dropout,
            config.use_bias,
            initializers.named(config.kernel_initializer),
            initializers.named(config.bias_initializer),
        )
        self._causal, self._scores_too = config.use_causal_mask, config.return_attention_scores
        self._heads = Heads(build.store, build.scope, shape, (query[1], value[1], key[1]))
        result = (query[0], shape.outputs)
        self.outputs = [result, (shape.heads, query[0], value[0])] if self._scores_too else result

    def __call__(self, inputs: Sequence[tf.Tensor], run: ForwardContext) -> Inputs:
        """Maps queries [B, Q, D], values [B, T, E] and keys [B, T, E'] to [B, Q, outputs]."""
        query, value, key = [*inputs, inputs[1]][:3]
        seen = causal(query, key) if self._causal else None
        result, shares = self._heads(query, value, key, run, seen)
        return [result, shares] if self._scores_too else result


def build(build: LayerBuild) -> MultiHeadAttention:
    """Builds MultiHeadAttention."""
    return MultiHeadAttention(build)
