"""Whether a run has anything to train; a run without work must not end as if it had trained."""

from __future__ import annotations

from hvdrec.config import Config
from hvdrec.data.batch import InputPosition
from hvdrec.trainer.loop import LoopParts


def nothing_left(
    config: Config, parts: LoopParts, step: int, position: InputPosition, limit: str | None = None
) -> str | None:
    """Why a run would end before its first step; None if it has steps to do (for rank 0).

    Args:
        config: The run's config.
        parts: The parts of its loop.
        step: The number of steps that the weights were trained for.
        position: The start position of the input.
        limit: What sets the last step, if not `num_steps`.

    Returns:
        The location in the config, the reason, and what to change.
    """
    last = parts.schedule.last
    if last and step >= last:
        if limit:
            return f"{limit}: step {step} of {last} is reached"
        return (
            f"{config.where('train_config.num_steps')}: step {step} of {last} is reached; raise "
            "num_steps, which counts all steps of the model, including those before this run"
        )
    if parts.left_out:
        return f"{config.where('data_config.ignore_error')}: {parts.left_out}"
    if parts.exhausted:
        return _input_ended(config, parts.group.size, position)
    ending = next((why for asked in parts.endings if (why := asked())), None)
    return None if ending is None else f"train_config: {ending}"


def _input_ended(config: Config, ranks: int, position: InputPosition) -> str:
    data = config.proto.data_config
    if position == InputPosition():
        batch = f"batch_size {data.batch_size}" + (f" on each of {ranks} ranks" if ranks > 1 else "")
        return (
            f"{config.where('data_config.drop_remainder')}: the input has fewer rows than one batch "
            f"({batch}), and incomplete batches are dropped"
        )
    epochs = int(data.num_epochs)
    done = "1 epoch of this input is done" if epochs == 1 else f"{epochs} epochs of this input are done"
    return f"{config.where('data_config.num_epochs')}: {done}; raise num_epochs, or give new data"
