"""Layers over texts: what they make of the operations of `hvdrec.ops.text`, which have their own tests."""

from __future__ import annotations

import pathlib

import numpy as np
import pytest
import tensorflow as tf
from layers.making import Made, near

from hvdrec.config.backbone.check import ShapeBackend
from hvdrec.config.backbone.run import Place
from hvdrec.config.backbone.shapes import as_shapes
from hvdrec.config.layers.registry import SPECS
from hvdrec.config.layers.shapes import TEXT, ShapeError
from hvdrec.config.protos import keras_layer_pb2

PAIR = [TEXT, TEXT]


def _texts(*columns: list[str]) -> list[np.ndarray]:
    return [np.array([text.encode() for text in column], object) for column in columns]


def test_edit_distance() -> None:
    made = Made("EditDistance", PAIR, embedding_size=4, embedding_dim=3)
    made.shake()
    texts = _texts(["abc", "é", "abcdefgh"], ["abd", "e", ""])
    near(made.eval(texts), made.value("embedding_table")[[1, 1, 3]])
    latin = Made("EditDistance", PAIR, text_encoding="Latin", embedding_dim=2)
    latin.shake()
    near(latin.eval(texts), latin.value("embedding_table")[[1, 2, 8]])


def test_mapped_dot_product() -> None:
    texts = _texts(["a:2|b", "c", ""], ["a:3|b:0.5", "a", "a"])
    plain = Made("MappedDotProduct", PAIR, separator="|", default_value=-1, normalize_fn="lambda x: x * 2")
    assert plain.names == []
    near(plain.eval(texts), np.array([[13.0], [0.0], [-2.0]]))
    buckets = Made("MappedDotProduct", PAIR, separator="|", boundaries=[0.0, 6.5])
    near(buckets.eval(texts), np.array([[2.0], [1.0], [1.0]]))
    embedded = Made("MappedDotProduct", PAIR, separator="|", boundaries=[0.0, 6.5], embedding_dim=2)
    near(embedded.eval(texts), embedded.value("dot_product_emb_table")[[2, 1, 1]])


def test_overlap_feature() -> None:
    texts = _texts(["a b", "c", ""], ["a b c d", "a", "a"])
    methods = ["title_common_ratio", "index_of"]
    plain = Made("OverlapFeature", PAIR, separator=" ", methods=methods)
    near(plain.eval(texts), np.array([[0.5, 0.0], [0.0, -1.0], [-1.0, -1.0]]))
    embedded = Made(
        "OverlapFeature", PAIR, separator=" ", methods=methods, boundaries=[0, 0.5], embedding_dim=2
    )
    rows = np.array([[2, 4], [1, 3], [0, 3]])
    near(embedded.eval(texts), embedded.value("overlap_emb_table")[rows].reshape(3, 4))


def test_text_normalize() -> None:
    one = Made("TextNormalize", TEXT, norm_parameter=2 + 8 + 16 + 32 + 512, remove_space=True)
    (text,) = _texts(["ａbc！ 體 d"])
    assert one.eval(text).numpy()[0].decode() == "ABC 体 D"
    both = Made("TextNormalize", PAIR, norm_parameter=4)
    assert [each.numpy()[0] for each in both.eval(_texts(["AB"], ["C d"]))] == [b"ab", b"c d"]
    unchanged = Made("TextNormalize", [TEXT])
    assert unchanged.eval([text]).numpy()[0] == text[0]


SIZE = {"hidden_size": 4, "num_attention_heads": 2, "hidden_dropout_prob": 0.0}


def test_text_encoder_hashes_tokens() -> None:
    made = Made("TextEncoder", PAIR, transformer={**SIZE, "vocab_size": 50, "max_position_embeddings": 7})
    made.shake()
    encoder = Made("TransformerEncoder", [(None,), (None,)], **SIZE, vocab_size=50, max_position_embeddings=7)
    assert [f"transformer/{name}" for name in encoder.names] == made.names
    for name, variable in encoder.store.variables_by_name.items():
        source = name.replace("backbone/block/", "backbone/block/transformer/")
        variable.assign(made.store.variables_by_name[source])
    tokens = [["[CLS]", "a", "b", "[SEP]", "c", "[SEP]", ""], ["[CLS]", "", "[SEP]", "d", "", "e", "[SEP]"]]
    ids = tf.strings.to_hash_bucket_fast(tf.constant(tokens), 50).numpy().astype(np.int32)
    expected = encoder.eval([ids, np.array(tokens) != ""])[:, 0]
    near(made.eval(_texts(["a b", ""], ["c", "d  e"])), expected)


