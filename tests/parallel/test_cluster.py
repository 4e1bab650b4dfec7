"""The content of `TF_CONFIG`, and which processes still run."""

from __future__ import annotations

import json
import socket

import pytest

from hvdrec.config.protos import train_pb2
from hvdrec.errors import ConfigError
from hvdrec.launcher.ports import free_ports
from hvdrec.parallel import cluster as clusters
from hvdrec.parallel.cluster import (
    ChiefWatch,
    Cluster,
    asks_for_servers,
    need_one_process,
    need_own_port,
    read,
)

CLUSTER = {
    "chief": ["a:1"],
    "worker": ["a:2", "b:2", "a:3"],
    "ps": ["b:4"],
}


def _environment(cluster: object = CLUSTER, role: str = "worker", index: object = 2) -> dict[str, str]:
    return {"TF_CONFIG": json.dumps({"cluster": cluster, "task": {"type": role, "index": index}})}


def test_roles() -> None:
    cluster = read(_environment())
    assert (cluster.role, cluster.index, cluster.workers, cluster.servers) == ("worker", 2, 3, 1)
    assert cluster.on_this_host("worker", "ps") == [("worker", 0), ("worker", 2)]


def test_a_master_is_the_chief_and_the_evaluator_may_be_left_out() -> None:
    renamed = {("master" if role == "chief" else role): found for role, found in CLUSTER.items()}
    cluster = read(_environment(renamed, "master", "0"))
    assert (cluster.role, cluster.addresses["chief"]) == ("chief", ("a:1",))
    assert read(_environment(role="evaluator", index=0)).role == "evaluator"


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({}, "hvdrec.launch ps"),
        ({"TF_CONFIG": "{"}, "not valid JSON"),
        ({"TF_CONFIG": "[1]"}, "JSON object"),
        ({"TF_CONFIG": '{"cluster": {"ps": ["a:1"]}}'}, "a cluster and a task"),
        (_environment({**CLUSTER, "master": ["c:1"]}), "are the same role"),
        (_environment({**CLUSTER, "chief": ["c:1", "d:1"]}), "only one chief"),
        (_environment({**CLUSTER, "worker": []}), "no worker, which computes"),
        (_environment({"worker": ["a:1"], "ps": ["a:2"]}), "no chief"),
        (_environment({**CLUSTER, "boss": ["c:1"]}), "cluster.boss is not a role"),
        (_environment({**CLUSTER, "ps": ["b"]}), "'b' is not host:port"),
        (_environment({**CLUSTER, "ps": [4]}), "list of host:port"),
        (_environment({**CLUSTER, "worker": "a:2,b:2,a:3"}), "'a:2,b:2,a:3' is not host:port"),
        (_environment({**CLUSTER, "ps": ["[::1]:4", "a:2"]}), "two processes have the address a:2"),
        (_environment(role="boss"), "'boss' is not a role"),
        (_environment(index=3), "3 of worker: the cluster has 3"),
        (_environment(index=True), "True of worker"),
        ({**_environment(), "OMPI_COMM_WORLD_SIZE": "2"}, "not with horovodrun"),
    ],
)
def test_mistakes_have_one_clear_line(environment: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(environment)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_which_runs_are_on_servers() -> None:
    train = train_pb2.TrainConfig()
    assert not asks_for_servers(train, {})
    assert not asks_for_servers(train, _environment({"worker": ["a:1"]}, index=0))
    assert asks_for_servers(train, _environment())
    train.train_distribute = train_pb2.PSStrategy
    assert asks_for_servers(train, {})
    train.train_distribute = train_pb2.HorovodStrategy
    assert not asks_for_servers(train, {})
    with pytest.raises(ConfigError, match="HorovodStrategy does not use parameter servers"):
        asks_for_servers(train, _environment())
    assert not asks_for_servers(train, {**_environment(), "HOROVOD_SIZE": "2"})


@pytest.mark.parametrize("strategy", ["NoStrategy", "HorovodStrategy", "MirroredStrategy"])
@pytest.mark.parametrize(
    "cluster",
    [
        {"worker": ["a:1", "b:1"]},
        {"chief": ["a:1"], "worker": ["b:1"]},
        {"master": ["a:1"], "worker": ["b:1"], "evaluator": ["c:1"]},
        {"worker": ["a:1", "b:1"], "ps": []},
    ],
)
def test_workers_alone_would_train_a_model_each(cluster: dict[str, list[str]], strategy: str) -> None:
    train = train_pb2.TrainConfig(train_distribute=strategy)
    for role in cluster:
        if cluster[role]:
            with pytest.raises(ConfigError, match=r"has 2 workers and no ps.*horovodrun -np 2"):
                asks_for_servers(train, _environment(cluster, role, 0))
            with pytest.raises(ConfigError, match=r"has 2 workers, so each would predict.*horovodrun -np 2"):
                need_one_process("predict", _environment(cluster, role, 0))
    need_one_process("predict", {**_environment(cluster), "OMPI_COMM_WORLD_SIZE": "2"})
    need_one_process("predict", _environment({"chief": ["a:1"]}, "chief", 0))
    need_one_process("predict", {})
    assert not asks_for_servers(train, {**_environment(cluster), "OMPI_COMM_WORLD_SIZE": "2"})
    assert not asks_for_servers(train, _environment({"chief": ["a:1"]}, "chief", 0))


def test_the_chief_is_gone_once_it_was_there_and_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", free_ports(1)[0]))
        listening.listen(1)
        address = f"127.0.0.1:{listening.getsockname()[1]}"
        cluster = read(_environment({**CLUSTER, "chief": [address]}))
        assert clusters.answers(address)
        watch = ChiefWatch(cluster)
        assert not watch.gone()
    assert [watch.gone() for _ in range(3)] == [False, False, True]
    # One that hasn't come yet is waited for.
    early = ChiefWatch(cluster)
    assert not any(early.gone() for _ in range(9))


def test_a_port_in_use_is_named() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", free_ports(1)[0]))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        mine = Cluster({"chief": ("a:1",), "worker": (address,), "ps": ("b:1",)}, "worker", 0)
        with pytest.raises(ConfigError, match=f"worker 0 can't listen at {address}: Address already in use"):
            need_own_port(mine)
    need_own_port(mine)
