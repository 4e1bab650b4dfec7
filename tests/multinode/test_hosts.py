"""Training over hosts that share only a network: each has its own folder, data, name and sshd."""

from __future__ import annotations

import pathlib
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence

import numpy as np
import pytest
import tensorflow as tf
from multinode.hosts import BIN, WORK, Host, Hosts, missing, wait_for
from multirank.launch import start
from small_job import SmallJob, write_data

_MISSING = missing()

pytestmark = [
    pytest.mark.multinode,
    pytest.mark.skipif(_MISSING is not None, reason=str(_MISSING)),
    # Each waits for no longer than it says itself; this is for what can't be foreseen.
    pytest.mark.timeout(120),
]

#: Two ranks, one on each host.
_LAUNCHERS = {
    "mpirun": ["mpirun", "--allow-run-as-root", "-np", "2", "--hostfile", "hosts"],
    "horovodrun": ["horovodrun", "--disable-cache", "-np", "2", "-H", "node-a:1,node-b:1"],
    "gloo": ["horovodrun", "--gloo", "--disable-cache", "-np", "2", "-H", "node-a:1,node-b:1"],
}
#: Sooner than by default: how long a host may be silent for hvdrec, and for mpirun's ssh.
_IMPATIENT = {
    "HVDREC_LOST_AFTER_SECONDS": "6",
    "PRTE_MCA_plm_ssh_agent": "ssh -o ServerAliveInterval=3 -o ServerAliveCountMax=4",
}


@pytest.fixture
def network(tmp_path: pathlib.Path) -> Iterator[Hosts]:
    """Two hosts, each with the data, the config and a hostfile in its own folder."""
    network = Hosts(tmp_path, ["node-a", "node-b"])
    with network:
        for host in network.hosts.values():
            write_data(host.work / "train.csv", 400)
            _job().write(host.work / "job.config")
            (host.work / "hosts").write_text("node-a slots=1\nnode-b slots=1\n")
        yield network


@pytest.fixture(scope="module")
def on_one_host(tmp_path_factory: pytest.TempPathFactory) -> dict[str, np.ndarray]:
    """What two ranks of this machine end with."""
    folder = tmp_path_factory.mktemp("one_host")
    write_data(folder / "train.csv", 400)
    config = _job(folder).write(folder / "job.config")
    done = start("mpirun", 2, ["-m", "hvdrec.train", "--pipeline_config_path", str(config)])
    assert done.returncode == 0, done.stderr
    return _weights(folder / "model")


def _job(folder: pathlib.Path = WORK) -> SmallJob:
    """25 steps of 2 x 8 rows."""
    return SmallJob(folder / "train.csv", folder / "model", evaluation=folder / "train.csv", batch_size=8)


def _weights(model_dir: pathlib.Path) -> dict[str, np.ndarray]:
    reader = tf.train.load_checkpoint(str(model_dir / "model.ckpt-25"))
    return {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()}


def _command(launcher: Sequence[str], module: str, *flags: str) -> list[str]:
    return [str(BIN / launcher[0]), *launcher[1:], str(BIN / "python"), "-m", module, *flags]


def _train(launcher: str, *flags: str) -> list[str]:
    return _command(_LAUNCHERS[launcher], "hvdrec.train", "--pipeline_config_path", "job.config", *flags)


def _end(launched: subprocess.Popen[str], seconds: float = 180.0) -> str:
    try:
        return launched.communicate(timeout=seconds)[0]
    finally:
        launched.kill()


def _endless(network: Hosts, launcher: str) -> subprocess.Popen[str]:
    """Starts a run without an end; returns once both ranks have done some steps."""
    node_a, node_b = network.hosts.values()
    edits = ["--train_config.num_steps=10000000", "--train_config.save_checkpoints_steps=50"]
    edits += ["--train_config.log_step_count_steps=50", "--data_config.num_epochs=0", "--eval_method", "none"]
    launched = node_a.start(_train(launcher, *edits), _IMPATIENT)
    record = node_b.work / "model" / "logs" / "rank-1.jsonl"

    def training() -> bool:
        assert launched.poll() is None, _end(launched)
        return record.exists() and '"step": 50' in record.read_text()

    wait_for("steps on node-b", training)
    return launched


