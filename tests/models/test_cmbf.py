"""CMBF against its formula on padded texts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import tensorflow as tf
from models import histories, transformer
from models.histories import rows_of
from models.oracle import Oracle, check_gradients

from hvdrec.layers.context import ForwardContext
from hvdrec.layers.layer_norm import CONTRIB_EPSILON, LayerNorm
from hvdrec.layers.variables import VariableStore

#: Groups, and more of the config.
CASES: dict[str, tuple[dict[str, Sequence[str]], str]] = {
    "all": (
        {"image": ["i", "c"], "general": ["u", "c"], "text": ["h", "t"], "other": ["u", "i"]},
        "image_multi_head_num: 3 image_self_attention_layer_num: 2 cross_modal_layer_num: 2 "
        "use_token_type: true max_position_embeddings: 6 other_feature_dnn { hidden_units: [3] }",
    ),
    "numbers": (
        {"image": ["i"], "text": ["t"]},
        "image_feature_dim: 3 image_self_attention_layer_num: 1 max_position_embeddings: 4",
    ),
    "patches": (
        {"image": ["i"], "general": ["u", "c"]},
        "image_feature_patch_num: 2 image_self_attention_layer_num: 1",
    ),
    "plain_images": ({"image": ["i", "c"]}, ""),
    "text": ({"text": ["h"], "other": ["c"]}, "use_position_embeddings: false text_multi_head_num: 2"),
}
HEADS, IMAGE_SIZE, TEXT_SIZE, IMAGE_CROSS, TEXT_CROSS = 2, 4, 4, 3, 2


def config(case: str, more: str = "") -> str:
    groups, extra = CASES[case]
    written = " ".join(
        f"feature_groups {{ group_name: '{name}' wide_deep: DEEP feature_names: {list(features)} }}"
        for name, features in groups.items()
    )
    return f"""model_class: 'CMBF' {written} cmbf {{ config {{ multi_head_num: {HEADS}
      image_head_size: {IMAGE_SIZE} text_head_size: {TEXT_SIZE} image_cross_head_size: {IMAGE_CROSS}
      text_cross_head_size: {TEXT_CROSS} text_seq_emb_dropout_prob: 0 {extra} {more} }}
      final_dnn {{ hidden_units: [4] use_bn: false activation: 'leaky_relu' }} }}"""


def built(case: str, more: str = "") -> histories.Histories:
    lengths = "max_seq_len: 4" if "t" in CASES[case][0].get("text", ()) else ""
    return histories.build(config(case, more), lengths)


def _scopes(case: str) -> dict[str, str]:
    """Where the tables of each group are; texts have a separate scope."""
    order = [n for n in ("image", "general", "other") if n in CASES[case][0]]
    return {name: f"input_layer_{i}" if i else "input_layer" for i, name in enumerate(order)}


def _rows(oracle: Oracle, case: str, group: str) -> list[np.ndarray]:
    scope = _scopes(case)[group]
    return [rows_of(oracle, n, f"{scope}/{n}_embedding") for n in CASES[case][0][group]]


def _images(oracle: Oracle, case: str) -> np.ndarray:
    features = _rows(oracle, case, "image")
    if case == "plain_images":
        return transformer.projected(oracle, "img_projection", np.stack(features, 1), HEADS * IMAGE_CROSS)
    hidden = IMAGE_SIZE * (3 if case == "all" else 1)
    if case == "numbers":
        x = oracle.dense("img_projection", features[0])[:, :, None] * oracle.get("img_map_matrix")
    elif case == "patches":
        x = transformer.projected(oracle, "img_projection", features[0].reshape(-1, 2, 2), hidden)
    else:
        x = transformer.projected(oracle, "img_projection", np.stack(features, 1), hidden)
    return transformer.encoder(oracle, "image_self_attention", x, 2 if case == "all" else 1, HEADS)


def _words(oracle: Oracle, case: str) -> tuple[np.ndarray, np.ndarray, list[int]]:
    """Tokens, which are no padding, and the lengths of the parts."""
    groups = CASES[case][0]
    hidden = TEXT_SIZE * (2 if case == "text" else 1)
    tokens, seen = [], []
    if "general" in groups:
        x = np.stack(_rows(oracle, case, "general"), 1)
        tokens.append(transformer.projected(oracle, "txt_projection", x, hidden))
        seen.append(np.ones(x.shape[:2], bool))
    for i, feature in enumerate(groups.get("text", ())):
        x, lengths = transformer.text(oracle, feature)
        x = transformer.projected(oracle, f"txt_seq_projection_{i}", x, hidden)
        # A row of t without elements has a token of zeros, behind the projection.
        none = np.array([not row[-1] for row in histories.ROWS]) & (feature == "t")
        x = np.where(none[:, None, None], 0.0, x)
        if case == "all":
            x = x + oracle.get("token_type/token_type_embeddings")[i]
        if case != "text":
            x = x + oracle.get(f"position_embedding/position_embeddings_{i}")[: x.shape[1]]
        tokens.append(transformer.layer_norm(oracle, f"LayerNorm_{i}" if i else "LayerNorm", x))
        seen.append(np.arange(x.shape[1]) < lengths[:, None])
    whole, may = np.concatenate(tokens, 1), np.concatenate(seen, 1)
    found = transformer.encoder(oracle, "text_self_attention", whole, 1, HEADS, may)
    return found, may, [x.shape[1] for x in tokens]


def _laid_out(case: str, tokens: np.ndarray, seen: np.ndarray, lengths: list[int]) -> list[np.ndarray]:
    """General features as they are, the mean over each text."""
    parts = np.split(tokens, np.cumsum(lengths)[:-1], axis=1)
    masks = np.split(seen, np.cumsum(lengths)[:-1], axis=1)
    found = []
    if "general" in CASES[case][0]:
        found.append(parts.pop(0).reshape(len(tokens), -1))
        masks.pop(0)
    means = zip(parts, masks, strict=True)
    return found + [np.stack([x[m].mean(0) for x, m in zip(*each, strict=True)]) for each in means]


def formula(oracle: Oracle, case: str) -> np.ndarray:
    groups = CASES[case][0]
    images = _images(oracle, case) if "image" in groups else None
    words = _words(oracle, case) if {"general", "text"} & set(groups) else None
    if images is not None and words is not None:
        tokens, seen, lengths = words
        for i in range(2 if case == "all" else 1):
            scope = f"_cross_layer_{i}"
            images, tokens = (
                transformer.cross_layer(oracle, f"left_to_right{scope}", images, tokens, HEADS, others=seen),
                transformer.cross_layer(oracle, f"right_to_left{scope}", tokens, images, HEADS, own=seen),
            )
        words = tokens, seen, lengths
    found = [images.mean(axis=1)] if images is not None else []
    found += _laid_out(case, *words) if words is not None else []
    if "other" in groups:
        other = np.concatenate(_rows(oracle, case, "other"), axis=1)
        found.append(oracle.dnn("other_dnn", other, 1, norm=True) if case == "all" else other)
    hidden = oracle.dnn("final_dnn", np.concatenate(found, axis=1), 1, activation=transformer.leaky_relu)
    return oracle.dense("output", hidden)


@pytest.mark.parametrize("case", CASES)
def test_formula(case: str) -> None:
    made = built(case)
    values = made.values()
    for training in (False, True):
        oracle = Oracle(values, training)
        expected = formula(oracle, case)
        found = made.run(training).outputs["logits"].numpy()
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
        assert oracle.used == set(values)


def test_all_learns_and_is_served() -> None:
    made = built("all")
    # A softmax doesn't change where all of its scores grow by as much.
    check_gradients(made, {name for name in made.dense_names if name.endswith("key/bias")}, least=1e-9)
    predicted, served = made.predicted(), made.served()
    np.testing.assert_allclose(served["logits"], predicted["logits"], rtol=1e-4, atol=1e-5)


def test_dropout_is_in_training_alone() -> None:
    made = built("all", "hidden_dropout_prob: 0.5 attention_probs_dropout_prob: 0.5")
    still = made.run().outputs["logits"].numpy()
    np.testing.assert_array_equal(still, made.run(seed=2).outputs["logits"])
    drawn = [made.run(True, seed).outputs["logits"].numpy() for seed in (1, 1, 2)]
    np.testing.assert_array_equal(drawn[0], drawn[1])
    assert np.abs(drawn[0] - drawn[2]).max() > 1e-3


def test_a_missing_image_keeps_gradients_small() -> None:
    """With biases of 0, as before the first step, its tokens are zeros up to the layer norms."""
    with tf.GradientTape() as tape:
        norm = LayerNorm(VariableStore(1), "norm", 3, CONTRIB_EPSILON)
        x = tf.constant([[0.0, 0.0, 0.0], [1.0, 2.0, 4.0]])
        tape.watch(x)
        y = norm(x, ForwardContext(True))
        found = tape.gradient(y[:, 0], [x, norm.beta])
    assert np.abs(found[0][0]).max() == 0.0
    assert np.abs(found[0][1]).max() > 0.1
    np.testing.assert_array_equal(found[1], [2.0, 0.0, 0.0])
