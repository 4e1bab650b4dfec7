"""The pods of deploy/tfjob.yaml as hosts of a small network, with what the training operator gives each."""

from __future__ import annotations

import json
import pathlib
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from multinode.hosts import BIN, WORK, Hosts, missing
from small_job import SmallJob, write_data

_MISSING = missing()
_DEPLOY = pathlib.Path(__file__).resolve().parents[2] / "deploy"

pytestmark = [
    pytest.mark.multinode,
    pytest.mark.skipif(_MISSING is not None, reason=str(_MISSING)),
    # For what can't be foreseen: it takes 20 s on two cores.
    pytest.mark.timeout(180),
]


def _tasks(job: Any) -> Iterator[tuple[str, str, int, Any]]:
    """Each pod's full name, role, index and container."""
    for kind, replica in job["spec"]["tfReplicaSpecs"].items():
        (container,) = replica["template"]["spec"]["containers"]
        for index in range(replica["replicas"]):
            role = kind.lower()
            yield f"{job['metadata']['name']}-{role}-{index}.default.svc", role, index, container


def _tf_config(job: Any, role: str, index: int) -> str:
    """As the operator writes it: by roles in lower case, without the evaluator."""
    cluster: dict[str, list[str]] = {}
    for name, other, _, container in _tasks(job):
        if other != "evaluator":
            (port,) = (p["containerPort"] for p in container["ports"] if p["name"] == "tfjob-port")
            cluster.setdefault(other, []).append(f"{name}:{port}")
    return json.dumps({"cluster": cluster, "task": {"type": role, "index": index}, "environment": "cloud"})


def _here(word: str) -> str:
    """A word of a container's command, replaced by this machine's path if it names a program or folder."""
    return word.replace("/opt/hvdrec/.venv/bin", str(BIN)).replace("/data/", f"{WORK}/")


def test_a_tfjobs_pods_train_to_the_end(tmp_path: pathlib.Path) -> None:
    """All end with 0, none of them asked to: the job is Succeeded, and nothing is left to clean up."""
    job = yaml.safe_load((_DEPLOY / "tfjob.yaml").read_text())
    claim = tmp_path / "claim"
    claim.mkdir()
    write_data(claim / "train.csv", 400)
    training = SmallJob(WORK / "train.csv", WORK / "other", evaluation=WORK / "train.csv", batch_size=8)
    training.train_extra = "train_distribute: PSStrategy"
    training.write(claim / "pipeline.config")
    tasks = list(_tasks(job))
    with Hosts(tmp_path / "hosts", [name for name, *_ in tasks], shared=claim) as hosts:
        pods: dict[str, subprocess.Popen[str]] = {}
        for name, role, index, container in tasks:
            command = [_here(word) for word in (*container["command"], *container["args"])]
            pods[name] = hosts[name].start(command, {"TF_CONFIG": _tf_config(job, role, index)})
        texts = {name: pod.communicate(timeout=150)[0] for name, pod in pods.items()}
    assert {name: pod.returncode for name, pod in pods.items()} == dict.fromkeys(pods, 0), texts
    assert len(pods) == 6
    assert (claim / "model" / "ESTIMATOR_TRAIN_DONE").exists()
    assert (claim / "model" / "model.ckpt-50.index").exists()
    assert "evaluated step 50" in texts["hvdrec-evaluator-0.default.svc"]
