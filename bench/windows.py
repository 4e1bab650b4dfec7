"""Compares training jobs of several working copies in short windows of steps that alternate.

    .venv/bin/python bench/windows.py [--layout ml1m] [--seconds 60] [--window 32] COPY[:NAME=VALUE,...] ...

Each argument is a working copy, built with the same virtual environment (see bench/beside.py), and what its job
has in its environment, or as `threads=2`, `inter=1` in its train_config. All jobs are started; then one after
the other runs for a window of steps while the others are suspended, so that a machine whose speed changes from
minute to minute is equally fast for all. Prints each job's milliseconds per step and processor time, and the
median, over the windows, of the first job's time divided by its own.
"""

from __future__ import annotations

import argparse
import os
import pathlib
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from typing import Any

from job import ALL_LAYOUTS, ROWS, config_text
from ml1m import write_data


def work(copy: pathlib.Path, config_path: str, window: int) -> None:
    """Trains, and suspends itself after each window, with what it took on stdout."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    sys.path.insert(0, str(copy))
    from hvdrec.config import load
    from hvdrec.parallel.launch import join_group
    from hvdrec.trainer.job import Job

    try:
        from hvdrec.trainer.run.threads import set_threads
        from hvdrec.trainer.step import step
    except ImportError:
        # Copies before the trainer was divided into folders.
        from hvdrec.trainer import step
        from hvdrec.trainer.job import set_threads

    printed = os.fdopen(os.dup(1), "w")
    config, group = load(config_path), join_group()
    set_threads(config.proto.train_config, group.local_size)
    make = step.TrainStep.__init__

    def init(self: Any, *args: Any, **named: Any) -> None:
        make(self, *args, **named)
        run, done, began = self.run, 0, (time.perf_counter(), time.process_time())

        def timed(*batches: Any) -> Any:
            nonlocal done, began
            result = run(*batches)
            done += len(result.report.numpy())
            if done >= window:
                ended = time.perf_counter(), time.process_time()
                taken = (1000 * (b - a) / done for a, b in zip(began, ended, strict=True))
                print(*taken, file=printed, flush=True)
                os.kill(os.getpid(), signal.SIGSTOP)
                done, began = 0, (time.perf_counter(), time.process_time())
            return result

        self.run = timed

    step.TrainStep.__init__ = init
    Job(config, group).train(False, 0)


class Contestant:
    """A job of a copy."""

    def __init__(self, text: str, layout: str, data: pathlib.Path, folder: pathlib.Path, window: int) -> None:
        """Starts it, up to its first window."""
        copy, _, rest = text.partition(":")
        settings = dict(pair.split("=", 1) for pair in rest.split(",")) if rest else {}
        folder.mkdir()
        config = config_text(layout, data, folder / "model", 10**8)
        names = {"threads": "intra_op_parallelism_threads", "inter": "inter_op_parallelism_threads"}
        fields = " ".join(f"{names[n]}: {settings.pop(n)}" for n in names if n in settings)
        path = folder / "pipeline.config"
        path.write_text(config.replace("train_config {", f"train_config {{ {fields}", 1))
        self.text, self.times, self.processor = text, list[float](), list[float]()
        worker = [sys.executable, __file__, "--worker", str(pathlib.Path(copy).resolve()), str(path)]
        self._log = (folder / "log").open("w+")
        self._process = subprocess.Popen(
            [*worker, "--window", str(window)],
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            cwd=copy,
            env={**os.environ, "CUDA_VISIBLE_DEVICES": "-1", **settings},
        )
        self.window()

    def window(self, counts: bool = False) -> None:
        """Lets it run for a window, which `counts` or not."""
        self._process.send_signal(signal.SIGCONT)
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self._log.seek(0)
            sys.exit(f"{self.text}:\n{self._log.read()[-4000:]}")
        if counts:
            wall, processor = map(float, line.split())
            self.times.append(wall)
            self.processor.append(processor)

    def end(self) -> None:
        """Kills it."""
        self._process.kill()
        self._process.wait()


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("copies", nargs="+", metavar="COPY[:NAME=VALUE,...]")
    parser.add_argument("--layout", choices=sorted(ROWS), default="ml1m")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--window", type=int, default=32, help="steps")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        copy, config = options.copies
        work(pathlib.Path(copy), config, options.window)
        return
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder)
        data = root / f"{options.layout}.csv"
        write = write_data if options.layout == "ml1m" else ALL_LAYOUTS[options.layout].write
        write(data, ROWS[options.layout])
        jobs = [
            Contestant(text, options.layout, data, root / str(i), options.window)
            for i, text in enumerate(options.copies)
        ]
        try:
            for job in jobs:
                job.window()
            end = time.monotonic() + options.seconds
            while time.monotonic() < end:
                for job in jobs:
                    job.window(counts=True)
        finally:
            for job in jobs:
                job.end()
    for job in jobs:
        ratios = sorted(a / b for a, b in zip(jobs[0].times, job.times, strict=True))
        quarter = len(ratios) // 4
        print(
            f"{job.text}: {statistics.median(job.times):.2f} ms a step, {statistics.median(job.processor):.2f} ms "
            f"of processor time; {statistics.median(ratios):.2f} times the first one's speed, half of "
            f"{len(ratios)} windows {ratios[quarter]:.2f} to {ratios[-1 - quarter]:.2f}"
        )


if __name__ == "__main__":
    main()
