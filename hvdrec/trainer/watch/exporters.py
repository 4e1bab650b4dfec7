"""Exports during a run and at its end, as configured by `export_config` (rank 0)."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from hvdrec.checkpoint.background import BackgroundSaver
from hvdrec.checkpoint.store import Store
from hvdrec.config import Config
from hvdrec.errors import ConfigError
from hvdrec.models.recommender import Recommender
from hvdrec.parallel.group import ReplicaGroup
from hvdrec.serving import saved_model
from hvdrec.serving.assets import model_assets
from hvdrec.serving.module import ServingModule
from hvdrec.trainer.run.agree import run_on_all_ranks
from hvdrec.trainer.run.log import logger
from hvdrec.trainer.run.run_folder import RunFolder
from hvdrec.trainer.watch.deltas import delta_assets
from hvdrec.trainer.watch.events import read_scalars
from hvdrec.trainer.watch.gathered import Gathered

BEST_FOLDER = "best_ckpt"
_BEST_FILE = "best.json"


class Exporter:
    """Exports the current weights of a run into ``model_dir/export/<exporter_type>/<version>``."""

    def __init__(
        self,
        config: Config,
        folder: RunFolder,
        recommender: Recommender,
        refresh: Callable[[], None] = lambda: None,
        gathered: Gathered | None = None,
    ) -> None:
        """Builds the serving graph.

        Args:
            config: The run's.
            folder: Its files.
            recommender: Its model.
            refresh: Brings the weights of `recommender` up to date, before each export.
            gathered: Provides the model to export if the tables of `recommender` are split.

        Raises:
            ConfigError: The model can't be exported, or an asset is missing.
        """
        self._refresh, self._gathered = refresh, gathered
        if gathered is not None:
            gathered.need_memory()
        self._folder, self._config, self._recommender = folder, config.proto, recommender
        self._module = ServingModule(config.proto, recommender)
        self._assets = model_assets(config.proto)
        self._kind = config.proto.export_config.exporter_type

    def export(self, step: int, keep: int | None = None) -> Path:
        """Exports now.

        Args:
            step: `global_step`.
            keep: The number of newest versions to keep; None for all.
        """
        self._refresh()
        folder = Path(self._folder.path) / "export" / self._kind
        module = self._module
        if self._gathered is not None:
            module = ServingModule(self._config, self._gathered.take())
        texts = delta_assets(self._config, self._recommender, step, self._folder.model_dir)
        target = saved_model.write(module, folder, self._config, self._assets, texts=texts)
        if keep is not None:
            saved_model.keep_newest(folder, keep)
        self._folder.push("export/")
        logger.info("exported to %s", self._folder.shown(str(target)))
        return target


class Best:
    """Tracks the best evaluation so far, across restarts.

    Its checkpoints are kept in ``model_dir/best_ckpt``, with ``best.json``, which records the value of the
    newest. Without that file, as in a run started by EasyRec, the evaluations in ``eval_val`` are used.
    """

    def __init__(self, export_config: Any, checkpoints: Store) -> None:
        """Takes the metric and its direction from `export_config`."""
        self.metric = export_config.best_exporter_metric
        self._bigger = bool(export_config.metric_bigger)
        self._checkpoints = checkpoints
        self._store = checkpoints.beside(BEST_FOLDER, max(1, int(export_config.exports_to_keep)))

    def is_better(self, step: int, result: dict[str, float]) -> bool:
        """Whether this evaluation is strictly better than all before it."""
        best = self._best(step)
        value = result[self.metric]
        if not math.isfinite(value):
            return False
        return best is None or (value > best if self._bigger else value < best)

    def known(self) -> bool:
        """Whether there is a best evaluation."""
        return (self._store.model_dir / _BEST_FILE).exists()

    def keep(self, step: int) -> None:
        """Keeps the checkpoint of `step`, which must be complete on disk.

        Raises:
            CheckpointError: The checkpoint is not complete.
        """
        prefix = self._store.adopt(self._checkpoints, step)
        logger.info("best %s so far; the checkpoint is kept as %s", self.metric, prefix)

    def remember(self, step: int, value: float) -> None:
        """Sets `value` as the best so far."""
        record = {"metric": self.metric, "bigger": self._bigger, "step": step, "value": value}
        self._store.replace_text(_BEST_FILE, json.dumps(record) + "\n")

    def described(self, shown: Callable[[str], str]) -> str | None:
        """Describes the best evaluation and its checkpoint; `shown` converts a path for users."""
        record, prefix = self._record(), self._store.latest()
        if record is None or prefix is None:
            return None
        return f"best: {self.metric} {record[1]:.4f} at step {record[0]}, kept as {shown(prefix)}"

    def _record(self) -> tuple[int, float] | None:
        """Step and value of the best evaluation, as saved with its checkpoint."""
        try:
            record = json.loads((self._store.model_dir / _BEST_FILE).read_text(encoding="utf-8"))
            if (record["metric"], record["bigger"]) == (self.metric, self._bigger):
                return int(record["step"]), float(record["value"])
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            pass
        return None

    def _best(self, step: int) -> float | None:
        if (record := self._record()) is not None:
            return record[1]
        folder = os.path.join(self._checkpoints.model_dir, "eval_val")
        values = [v for s, v in read_scalars(folder, self.metric).items() if s < step and math.isfinite(v)]
        if not values:
            return None
        return max(values) if self._bigger else min(values)


class RunExports:
    """All exports of one run."""

    def __init__(
        self,
        config: Config,
        folder: RunFolder,
        recommender: Recommender,
        checkpoints: Store,
        evaluated: Sequence[str],
        refresh: Callable[[], None] = lambda: None,
        gathered: Gathered | None = None,
    ) -> None:
        """Prepares the exports selected by `exporter_type`.

        Args:
            config: The run's config.
            folder: The run's files.
            recommender: The run's model.
            checkpoints: The run's checkpoints.
            evaluated: The names that an evaluation returns.
            refresh: See `Exporter`.
            gathered: See `Exporter`.

        Raises:
            ConfigError: The export isn't possible. If the config doesn't request one, EasyRec exports at the
                end; then this is only a warning.
        """
        export = config.proto.export_config
        self._kind = export.exporter_type
        self._keep = max(1, int(export.exports_to_keep))
        if self._kind == "best" and export.best_exporter_metric not in evaluated:
            raise ConfigError(
                f"{config.where('export_config.best_exporter_metric')}: evaluations have no "
                f"{export.best_exporter_metric!r}; use one of {', '.join(evaluated)}"
            )
        self._folder, self._checkpoints = folder, checkpoints
        self._best = Best(export, checkpoints) if self._kind == "best" else None
        self._exporter: Exporter | None = None
        self._asked = export.HasField("exporter_type") or bool(export.asset_files)
        if self._kind != "none":
            self._exporter = self._unless_unasked(
                lambda: Exporter(config, folder, recommender, refresh, gathered)
            )

    def wants(self, step: int, result: dict[str, float]) -> bool:
        """Whether `after_evaluation` is going to export."""
        if self._exporter is None:
            return False
        return self._kind == "latest" or (self._best is not None and self._best.is_better(step, result))

    def wants_at_end(self) -> bool:
        """Whether `at_end` is going to export."""
        return self._exporter is not None and self._kind == "final"

    def after_evaluation(
        self, step: int, result: dict[str, float], settle: Callable[[], object] = lambda: None
    ) -> None:
        """Exports if this evaluation requires it.

        Args:
            step: The step evaluated.
            result: The evaluation.
            settle: Waits until the checkpoint of `step` is on disk.

        Raises:
            CheckpointError: That checkpoint doesn't exist, or the export can't be written.
        """
        if self._exporter is None:
            return
        if self._kind == "latest":
            # A service may follow it: the run must not go back before a step that it has exported.
            settle()
            self._exporter.export(step, self._keep)
        if self._best is not None and self._best.is_better(step, result):
            settle()
            self._best.keep(step)
            self._exporter.export(step, self._keep)
            # Last: a run that is stopped before this exports again.
            self._best.remember(step, result[self._best.metric])

    def best(self) -> str | None:
        """Describes the best evaluation and the location of its checkpoint; None if none is kept."""
        described = self._best.described(self._folder.shown) if self._best else None
        exports = self._folder.shown(os.path.join(self._folder.path, "export", self._kind))
        return described and f"{described}, exported to {exports}"

    def at_end(self) -> Path | None:
        """Exports at the end of training; returns the folder."""
        exporter = self._exporter
        if self._best is not None and exporter is not None and not self._best.known():
            logger.warning(
                "not exported: no evaluation had a finite value of %s (exporter_type best)", self._best.metric
            )
        if exporter is None or self._kind != "final":
            return None
        # Training ends with a checkpoint.
        return self._unless_unasked(lambda: exporter.export(max(self._checkpoints.steps(), default=0)))

    def _unless_unasked(self, work: Callable[[], Any]) -> Any:
        """Turns a ConfigError into a warning if the config doesn't request an export."""
        try:
            return work()
        except ConfigError as error:
            if self._asked:
                raise
            logger.warning("not exported: %s", error)
            return None


def export_after_evaluation(
    exports: RunExports | None, group: ReplicaGroup, saver: BackgroundSaver
) -> Callable[[int, dict[str, float]], None]:
    """The hook that the loop calls on every rank after an evaluation; rank 0 has `exports`."""

    def hook(step: int, result: dict[str, float]) -> None:
        def work() -> None:
            if exports is not None:
                exports.after_evaluation(step, result, saver.settle)

        run_on_all_ranks(group, work)

    return hook
