"""An export of split tables needs one process that holds them whole."""

from __future__ import annotations

import types

import pytest
from small_job import SmallJob

from hvdrec.config import load
from hvdrec.errors import ConfigError
from hvdrec.layers import memory
from hvdrec.parallel.single import SingleReplica
from hvdrec.trainer.watch.gathered import Gathered


@pytest.mark.parametrize(("most", "fits"), [(2 * 4 * 4 * 1000, True), (2 * 4 * 4 * 1000 - 1, False)])
def test_tables_that_do_not_fit_are_refused_with_their_size(tmp_path, monkeypatch, most: int, fits: bool):
    config = load(SmallJob(tmp_path / "train.csv", tmp_path / "model").write(tmp_path / "job.config"))
    banks = [types.SimpleNamespace(layout=types.SimpleNamespace(rows=n, dim=4)) for n in (900, 100)]
    copies = Gathered(config, types.SimpleNamespace(banks=banks), SingleReplica())
    monkeypatch.setattr(memory, "limits", lambda *_: [memory.Limit(most, "this machine has")])
    if fits:
        copies.need_memory()
        return
    with pytest.raises(
        ConfigError, match=r"job\.config:\d+: export_config\.exporter_type: .*tables of 16 kB would"
    ):
        copies.need_memory()
