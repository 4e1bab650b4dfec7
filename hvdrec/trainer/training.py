"""A training run from its first line to its last."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from typing import Any

from hvdrec.config import Config, save
from hvdrec.config.flags import EVAL_METHODS
from hvdrec.config.protos import train_pb2
from hvdrec.errors import StoppedError
from hvdrec.parallel.group import ReplicaGroup
from hvdrec.parallel.launch import join_group, launched_size, relaunch
from hvdrec.trainer import log
from hvdrec.trainer.agree import together
from hvdrec.trainer.evaluate import write_result
from hvdrec.trainer.failure import clear, stop_all
from hvdrec.trainer.follow import clear_done, follow, mark_done, need_one_folder, time_of
from hvdrec.trainer.job import Job, set_threads
from hvdrec.trainer.options import RunOptions
from hvdrec.trainer.profiling import log_devices
from hvdrec.trainer.signals import StopSignals
from hvdrec.trainer.start import refuse_used_model_dir
from hvdrec.trainer.workplace import Workplace


def train(config: Config, flags: Any) -> None:
    """Trains on the ranks this process was started with.

    `MirroredStrategy` with `num_gpus_per_worker: k`, started plainly, starts its own k ranks.
    """
    train_config = config.proto.train_config
    own_ranks = int(train_config.num_gpus_per_worker)
    mirrored = train_config.train_distribute == train_pb2.MirroredStrategy
    if mirrored and own_ranks > 1 and launched_size() == 1:
        relaunch(own_ranks, "hvdrec.train", sys.argv[1:])
    signals = StopSignals()
    with signals.watching():
        model_dir = config.proto.model_dir
        separate = flags.eval_method == "separate"
        before = time_of(model_dir) if separate else 0
        group = join_group(separate)
        log.set_up(group.rank, flags.verbose, config.warnings)
        set_threads(train_config, group.local_size)
        group.watch()
        if train_config.is_profiling and group.rank == 0:
            log_devices()
        if separate:
            need_one_folder(model_dir, group)
        if not group.trains:
            show(follow(config, group, signals, before, flags.hpo_metric_save_path))
            group.close()
            return
        with locked(config, group, signals):
            try:
                run_job(config, flags, group, signals, lambda: Job(config, group))
            except StoppedError:
                group.close()
                raise
            except BaseException as error:
                stop_all(group, config.run_dir, error)
                raise
        group.close()


@contextlib.contextmanager
def locked(config: Config, group: ReplicaGroup, signals: StopSignals) -> Iterator[None]:
    """Keeps other runs out of model_dir; where one is in it, all ranks leave (collective).

    Where it is in a store, its working folder is there meanwhile.
    """
    place = Workplace(config, group)
    lock = place.lock()

    def acquire() -> None:
        if group.rank == 0:
            lock.acquire(lambda: signals.received != 0)
            clear_done(config.proto.model_dir)
            place.pull()

    def begin() -> None:
        if group.local_rank == 0:
            clear(config.run_dir)

    try:
        together(group, acquire)
        # On every host: the hosts may have a model_dir each.
        together(group, begin)
    except Exception:
        lock.release()
        place.discard()
        group.close()
        raise
    try:
        yield
    except BaseException as error:
        place.close(failed=not isinstance(error, StoppedError))
        raise
    else:
        place.close(failed=False)
    finally:
        lock.release()


def run_job(
    config: Config, flags: Any, group: ReplicaGroup, signals: StopSignals, make: Callable[[], Job]
) -> None:
    """Trains what `make` makes, evaluates, exports, and tells where things are (collective)."""
    job = together(group, make)
    together(group, lambda: _claim(job, flags.continue_train))
    if group.rank == 0:
        log.logger.info(
            "%s on %s, %d embedding rows, %d dense weights",
            *(config.proto.model_config.model_class, job.processes),
            *(sum(b.rows for b in job.plan.banks), job.dense_weights),
        )
    options = RunOptions(
        ignore_fine_tune_errors=flags.ignore_finetune_ckpt_error,
        evaluates=flags.eval_method == EVAL_METHODS[0],
        fit_on_eval=flags.fit_on_eval,
        fit_on_eval_steps=flags.fit_on_eval_steps,
        allow_user_code=flags.allow_user_code,
        hpo_metric_save_path=flags.hpo_metric_save_path,
        signals=signals,
    )
    result = job.train(flags.continue_train, flags.verify_replicas, options)
    with job.optimizer.averaged():
        exported = together(group, lambda: job.exports.at_end() if job.exports else None)
    if group.rank != 0:
        return
    model_dir = config.proto.model_dir
    mark_done(model_dir)
    prefix = job.store.latest()
    if result:
        write_result(os.path.join(config.run_dir, "eval_result.txt"), result, job.evaluated_step)
        show(result)
    print(f"checkpoint: {prefix and job.store.shown(prefix)}")
    if exported:
        print(f"exported: {config.shown(str(exported))}")
    print(f"next: {sys.executable} -m hvdrec.eval --model_dir {model_dir}", flush=True)


def show(result: dict[str, float]) -> None:
    """Prints an evaluation's result on one line."""
    shown = [f"{n} {v:.4f}" for n, v in sorted(result.items()) if not n.startswith("loss/")]
    print(f"evaluation: {', '.join(shown)}", flush=True)


def _claim(job: Job, continue_train: bool) -> None:
    """Rank 0 leaves the config in model_dir, unless the folder is another run's."""
    if job.group.rank == 0:
        if not continue_train:
            refuse_used_model_dir(job.store)
        save(job.config, job.config.run_dir)
        job.config.push("pipeline.config")
