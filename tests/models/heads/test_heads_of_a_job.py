"""Several heads in a job: labels, weights, task spaces, names of losses and metrics, added losses."""

from __future__ import annotations

import json
import pathlib
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import text_format
from losses import oracles
from losses.list_oracles import hybrid_by_loops, listwise_by_loops
from serving.exported import trainers_predictions
from small_job import SmallJob, write_data
from tensorboard.backend.event_processing.event_multiplexer import EventMultiplexer

from hvdrec.config import load
from hvdrec.config.checks.check import check
from hvdrec.errors import ConfigError
from hvdrec.layers.context import ForwardContext
from hvdrec.losses.terms import LossTerm, TermBatch
from hvdrec.models.inputs import ModelInputs
from hvdrec.models.mmoe import MMoE
from hvdrec.parallel.single import SingleReplica
from hvdrec.trainer.input import open_batches
from hvdrec.trainer.job import Job

LAST = "metrics_set { mean_squared_error {} } }"
DATA = 'shuffle: false label_fields: "weight" sample_weight: "y"'


def job_of(folder: pathlib.Path, towers: str, model: str = "", data: str = DATA, steps: int = 0) -> Job:
    write_data(folder / "rows.csv", 64)
    small = SmallJob(
        folder / "rows.csv",
        folder / "run",
        "MMoE",
        folder / "rows.csv",
        steps=steps,
        data_extra=data,
        model_extra=model,
        metrics="",
    )
    path = small.write(folder / "x.config")
    text = path.read_text()
    start, end = text.index("task_towers"), text.index(LAST) + len(LAST)
    path.write_text(f"{text[:start]}{towers}{text[end:]}")
    config = load(str(path))
    check(config)
    return Job(config, SingleReplica())


def step_of(job: Job, training: bool = True) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray], dict]:
    """One batch's arrays, the raw outputs and the losses of it."""
    with open_batches(job.config.proto, job.plan, SingleReplica(), True) as batches:
        arrays = next(iter(batches)).arrays
    tensors = {name: tf.constant(array) for name, array in arrays.items()}
    recommender = job.recommender
    run = ForwardContext(training, tf.constant([1, 2]))
    output = recommender.forward(tensors, recommender.touch(tensors), run)
    losses = recommender.losses(tensors, output, training, tf.constant(0, tf.int64))
    outputs = {name: t.numpy() for name, t in output.outputs.items()}
    return arrays, outputs, {name: float(v) for name, v in losses.items()}


def bce(labels: np.ndarray, logits: np.ndarray, weights: np.ndarray) -> float:
    s = logits[:, 0].astype(np.float64)
    values = np.logaddexp(0, s) - labels * s
    return float(np.sum(weights * values) / np.count_nonzero(weights))


def test_each_tower_has_its_label_weight_and_task_space(tmp_path: pathlib.Path) -> None:
    job = job_of(
        tmp_path,
        """task_towers { tower_name: "one" label_name: "label" weight: 3 }
           task_towers { tower_name: "two" label_name: "weight" loss_type: L2_LOSS use_sample_weight: false }
           task_towers { tower_name: "in" label_name: "label" task_space_indicator_label: "label"
             in_task_space_weight: 2 out_task_space_weight: 0 use_sample_weight: false }
           task_towers { tower_name: "who" label_name: "label" task_space_indicator_name: "uid"
             task_space_indicator_value: "u3" in_task_space_weight: 0.5 out_task_space_weight: 1.5 }""",
    )
    arrays, outputs, losses = step_of(job)
    label, weight = arrays["label/label"], arrays["sample_weight"].astype(np.float64)
    rows = [line.split(",") for line in (tmp_path / "rows.csv").read_text().splitlines()][: len(label)]
    mine = np.asarray([row[7] == "u3" for row in rows])
    assert 0 < mine.sum() < len(mine)
    assert losses == {
        "cross_entropy_loss_one": pytest.approx(3 * bce(label, outputs["logits_one"], weight), rel=1e-5),
        "l2_loss_two": pytest.approx(
            np.mean((outputs["logits_two"][:, 0] - arrays["label/weight"]) ** 2), rel=1e-5
        ),
        "cross_entropy_loss_in": pytest.approx(
            bce(label, outputs["logits_in"], np.where(label > 0, 2.0, 0.0)), rel=1e-5
        ),
        "cross_entropy_loss_who": pytest.approx(
            bce(label, outputs["logits_who"], weight * np.where(mine, 0.5, 1.5)), rel=1e-5
        ),
    }


