"""One line for each thing that the machine lacks."""

from __future__ import annotations

import pytest

from hvdrec.config.protos import train_pb2
from hvdrec.trainer.run import log, machine


@pytest.mark.parametrize(
    ("visible", "gpus", "ranks", "told"),
    [
        (None, 1, 2, ""),
        (None, 1, 3, "3 ranks share 2 cores"),
        ("0", 1, 1, "--gpu 0: TensorFlow sees no GPU"),
        ("", 1, 1, ""),
        ("-1", 1, 1, ""),
        (None, 2, 1, "num_gpus_per_worker: 2: TensorFlow sees no GPU"),
    ],
)
def test_what_is_told(
    visible: str | None,
    gpus: int,
    ranks: int,
    told: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    log.set_up(0, False)
    monkeypatch.setattr(machine, "cores", lambda: 2)
    monkeypatch.setattr(machine.tf.config, "list_physical_devices", lambda kind: [])
    machine.warn_of_machine(train_pb2.TrainConfig(num_gpus_per_worker=gpus), visible, ranks)
    err = capsys.readouterr().err
    assert told in err
    assert err.count("\n") == bool(told)
