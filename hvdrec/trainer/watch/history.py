"""All evaluations of a run, and the metric file for hyper-parameter search."""

from __future__ import annotations

import errno
import json
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path

from hvdrec import storage
from hvdrec.checkpoint import files
from hvdrec.errors import ConfigError
from hvdrec.trainer.run.log import json_numbers
from hvdrec.trainer.run.places import need_other_file
from hvdrec.trainer.watch.events import read_all_scalars

_FLAG = "--hpo_metric_save_path"


class Evaluations:
    """The results of all evaluations of a run, across restarts (for rank 0)."""

    def __init__(self, model_dir: str) -> None:
        """Evaluations of earlier processes are read from ``model_dir/eval_val`` when the first is added."""
        self._folder = os.path.join(model_dir, "eval_val")
        self._found: dict[int, dict[str, float]] | None = None

    def add(self, step: int, result: dict[str, float]) -> dict[int, dict[str, float]]:
        """Adds an evaluation; returns all up to it by step, in order.

        Evaluations of an earlier process beyond `step` are dropped, because their weights no longer exist.
        """
        if self._found is None:
            read = read_all_scalars(self._folder)
            self._found = {s: _without_twins(values) for s, values in read.items()}
        self._found = {s: values for s, values in sorted(self._found.items()) if s < step}
        self._found[step] = dict(result)
        return dict(self._found)


def _without_twins(values: dict[str, float]) -> dict[str, float]:
    """Drops the losses that are also stored under the tags of training."""
    return {name: v for name, v in values.items() if f"loss/{name}" not in values}


class MetricFile:
    """`--hpo_metric_save_path`: a JSON line per evaluation with metrics and `global_step`, as in EasyRec."""

    def __init__(self, path: str, model_dir: str) -> None:
        """The file is created at the first evaluation."""
        self._path = storage.local(path)
        self._evaluations = Evaluations(model_dir)

    def need_place(self, read: Iterable[str]) -> None:
        """Checks, before the first evaluation, that the file can be written.

        Args:
            read: The files that the run reads.

        Raises:
            ConfigError: The file can't be written, or is one of those.
        """
        need_other_file(self._path, _FLAG, read)
        if storage.is_remote(self._path):
            return
        path = Path(self._path)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.is_dir():
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
            # Write permission on the folder is enough to replace the file.
            with tempfile.TemporaryFile(dir=path.parent):
                pass
        except OSError as error:
            raise ConfigError(f"{_FLAG}: can't write {path}: {error.strerror}") from error

    def add(self, step: int, result: dict[str, float]) -> None:
        """Rewrites the file with this evaluation added; a reader always finds complete lines.

        Raises:
            CheckpointError: The file can't be written.
        """
        found = self._evaluations.add(step, result)
        lines = [json.dumps({"global_step": s, **json_numbers(values)}) + "\n" for s, values in found.items()]
        if storage.is_remote(self._path):
            storage.write_text(self._path, "".join(lines))
            return
        path = Path(self._path)
        with files.explained(f"{_FLAG}: can't write {path}"):
            path.parent.mkdir(parents=True, exist_ok=True)
            files.write_atomically(path, "".join(lines))
