"""`cross_replica=True` under Horovod: averaged over ranks, loss and gradient equal those of all rows in one process."""

from __future__ import annotations

import pathlib

import numpy as np
import pytest
from library.cases import close
from library.replicas_worker import ROWS, values_and_gradients
from multirank.launch import start

pytestmark = pytest.mark.multirank


def test_two_ranks_are_one(tmp_path: pathlib.Path) -> None:
    worker = str(pathlib.Path(__file__).with_name("replicas_worker.py"))
    done = start("horovodrun", 2, [worker, str(tmp_path)])
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-6000:]
    values, gradients = values_and_gradients(slice(0, ROWS))
    found = [dict(np.load(tmp_path / f"rank{rank}.npz")) for rank in (0, 1)]
    for i, (by_w, by_e) in enumerate(gradients):
        # Losses of embeddings are parts whose mean is the loss, those of pairs the loss itself.
        close((found[0]["values"][i] + found[1]["values"][i]) / 2, values[i], 2e-6)
        for each in found:
            close(each["w"][i], by_w, 1e-5)
            close(each["e"][i], by_e, 1e-5)
