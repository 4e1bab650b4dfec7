"""Texts from the data through a backbone, in training and in an exported model."""

from __future__ import annotations

import pathlib

import numpy as np
import pytest
import tensorflow as tf
from serving.exported import random_job, trainers_predictions, typed_request

from hvdrec.config import Config, load
from hvdrec.config.checks.check import check
from hvdrec.errors import ConfigError, DataError
from hvdrec.parallel.single import SingleReplica
from hvdrec.serving import saved_model
from hvdrec.serving.module import ServingModule
from hvdrec.trainer.job import Job

ROWS = [
    ("1", "red  shoes", "Red shoes for men", "a:0.5|b:2", "b:3|c", "x"),
    ("0", "紅鞋", "男士红鞋 ＳＡＬＥ！", "", "a", "y"),
    ("1", "", "é", "a|b|c", "a|b", "x"),
    ("0", "hat", "", "k:1", "l:1", "z"),
]
NAMES = ("label", "query", "title", "user_tags", "item_tags", "a")
BLOCKS = """
  blocks { name: "texts" inputs { feature_group_name: "texts" } raw_input {} }
  blocks { name: "tags" inputs { feature_group_name: "tags" } raw_input {} }
  blocks { name: "normal" inputs { block_name: "texts" } keras_layer { class_name: "TextNormalize"
    st_params { fields { key: "norm_parameter" value { number_value: 58 } } } } }
  blocks { name: "distance" inputs { block_name: "normal" } keras_layer { class_name: "EditDistance" } }
  blocks { name: "overlap" inputs { block_name: "normal" } keras_layer { class_name: "OverlapFeature"
    overlap { separator: " " methods: ["query_common_ratio", "proximity_avg_dist"] boundaries: [0, 0.5, 1]
      embedding_dim: 3 } } }
  blocks { name: "product" inputs { block_name: "tags" } keras_layer { class_name: "MappedDotProduct"
    dot_product { separator: "|" normalize_fn: "lambda x: tf.tanh(x)" } } }
  blocks { name: "encoder" inputs { block_name: "normal" input_slice: "[1]" } keras_layer { class_name: "TextEncoder"
    text_encoder { transformer { hidden_size: 4 num_hidden_layers: 1 num_attention_heads: 2 intermediate_size: 8
      hidden_act: "relu" hidden_dropout_prob: 0 vocab_size: 30 max_position_embeddings: 6
      use_position_embeddings: false output_all_token_embeddings: true } separator: " " } } }
  blocks { name: "top" inputs { feature_group_name: "ids" } inputs { block_name: "distance" }
    inputs { block_name: "overlap" } inputs { block_name: "product" } inputs { block_name: "encoder" }
    keras_layer { class_name: "MLP" mlp { hidden_units: [8] use_bn: false use_final_bn: false } } }"""


def config(
    folder: pathlib.Path, blocks: str = BLOCKS, rows: list[tuple[str, ...]] = ROWS, more: str = ""
) -> Config:
    (folder / "rows.csv").write_bytes(
        b"".join(b",".join(c.encode("utf-8", "surrogateescape") for c in row) + b"\n" for row in rows)
    )
    fields = "".join(
        f'input_fields {{ input_name: "{n}" input_type: {"INT32" if n == "label" else "STRING"} }}\n'
        for n in NAMES
    )
    texts = "".join(
        f'features {{ input_names: "{n}" feature_type: PassThroughFeature }}\n' for n in NAMES[1:5]
    )
    path = folder / "c.config"
    path.write_text(
        f"""train_input_path: "{folder}/rows.csv" eval_input_path: "{folder}/rows.csv" model_dir: "{folder}/run"
        train_config {{ num_steps: 2 optimizer_config {{ adam_optimizer {{ learning_rate {{
          constant_learning_rate {{ learning_rate: 0.01 }} }} }} }} }}
        export_config {{ multi_placeholder: true }}
        eval_config {{ metrics_set {{ auc {{}} }} }}
        data_config {{ batch_size: 4 label_fields: "label" input_type: CSVInput {fields} }}
        feature_config {{ {texts} features {{ input_names: "a" hash_bucket_size: 10 embedding_dim: 4 }} }}
        model_config {{ model_class: "RankModel"
          feature_groups {{ group_name: "texts" feature_names: ["query", "title"] wide_deep: DEEP }}
          feature_groups {{ group_name: "tags" feature_names: ["user_tags", "item_tags"] wide_deep: DEEP }}
          feature_groups {{ group_name: "ids" feature_names: ["a"] wide_deep: DEEP }} {more}
          backbone {{ {blocks} }} model_params {{ l2_regularization: 1e-5 }} }}"""
    )
    return load(str(path))


def test_texts_are_trained_evaluated_and_served(tmp_path: pathlib.Path) -> None:
    found = config(tmp_path)
    check(found)
    job = random_job(found)
    expected = trainers_predictions(job, tmp_path / "rows.csv")
    folder = saved_model.write(ServingModule(found.proto, job.recommender), tmp_path / "export", found.proto)
    signature = tf.saved_model.load(str(folder)).signatures["serving_default"]
    graph = signature.graph.as_graph_def()
    nodes = [*graph.node, *(node for function in graph.library.function for node in function.node_def)]
    assert "UnicodeDecode" in " ".join(node.op for node in nodes)
    assert not [node.op for node in nodes if node.op.startswith("Hvdrec")]
    cells = {name: [row[i] for row in ROWS] for i, name in enumerate(NAMES) if i}
    served = signature(**{n: tf.constant(v) for n, v in typed_request(found.proto, cells).items()})
    np.testing.assert_allclose(served["probs"], expected["probs"], rtol=1e-5, atol=1e-6)
    # Each text matters.
    for name in cells:
        other = {**cells, name: cells[name][1:] + cells[name][:1]}
        changed = signature(**{n: tf.constant(v) for n, v in typed_request(found.proto, other).items()})
        assert np.abs(changed["probs"] - expected["probs"]).max() > 1e-4, name
    job = Job(found, SingleReplica())
    before = {e.name: e.variable.numpy() for e in job.entries() if e.name.endswith(("_table", "_emb_table"))}
    assert len(before) == 2
    assert np.isfinite(job.train(False, 0)["loss"])
    after = {e.name: e.variable.numpy() for e in job.entries()}
    assert all((after[name] != value).any() for name, value in before.items())


def test_a_text_that_is_not_utf8_is_told(tmp_path: pathlib.Path) -> None:
    found = config(tmp_path, rows=[*ROWS[:2], ("1", "caf\udce9", "x", "", "", "x")])
    job = random_job(found)
    with pytest.raises(DataError, match=r"rows.csv, row 3, column 'query': 'caf\\xe9' is not UTF-8: byte 4"):
        trainers_predictions(job, tmp_path / "rows.csv")


@pytest.mark.parametrize(
    ("blocks", "more", "problem"),
    [
        (
            BLOCKS.replace("raw_input {}", "input_layer {}", 1),
            "",
            r"features\[0\].feature_type: a PassThroughFeature has no column; only a block with raw_input",
        ),
        (
            BLOCKS.replace(
                'block_name: "normal" }', 'block_name: "normal" input_fn: "lambda x: [x[0] + x[0]]" }', 1
            ),
            "",
            r"input_fn: .*'\+' can't be applied to texts \[batch\]",
        ),
        (
            BLOCKS.replace('{ block_name: "distance" }', '{ block_name: "normal" }'),
            "",
            r"tensors can be concatenated|found a list",
        ),
    ],
)
def test_mistakes_are_told(tmp_path: pathlib.Path, blocks: str, more: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        check(config(tmp_path, blocks, more=more))