def test_text_encoder_pads_no_row_beyond_what_it_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    """One long text would otherwise make all rows of its batch as long."""
    made = Made("TextEncoder", TEXT, transformer={**SIZE, "vocab_size": 50, "max_position_embeddings": 7})
    widths, pad = [], tf.RaggedTensor.to_tensor

    def padded(ragged: tf.RaggedTensor, *args: object, **named: object) -> tf.Tensor:
        widths.append(int(ragged.bounding_shape()[1]))
        return pad(ragged, *args, **named)

    monkeypatch.setattr(tf.RaggedTensor, "to_tensor", padded)
    made.eval(_texts(["a", "b " * 1000])[0])
    assert widths == [7]


def test_text_encoder_reads_a_vocabulary(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "tokens.txt"
    path.write_text("[PAD]\n[CLS]\nb\n[SEP]\n")
    made = Made("TextEncoder", TEXT, transformer=SIZE, vocab_file=str(path))
    assert made.value("transformer/pos_embedding/embedding/embeddings").shape == (4, 4)
    made.shake()
    # Unknown tokens are masked, so only the place of b counts.
    (texts,) = _texts(["b x", "b y", "b b"])
    found = made.eval(texts).numpy()
    near(found[0], found[1])
    assert np.abs(found[0] - found[2]).max() > 1e-3
    path.write_text("a\nb\na\n")
    problems = _problems("TextEncoder", transformer=SIZE, vocab_file=str(path))
    assert problems == [("st_params.vocab_file", f"{path}, line 3: the token 'a' is already in the file")]


def _problems(class_name: str, **values: object) -> list[tuple[str, str]]:
    message = keras_layer_pb2.KerasLayer(class_name=class_name)
    message.st_params.update(values)
    return [(each.path, each.text) for each in SPECS[class_name].read(message)[1]]


@pytest.mark.parametrize(
    ("class_name", "values", "path", "text"),
    [
        ("TextNormalize", {"norm_parameter": 64}, "norm_parameter", "64 has unknown bits"),
        ("TextNormalize", {"norm_parameter": 6}, "norm_parameter", "6 has both 2"),
        ("EditDistance", {"text_encoding": "gbk"}, "text_encoding", "must be one of utf-8, latin"),
        ("OverlapFeature", {"methods": ["common_word"]}, "methods[0]", "must be one of query_common_ratio"),
        (
            "OverlapFeature",
            {"methods": ["is_equal"], "default_value": "x"},
            "default_value",
            "must be a number",
        ),
        ("MappedDotProduct", {"boundaries": [1, 1]}, "boundaries", "must be ascending"),
        ("MappedDotProduct", {"embedding_dim": 2}, "embedding_dim", "needs boundaries"),
        ("MappedDotProduct", {"normalize_fn": "lambda x: x[0]"}, "normalize_fn", "can't be"),
        ("MappedDotProduct", {"normalize_fn": "__import__('os')"}, "normalize_fn", ""),
        ("TextEncoder", {"transformer": SIZE}, "transformer", "vocab_size is missing"),
        ("TextEncoder", {"transformer": {**SIZE, "vocab_size": 3}, "separator": ""}, "separator", "empty"),
    ],
)
def test_mistakes_are_told(class_name: str, values: dict[str, object], path: str, text: str) -> None:
    (found,) = _problems(class_name, **values)
    assert found[0] == f"st_params.{path}"
    assert text in found[1]


@pytest.mark.parametrize("class_name", ["EditDistance", "MappedDotProduct", "OverlapFeature", "TextEncoder"])
@pytest.mark.parametrize("inputs", [4, [4, 4], [TEXT, 4], [TEXT, ()], []])
def test_inputs_must_be_texts(class_name: str, inputs: object) -> None:
    values = {
        "OverlapFeature": {"methods": ["is_equal"]},
        "TextEncoder": {"transformer": {**SIZE, "vocab_size": 3}},
    }
    message = keras_layer_pb2.KerasLayer(class_name=class_name)
    message.st_params.update(values.get(class_name, {}))
    config, problems = SPECS[class_name].read(message)
    assert not problems
    with pytest.raises(ShapeError, match="needs a"):
        SPECS[class_name].outputs(config, inputs)


def test_texts_are_no_numbers() -> None:
    given = {"Dense": {"units": 2}, "MLP": {"hidden_units": [2]}, "Dropout": {"rate": 0.5}}
    for class_name in ("Dense", "Flatten", "Add", "Concatenate", "FM", "Dropout", "MLP"):
        message = keras_layer_pb2.KerasLayer(class_name=class_name)
        message.st_params.update(given.get(class_name, {}))
        for inputs in (TEXT, PAIR, [4, [TEXT]]):
            with pytest.raises(ShapeError, match=r"needs numbers, found .*texts"):
                ShapeBackend({}).layer(message, as_shapes(inputs), Place(("main", "x"), "x", "blocks[0]"))
