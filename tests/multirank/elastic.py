"""A run under Horovod's elastic driver whose ranks are killed and whose hosts change."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import os
import pathlib
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable

import psutil

ROOT = pathlib.Path(__file__).resolve().parents[2]
_GOES_ON = re.compile(r"continuing from .*model\.ckpt-(\d+): epoch (\d+), row (\d+)")
_RANKS = re.compile(r"continuing from the (?:last checkpoint|beginning) with (\d+) ranks")
_STEP = re.compile(r"global step (\d+):")


@dataclasses.dataclass(frozen=True)
class Part:
    """What the run did from one start of its ranks on.

    Attributes:
        ranks: How many.
        step: The step it went on from.
        row: The row of the epoch then.
    """

    ranks: int
    step: int
    row: int


def write_hosts(path: pathlib.Path, hosts: str) -> None:
    """Replaces the output of a discovery script atomically."""
    new = path.with_suffix(".new")
    new.write_text(hosts + "\n")
    new.rename(path)


def discovery_script(path: pathlib.Path, hosts: pathlib.Path) -> None:
    """Makes a discovery script."""
    path.write_text(f"#!/bin/sh\ncat {hosts}\n")
    path.chmod(0o755)


def start_here(folder: pathlib.Path, config: pathlib.Path, hosts: str, ranks: int, *flags: str) -> ElasticRun:
    """Starts a run on this machine.

    Args:
        folder: For the script.
        config: What to train.
        hosts: What the script shows.
        ranks: `-np`.
        flags: More flags of `hvdrec.train`.
    """
    script, shown = folder / "hosts.sh", folder / "hosts"
    write_hosts(shown, hosts)
    discovery_script(script, shown)
    driver = ["-np", str(ranks), "--min-np", "1", "--max-np", "4", "--network-interface", "lo"]
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("OMPI_", "PMIX_", "HOROVOD_"))}
    process = subprocess.Popen(
        [
            *(str(pathlib.Path(sys.executable).parent / "horovodrun"), *driver),
            *("--host-discovery-script", str(script)),
            *(sys.executable, "-m", "hvdrec.train", "--pipeline_config_path", str(config), *flags),
        ],
        env={**inherited, "PYTHONPATH": str(ROOT)},
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    return ElasticRun(process, shown)


class ElasticRun:
    """`horovodrun` with a discovery script whose output the test sets."""

    def __init__(self, process: subprocess.Popen[str], hosts: pathlib.Path) -> None:
        """Follows it.

        Args:
            process: `horovodrun`; its output and errors come in one pipe.
            hosts: What the discovery script shows.
        """
        self.process, self._hosts = process, hosts
        #: Lines with the time they came at.
        self.lines: list[tuple[float, str]] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> ElasticRun:
        return self

    def __exit__(self, *error: object) -> None:
        with contextlib.suppress(psutil.NoSuchProcess):
            for process in psutil.Process(self.process.pid).children(recursive=True):
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
        self.process.kill()
        self.process.wait()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append((time.monotonic(), line))

    @property
    def text(self) -> str:
        """What was shown."""
        return "".join(line for _, line in self.lines)

    def set_hosts(self, hosts: str) -> None:
        """Changes the output of the script."""
        write_hosts(self._hosts, hosts)

    def ranks(self) -> list[psutil.Process]:
        """The processes that train."""
        found = []
        with contextlib.suppress(psutil.NoSuchProcess):
            for process in psutil.Process(self.process.pid).children(recursive=True):
                with contextlib.suppress(psutil.NoSuchProcess):
                    if process.cmdline()[1:3] == ["-m", "hvdrec.train"]:
                        found.append(process)
        return sorted(found, key=lambda process: process.pid)

    def wait_for(self, what: str, ready: Callable[[], bool], seconds: float = 120.0) -> float:
        """Waits until `ready()`; returns the seconds it took."""
        began = time.monotonic()
        while not ready():
            assert time.monotonic() < began + seconds, f"waited in vain for {what}:\n{self.text}"
            assert self.process.poll() is None, f"ended before {what}:\n{self.text}"
            time.sleep(0.02)
        return time.monotonic() - began

    def steps_since(self, moment: float) -> int:
        """How many lines of steps have come since."""
        return sum(1 for at, line in list(self.lines) if at > moment and _STEP.search(line))

    def kill(self, number: int) -> float:
        """Kills a rank silently; returns the seconds until the next step of the restarted ranks."""
        rank = self.ranks()[number]
        before = self.starts
        rank.send_signal(signal.SIGKILL)
        return self.wait_for_more(before)

    @property
    def starts(self) -> int:
        """How often the run has gone on from a checkpoint."""
        return len(_GOES_ON.findall(self.text))

    def wait_for_more(self, starts: int, seconds: float = 120.0) -> float:
        """Waits for a step of restarted ranks; returns the seconds it took.

        Args:
            starts: How often they had been before.
            seconds: At most.
        """

        def goes_on() -> bool:
            parts = self.text.split("continuing from ")
            return self.starts > starts and bool(_STEP.search(parts[-1]))

        return self.wait_for("steps of ranks started again", goes_on, seconds)

    def finish(self, seconds: float = 300.0) -> int:
        """Waits for the end; returns the exit code."""
        code = self.process.wait(timeout=seconds)
        self._reader.join(timeout=10)
        return code

    def parts(self, ranks: int) -> list[Part]:
        """What the run consists of.

        Args:
            ranks: Of its first part.
        """
        found = [Part(ranks, 0, 0)]
        for _, line in self.lines:
            if match := _RANKS.search(line):
                ranks = int(match[1])
            elif match := _GOES_ON.search(line):
                step, epoch, row = map(int, match.groups())
                assert epoch == 0, line
                found.append(Part(ranks, step, row))
        return found


def assert_each_row_counts_once(parts: list[Part], batch_size: int, rows: int, last_step: int) -> None:
    """The steps that are in the weights at the end are of all rows of one epoch, and of each once."""
    for part, after in itertools.pairwise(parts):
        assert after.row - part.row == (after.step - part.step) * part.ranks * batch_size, (part, after)
    left, size = rows - parts[-1].row, parts[-1].ranks * batch_size
    assert last_step - parts[-1].step == -(-left // size), parts[-1]
