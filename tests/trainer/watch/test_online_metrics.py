"""`eval_online`: metrics on each batch, with the weights from before its step."""

from __future__ import annotations

import itertools
import json
import pathlib
import types

import numpy as np
import pytest
from small_job import SmallJob, write_data

from hvdrec.config import load
from hvdrec.errors import WriteError
from hvdrec.metrics.base import EvalBatch
from hvdrec.parallel.single import SingleReplica
from hvdrec.trainer.input import open_batches
from hvdrec.trainer.job import Job
from hvdrec.trainer.watch.evaluator import Evaluator
from hvdrec.trainer.watch.events import read_scalars
from hvdrec.trainer.watch.online_metrics import OnlineMetrics


def test_each_batch_is_predicted_before_it_is_trained_on(tmp_path: pathlib.Path) -> None:
    write_data(tmp_path / "train.csv", 200)
    made = SmallJob(
        tmp_path / "train.csv",
        tmp_path / "run",
        steps=5,
        metrics='eval_online: true metrics_set { auc {} } metrics_set { gauc { uid_field: "uid" } }',
        train_extra="save_summary_steps: 2 steps_per_call: 4",
    )
    path = made.write(tmp_path / "x.config")
    path.write_text(path.read_text().replace("save_checkpoints_steps: 1000", "save_checkpoints_steps: 1"))
    job = Job(load(str(path)), SingleReplica())
    job.train(False, 0)

    expected = job.metrics()
    evaluator = Evaluator(job.recommender, job.feed)
    with open_batches(job.proto, job.plan, SingleReplica(), True) as batches:
        for step, batch in enumerate(itertools.islice(batches, 5)):
            job.store.restore(job.store.prefix(step), job.entries())
            probs = evaluator.predict(batch)["probs"]
            ids = {"uid": batch.arrays["id/uid"]}
            for each in expected:
                each.metric.update(EvalBatch(batch.arrays["label/label"], {"probs": probs}, ids))
            if step == 3:
                so_far = [each.result() for each in expected]
    found = json.loads((tmp_path / "run/online_eval_result.txt-5").read_text())
    assert found == {name: value for each in expected for name, value in each.result().items()}
    assert set(found) == {"auc", "gauc"}
    for result in so_far:
        for name, value in result.items():
            written = read_scalars(str(tmp_path / "run"), f"{name}/batch")
            assert sorted(written) == [2, 4]
            assert np.isclose(written[4], value, rtol=1e-6)

    # A step that isn't done, because some rank asked to stop, adds nothing.
    log = types.SimpleNamespace(scalars=lambda *given: None)
    online = OnlineMetrics(job, job.recommender, job.feed, SingleReplica(), log, "/dev/null/folder", 0)
    for after, has_rows in ((5, False), (6, True)):
        online.before(5, job.feed.stack([batch]))
        online.after(after)
        assert np.isfinite(online._result()["auc"]) == has_rows
    with pytest.raises(WriteError, match=r"can.t write /dev/null/folder/online_eval_result[.]txt-6"):
        online.end(6)
