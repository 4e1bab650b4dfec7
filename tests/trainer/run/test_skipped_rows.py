"""`ignore_error` in training, evaluation and prediction: skipped rows are reported, the others keep their positions."""

from __future__ import annotations

import json
import pathlib

import pytest
from small_job import SmallJob, write_data

from hvdrec.commands.predict import predict
from hvdrec.config import load
from hvdrec.config.flags import load_for_predict, parse_predict
from hvdrec.parallel.single import SingleReplica
from hvdrec.trainer.job import Job
from hvdrec.trainer.run import log

BAD = {10: "yes,a1,b1,1,t1,0.5,1,u1,1", 20: "1,a1", 31: "1,a1,b1,one,t1,0.5,1,u1,1"}


@pytest.fixture
def job(tmp_path: pathlib.Path) -> SmallJob:
    """100 rows of which three can't be used; `clean.csv` has the other ones."""
    path = tmp_path / "train.csv"
    write_data(path, 100)
    lines = path.read_text().splitlines()
    good = [line for row, line in enumerate(lines, 1) if row not in BAD]
    (tmp_path / "clean.csv").write_text("\n".join(good) + "\n")
    path.write_text("".join(BAD.get(row, line) + "\n" for row, line in enumerate(lines, 1)))
    return SmallJob(
        path,
        tmp_path / "model",
        model="DCN",
        evaluation=path,
        data_extra="shuffle: false ignore_error: true",
        train_extra="steps_per_call: 1",
    )


def _predict(job: SmallJob, name: str) -> list[str]:
    out = job.model_dir.parent / f"{name}.out"
    paths = ["--input_path", str(job.model_dir.parent / name), "--output_path", str(out)]
    flags = parse_predict(
        ["--model_dir", str(job.model_dir), *paths, "--output_sep", ",", "--batch_size", "16"]
    )
    predict(load_for_predict(flags), flags)
    return out.read_text().splitlines()


def test_rows_left_out_are_told_and_the_others_keep_their_places(
    job: SmallJob, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # TensorFlow takes thread counts only before its first operation.
    monkeypatch.setattr("hvdrec.commands.predict.set_threads", lambda *_: None)
    log.set_up(0, False)
    config = load(str(job.write(job.model_dir.parent / "job.config")))
    Job(config, SingleReplica()).train(False, 0)
    told = capsys.readouterr().err
    first = f"{job.train}, row 10, column 'label': 'yes' is not an INT32"
    assert "training: 3 of 100 rows were skipped (ignore_error); the first: " in told
    assert "evaluation: 3 of 100 rows were skipped" in told
    assert first in told or f"{job.train}, row 20: found 2 columns, expected 9" in told
    # Of the look at the evaluation data before the first step, of training and of evaluation.
    assert told.count("further invalid rows are only counted") == 3
    end = json.loads((job.model_dir / "logs" / "rank-0.jsonl").read_text().splitlines()[-1])
    assert (end["input"]["rows"], end["input"]["bad_rows"]) == (97, 3)

    (job.model_dir / "pipeline.config").write_text(job.text())
    kept = _predict(job, "train.csv")
    # A label that can't be used is no reason to leave a row out of a prediction.
    assert "prediction: 2 of 100 rows were skipped" in capsys.readouterr().err
    assert len(kept) == 99
    columns = kept[0].split(",")
    assert kept.pop(10).split(",")[-9:] == BAD[10].split(",")
    clean = (job.model_dir.parent / "clean.csv").read_text().splitlines()
    assert [line.split(",")[-9:] for line in kept[1:]] == [line.split(",") for line in clean]
    scores = [float(line.split(",")[columns.index("logits")]) for line in kept[1:]]
    alone = [float(line.split(",")[columns.index("logits")]) for line in _predict(job, "clean.csv")[1:]]
    assert scores == pytest.approx(alone, abs=1e-6)
