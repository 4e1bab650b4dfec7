"""DIN, BST, attention and transformers against float64 references, including padding."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from layers.making import Made, near, numbers, relu, sigmoid, softmax

LENGTHS = np.array([3, 0, 1], np.int32)


def _sequence(width: int, length: int = 3) -> np.ndarray:
    """Elements [3, length, width], padded with zeros."""
    x = numbers(1, 3, length, width)
    return np.where((np.arange(length) < LENGTHS[:, None])[:, :, None], x, 0.0)


def _gelu(x: np.ndarray) -> np.ndarray:
    return 0.5 * x * (1.0 + np.tanh(np.sqrt(2.0 / np.pi) * (x + 0.044715 * x**3)))


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("normalizer", ["softmax", "sigmoid"])
@pytest.mark.parametrize("target", [4, 3])
def test_din(target: int, normalizer: str, training: bool) -> None:
    made = Made(
        "DIN",
        [(None, 4), (), target],
        attention_dnn={"hidden_units": [5, 1], "activation": "dice"},
        attention_normalizer=normalizer,
        need_target_feature=True,
    )
    made.shake()
    h, q = _sequence(4), numbers(2, 3, target)
    wide = np.pad(q, [[0, 0], [0, 4 - target]])
    query = np.repeat(wide[:, None], 3, 1)
    # The batch norms see every position, the padded ones too.
    flat = np.concatenate([query, h, query - h, query * h], 2).reshape(9, 16)
    x = made.dense("din_attention/layer_0/dense", flat, bias=False)
    x = made.batch_norm("din_attention/layer_0/bn", x, training)
    scope = "din_attention/layer_0/act"
    mean = x.mean(0) if training else made.value(f"{scope}/batch_normalization/moving_mean")
    variance = x.var(0) if training else made.value(f"{scope}/batch_normalization/moving_variance")
    p = sigmoid((x - mean) / np.sqrt(variance + 1e-9))
    x = x * (p + (1.0 - p) * made.value(f"{scope}/dice_alpha"))
    scores = made.dense("din_attention/layer_1/dense", x).reshape(3, 3)
    present = np.arange(3) < LENGTHS[:, None]
    if normalizer == "softmax":
        shares = softmax(np.where(present, scores, -1e9))
    else:
        shares = np.where(present, sigmoid(scores / 2.0), 0.0)
    expected = np.einsum("bt,btd->bd", shares, h)[:, :target]
    inputs = [h, LENGTHS, q]
    found = made.train(inputs)[0] if training else made.eval(inputs)
    near(found, np.concatenate([expected, wide], 1), rtol=1e-3, atol=1e-4)
    assert (expected[1] == 0.0).all()


def test_din_alone_and_without_any_element() -> None:
    made = Made(
        "DIN",
        [(None, 4), (), 4],
        attention_dnn={"hidden_units": [1]},
        need_target_feature=False,
    )
    found = made.eval([np.zeros((2, 0, 4)), np.zeros(2, np.int32), numbers(1, 2, 4)])
    near(found, np.zeros((2, 4)))


BST: dict[str, Any] = {
    "hidden_size": 4,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 6,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
    "max_position_embeddings": 5,
}


def _bert(made: Made, x: np.ndarray, seen: np.ndarray, heads: int, layers: int) -> np.ndarray:
    """The encoder on tokens [B, T, D] of which `seen` [B, T] may be attended to."""
    batch, length, width = x.shape

    def dense(name: str, tokens: np.ndarray) -> np.ndarray:
        return made.dense(f"block/transformer_layer_{layer}/{name}", tokens)

    def split(tokens: np.ndarray) -> np.ndarray:
        return tokens.reshape(batch, length, heads, width // heads).transpose(0, 2, 1, 3)

    for layer in range(layers):
        q, k, v = (split(dense(f"attention/self/{part}", x)) for part in ("query", "key", "value"))
        scores = q @ k.transpose(0, 1, 3, 2) / np.sqrt(width // heads)
        shares = softmax(scores + np.where(seen[:, None, None], 0.0, -10000.0))
        context = (shares @ v).transpose(0, 2, 1, 3).reshape(batch, length, width)
        scope = f"block/transformer_layer_{layer}"
        attended = dense("attention/output/dense", context) + x
        attended = made.layer_norm(f"{scope}/attention/output/LayerNorm", attended, 1e-12)
        found = dense("output/dense", _gelu(dense("intermediate/dense", attended)))
        x = made.layer_norm(f"{scope}/output/LayerNorm", found + attended, 1e-12)
    return x


@pytest.mark.parametrize("position", ["head", "tail", "ignore"])
@pytest.mark.parametrize("every", [False, True])
@pytest.mark.parametrize("width", [4, 6])
def test_bst(width: int, every: bool, position: str) -> None:
    made = Made(
        "BST",
        [(None, width), (), width],
        **BST,
        target_item_position=position,
        output_all_token_embeddings=every,
    )
    made.shake()
    # Its variables stand outside of the backbone's scope.
    assert {"LayerNorm/beta", "position_embedding/block"} <= set(made.names)
    elements, target = _sequence(width), numbers(2, 3, width)
    x = np.pad(elements, [[0, 0], [0, 2 if every else 0], [0, 0]])
    if width != 4:
        x = relu(made.dense("block/seq_project", x))
    if position != "ignore":
        token = (target if width == 4 else relu(made.dense("block/target_project", target)))[:, None]
        x = np.concatenate([token, x] if position == "head" else [x, token], 1)
    elif every:
        x = np.pad(x, [[0, 0], [0, 1], [0, 0]])
    seen = (x != 0.0).any(2)
    x = made.layer_norm("LayerNorm", x + made.value("position_embedding/block")[: x.shape[1]], 1e-12)
    x = _bert(made, x, seen, 2, 2)
    expected = x.reshape(3, -1) if every else x[:, 0]
    inputs = [elements, LENGTHS, target]
    near(made.eval(inputs), expected, rtol=1e-3, atol=1e-4)
    near(made.train(inputs)[0], expected, rtol=1e-3, atol=1e-4)


def test_bst_cuts_what_is_too_long() -> None:
    made = Made("BST", [(None, 4), ()], **BST, output_all_token_embeddings=False)
    made.shake()
    x = numbers(4, 2, 7, 4)
    near(
        made.eval([x, np.array([7, 7], np.int32)]),
        made.eval([x[:, :5], np.array([5, 5], np.int32)]),
    )


def test_bst_dropout_is_of_training_alone() -> None:
    made = Made("BST", [(None, 4), (), 4], **{**BST, "hidden_dropout_prob": 0.5})
    inputs = [_sequence(4), LENGTHS, numbers(2, 3, 4)]
    near(made.eval(inputs), made.eval(inputs), rtol=0.0, atol=0.0)
    one, two = made.train(inputs, seed=1)[0], made.train(inputs, seed=2)[0]
    assert np.abs(one - two).max() > 0.1


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize(
    "given", [{}, {"use_scale": True}, {"scale_by_dim": True}, {"score_mode": "concat", "use_scale": True}]
)
def test_attention(given: dict[str, Any], causal: bool) -> None:
    made = Made(
        "Attention",
        [(4, 3), (5, 2), (5, 3)],
        **given,
        use_causal_mask=causal,
        return_attention_scores=True,
    )
    made.shake()
    q, v, k = numbers(1, 2, 4, 3), numbers(2, 2, 5, 2), numbers(3, 2, 5, 3)
    scale = made.value("scale") if "use_scale" in given else 1.0
    if "score_mode" in given:
        scores = np.tanh(scale * (q[:, :, None] + k[:, None])).sum(3) * made.value("concat_score_weight")
    else:
        scores = np.einsum("bqd,btd->bqt", q, k) * scale
        scores /= np.sqrt(3.0) if "scale_by_dim" in given else 1.0
    seen = np.arange(4)[:, None] >= np.arange(5) if causal else np.ones((4, 5), bool)
    shares = softmax(scores + np.where(seen, 0.0, -1e9))
    near(made.eval([q, v, k]), [shares @ v, shares])


def test_attention_of_values_that_are_keys() -> None:
    made = Made("Attention", [(4, 3), (5, 3)])
    q, v = numbers(1, 2, 4, 3), numbers(2, 2, 5, 3)
    near(made.eval([q, v]), softmax(q @ v.transpose(0, 2, 1)) @ v)


def _heads(
    made: Made, scope: str, q: np.ndarray, v: np.ndarray, k: np.ndarray, seen: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    def projected(name: str, x: np.ndarray) -> np.ndarray:
        heads = np.einsum("btd,dnh->bnth", x, made.value(f"{scope}{name}/kernel"))
        return heads + made.value(f"{scope}{name}/bias")[:, None]

    scores = projected("query", q) @ projected("key", k).transpose(0, 1, 3, 2)
    scores /= np.sqrt(made.value(f"{scope}query/bias").shape[1])
    # In float32 -1e9 leaves nothing of a score, so what sees nothing sees all alike.
    shares = softmax(np.where(seen, scores, -1e9))
    output = np.einsum(
        "bnth,nho->bto", shares @ projected("value", v), made.value(f"{scope}attention_output/kernel")
    )
    return output + made.value(f"{scope}attention_output/bias"), shares


def test_multi_head_attention() -> None:
    made = Made(
        "MultiHeadAttention",
        [(4, 3), (5, 2), (5, 6)],
        num_heads=2,
        key_dim=3,
        value_dim=4,
        output_shape=7,
        use_causal_mask=True,
        return_attention_scores=True,
    )
    made.shake()
    q, v, k = numbers(1, 2, 4, 3), numbers(2, 2, 5, 2), numbers(3, 2, 5, 6)
    seen = np.arange(4)[:, None] >= np.arange(5)
    near(made.eval([q, v, k]), list(_heads(made, "", q, v, k, seen)))


def _block(made: Made, prefix: str, number: int, x: np.ndarray, mask: np.ndarray) -> np.ndarray:
    def name(base: str, index: int) -> str:
        return f"{prefix}{base}_{index}" if index else f"{prefix}{base}"

    seen = (mask[:, :, None] & mask[:, None])[:, None]
    attended, _ = _heads(made, f"{prefix}multi_head_attn/", x, x, x, seen)
    x = made.layer_norm(name("layer_normalization", 2 * number), x + attended, 1e-6)
    hidden = relu(made.dense(name("dense", 2 * number), x))
    return made.layer_norm(
        name("layer_normalization", 2 * number + 1),
        x + made.dense(name("dense", 2 * number + 1), hidden),
        1e-6,
    )


@pytest.mark.parametrize("as_lengths", [False, True])
def test_transformer_block(as_lengths: bool) -> None:
    made = Made(
        "TransformerBlock",
        [(None, 4), () if as_lengths else (None,)],
        hidden_size=4,
        num_attention_heads=2,
        intermediate_size=6,
        hidden_dropout_prob=0.0,
    )
    made.shake()
    x, mask = _sequence(4), np.arange(3) < LENGTHS[:, None]
    near(
        made.eval([x, LENGTHS if as_lengths else mask.astype(np.int32)]),
        _block(made, "", 0, x, mask),
        rtol=1e-3,
        atol=1e-4,
    )


@pytest.mark.parametrize("every", [False, True])
def test_transformer_encoder(every: bool) -> None:
    made = Made(
        "TransformerEncoder",
        [(None,), ()],
        hidden_size=4,
        num_attention_heads=2,
        num_hidden_layers=2,
        vocab_size=9,
        max_position_embeddings=3,
        hidden_dropout_prob=0.0,
        output_all_token_embeddings=every,
    )
    made.shake()
    ids = np.array([[1, 2, 8, 4], [0, 0, 0, 0], [5, 0, 0, 0]], np.int32)
    angles = np.arange(3)[:, None] / 10000.0 ** (np.arange(2) / 2)
    x = made.value("pos_embedding/embedding/embeddings")[ids[:, :3]] * 2.0
    x += np.concatenate([np.sin(angles), np.cos(angles)], 1)
    mask = np.arange(3) < LENGTHS[:, None]
    for number in range(2):
        x = _block(made, f"layer_{number}/", number, x, mask)
    near(made.eval([ids, LENGTHS]), x if every else x[:, 0], rtol=1e-3, atol=1e-4)
