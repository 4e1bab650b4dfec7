"""A process of a parameter-server run, in any role."""

from __future__ import annotations

import atexit
import contextlib
import os
import sys
from collections.abc import Iterator
from typing import Any

import tensorflow as tf
from google.protobuf.message import Message

from hvdrec.commands.separate_evaluator import follow
from hvdrec.commands.train import locked, run_job, show
from hvdrec.config import Config
from hvdrec.config.names import is_repeated
from hvdrec.config.splitting import is_split
from hvdrec.errors import ConfigError, StoppedError, TrainingError, UserError
from hvdrec.parallel import cluster as clusters
from hvdrec.parallel.cluster import CHIEF, EVALUATOR, SERVER, WORKER, ChiefWatch, Cluster
from hvdrec.parallel.parameter_server import Coordinator, serve
from hvdrec.parallel.recovery import lost_server
from hvdrec.parallel.server_watch import ServerWatch
from hvdrec.parallel.single import SingleReplica
from hvdrec.trainer.run import log
from hvdrec.trainer.run.done_mark import time_of
from hvdrec.trainer.run.signals import StopSignals
from hvdrec.trainer.run.threads import set_threads, threads
from hvdrec.trainer.servers.job import ServerJob

_OF_RANKS = ("allreduce_compression", "sparse_reduce", "allreduce_buckets", "allgather_compression")


def train_on_servers(config: Config, flags: Any) -> None:
    """Runs this process's role in `TF_CONFIG` until training has ended.

    Raises:
        ConfigError: `TF_CONFIG` is invalid, or the config uses something that parameter servers don't
            support.
        TrainingError: A server was lost, or a number was not finite.
    """
    cluster = clusters.read()
    _refuse(config, flags)
    warn_of_unused(config)
    log.set_up(
        0 if cluster.role == CHIEF else cluster.index,
        flags.verbose,
        config.warnings if cluster.role == CHIEF else (),
    )
    train_config = config.proto.train_config
    beside = len(cluster.on_this_host(WORKER, SERVER)) or 1
    if cluster.role in (WORKER, SERVER):
        serve(cluster, *threads(train_config, beside))
        # TensorFlow's server can't be stopped: its threads would keep the process alive.
        _leave(0)
    elif cluster.role == EVALUATOR:
        set_threads(train_config, 1)
        _evaluate(config, flags, cluster)
    else:
        set_threads(train_config, beside)
        _coordinate(config, flags, cluster)


def _coordinate(config: Config, flags: Any, cluster: Cluster) -> None:
    signals, group = StopSignals(), SingleReplica()
    with _leaving(), signals.watching(), locked(config, group, signals) as folder:
        if not flags.verbose:
            tf.get_logger().addFilter(lambda record: False)
        clusters.wait_for_all(cluster, log.logger.info, lambda: signals.received != 0)
        if signals.received:
            raise StoppedError("stopped before training began", signals.received)
        watch = ServerWatch(cluster.addresses[SERVER], _end)
        try:
            coordinator = Coordinator(cluster, lambda: signals.received != 0)
            run_job(flags, signals, group, lambda: ServerJob(config, group, cluster, coordinator, folder))
        except tf.errors.OpError as error:
            server = lost_server(error)
            if server is not None:
                raise TrainingError(_gone(server)) from error
            if isinstance(error, tf.errors.UnavailableError | tf.errors.AbortedError):
                raise TrainingError(
                    "a worker was lost or restarted at a moment from which TensorFlow can't recover; restart "
                    "all processes with --continue_train to continue from the last checkpoint"
                ) from error
            raise
        finally:
            watch.close()


def _gone(server: int) -> str:
    return (
        f"ps {server} is gone, and its variables are lost; restart all processes with "
        "--continue_train to continue from the last checkpoint"
    )


def _end(server: int) -> None:
    """Ends the chief, which would otherwise wait forever for the server."""
    print(f"hvdrec: error: {_gone(server)}", file=sys.stderr, flush=True)
    _leave(1)


@contextlib.contextmanager
def _leaving() -> Iterator[None]:
    """Ends the process with the block's exit code, after all other cleanup, without TensorFlow's shutdown."""
    code = 1
    atexit.register(lambda: _leave(code))
    try:
        yield
        code = 0
    except UserError as error:
        code = error.exit_code
        raise


def _leave(code: int) -> None:
    """Ends the process without TensorFlow's shutdown, which waits for others or reports them missing."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _evaluate(config: Config, flags: Any, cluster: Cluster) -> None:
    signals = StopSignals()
    watch = ChiefWatch(cluster)
    with signals.watching():
        since = time_of(config.proto.model_dir)
        show(follow(config, SingleReplica(), signals, since, flags.hpo_metric_save_path, watch.gone))


def _refuse(config: Config, flags: Any) -> None:
    """The settings that parameter servers don't support."""
    train = config.proto.train_config
    if flags.verify_replicas:
        raise ConfigError(
            "--verify_replicas: parameter servers hold each variable only once, so there "
            "are no replicas to compare; remove the flag"
        )
    if is_split(train):
        where = config.where("train_config.embedding_split")
        raise ConfigError(f"{where}: parameter servers already distribute every table; remove it")
    if train.is_profiling:
        where = config.where("train_config.is_profiling")
        raise ConfigError(
            f"{where}: traces the process that computes, which is not the chief with parameter servers"
        )
    if config.proto.eval_config.eval_online:
        where = config.where("eval_config.eval_online")
        raise ConfigError(
            f"{where}: evaluates each batch before its step, but workers of parameter servers train "
            "several batches at a time; remove it"
        )
    if _crosses_replicas(config.proto.model_config):
        raise ConfigError(
            f"{config.where('model_config')}: cross_replica: workers of parameter servers don't see "
            "each other's rows; remove it, or train with Horovod"
        )


def warn_of_unused(config: Config) -> None:
    """Adds a warning for each setting of the exchange between ranks, which servers don't have."""
    train = config.proto.train_config
    for field in _OF_RANKS:
        if getattr(train, field) != train.DESCRIPTOR.fields_by_name[field].default_value:
            where = config.where(f"train_config.{field}")
            config.warnings.append(f"{where}: has no effect with parameter servers: it is for ranks")


def _crosses_replicas(message: Message) -> bool:
    """Whether any loss in a message uses the rows of all ranks."""
    for field, value in message.ListFields():
        if field.name == "cross_replica" and value:
            return True
        if field.message_type is not None:
            inner = value if is_repeated(field) else [value]
            if any(_crosses_replicas(each) for each in inner):
                return True
    return False
