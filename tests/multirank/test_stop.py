"""Stopped by a signal to one rank and resumed: same bits on two ranks, same rows on another number."""

from __future__ import annotations

import json
import pathlib
import signal
import subprocess
import time
from collections.abc import Callable

import psutil
import pytest
from multirank.launch import command, start
from small_job import SmallJob, write_data
from trainer.stopping import assert_same_bits, train

from hvdrec.parallel.single import SingleReplica

pytestmark = pytest.mark.multirank

WORKER = str(pathlib.Path(__file__).with_name("resume_worker.py"))
SHUFFLED = "shuffle: true shuffle_buffer_size: 100"
SPLIT = "embedding_split: SPLIT embedding_split_min_bytes: 0"
TERM, INT = int(signal.SIGTERM), int(signal.SIGINT)


def _numbered(path: pathlib.Path, rows: int) -> pathlib.Path:
    """Rows whose label is their number."""
    write_data(path, rows)
    lines = path.read_text().splitlines()
    path.write_text("".join(f"{i},{line.split(',', 1)[1]}\n" for i, line in enumerate(lines)))
    return path


@pytest.fixture(scope="module")
def two_ranks(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """The folder in which two ranks have trained the jobs below."""
    folder = tmp_path_factory.mktemp("resume")
    write_data(folder / "train.csv", 900)
    numbered = _numbered(folder / "numbered.csv", 700)
    files = [_numbered(folder / f"part-{i}.csv", n) for i, n in enumerate((300, 90, 150))]
    l2 = "loss_type: L2_LOSS"

    def job(name: str, stops: list, **changes: object) -> dict[str, object]:
        values = {"train": folder / "train.csv", "batch_size": 16, "data_extra": SHUFFLED, **changes}
        config = SmallJob(model_dir=folder / name, **values).write(folder / f"{name}.config")  # type: ignore[arg-type]
        text = config.read_text().replace("[16, 8]", "[16, 8] dropout_ratio: [0.3, 0.2]")
        config.write_text(text)
        return {"name": name, "config": str(config), "stops": stops}

    shards = ",".join(map(str, files))
    rows = {"model": "FM", "model_extra": l2, "metrics": "", "train_extra": "steps_per_call: 1"}
    jobs = [
        job("whole", [], steps=40, train_extra="steps_per_call: 3"),
        job("stopped", [(7, 1, TERM), (31, 0, INT)], steps=40, train_extra="steps_per_call: 3"),
        job("split_whole", [], steps=40, train_extra=f"steps_per_call: 3 {SPLIT}"),
        job(
            "split_stopped", [(7, 1, TERM), (31, 0, INT)], steps=40, train_extra=f"steps_per_call: 3 {SPLIT}"
        ),
        {
            **job(
                "split_rows",
                [(9, 1, TERM)],
                train=numbered,
                **{**rows, "train_extra": f"steps_per_call: 1 {SPLIT}"},
            ),
            "resume": False,
        },
        {**job("rows", [(9, 1, TERM)], train=numbered, **rows), "resume": False},
        job("files", [(11, 1, TERM)], train=shards, **{**rows, "data_extra": "file_shard: true"}),
    ]
    (folder / "jobs.json").write_text(json.dumps(jobs))
    done = start("horovodrun", 2, [WORKER, str(folder / "jobs.json")])
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-6000:]
    return folder


def _records(folder: pathlib.Path, name: str) -> list[dict[str, list[int]]]:
    return [json.loads((folder / f"{name}.rank{r}.json").read_text()) for r in range(2)]


@pytest.mark.parametrize("kind", ["", "split_"])
def test_same_bits(two_ranks: pathlib.Path, kind: str) -> None:
    whole, stopped = _records(two_ranks, f"{kind}whole"), _records(two_ranks, f"{kind}stopped")
    assert [r["labels"] for r in stopped] == [r["labels"] for r in whole]
    assert [r["codes"] for r in stopped] == [[143, 130]] * 2
    assert_same_bits(
        str(two_ranks / f"{kind}whole/model.ckpt-40"), str(two_ranks / f"{kind}stopped/model.ckpt-40")
    )


