"""Keeps one rank of a run under Horovod's elastic driver: restarts it in the place that it then has.

The process that `horovodrun` with a discovery script starts for each slot becomes a keeper, which starts the
rank. When a rank is lost, all others end too, as under every launcher; each keeper then requests from the
driver its place among the ranks on the available hosts, and restarts its rank from the last checkpoint. The
driver therefore doesn't notice a lost rank; otherwise it would never use that host again. When a host is
lost, the driver loses the keepers there, and assigns places to the others without it. When hosts are added
or removed, it notifies the keeper of rank 0, which makes the ranks save.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import NoReturn

from hvdrec.launcher.driver import Driver, DriverGoneError
from hvdrec.launcher.signals import noted
from hvdrec.parallel import keeper as told
from hvdrec.parallel.watch import SECONDS as LOST_AFTER

_POLL_SECONDS = 0.1
_ASK_SECONDS = 1.0
#: The time that a rank has to report why it ends, after another has ended.
_GRACE_SECONDS = 5.0
#: A launcher signals both the rank and its keeper, or only the keeper, which forwards what the rank hasn't
#: received by then.
_SIGNAL_SECONDS = 0.3
#: The driver is considered gone after this many requests in a row without an answer.
_UNANSWERED = 5
#: Assigned places are based on the hosts that were known this long before.
_KNOWN_SECONDS = 1.0
#: A host that doesn't answer for this long is lost; the user's setting takes precedence.
_LOST_AFTER_SECONDS = "10"
#: The run ends after this many ends in a row without a checkpoint in between: of ranks with an error of their
#: own, and of ranks that were killed or lost.
_MOST_ERRORS, _MOST_LOSSES = 3, 10
_MISTAKE = 2
#: Exit codes of a rank that a signal ended after it had saved.
_STOPPED = (128 + signal.SIGINT, 128 + signal.SIGTERM)
#: Messages between keepers.
_LOSS, _HOSTS = "a rank has ended", "hosts have changed"


def become_keeper(arguments: Sequence[str]) -> NoReturn:
    """Replaces this process by the keeper of a rank.

    Args:
        arguments: The flags of `hvdrec.train`.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(sys.executable, [sys.executable, "-m", __name__, *arguments])


@dataclasses.dataclass
class _Told:
    """What the ranks of this slot have reported.

    Attributes:
        began: The step at which the run began; None before that.
        last: The step of the last checkpoint whose write was started.
        whole: Whether an earlier one must be complete.
        signals: The number of signals that have reached the running rank.
        lost: Whether the running rank ends because another is lost.
    """

    began: int | None = None
    last: int = -1
    whole: bool = False
    signals: int = 0
    lost: bool = False

    def take(self, line: str) -> None:
        word, _, number = line.strip().partition(" ")
        if word == told.STEP:
            step = int(number)
            self.whole = self.whole or (self.began is not None and step > self.last)
            self.began = step if self.began is None else self.began
            self.last = max(self.last, step)
        self.signals += word == told.SIGNAL
        self.lost = self.lost or word == told.LOST