LOSSES = """task_towers { tower_name: "one" label_name: "label" weight: 2
    losses { loss_type: CLASSIFICATION weight: 3 %s } losses { loss_type: PAIR_WISE_LOSS weight: 0.5 %s } }
  task_towers { tower_name: "two" label_name: "label" losses { loss_type: CLASSIFICATION } }"""


def test_each_loss_of_a_tower_has_its_own_weight(tmp_path: pathlib.Path) -> None:
    data = 'shuffle: false label_fields: "weight"'
    _, _, losses = step_of(job_of(tmp_path, LOSSES % ("", ""), data=data))
    plain = LOSSES.replace("weight: 2", "").replace("weight: 3", "").replace("weight: 0.5", "") % ("", "")
    _, _, alone = step_of(job_of(tmp_path, plain, data=data))
    assert losses == {
        "cross_entropy_loss_one": pytest.approx(6 * alone["cross_entropy_loss_one"], rel=1e-6),
        "pair_wise_loss_one": pytest.approx(alone["pair_wise_loss_one"], rel=1e-6),
        "cross_entropy_loss_two": pytest.approx(alone["cross_entropy_loss_two"], rel=1e-6),
    }


SESSIONS = """task_towers { tower_name: "pairs" label_name: "label"
    losses { loss_type: PAIR_WISE_LOSS pairwise_loss { session_name: "uid" } }
    losses { loss_type: PAIRWISE_FOCAL_LOSS pairwise_focal_loss { session_name: "uid" } }
    losses { loss_type: PAIRWISE_LOGISTIC_LOSS pairwise_logistic_loss { session_name: "uid" } }
    losses { loss_type: PAIRWISE_HINGE_LOSS pairwise_hinge_loss { session_name: "uid" } } }
  task_towers { tower_name: "lists" label_name: "label"
    losses { loss_type: LISTWISE_RANK_LOSS listwise_rank_loss { session_name: "uid" } } }
  task_towers { tower_name: "jrc" label_name: "label" num_class: 2
    losses { loss_type: JRC_LOSS jrc_loss { session_name: "uid" alpha: 0.25 } } }"""


def test_each_tower_has_losses_across_rows_of_sessions(tmp_path: pathlib.Path) -> None:
    job = job_of(tmp_path, SESSIONS, data="shuffle: false")
    arrays, outputs, losses = step_of(job)
    y = arrays["label/label"]
    rows = (tmp_path / "rows.csv").read_text().splitlines()[: len(y)]
    sessions = np.unique([row.split(",")[7] for row in rows], return_inverse=True)[1]
    assert len(set(sessions)) < len(y) / 2
    s = {name: outputs[f"logits_{name}"].astype(np.float64) for name in ("pairs", "lists", "jrc")}
    pairs = {
        "pair_wise_loss": oracles.logistic_pair(0.0),
        "pairwise_focal_loss": oracles.focal_pair(2.0, None, None),
        "pairwise_logistic_loss": oracles.logistic_pair(0.0),
        "pairwise_hinge_loss": oracles.hinge_pair(None),
    }
    expected = {
        f"{name}_pairs": oracles.pairs(s["pairs"][:, 0], y, sessions, None, pair)[0]
        for name, pair in pairs.items()
    }
    expected["listwise_rank_loss_lists"] = listwise_by_loops(s["lists"][:, 0], y, sessions, "shares")
    cross = oracles.softmax(s["jrc"], y.astype(int), None)[0]
    hybrid = hybrid_by_loops(s["jrc"], y, sessions, np.ones(len(y)), True)
    expected["jrc_loss_jrc"] = 0.25 * cross + 0.75 * hybrid
    assert losses == {name: pytest.approx(value, rel=1e-5) for name, value in expected.items()}


