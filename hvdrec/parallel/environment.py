"""The number of processes and this process's rank, from the launcher's environment variables."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

#: Variables with the number of processes: of horovodrun --gloo, Open MPI, MPICH and MVAPICH.
_SIZE_VARIABLES = ("HOROVOD_SIZE", "OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "MV2_COMM_WORLD_SIZE")
_RANK_VARIABLES = ("HOROVOD_RANK", "OMPI_COMM_WORLD_RANK", "PMI_RANK", "MV2_COMM_WORLD_RANK")


def launched_size(environment: Mapping[str, str] = os.environ) -> int:
    """The number of processes that the launcher started; 1 without a launcher."""
    return _first_number(_SIZE_VARIABLES, environment, 1)


def launched_rank(environment: Mapping[str, str] = os.environ) -> int:
    """This process's rank; 0 without a launcher."""
    return _first_number(_RANK_VARIABLES, environment, 0)


def _first_number(names: Sequence[str], environment: Mapping[str, str], default: int) -> int:
    values = (environment.get(name, "") for name in names)
    return next((int(value) for value in values if value.isdigit()), default)
