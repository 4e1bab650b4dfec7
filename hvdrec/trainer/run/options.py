"""What the command line says about a run, apart from the config."""

from __future__ import annotations

import dataclasses

from hvdrec.trainer.run.signals import StopSignals


@dataclasses.dataclass(frozen=True)
class RunOptions:
    """Flags of `hvdrec.train` that aren't in the config.

    Attributes:
        ignore_fine_tune_errors: `--ignore_finetune_ckpt_error`.
        fit_on_eval: Train on the evaluation data once training is over.
        fit_on_eval_steps: At most this many steps of it; 0 = until the data ends.
        evaluates: Evaluate after each checkpoint, where there is data for it.
        hpo_metric_save_path: Where a line of JSON per evaluation goes, if anywhere.
        signals: Which signal has asked to stop.
    """

    ignore_fine_tune_errors: bool = False
    fit_on_eval: bool = False
    fit_on_eval_steps: int = 0
    evaluates: bool = True
    hpo_metric_save_path: str | None = None
    signals: StopSignals = dataclasses.field(default_factory=StopSignals)