def test_a_towers_prediction_is_distilled_in_every_form(tmp_path: pathlib.Path) -> None:
    """Weighted by a task space."""
    kinds = ("CROSS_ENTROPY_LOSS", "BINARY_CROSS_ENTROPY_LOSS", "KL_DIVERGENCE_LOSS", "L2_LOSS")
    common = """pred_name: "logits_one" soft_label_name: "weight" temperature: 2 loss_weight: 3
      task_space_indicator_name: "uid" task_space_indicator_value: "u3"
      in_task_space_weight: 0.5 out_task_space_weight: 1.5"""
    given = [f'kd {{ loss_type: {kind} loss_name: "{kind}" {common} }}' for kind in kinds]
    given.append(f'kd {{ loss_type: PAIR_WISE_LOSS {common} pairwise_loss {{ session_name: "uid" }} }}')
    towers = """task_towers { tower_name: "one" label_name: "label" }
      task_towers { tower_name: "two" label_name: "label" }"""
    job = job_of(tmp_path, towers, "\n".join(given), data='shuffle: false label_fields: "weight"')
    arrays, outputs, losses = step_of(job)
    teacher = arrays["label/weight"].astype(np.float64)
    s = outputs["logits_one"][:, 0].astype(np.float64)
    users = [line.split(",")[7] for line in (tmp_path / "rows.csv").read_text().splitlines()][: len(s)]
    weights = np.where(np.array(users) == "u3", 0.5, 1.5)
    sessions = np.unique(users, return_inverse=True)[1]
    q, p = (1 / (1 + np.exp(-x / 2)) for x in (teacher, s))
    values = {
        "CROSS_ENTROPY_LOSS": -q * np.log(p + 1e-7) - (1 - q) * np.log(1 - p + 1e-7),
        "BINARY_CROSS_ENTROPY_LOSS": -q * np.log(p) - (1 - q) * np.log(1 - p),
        "KL_DIVERGENCE_LOSS": q * np.log(q / p) + (1 - q) * np.log((1 - q) / (1 - p)),
        "L2_LOSS": (teacher - s) ** 2,
    }
    expected = {name: 3 * float(np.mean(weights * each)) for name, each in values.items()}
    pairs = oracles.pairs(s, teacher, sessions, weights, oracles.logistic_pair(0.0))[0]
    expected["kd_loss_logits_one_weight"] = 3 * pairs
    found = {name: value for name, value in losses.items() if not name.startswith("cross_entropy")}
    assert found == {name: pytest.approx(value, rel=1e-4) for name, value in expected.items()}


def test_learned_and_random_weights_go_by_tower(tmp_path: pathlib.Path) -> None:
    learn, data = "learn_loss_weight: true", 'shuffle: false label_fields: "weight"'
    plain = LOSSES.replace("weight: 2", "").replace("weight: 3", "").replace("weight: 0.5", "") % ("", "")
    _, _, alone = step_of(job_of(tmp_path, plain, data=data))
    job = job_of(tmp_path, LOSSES % (learn, learn), "loss_weight_strategy: Uncertainty", data)
    learned = {
        name: v
        for name, v in job.recommender.store.variables_by_name.items()
        if name.endswith("_loss_weight")
    }
    assert learned.keys() == {"cross_entropy_loss_one_loss_weight", "pair_wise_loss_one_loss_weight"}
    for variable in learned.values():
        variable.assign(0.3)
    _, _, losses = step_of(job)
    assert losses == {
        name: pytest.approx(
            alone[name] * (np.exp(-0.3) if "one" in name else 1) + 0.15 * ("one" in name), rel=1e-5
        )
        for name in alone
    }
    job = job_of(tmp_path, LOSSES % ("", ""), "loss_weight_strategy: Random", data)
    shares = [value / alone[name] for name, value in step_of(job)[2].items()]
    assert sum(shares) == pytest.approx(1.0, rel=1e-5)
    assert len({round(share, 3) for share in shares}) == 3


def test_names_that_are_given(tmp_path: pathlib.Path) -> None:
    """EasyRec takes a name of cross entropy as it is, which two towers can't share."""
    job = job_of(tmp_path, LOSSES % ('loss_name: "mine"', 'loss_name: "pairs"'))
    assert job.recommender.loss_set.names == ("mine", "pairs_one", "cross_entropy_loss_two")
    both = (LOSSES % ('loss_name: "mine"', "")).replace(
        "losses { loss_type: CLASSIFICATION } }", 'losses { loss_type: CLASSIFICATION loss_name: "mine" } }'
    )
    job = job_of(tmp_path, both)
    assert job.recommender.loss_set.names == ("mine_one", "pair_wise_loss_one", "mine_two")


KINDS = """task_towers { tower_name: "ctr" label_name: "label" metrics_set { auc {} } }
  task_towers { tower_name: "kind" label_name: "label" num_class: 2
    metrics_set { recall_at_topk { topk: 1 } } metrics_set { accuracy {} } }
  task_towers { tower_name: "amount" label_name: "weight" num_class: 3 loss_type: ZILN_LOSS
    metrics_set { mean_absolute_error {} } metrics_set { root_mean_squared_error {} } }"""


