"""The errors a user can cause and mend: one clear line, exit code 2, no stack trace."""

from __future__ import annotations


class UserError(Exception):
    """A mistake in what the user gave; its text says where it is and what to do."""

    exit_code = 2


class ConfigError(UserError):
    """A pipeline.config, edit or flag is wrong; the text names file, line and field."""


class DataError(UserError):
    """A data file is wrong; the text names file, row and column."""


class CheckpointError(UserError):
    """A checkpoint can't be read or written; the text names the file."""


class DamagedError(CheckpointError):
    """The bytes of a checkpoint are not those that were saved, or some are missing."""


class TrainingError(UserError):
    """Training can't go on (a loss isn't finite, replicas differ, a rank failed)."""

    exit_code = 1


class StoppedError(UserError):
    """The run was asked to stop and has saved; the text says where it can go on."""

    def __init__(self, text: str, signal_number: int) -> None:
        """Keeps the exit code shells give to a process that the signal ended."""
        super().__init__(text)
        self.exit_code = 128 + signal_number


class StorageError(UserError):
    """A store of files can't be used as asked; the text names the path and what the store said."""


class StoreGoneError(StorageError):
    """A store has failed for longer than is waited for."""

    exit_code = 1
