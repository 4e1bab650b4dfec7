"""A complete training run."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from typing import Any

from hvdrec.commands.failure import clear, record, stop_all
from hvdrec.commands.separate_evaluator import follow
from hvdrec.config import Config, save
from hvdrec.config.flags import EVAL_METHODS
from hvdrec.config.protos import train_pb2
from hvdrec.errors import StoppedError
from hvdrec.parallel import keeper, launcher_process
from hvdrec.parallel.environment import launched_size
from hvdrec.parallel.group import ReplicaGroup
from hvdrec.parallel.launch import join_group, relaunch
from hvdrec.trainer.job import Job
from hvdrec.trainer.run import log
from hvdrec.trainer.run.agree import run_on_all_ranks
from hvdrec.trainer.run.done_mark import clear_done, mark_done, time_of
from hvdrec.trainer.run.machine import warn_of_machine
from hvdrec.trainer.run.options import RunOptions
from hvdrec.trainer.run.run_folder import RunFolder
from hvdrec.trainer.run.shared_folder import need_one_folder
from hvdrec.trainer.run.signals import StopSignals
from hvdrec.trainer.run.threads import set_threads
from hvdrec.trainer.watch.evaluator import write_result
from hvdrec.trainer.watch.profiling import log_devices


def train(config: Config, flags: Any) -> None:
    """Trains on the ranks that this process was started with.

    `MirroredStrategy` with `num_gpus_per_worker: k`, when started without a launcher, starts its own k ranks.
    """
    train_config = config.proto.train_config
    own_ranks = int(train_config.num_gpus_per_worker)
    mirrored = train_config.train_distribute == train_pb2.MirroredStrategy
    if mirrored and own_ranks > 1 and launched_size() == 1 and not keeper.is_kept():
        relaunch(own_ranks, sys.argv[1:])
    signals = StopSignals()
    with signals.watching():
        model_dir = config.proto.model_dir
        separate = flags.eval_method == "separate"
        before = time_of(model_dir) if separate else 0
        group = join_group(separate)
        log.set_up(group.rank, flags.verbose, config.warnings)
        set_threads(train_config, group.local_size, group.one_host)
        if group.rank == 0:
            warn_of_machine(train_config, flags.gpu, group.local_size)
        group.watch()
        signals.peers = _peers(group)
        if train_config.is_profiling and group.rank == 0:
            log_devices()
        if separate:
            need_one_folder(model_dir, group)
        if not group.trains:
            # This rank has nothing to save, and the other ranks hold off the launcher themselves.
            launcher_process.let_go()
            show(follow(config, group, signals, before, flags.hpo_metric_save_path))
            group.close()
            return
        try:
            with locked(config, group, signals) as folder:
                try:
                    run_job(flags, signals, group, lambda: Job(config, group, folder))
                except StoppedError:
                    raise
                except BaseException as error:
                    stop_all(group, folder.path, error)
                    raise
        except StoppedError as stopped:
            _leave(group, signals, stopped)
            raise
        group.close()


def _peers(group: ReplicaGroup) -> dict[int, int]:
    """The other processes on this machine: process id -> rank (collective, over all started processes)."""
    own = (socket.gethostname(), os.getpid())
    started = group.gather_from_all(own)
    return {pid: rank for rank, (host, pid) in enumerate(started) if host == own[0] and pid != own[1]}


def _leave(group: ReplicaGroup, signals: StopSignals, stopped: StoppedError) -> None:
    """Leaves the group when no rank has anything left to write; the launcher may kill then (collective)."""
    if group.rank == 0 and stopped.exit_code == 128 + signal.SIGTERM:
        stopped.told = signals.say(f"hvdrec: {stopped}")
    group.gather_objects(None)
    group.close()


@contextlib.contextmanager
def locked(config: Config, group: ReplicaGroup, signals: StopSignals) -> Iterator[RunFolder]:
    """Locks model_dir and returns its files; if another run holds the lock, all ranks stop."""
    folder = RunFolder(config, group)
    lock = folder.lock()

    def acquire() -> None:
        if group.rank == 0:
            lock.acquire(lambda: signals.received != 0)
            folder.pull()

    def begin() -> None:
        if group.local_rank == 0:
            clear(folder.path)

    try:
        run_on_all_ranks(group, acquire)
        # On every host, because each host may have its own model_dir.
        run_on_all_ranks(group, begin)
    except Exception:
        lock.release()
        folder.discard()
        group.close()
        raise
    try:
        yield folder
    except BaseException as error:
        folder.close(failed=not isinstance(error, StoppedError))
        raise
    else:
        folder.close(failed=False)
    finally:
        lock.release()


def run_job(flags: Any, signals: StopSignals, group: ReplicaGroup, make: Callable[[], Job]) -> None:
    """Trains the job that `make` creates, evaluates, exports, and prints the output paths (collective)."""
    job = run_on_all_ranks(group, make)
    if group.rank == 0:
        log.logger.info(
            "%s on %s, %d embedding rows, %d dense weights",
            *(job.proto.model_config.model_class, job.processes),
            *(sum(b.rows for b in job.plan.banks), job.dense_weights),
        )
        log.logger.info("%s", job.recommender.policy)
        if group.size > 1:
            log.logger.info("%s", job.describe_tables())
    options = RunOptions(
        ignore_fine_tune_errors=flags.ignore_finetune_ckpt_error,
        evaluates=flags.eval_method == EVAL_METHODS[0],
        fit_on_eval=flags.fit_on_eval,
        fit_on_eval_steps=flags.fit_on_eval_steps,
        hpo_metric_save_path=flags.hpo_metric_save_path,
        signals=signals,
    )

    def lost(rank: int) -> None:
        record(job.folder.path, rank, "ended without a message (killed, or out of memory)")

    with signals.minding(lost):
        result = job.train(
            flags.continue_train,
            flags.verify_replicas,
            options,
            lambda: run_on_all_ranks(group, lambda: _claim(job)),
        )
    with job.optimizer.averaged():
        if job.gathered is not None:
            job.gathered.gather(job.exports is not None and job.exports.wants_at_end())
        exported = run_on_all_ranks(group, lambda: job.exports.at_end() if job.exports else None)
    if group.rank != 0:
        return
    folder = job.folder
    mark_done(folder.model_dir)
    prefix = job.store.latest()
    if result:
        write_result(os.path.join(folder.path, "eval_result.txt"), result, job.evaluated_step)
        show(result)
    print(f"checkpoint: {prefix and job.store.shown(prefix)}")
    if job.exports and (best := job.exports.best()):
        print(best)
    if exported:
        print(f"exported: {folder.shown(str(exported))}")
    print(f"next: {sys.executable} -m hvdrec.eval --model_dir {folder.model_dir}", flush=True)


def show(result: dict[str, float]) -> None:
    """Prints an evaluation's result on one line."""
    shown = [f"{n} {v:.4f}" for n, v in sorted(result.items()) if not n.startswith("loss/")]
    print(f"evaluation: {', '.join(shown)}", flush=True)


def _claim(job: Job) -> None:
    """Rank 0 prepares model_dir for this run: writes the config and removes the end mark."""
    if job.group.rank == 0:
        clear_done(job.folder.model_dir)
        job.folder.claim(lambda: save(job.config, job.folder.path))
