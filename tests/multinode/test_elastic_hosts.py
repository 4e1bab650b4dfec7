"""Horovod's elastic driver over hosts: one falls silent, another comes, and the run goes on by itself."""

from __future__ import annotations

import pathlib

import pytest
from multinode.hosts import BIN, ROOT, WORK, Hosts, missing
from multirank.elastic import ElasticRun, assert_each_row_counts_once, discovery_script, write_hosts
from small_job import SmallJob, write_data

from hvdrec.checkpoint.store import Store

_MISSING = missing()

pytestmark = [
    pytest.mark.multinode,
    pytest.mark.skipif(_MISSING is not None, reason=str(_MISSING)),
    pytest.mark.timeout(400),
]

_ROWS, _BATCH = 12_000, 8
_DRIVER = ["-np", "2", "--min-np", "1", "--max-np", "3", "--network-interface", "eth0"]


def test_a_host_is_lost_and_others_come(tmp_path: pathlib.Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    network = Hosts(tmp_path / "hosts", ["node-a", "node-b", "node-c"], shared)
    with network:
        node_a, node_b, _ = network.hosts.values()
        ssh = node_a.files.parent / "ssh" / "ssh_config"
        ssh.write_text(ssh.read_text() + "  ServerAliveInterval 3\n  ServerAliveCountMax 3\n")
        write_data(shared / "train.csv", _ROWS)
        config = SmallJob(
            WORK / "train.csv",
            WORK / "model",
            batch_size=_BATCH,
            batch_norm=False,
            train_extra="steps_per_call: 1",
            data_extra="shuffle: true",
        ).write(shared / "job.config")
        config.write_text(config.read_text().replace("checkpoints_steps: 1000", "checkpoints_steps: 50"))
        write_hosts(shared / "hosts", "node-a:1\nnode-b:1")
        discovery_script(shared / "hosts.sh", WORK / "hosts")
        command = [str(BIN / "horovodrun"), *_DRIVER, "--host-discovery-script", str(WORK / "hosts.sh")]
        command += [str(BIN / "python"), "-m", "hvdrec.train", "--pipeline_config_path", "job.config"]
        started = node_a.start(command, {"PYTHONPATH": str(ROOT)})
        with ElasticRun(started, shared / "hosts") as run:
            run.wait_for("a checkpoint", lambda: (shared / "model/model.ckpt-50.index").exists())
            starts = run.starts
            network.unplug(node_b)
            lost = run.wait_for_more(starts, 180)
            run.set_hosts("node-a:2\nnode-c:1")
            added = run.wait_for_more(starts + 1, 180)
            assert run.finish() == 0, run.text
    print(f"{lost:.1f} s from the loss of a host to the next step, {added:.1f} s from a new slot to it")
    store = Store(str(shared / "model"))
    prefix = store.latest()
    assert prefix is not None
    kept = store.extra(prefix)
    assert (kept["epoch"], kept["row"]) == (1, 0)
    parts = run.parts(2)
    assert [part.ranks for part in parts] == [2, 1, 3]
    assert_each_row_counts_once(parts, _BATCH, _ROWS, int(prefix.rpartition("-")[2]))
