"""The options of a run from the command line, outside the config."""

from __future__ import annotations

import dataclasses

from hvdrec.trainer.run.signals import StopSignals


@dataclasses.dataclass(frozen=True)
class RunOptions:
    """Flags of `hvdrec.train` that aren't in the config.

    Attributes:
        ignore_fine_tune_errors: `--ignore_finetune_ckpt_error`.
        fit_on_eval: After training, also train on the evaluation data.
        fit_on_eval_steps: The maximum number of those steps; 0 = until the data ends.
        evaluates: Evaluate after each checkpoint, if there is evaluation data.
        hpo_metric_save_path: The file for one line of JSON per evaluation, or empty.
        signals: The signals that were received.
    """

    ignore_fine_tune_errors: bool = False
    fit_on_eval: bool = False
    fit_on_eval_steps: int = 0
    evaluates: bool = True
    hpo_metric_save_path: str | None = None
    signals: StopSignals = dataclasses.field(default_factory=StopSignals)
