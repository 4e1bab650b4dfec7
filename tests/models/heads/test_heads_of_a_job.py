"""Several heads in a job: labels, weights, task spaces, names of losses and metrics, added losses."""

from __future__ import annotations

import json
import pathlib
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from small_job import SmallJob, write_data

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


def test_learned_weights_go_by_tower(tmp_path: pathlib.Path) -> None:
    learn = "learn_loss_weight: true"
    job = job_of(tmp_path, LOSSES % (learn, learn), "loss_weight_strategy: Uncertainty")
    names = {n for n in job.recommender.store.variables_by_name if n.endswith("_loss_weight")}
    assert names == {"cross_entropy_loss_one_loss_weight", "pair_wise_loss_one_loss_weight"}


def test_names_that_are_given(tmp_path: pathlib.Path) -> None:
    """EasyRec takes a name of cross entropy as it is, which two towers can't share."""
    job = job_of(tmp_path, LOSSES % ('loss_name: "mine"', 'loss_name: "pairs"'))
    assert job.recommender.loss_set.names == ("mine", "pairs_one", "cross_entropy_loss_two")
    both = (LOSSES % ('loss_name: "mine"', "")).replace(
        "losses { loss_type: CLASSIFICATION } }", 'losses { loss_type: CLASSIFICATION loss_name: "mine" } }'
    )
    job = job_of(tmp_path, both)
    assert job.recommender.loss_set.names == ("mine_one", "pair_wise_loss_one", "mine_two")


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