@pytest.mark.parametrize("name", ["rows", "split_rows"])
def test_another_number_of_ranks_reads_the_rest_and_says_so(
    two_ranks: pathlib.Path, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    before = [label for record in _records(two_ranks, name) for label in record["labels"]]
    assert len(before) == 9 * 32
    after, _ = train(str(two_ranks / f"{name}.config"), SingleReplica(), begun=True)
    assert sorted(before + after) == list(range(700))
    assert "ranks 2 before, 1 now" in caplog.text
    assert "the last bits may differ" in caplog.text


def test_ranks_with_files_of_their_own_read_each_row_once(two_ranks: pathlib.Path) -> None:
    """Rank 1 has run out (90 rows) long before rank 0 has (300 and 150)."""
    seen = [sorted(record["labels"]) for record in _records(two_ranks, "files")]
    assert seen == [sorted([*range(300), *range(150)]), list(range(90))]


def _wait_for(condition: Callable[[], bool], seconds: float = 120.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize("launcher", ["plain", "mpirun"])
def test_sigterm_saves_and_a_second_run_is_refused(tmp_path: pathlib.Path, launcher: str) -> None:
    """Sent only to the program, or to one of two ranks; while it runs, no other run can start."""
    write_data(tmp_path / "train.csv", 400)
    job = SmallJob(tmp_path / "train.csv", tmp_path / "model", batch_size=8, steps=100_000_000)
    config = job.write(tmp_path / "job.config")
    arguments = ["-m", "hvdrec.train", "--pipeline_config_path", str(config)]
    line = command(launcher, 1 if launcher == "plain" else 2, arguments)
    with subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as launched:
        record = tmp_path / "model/logs/rank-0.jsonl"
        _wait_for(lambda: record.exists() and '"step"' in record.read_text())
        if launcher == "plain":
            refused = start("plain", 1, arguments)
            assert refused.returncode == 2
            assert f"is in use by process {launched.pid}" in refused.stderr
            target = psutil.Process(launched.pid)
        else:
            children = psutil.Process(launched.pid).children(recursive=True)
            target = [c for c in children if "hvdrec.train" in c.cmdline()][-1]
        target.send_signal(signal.SIGTERM)
        text, _ = launched.communicate(timeout=150)
    assert launched.returncode == 143, text
    step = max(int(p.name.split("-")[1].split(".")[0]) for p in (tmp_path / "model").glob("*.index"))
    assert f"stopped by SIGTERM at step {step}, which is saved" in text
    assert "Traceback" not in text
    assert not (tmp_path / "model/.lock").exists()


def test_a_second_signal_stops_at_once(tmp_path: pathlib.Path) -> None:
    write_data(tmp_path / "train.csv", 400)
    job = SmallJob(tmp_path / "train.csv", tmp_path / "model", batch_size=8, steps=100_000_000)
    config = job.write(tmp_path / "job.config")
    # A program whose main thread doesn't come back from a call.
    program = tmp_path / "stuck.py"
    program.write_text(
        "import sys, time\n"
        "from hvdrec.trainer.loop import Loop\n"
        "from hvdrec.train import main, parse_train, run\n"
        "def stuck(self, count):\n"
        "    print('stuck', flush=True)\n"
        "    while True: time.sleep(60)\n"
        "Loop._call = stuck\n"
        "sys.exit(main(parse_train, run, sys.argv[1:]))\n"
    )
    arguments = [str(program), "--pipeline_config_path", str(config)]
    with subprocess.Popen(
        command("plain", 1, arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as launched:
        assert launched.stdout is not None
        assert launched.stdout.readline() == "stuck\n"
        launched.send_signal(signal.SIGINT)
        time.sleep(0.5)
        assert launched.poll() is None
        launched.send_signal(signal.SIGINT)
        launched.communicate(timeout=100)
    assert launched.returncode == 130
    # The kernel has freed the lock, so the next run can continue.
    again = start("plain", 1, ["-m", "hvdrec.train", *arguments[1:], "--continue_train",
                               "--train_config.num_steps=2"])  # fmt: skip
    assert again.returncode == 0, again.stderr
    assert "was left by process" in again.stderr
