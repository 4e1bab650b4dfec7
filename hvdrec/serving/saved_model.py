"""Writes SavedModels atomically, with EasyRec's names."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import tensorflow as tf
from google.protobuf import text_format
from google.protobuf.message import Message
from tensorflow.core.protobuf import meta_graph_pb2, saved_model_pb2

from hvdrec import storage
from hvdrec.checkpoint import files
from hvdrec.config.writer import FILE_NAME
from hvdrec.errors import ConfigError
from hvdrec.serving.inputs import Input
from hvdrec.serving.module import ServingModule
from hvdrec.storage.mirror import Mirror

SIGNATURE = "serving_default"
_VERSION = re.compile(r"\d{10}")
#: The names of operations that TensorFlow's graphs take.
_GRAPH_NAME = re.compile(r"[A-Za-z0-9.][A-Za-z0-9_.\\/>-]*")
_STALE_SECONDS = 86400.0
#: In a store, a version is valid when this file exists.
LAST = ("saved_model.pb",)
_STAGING = ".tmp-export-"


@contextlib.contextmanager
def _graph_names(variables: Sequence[tf.Variable]) -> Iterator[None]:
    """Renames variables whose names no graph takes, as "全部_dnn/dnn_0/bias", while one is written."""
    before = {}
    for number, variable in enumerate(variables):
        if not _GRAPH_NAME.fullmatch(variable.name.partition(":")[0]):
            before[number] = variable._handle_name
            variable._handle_name = f"variable_{number}:0"
    try:
        yield
    finally:
        for number, name in before.items():
            variables[number]._handle_name = name


def write(
    module: ServingModule,
    export_dir: Path,
    config: Message,
    asset_files: Sequence[tuple[str, str | Path]] = (),
    after: int = 0,
    texts: Mapping[str, str] = MappingProxyType({}),
) -> Path:
    """Exports the current weights to ``export_dir/<seconds since 1970>/``.

    Everything is written to a staging folder and synced to disk, then renamed: a server that watches
    `export_dir` sees a complete version or none.

    Args:
        module: The model.
        export_dir: Created if it is missing.
        config: The `EasyRecConfig`, kept as ``assets/pipeline.config``.
        asset_files: Additional files for ``assets``: name -> source.
        after: The version must be above this one.
        texts: Further files for ``assets``: name -> content.

    Returns:
        The version's folder.

    Raises:
        CheckpointError: The export can't be written.
        ConfigError: The model needs operations that standard TensorFlow lacks.
    """
    with files.explained(f"can't export to {export_dir}"):
        export_dir.mkdir(parents=True, exist_ok=True)
        _sweep(export_dir)
        version = max(int(time.time()), *(v + 1 for v in (after, *versions(export_dir))))
        staging = export_dir / f"{_STAGING}{version}-{os.getpid()}"
        try:
            module.refresh()
            with _graph_names(module.variables):
                tf.saved_model.save(
                    module,
                    str(staging),
                    signatures={
                        SIGNATURE: module.serve.get_concrete_function(),
                        **(module.updates.signatures() if module.updates else {}),
                    },
                    options=tf.saved_model.SaveOptions(experimental_custom_gradients=True),
                )
            _rename_inputs(staging / "saved_model.pb", module.inputs, version)
            _write_assets(staging / "assets", config, asset_files)
            for name, text in texts.items():
                (staging / "assets" / name).write_text(text, encoding="utf-8")
            for path in (*_walk(staging), staging):
                files.sync_file(path)
            target = export_dir / str(version)
            os.rename(staging, target)
            files.sync_directory(export_dir)
        finally:
            files.remove_tree(staging)
    return target


def versions(export_dir: Path) -> list[int]:
    """The existing versions, ascending."""
    if not export_dir.is_dir():
        return []
    return sorted(int(p.name) for p in export_dir.iterdir() if _VERSION.fullmatch(p.name) and p.is_dir())


def keep_newest(export_dir: Path, count: int) -> None:
    """Removes older versions; nothing else in `export_dir` is touched.

    Args:
        export_dir: The folder of versions.
        count: The number to keep; 0 removes all.
    """
    found = versions(export_dir)
    for version in found[: max(0, len(found) - count)]:
        # Rename first, so that a half-removed version is never visible.
        gone = export_dir / f"{_STAGING}{version}-removed"
        os.rename(export_dir / str(version), gone)
        files.remove_tree(gone)


def publish(version: Path, export_dir: str, keep: int | None = None) -> str:
    """Uploads a version to a folder of a store; ``saved_model.pb``, which makes it valid, comes last.

    Args:
        version: Its local folder.
        export_dir: The store's folder of versions.
        keep: The number of newest versions to keep there; None for all.

    Returns:
        Its path in the store.

    Raises:
        StorageError: The store refuses or fails.
    """
    target = storage.join(export_dir, version.name)
    Mirror(version, target, lambda name: True, LAST).push()
    found = sorted((v for v in storage.folders(export_dir) if _VERSION.fullmatch(v)), key=int)
    for old in found[: max(0, len(found) - keep)] if keep is not None else ():
        storage.remove_folder(storage.join(export_dir, old), LAST)
    return target


def newest(export_dir: str) -> int:
    """The newest version in a folder of a store; 0 if there is none."""
    return max((int(v) for v in storage.folders(export_dir) if _VERSION.fullmatch(v)), default=0)


def _rename_inputs(path: Path, inputs: Sequence[Input], version: int) -> None:
    """Renames placeholders and signature to EasyRec's names, which need not be identifiers."""
    saved = saved_model_pb2.SavedModel.FromString(path.read_bytes())
    graph = saved.meta_graphs[0]
    graph.meta_info_def.meta_graph_version = str(version)
    _check_stock(graph)
    signature = graph.signature_def[SIGNATURE]
    taken = {node.name for node in graph.graph_def.node}
    nodes: dict[str, str] = {}
    found = {}
    for wanted in inputs:
        info = meta_graph_pb2.TensorInfo()
        info.CopyFrom(signature.inputs[wanted.argument])
        old = info.name.split(":")[0]
        nodes[old] = old if wanted.node in taken else wanted.node
        info.name = f"{nodes[old]}:0"
        found[wanted.name] = info
    signature.inputs.clear()
    for name, info in found.items():
        signature.inputs[name].CopyFrom(info)
    for node in graph.graph_def.node:
        node.name = nodes.get(node.name, node.name)
        node.input[:] = [nodes.get(name, name) for name in node.input]
    path.write_bytes(saved.SerializeToString(deterministic=True))


