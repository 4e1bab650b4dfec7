"""Writes SavedModels: whole or not at all, with EasyRec's names in them."""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
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
_STALE_SECONDS = 86400.0
#: In a store a version counts once this is there.
LAST = ("saved_model.pb",)
_STAGING = ".tmp-export-"


def write(
    module: ServingModule,
    export_dir: Path,
    config: Message,
    asset_files: Sequence[tuple[str, str | Path]] = (),
    after: int = 0,
) -> Path:
    """Exports the current weights to ``export_dir/<seconds since 1970>/``.

    Everything is written beside that place and synced to the disk, then renamed: a server that
    watches `export_dir` sees a whole version or none.

    Args:
        module: The model.
        export_dir: Made where it is missing.
        config: The `EasyRecConfig`, kept as ``assets/pipeline.config``.
        asset_files: Further files for ``assets``: name there, source.
        after: The version is to be above this one.

    Returns:
        The version's folder.

    Raises:
        CheckpointError: It can't be written.
        ConfigError: The model needs operations that stock TensorFlow doesn't have.
    """
    with files.explained(f"can't export to {export_dir}"):
        export_dir.mkdir(parents=True, exist_ok=True)
        _sweep(export_dir)
        version = max(int(time.time()), *(v + 1 for v in (after, *versions(export_dir))))
        staging = export_dir / f"{_STAGING}{version}-{os.getpid()}"
        try:
            tf.saved_model.save(
                module,
                str(staging),
                signatures={SIGNATURE: module.serve.get_concrete_function()},
                options=tf.saved_model.SaveOptions(experimental_custom_gradients=True),
            )
            _rename_inputs(staging / "saved_model.pb", module.inputs, version)
            _write_assets(staging / "assets", config, asset_files)
            for path in (*_walk(staging), staging):
                files.sync_file(path)
            target = export_dir / str(version)
            os.rename(staging, target)
            files.sync_directory(export_dir)
        finally:
            files.remove_tree(staging)
    return target


def versions(export_dir: Path) -> list[int]:
    """The versions that are there, ascending."""
    if not export_dir.is_dir():
        return []
    return sorted(int(p.name) for p in export_dir.iterdir() if _VERSION.fullmatch(p.name) and p.is_dir())


def keep_newest(export_dir: Path, count: int) -> None:
    """Removes older versions; nothing else in `export_dir` is touched.

    Args:
        export_dir: The folder of versions.
        count: How many stay; 0 removes all.
    """
    found = versions(export_dir)
    for version in found[: max(0, len(found) - count)]:
        # Renamed first: a version must never be seen half removed.
        gone = export_dir / f"{_STAGING}{version}-removed"
        os.rename(export_dir / str(version), gone)
        files.remove_tree(gone)


def publish(version: Path, export_dir: str, keep: int | None = None) -> str:
    """Brings a version to a folder of a store; ``saved_model.pb``, without which it is none, comes last.

    Args:
        version: Its folder here.
        export_dir: The store's folder of versions.
        keep: How many versions stay there, the newest first; None for all.

    Returns:
        Its place there.

    Raises:
        StorageError: The store doesn't take it.
    """
    target = storage.join(export_dir, version.name)
    Mirror(version, target, lambda name: True, LAST).push()
    found = sorted((v for v in storage.folders(export_dir) if _VERSION.fullmatch(v)), key=int)
    for old in found[: max(0, len(found) - keep)] if keep is not None else ():
        storage.remove_folder(storage.join(export_dir, old), LAST)
    return target


def newest(export_dir: str) -> int:
    """The newest version in a folder of a store; 0 where there is none."""
    return max((int(v) for v in storage.folders(export_dir) if _VERSION.fullmatch(v)), default=0)


def _rename_inputs(path: Path, inputs: Sequence[Input], version: int) -> None:
    """Gives placeholders and signature EasyRec's names, which needn't be identifiers."""
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
        raise ConfigError(f"the model can't be exported: it uses {', '.join(own)}, which servers don't have")


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
    """Everything below a folder, what is in a folder before the folder itself."""
    for path in folder.iterdir():
        if path.is_dir():
            yield from _walk(path)
        yield path


def _sweep(export_dir: Path) -> None:
    """Removes what exports left behind that were killed long ago."""
    for path in export_dir.glob(f"{_STAGING}*"):
        if time.time() - path.stat().st_mtime > _STALE_SECONDS:
            files.remove_tree(path)
