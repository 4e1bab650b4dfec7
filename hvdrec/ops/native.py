"""Loads `hvdrec._native`, the C++ kernels; their definitions are in the headers of csrc/kernels."""

from __future__ import annotations

import importlib
import platform
from types import ModuleType

from hvdrec.errors import UserError
from hvdrec.ops.kernels import load_kernels


def load_native() -> ModuleType:
    """The module `hvdrec._native`.

    Raises:
        UserError: The library was not built for this Python or this processor, or can't be loaded.
    """
    load_kernels()
    try:
        return importlib.import_module("hvdrec._native")
    except ModuleNotFoundError as error:
        if error.name != "hvdrec._native":
            raise
        raise UserError(
            f"the C++ library hvdrec._native is not built for this Python {platform.python_version()}: "
            "run `make build`, and use its .venv/bin/python"
        ) from error
    except ImportError as error:
        raise UserError(
            f"the C++ library hvdrec._native can't be loaded ({error}): run `make clean build`"
        ) from error