def _check_stock(graph: Any) -> None:
    functions = graph.graph_def.library.function
    nodes = [*graph.graph_def.node, *(node for function in functions for node in function.node_def)]
    own = sorted({node.op for node in nodes if node.op.startswith("Hvdrec")})
    if own:
        raise ConfigError(
            f"the model can't be exported: it uses the operations {', '.join(own)}, which servers lack"
        )


def _write_assets(folder: Path, config: Message, asset_files: Sequence[tuple[str, str | Path]]) -> None:
    folder.mkdir(exist_ok=True)
    (folder / FILE_NAME).write_text(text_format.MessageToString(config, as_utf8=True), encoding="utf-8")
    for name, source in asset_files:
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if storage.is_remote(str(source)):
            storage.download(str(source), target)
        else:
            shutil.copyfile(storage.local(str(source)), target)


def _walk(folder: Path) -> Iterator[Path]:
    """Everything in a folder, with the contents of a folder before the folder itself."""
    for path in folder.iterdir():
        if path.is_dir():
            yield from _walk(path)
        yield path


def _sweep(export_dir: Path) -> None:
    """Removes files left by exports that were killed long ago."""
    for path in export_dir.glob(f"{_STAGING}*"):
        if time.time() - path.stat().st_mtime > _STALE_SECONDS:
            files.remove_tree(path)
