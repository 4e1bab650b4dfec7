"""hvdrec: a Horovod-based trainer for recommendation models, and its losses as a library.

`hvdrec.losses` has the losses as functions of tensors, `hvdrec.keras` as losses and metrics of Keras and
`hvdrec.numpy` as functions of arrays. Each is imported when it is first used.
"""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hvdrec import keras as keras
    from hvdrec import losses as losses
    from hvdrec import numpy as numpy

__version__ = "0.2.0"

#: Modules that work without a pipeline.config.
_LIBRARY = ("keras", "losses", "numpy")


def __getattr__(name: str) -> ModuleType:
    if name in _LIBRARY:
        return importlib.import_module(f"hvdrec.{name}")
    raise AttributeError(f"module 'hvdrec' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_LIBRARY})
