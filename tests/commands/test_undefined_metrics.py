"""A metric that isn't defined on the evaluation data is reported, and never counts as the best."""

from __future__ import annotations

import json
import pathlib

import pytest
from commands.running import keep_threads, training
from small_job import SmallJob, write_data


def test_rows_of_one_label(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    keep_threads(monkeypatch)
    write_data(tmp_path / "rows.csv", 96)
    rows = (tmp_path / "rows.csv").read_text().splitlines(keepends=True)
    (tmp_path / "zeros.csv").write_text("".join(row for row in rows if row.startswith("0")))
    job = SmallJob(
        tmp_path / "rows.csv",
        tmp_path / "model",
        model="FM",
        evaluation=tmp_path / "zeros.csv",
        metrics="metrics_set { auc {} }",
        export='exporter_type: "best" enable_early_stop: true max_check_steps: 1',
        train_extra="save_checkpoints_steps: 1",
    )
    hpo = tmp_path / "hpo.json"
    assert training(job.write(tmp_path / "x.config"), "--hpo_metric_save_path", hpo) == 0
    err = capfd.readouterr().err
    assert "auc is undefined on this evaluation data, which has no positive and negative rows" in err
    assert "not exported: no evaluation had a finite value of auc" in err
    # All three steps were done: nothing was better than something undefined.
    model = tmp_path / "model"
    assert (model / "model.ckpt-3.index").exists()
    assert not (model / "export").exists()
    assert not (model / "best_ckpt").exists()
    refuse = pytest.fail
    lines = [*hpo.read_text().splitlines(), *(model / "logs/rank-0.jsonl").read_text().splitlines()]
    for text in ((model / "eval_result.txt").read_text(), *lines):
        found = json.loads(text, parse_constant=refuse)
        assert found.get("auc") is None
    assert json.loads(lines[0])["loss"] > 0
