"""Trains nothing: rank 0 reads what it received only after another rank has left."""

from __future__ import annotations

import time
from typing import Any

import horovod.tensorflow as hvd
from horovod.tensorflow import functions

from hvdrec.parallel.launch import join_group

_allgather = hvd.allgather


def _late(*arguments: Any, **named: Any) -> Any:
    found = _allgather(*arguments, **named)
    time.sleep(0.5)
    return found


group = join_group(separate=True)
if not group.trains:
    time.sleep(2.0)
else:
    group.gather_objects(None)
    if group.rank == 0:
        hvd.allgather = functions.allgather = _late
    print("gathered", group.gather_objects({"rank": group.rank}), flush=True)
group.close()
