"""The encoding of tokens before a transformer."""

from __future__ import annotations

import tensorflow as tf

from hvdrec.layers import initializers
from hvdrec.layers.context import ForwardContext
from hvdrec.layers.layer import Layer
from hvdrec.layers.layer_norm import CONTRIB_EPSILON, LayerNorm
from hvdrec.layers.tensors import dropped
from hvdrec.layers.variables import VariableStore

#: EasyRec initialises the vectors of positions and kinds with this number, regardless of `initializer_range`.
_STDDEV = 0.02


class TokenEncoding(Layer):
    """Adds vectors for the kind and position of each token, then applies a layer norm and dropout.

    Devlin et al. 2019, figure 2.
    """

    outputs: int

    def __init__(
        self,
        store: VariableStore,
        scope: str,
        width: int,
        *,
        places: tuple[str, int] | None = None,
        kind: tuple[tf.Variable, int] | None = None,
        dropout: float = 0.0,
    ) -> None:
        """Creates ``position_embedding/<name>`` and the next ``LayerNorm``, EasyRec's names.

        Args:
            store: Creates the variables.
            scope: The scope of the dropout.
            width: Columns of a token.
            places: A name and the number of positions; None for no positions.
            kind: The kinds' vectors (`token_kinds`) and the row for these tokens; None for no kinds.
            dropout: The dropout at the end.
        """
        super().__init__()
        self.outputs, self._scope, self._dropout = width, scope, dropout
        self._kind = kind
        self._places: tf.Variable | None = None
        if places is not None:
            name, count = places
            self._places = store.create(
                f"position_embedding/{name}", (count, width), initializers.truncated_normal(0.0, _STDDEV)
            )
        self._norm = LayerNorm(store, store.automatic("LayerNorm"), width, CONTRIB_EPSILON)

    def __call__(self, tokens: tf.Tensor, run: ForwardContext) -> tf.Tensor:
        """Maps float32 [B, T, width] to the same shape; T is at most the number of positions."""
        if self._kind is not None:
            table, row = self._kind
            tokens += table[row]
        if self._places is not None:
            tokens += self._places[: tf.shape(tokens)[1]]
        tokens = self._norm(tokens, run)
        if self._dropout > 0.0 and run.training:
            tokens = dropped(tokens, self._dropout, run.seed_for(f"{self._scope}/embeddings"))
        return tokens


def token_kinds(store: VariableStore, count: int, width: int) -> tf.Variable:
    """Creates ``token_type/token_type_embeddings`` [count, width], a vector for each kind of tokens."""
    return store.create(
        "token_type/token_type_embeddings", (count, width), initializers.truncated_normal(0.0, _STDDEV)
    )
