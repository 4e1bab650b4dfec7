"""Imports TensorFlow in half the time, and Horovod in a quarter.

Keras is left out, which no command needs: TensorFlow imports it at the end of its own import, and goes on
where that fails. `tf.keras` then imports it when it is first used (user code may do so). Horovod has a layer
that is derived from one of Keras: it too is imported when it is first used. The garbage collector waits until
TensorFlow's import is done, and never looks at what was imported.
"""

from __future__ import annotations

import abc
import gc
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType

_HOROVOD = "horovod.tensorflow"
_HOROVODS_LAYER = "SyncBatchNormalization"
_ITS_MODULE = f"{_HOROVOD}.sync_batch_norm"


class _Refusal(Loader):
    """Fails where the module is imported; its spec, which TensorFlow reads for the path, is the real one."""

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        raise ImportError(f"{module.__name__} is imported when it is first used")


class _Around(Loader):
    """Does something around the import of a module, which then has its own loader."""

    def __init__(self, loader: Loader) -> None:
        self._loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        module.__loader__ = self._loader
        if module.__spec__:
            module.__spec__.loader = self._loader
        self._run(module)

    @abc.abstractmethod
    def _run(self, module: ModuleType) -> None:
        """Runs the module's code by its own loader."""


class _Uncollected(_Around):
    """Imports a module without garbage collection; what is imported stays until the process ends."""

    def _run(self, module: ModuleType) -> None:
        enabled = gc.isenabled()
        gc.disable()
        try:
            self._loader.exec_module(module)
            gc.freeze()
        finally:
            if enabled:
                gc.enable()


class _WithoutLayer(_Around):
    """Imports Horovod without the module of its Keras layer, until the layer is used."""

    def _run(self, module: ModuleType) -> None:
        stand_in = ModuleType(_ITS_MODULE)
        setattr(stand_in, _HOROVODS_LAYER, None)
        sys.modules[_ITS_MODULE] = stand_in
        try:
            self._loader.exec_module(module)
        finally:
            del sys.modules[_ITS_MODULE]
        delattr(module, _HOROVODS_LAYER)
        module.__getattr__ = _import_layer  # type: ignore[method-assign]


def _import_layer(name: str) -> object:
    if name == _HOROVODS_LAYER:
        return getattr(import_module(_ITS_MODULE), name)
    raise AttributeError(f"module {_HOROVOD!r} has no attribute {name!r}")


class _Finder(MetaPathFinder):
    """Finds TensorFlow, Keras while TensorFlow is being imported, Horovod, and nothing else."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname == _HOROVOD and "keras" not in sys.modules:
            spec = PathFinder.find_spec(fullname, path, target)
            if spec and spec.loader:
                spec.loader = _WithoutLayer(spec.loader)
            return spec
        if fullname not in ("tensorflow", "keras"):
            return None
        importing = getattr(getattr(sys.modules.get("tensorflow"), "__spec__", None), "_initializing", False)
        if fullname == "keras" and not importing:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec and spec.loader:
            spec.loader = _Refusal() if fullname == "keras" else _Uncollected(spec.loader)
        return spec


def quicken_tensorflow_import() -> None:
    """Makes later imports of TensorFlow and of Horovod in this process faster."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())