class Keeper:
    """The keeper of one slot."""

    def __init__(self, driver: Driver, command: Sequence[str]) -> None:
        """Starts nothing yet.

        Args:
            driver: The elastic driver.
            command: The command that starts a rank, without `--continue_train`.
        """
        self._driver, self._command = driver, tuple(command)
        self._place = driver.first
        self._told = _Told()
        self._signals: list[int] = []
        #: When the driver reported a change of hosts; 0 if it hasn't.
        self._hosts_changed = 0.0
        self._ended_at = 0.0
        #: The last step reported before the rank's last start, and how often it has ended without a new one.
        self._seen, self._in_vain = -1, 0

    def on_hosts_updated(self, timestamp: int, result: object) -> None:
        """Called by Horovod in the keeper of rank 0 when the hosts have changed."""
        self._hosts_changed = time.monotonic()

    def run(self) -> int:
        """Keeps the rank running until the run is over.

        Returns:
            The exit code of its last process; 0 if the driver no longer has a place for it.
        """
        with noted(self._signals):
            while True:
                code = self._run_rank()
                if self._signals:
                    return 128 + self._signals[0]
                try:
                    if code in (0, _MISTAKE) or self._is_over(code):
                        return code
                    place = self._next_place()
                except DriverGoneError as error:
                    _say(f"the elastic driver no longer responds ({error}); this rank ends")
                    return 128 + signal.SIGTERM
                if place is None:
                    return 128 + self._signals[0] if self._signals else 0
                self._tell_of(place)
                self._place = place

    def _run_rank(self) -> int:
        """Runs the rank once; returns its exit code, which is negative if a signal killed it."""
        self._told.signals, self._told.lost = 0, False
        reading, writing = os.pipe()
        with open(reading, encoding="utf-8") as pipe:
            rank = subprocess.Popen(
                self._whole_command(),
                env=self._environment(writing),
                stdin=subprocess.DEVNULL,
                pass_fds=(writing,),
            )
            os.close(writing)
            listener = threading.Thread(target=self._listen, args=(pipe,), daemon=True)
            listener.start()
            try:
                self._mind(rank)
            finally:
                if rank.poll() is None:
                    rank.kill()
            code = rank.wait()
            listener.join(timeout=_GRACE_SECONDS)
        self._ended_at = time.monotonic()
        return code

    def _whole_command(self) -> list[str]:
        goes_on = self._told.began is not None and "--continue_train" not in self._command
        return [*self._command, *(["--continue_train"] if goes_on else [])]

    def _environment(self, pipe: int) -> dict[str, str]:
        environment = {LOST_AFTER: _LOST_AFTER_SECONDS, **os.environ, **self._place, told.PIPE: str(pipe)}
        # The rank uses the place in its environment and doesn't request another.
        environment.pop(told.ELASTIC, None)
        if self._told.whole:
            environment[told.BEGAN] = str(self._told.began)
        return environment

    def _listen(self, pipe: Iterator[str]) -> None:
        for line in pipe:
            self._told.take(line)

    def _mind(self, rank: subprocess.Popen[bytes]) -> None:
        """Waits for the end of the rank, and ends it if the run or these ranks are to end."""
        signalled: float | None = None
        kill_at, asked, unanswered, ask_at = float("inf"), False, 0, 0.0
        while rank.poll() is None:
            time.sleep(_POLL_SECONDS)
            now = time.monotonic()
            if self._signals:
                signalled = signalled or now
                if now > signalled + _SIGNAL_SECONDS and self._told.signals < len(self._signals):
                    self._told.signals = len(self._signals)
                    _send(rank, self._signals[-1])
                continue
            if now < ask_at:
                if now > kill_at:
                    self._told.lost = True
                    rank.kill()
                continue
            ask_at = now + _ASK_SECONDS
            try:
                word, unanswered = self._driver.word(), 0
                if self._hosts_changed and not asked and word is None:
                    self._driver.leave_word(_HOSTS)
                    _say("hosts have changed: the ranks save and continue on the current hosts")
                    asked, self._hosts_changed = True, 0.0
                    _send(rank, signal.SIGTERM)
            except DriverGoneError:
                word, unanswered = None, unanswered + 1
                if unanswered >= _UNANSWERED:
                    self._signals.append(signal.SIGTERM)
            if word == _LOSS:
                kill_at = min(kill_at, now + _GRACE_SECONDS)

    def _is_over(self, code: int) -> bool:
        """Whether the run is over after the end of this rank; if it isn't, notifies the other keepers."""
        word = self._driver.word()
        if code in _STOPPED:
            # Without a message, a user has signalled a rank: all have saved and ended together.
            return word is None
        if word != _LOSS:
            self._driver.leave_word(_LOSS)
        if word == _HOSTS:
            return False
        if code < 0 and not self._told.lost:
            _say(f"rank {self._place['HOROVOD_RANK']} was killed ({signal.Signals(-code).name})")
        return self._has_failed_too_often(code)

    def _has_failed_too_often(self, code: int) -> bool:
        progress = self._told.last > self._seen
        self._seen = self._told.last
        self._in_vain = 0 if progress else self._in_vain + 1
        most = _MOST_ERRORS if code > 0 and not self._told.lost else _MOST_LOSSES
        if self._in_vain < most:
            return False
        if self._place["HOROVOD_RANK"] == "0":
            _say(f"the ranks have ended {most} times in a row without a checkpoint in between; the run ends")
        return True

    def _next_place(self) -> dict[str, str] | None:
        """Waits for the driver's answer, which comes when all slots are ready or lost; None on a signal."""
        answers: list[dict[str, str] | None] = []
        errors: list[DriverGoneError] = []

        def ask() -> None:
            try:
                answers.append(self._driver.place())
            except DriverGoneError as error:
                errors.append(error)

        asking = threading.Thread(target=ask, daemon=True)
        asking.start()
        told_at = time.monotonic() + 10.0
        while asking.is_alive() and not self._signals:
            asking.join(timeout=_POLL_SECONDS)
            if time.monotonic() > told_at:
                _say(
                    "waiting for the elastic driver: for --min-np slots, or until it has given up a lost host"
                )
                told_at = float("inf")
        if errors:
            raise errors[0]
        if self._hosts_changed < time.monotonic() - _KNOWN_SECONDS:
            self._hosts_changed = 0.0
        return answers[0] if answers else None

    def _tell_of(self, place: Mapping[str, str]) -> None:
        if place["HOROVOD_RANK"] != "0":
            return
        size, before = place["HOROVOD_SIZE"], self._place["HOROVOD_SIZE"]
        since = time.monotonic() - self._ended_at
        where = "the last checkpoint" if self._told.began is not None else "the beginning"
        _say(f"continuing from {where} with {size} ranks ({before} before), {since:.1f} s after they ended")


def _send(rank: subprocess.Popen[bytes], number: int) -> None:
    with contextlib.suppress(OSError):
        rank.send_signal(number)


def _say(text: str) -> None:
    print(f"hvdrec: {text}", file=sys.stderr, flush=True)


def main(arguments: Sequence[str]) -> int:
    """Keeps a rank of `hvdrec.train` with these flags."""
    # Only the part of Horovod that reports changes of hosts, which doesn't import TensorFlow.
    from horovod.runner.elastic.worker import WorkerNotificationManager

    keeper = Keeper(Driver(os.environ), [sys.executable, "-m", "hvdrec.train", *arguments])
    manager = WorkerNotificationManager()
    manager.register_listener(keeper)
    manager.init()
    return keeper.run()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