def test_metrics_the_best_the_end_and_pictures_go_by_tower(tmp_path: pathlib.Path) -> None:
    job = job_of(tmp_path, KINDS, data='shuffle: false label_fields: "weight"', steps=9)
    job.proto.train_config.save_checkpoints_steps = 3
    text_format.Merge(
        """exporter_type: "best" best_exporter_metric: "auc_ctr" enable_early_stop: true
        early_stop_func: "metric_reached" early_stop_params: "0.1" """,
        job.proto.export_config,
    )
    found = job.train(False, 0)
    predictions = trainers_predictions(job)
    rows = [line.split(",") for line in (tmp_path / "rows.csv").read_text().splitlines()]
    label, weight = np.array([int(row[0]) for row in rows]), np.array([float(row[8]) for row in rows])
    right = float(np.mean(np.argmax(predictions["logits_kind"], axis=1) == label))
    error = predictions["y_amount"].reshape(-1) - weight
    assert {name: value for name, value in found.items() if not name.startswith("loss")} == {
        "auc_ctr": pytest.approx(found["auc_ctr"]),
        "recall_at_topk_kind": pytest.approx(right),
        "accuracy_kind": pytest.approx(right),
        "mean_absolute_error_amount": pytest.approx(np.mean(np.abs(error)), rel=1e-5),
        "root_mean_squared_error_amount": pytest.approx(np.sqrt(np.mean(error**2)), rel=1e-5),
    }
    assert int(job.global_step) == 3
    best = json.loads((tmp_path / "run" / "best_ckpt" / "best.json").read_text())
    assert (best["step"], best["metric"], best["value"]) == (3, "auc_ctr", found["auc_ctr"])
    events = EventMultiplexer().AddRunsFromDirectory(str(tmp_path / "run"))
    events.Reload()
    images = events.PluginRunToTagToContent("images")["eval_val"].keys()
    assert {"roc_ctr", "calibration_ctr", "roc_amount"} <= images


class Tied(MMoE):
    """Two heads and a term that ties them, and a loss that a layer adds."""

    def __init__(self, build: Any) -> None:
        super().__init__(build)
        self.store.add_loss("layer_loss")

    def forward(self, inputs: ModelInputs, run: ForwardContext) -> dict[str, tf.Tensor]:
        outputs = super().forward(inputs, run)
        if run.training:
            run.losses["layer_loss"] = tf.reduce_mean(outputs["logits_one"] ** 2)
        return outputs

    def loss_terms(self) -> list[LossTerm]:
        def both(batch: TermBatch) -> tf.Tensor:
            one, two = batch.heads["one"], batch.heads["two"]
            return tf.reduce_mean(tf.nn.relu(two.logits - one.logits) * batch.label("weight"))

        return [LossTerm("tied_loss", both)]


def test_terms_have_a_name_and_are_part_of_the_loss(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hvdrec.models.registry.MODELS", {"MMoE": Tied})
    towers = """task_towers { tower_name: "one" label_name: "label" metrics_set { auc {} } }
      task_towers { tower_name: "two" label_name: "label" metrics_set { auc {} } }"""
    job = job_of(tmp_path, towers, data='shuffle: false label_fields: "weight"', steps=3)
    arrays, outputs, losses = step_of(job)
    one, two = outputs["logits_one"][:, 0], outputs["logits_two"][:, 0]
    assert losses["tied_loss"] == pytest.approx(
        np.mean(np.maximum(two - one, 0) * arrays["label/weight"]), rel=1e-5
    )
    assert losses["layer_loss"] == pytest.approx(np.mean(one**2), rel=1e-5)
    assert set(step_of(job, training=False)[2]) == {
        *("cross_entropy_loss_one", "cross_entropy_loss_two", "tied_loss")
    }
    result = job.train(False, 0)
    assert {"auc_one", "auc_two", "loss/loss/tied_loss"} <= set(result)
    assert "loss/loss/layer_loss" not in result
    lines = (tmp_path / "run" / "logs" / "rank-0.jsonl").read_text().splitlines()
    record = next(r for r in map(json.loads, lines) if r["kind"] == "step")
    parts = [v for name, v in record.items() if name.endswith("_loss") or "_loss_" in name]
    assert record["total_loss"] == pytest.approx(sum(parts) - record["total_loss"], rel=1e-5)
    assert {"tied_loss", "layer_loss"} <= set(record)


def test_two_losses_of_one_name(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Clash(MMoE):
        def loss_terms(self) -> list[LossTerm]:
            return [LossTerm("cross_entropy_loss_one", lambda batch: tf.constant(0.0))]

    monkeypatch.setattr("hvdrec.models.registry.MODELS", {"MMoE": Clash})
    with pytest.raises(ConfigError, match="two losses are named cross_entropy_loss_one"):
        job_of(tmp_path, 'task_towers { tower_name: "one" label_name: "label" }')
