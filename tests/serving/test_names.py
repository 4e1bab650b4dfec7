"""Models with fields of any name can be exported, and predict."""

from __future__ import annotations

import keyword
import pathlib

import numpy as np
import pytest
import tensorflow as tf
from serving.exported import random_job, trainers_predictions
from small_job import SmallJob, write_data

from hvdrec.config import load
from hvdrec.data import open_source
from hvdrec.serving import saved_model
from hvdrec.serving.loaded import LoadedModel
from hvdrec.serving.module import ServingModule

#: What Python, TensorFlow or this program calls something itself.
_TAKEN = (
    *("self", "cls", "args", "kwargs", "name", "inputs", "output", "training", "captures", "fn", "func"),
    *("features", "probs", "logits", "input_1", "input_3", "input_5_", "saver_filename", "Identity", "NoOp"),
    "INPUT_7",
    *("StatefulPartitionedCall", "serving_default", "PartitionedCall", "Const", "label_", "tensors"),
)
_ODD = (
    "Age",
    "age",
    "AGE",
    "_x",
    "__init__",
    "a b",
    "user:age",
    "名字",
    "1st",
    "a/b",
    "a.b",
    "^x",
    "x-y",
    "a'b",
)
NAMES = (*keyword.kwlist, *keyword.softkwlist, *_TAKEN, *_ODD)


def _write(folder: pathlib.Path, export: str) -> pathlib.Path:
    fields = "".join(f'input_fields {{ input_name: "{n}" input_type: STRING }}\n' for n in NAMES)
    features = "".join(
        f'features {{ input_names: "{n}" feature_type: IdFeature hash_bucket_size: 9 embedding_dim: 2 }}\n'
        for n in NAMES
    )
    listed = ", ".join(f'"{n}"' for n in NAMES)
    rng = np.random.default_rng(0)
    rows = [",".join(["1", *(f"v{v}" for v in rng.integers(0, 20, len(NAMES)))]) for _ in range(40)]
    (folder / "rows.csv").write_text("".join(f"{row}\n" for row in rows))
    (folder / "x.config").write_text(
        f"""train_input_path: "{folder}/rows.csv" model_dir: "{folder}/model"
        train_config {{ optimizer_config {{ sgd_optimizer {{ learning_rate {{ constant_learning_rate {{ }} }} }} }} }}
        data_config {{ input_fields {{ input_name: "label" input_type: INT32 }} {fields}
          label_fields: "label" input_type: CSVInput batch_size: 8 }}
        feature_config {{ {features} }}
        model_config {{ model_class: "FM" fm {{ }}
          feature_groups {{ group_name: "deep" wide_deep: DEEP feature_names: [{listed}] }}
          feature_groups {{ group_name: "wide" wide_deep: WIDE feature_names: [{listed}] }} }}
        export_config {{ {export} }}"""
    )
    return folder / "x.config"


@pytest.mark.parametrize("export", ["", "placeholder_named_by_input: true", "multi_placeholder: false"])
def test_every_name_is_exported(tmp_path: pathlib.Path, export: str) -> None:
    config = load(str(_write(tmp_path, export)))
    job = random_job(config)
    folder = saved_model.write(ServingModule(config.proto, job.recommender), tmp_path / "out", config.proto)
    model = LoadedModel(str(folder), config.proto)
    assert {wanted.name for wanted in model.inputs} == set(NAMES)
    found = []
    source = open_source(
        config.proto, paths=[str(tmp_path / "rows.csv")], fields=model.inputs, training=False
    )
    for block in source:
        found.append(model.predict(block.columns, block.locate)["logits"])
    wanted = trainers_predictions(job, tmp_path / "rows.csv")["logits"]
    assert np.ptp(wanted) > 0
    np.testing.assert_allclose(np.concatenate(found), wanted, rtol=1e-6, atol=1e-6)
    if "multi" not in export:
        # What Python can be given by name keeps its name there.
        again = tf.saved_model.load(str(folder)).signatures["serving_default"]
        assert {"Age", "name", "probs", "features"} <= set(again.structured_input_signature[1])


@pytest.mark.parametrize("group", ["全部", "^all", "_all", "a b"])
def test_every_name_of_a_group_is_exported(tmp_path: pathlib.Path, group: str) -> None:
    write_data(tmp_path / "rows.csv", 40)
    text = SmallJob(tmp_path / "rows.csv", tmp_path / "model", model="MultiTower").text()
    (tmp_path / "x.config").write_text(text.replace('"user"', f'"{group}"'))
    config = load(str(tmp_path / "x.config"))
    job = random_job(config)
    names = [variable.name for variable in job.recommender.dense_trainable]
    module = ServingModule(config.proto, job.recommender)
    folder = saved_model.write(module, tmp_path / "out", config.proto)
    assert [variable.name for variable in job.recommender.dense_trainable] == names
    model = LoadedModel(str(folder), config.proto)
    source = open_source(
        config.proto, paths=[str(tmp_path / "rows.csv")], fields=model.inputs, training=False
    )
    found = [model.predict(block.columns, block.locate)["logits"] for block in source]
    wanted = trainers_predictions(job, tmp_path / "rows.csv")["logits"]
    np.testing.assert_allclose(np.concatenate(found), wanted, rtol=1e-6, atol=1e-6)