def _checkpoints(host: Host) -> list[pathlib.Path]:
    return sorted((host.work / "model").glob("model.ckpt-*.index"))


@pytest.mark.parametrize("launcher", list(_LAUNCHERS))
def test_two_hosts_train_as_one_does(
    network: Hosts, launcher: str, on_one_host: dict[str, np.ndarray]
) -> None:
    """Only rank 0's host has checkpoints; the other needs the data and the config."""
    node_a, node_b = network.hosts.values()
    launched = node_a.start(_train(launcher))
    text = _end(launched)
    assert launched.returncode == 0, text
    assert (node_b.work / "model" / "logs" / "rank-1.jsonl").exists()
    assert not _checkpoints(node_b)
    found = _weights(node_a.work / "model")
    assert found.keys() == on_one_host.keys()
    for name, value in on_one_host.items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)


def test_a_killed_rank_ends_the_run_and_another_host_goes_on(network: Hosts) -> None:
    """From node-b with its own copy of model_dir; the checkpoint is read there alone, to be evaluated too."""
    node_a, node_b = network.hosts.values()
    launched = _endless(network, "gloo")
    (rank, *_) = [p for p in node_b.processes("-m hvdrec.train") if "python" in p.name()]
    rank.kill()
    text = _end(launched, 150)
    assert launched.returncode not in (0, None)
    assert re.search("rank 1 on node-b ended without a message|another rank is gone", text), text
    wait_for("the ranks' end", lambda: not node_a.processes("hvdrec.train"))

    shutil.rmtree(node_b.work / "model")
    shutil.move(node_a.work / "model", node_b.work / "model")
    (node_b.work / "hosts").write_text("node-b slots=1\nnode-a slots=1\n")
    saved = max(int(p.name.split("-")[1].split(".")[0]) for p in _checkpoints(node_b))
    edits = [f"--train_config.num_steps={saved + 10}", "--data_config.num_epochs=0", "--continue_train"]
    again = node_b.start(_train("mpirun", *edits))
    text = _end(again)
    assert again.returncode == 0, text
    assert f"continuing from {WORK}/model/model.ckpt-{saved}" in text
    assert (node_b.work / "model" / f"model.ckpt-{saved + 10}.index").exists()
    assert not _checkpoints(node_a)
    trained = re.search(r"^evaluation: auc ([\d.]+)", text, re.MULTILINE)
    flags = ["--model_dir", "model", "--pipeline_config_path", "job.config"]
    evaluated = node_b.start(_command(_LAUNCHERS["mpirun"], "hvdrec.eval", *flags))
    text = _end(evaluated)
    assert evaluated.returncode == 0, text
    found = re.search(r"^auc = ([\d.]+)", text, re.MULTILINE)
    assert trained is not None
    assert found is not None
    assert float(found[1]) == pytest.approx(float(trained[1]), abs=1e-4)


@pytest.mark.parametrize("launcher", ["mpirun", "gloo"])
def test_a_silent_host_ends_the_run(network: Hosts, launcher: str) -> None:
    """Nothing closes its connections: both sides have to notice by themselves."""
    node_b = network.hosts["node-b"]
    launched = _endless(network, launcher)
    network.unplug(node_b)
    text = _end(launched, 150)
    assert launched.returncode not in (0, None), text
    assert "rank 1 on node-b no longer responds" in text
    wait_for("the end of the ranks on node-b", lambda: not node_b.processes("-m hvdrec.train"))


def test_a_host_that_goes_off_ends_the_run(network: Hosts) -> None:
    launched = _endless(network, "horovodrun")
    network.hosts["node-b"].power_off()
    text = _end(launched, 150)
    # mpirun returns 0 if its daemon's connection closes before ssh's: the missing file shows that the run isn't done.
    assert launched.returncode is not None
    assert "node-b" in text
    assert _checkpoints(network.hosts["node-a"])
    assert not (network.hosts["node-a"].work / "model" / "ESTIMATOR_TRAIN_DONE").exists()
