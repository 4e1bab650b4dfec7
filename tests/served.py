"""Two parameter servers, a worker and a chief in one process, for tests; as a program, trains jobs on them.

    python -m served FLAGS.json

The file holds a list of flags of `hvdrec.train` for each job.
"""

from __future__ import annotations

import json
import pathlib
import sys

import tensorflow as tf

from hvdrec.config.flags import load_for_training, parse_train
from hvdrec.launcher.ports import free_ports
from hvdrec.parallel.cluster import Cluster
from hvdrec.parallel.parameter_server import Coordinator
from hvdrec.parallel.single import SingleReplica
from hvdrec.trainer.run.options import RunOptions
from hvdrec.trainer.servers.job import ServerJob


def start() -> tuple[Cluster, Coordinator]:
    """Starts the servers and connects to them."""
    free = [f"127.0.0.1:{port}" for port in free_ports(4)]
    addresses = {"chief": (free[0],), "worker": (free[1],), "ps": (free[2], free[3])}
    spec = tf.train.ClusterSpec({role: list(found) for role, found in addresses.items()})
    config = tf.compat.v1.ConfigProto(inter_op_parallelism_threads=4)
    for role, index in (("worker", 0), ("ps", 0), ("ps", 1)):
        tf.distribute.Server(spec, job_name=role, task_index=index, protocol="grpc", config=config)
    cluster = Cluster(addresses, "chief", 0)
    return cluster, Coordinator(cluster)


if __name__ == "__main__":
    found = start()
    for flags in json.loads(pathlib.Path(sys.argv[1]).read_text()):
        ServerJob(load_for_training(parse_train(flags)), SingleReplica(), *found).train(
            False, 0, RunOptions(evaluates=False)
        )
