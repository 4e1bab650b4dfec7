"""A hyper-parameter search as EasyRec's: a file of parameters per trial, and a file with its metrics."""

from __future__ import annotations

import json
import pathlib

import pytest
from commands.running import keep_threads, training
from small_job import SmallJob, write_data

from hvdrec.config import load

FEATURES = "feature_config.features"
RATE = "train_config.optimizer_config[0].adam_optimizer.learning_rate.constant_learning_rate.learning_rate"
#: The forms of EasyRec's samples/hpo: one element, a range, conditions, and values as numbers or text.
TRIALS = (
    {"train_config.num_steps": 4, RATE: 0.05, f"{FEATURES}[:].embedding_dim": "8"},
    {
        "train_config.num_steps": "2",
        RATE: "1e-3",
        f"{FEATURES}[input_names[0]=a].embedding_dim": 12,
        f"{FEATURES}[feature_type=RawFeature].boundaries": "[0.25, 0.5, 0.75]",
        f"{FEATURES}[feature_type=RawFeature].embedding_dim": 4,
        f"{FEATURES}[hash_bucket_size>10].combiner": "mean",
        f"{FEATURES}[1:3].embedding_dim": 12,
        "model_config.multi_tower.final_dnn.hidden_units": [16, 4],
    },
)


def test_trials_differ_by_their_parameters(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keep_threads(monkeypatch)
    write_data(tmp_path / "rows.csv", 160)
    found, configs = [], []
    for number, param in enumerate(TRIALS):
        folder = tmp_path / str(number)
        folder.mkdir()
        job = SmallJob(
            tmp_path / "rows.csv",
            folder / "model",
            model="MultiTower",
            evaluation=tmp_path / "rows.csv",
            train_extra="save_checkpoints_steps: 2",
        )
        (folder / "param.json").write_text(json.dumps({"param": param}))
        flags = [
            "--hpo_param_path",
            folder / "param.json",
            "--hpo_metric_save_path",
            folder / "out/metric.json",
        ]
        assert training(job.write(folder / "x.config"), *flags) == 0
        found.append([json.loads(line) for line in (folder / "out/metric.json").read_text().splitlines()])
        configs.append(load(str(folder / "model/pipeline.config")).proto)
    assert [[line["global_step"] for line in lines] for lines in found] == [[2, 4], [2]]
    assert {"auc", "loss", "global_step"} <= found[0][0].keys()
    assert found[0][0]["loss"] != found[1][0]["loss"]
    first, second = configs
    assert {feature.embedding_dim for feature in first.feature_config.features} == {8}
    features = {feature.input_names[0]: feature for feature in second.feature_config.features}
    assert features["a"].embedding_dim == 12
    assert features["x"].boundaries == [0.25, 0.5, 0.75]
    assert second.model_config.multi_tower.final_dnn.hidden_units == [16, 4]
    assert second.train_config.num_steps == 2
