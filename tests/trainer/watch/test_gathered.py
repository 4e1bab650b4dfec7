"""An export of split tables needs one process that holds them whole."""

from __future__ import annotations

import pathlib
import resource
import types

import pytest
from small_job import SmallJob

from hvdrec.config import load
from hvdrec.errors import ConfigError
from hvdrec.parallel.single import SingleReplica
from hvdrec.trainer.run import machine
from hvdrec.trainer.watch import gathered
from hvdrec.trainer.watch.gathered import Gathered


@pytest.mark.parametrize(("free", "fits"), [(2 * 4 * 4 * 1000, True), (2 * 4 * 4 * 1000 - 1, False)])
def test_tables_that_do_not_fit_are_refused_with_their_size(tmp_path, monkeypatch, free: int, fits: bool):
    config = load(SmallJob(tmp_path / "train.csv", tmp_path / "model").write(tmp_path / "job.config"))
    banks = [types.SimpleNamespace(layout=types.SimpleNamespace(rows=n, dim=4)) for n in (900, 100)]
    model = types.SimpleNamespace(banks=banks)
    monkeypatch.setattr(gathered, "free_bytes", lambda: free)
    copies = Gathered(config, model, SingleReplica())
    if fits:
        copies.need_memory()
        return
    with pytest.raises(
        ConfigError, match=r"job\.config:\d+: export_config\.exporter_type: .*have 16,000 bytes.*31,999"
    ):
        copies.need_memory()


def test_a_limit_of_the_process_counts():
    free = machine.free_bytes()
    assert 0 < free < 1 << 50
    old = resource.getrlimit(resource.RLIMIT_AS)
    used = int(pathlib.Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    try:
        resource.setrlimit(resource.RLIMIT_AS, (used + (64 << 20), old[1]))
        assert machine.free_bytes() <= 64 << 20
    finally:
        resource.setrlimit(resource.RLIMIT_AS, old)
