"""The errors a user can cause and mend: one clear line, exit code 2, no stack trace."""

from __future__ import annotations

import re


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


class WriteError(CheckpointError):
    """A checkpoint or a file beside it can't be written, as on a full disk."""

    exit_code = 1


class StoppedError(UserError):
    """The run was asked to stop and has saved; the text says where it can go on.

    Attributes:
        told: Whether the user has been shown the text.
    """

    def __init__(self, text: str, signal_number: int) -> None:
        """Keeps the exit code shells give to a process that the signal ended."""
        super().__init__(text)
        self.exit_code = 128 + signal_number
        self.told = False


class StorageError(UserError):
    """A store of files can't be used as asked; the text names the path and what the store said."""


class StoreGoneError(StorageError):
    """A store has failed for longer than is waited for."""

    exit_code = 1


#: What TensorFlow puts around the words of an operation: where it is in the graph and in the program.
_AROUND = re.compile(
    r"\{\{function_node [^}]*\}\}|\[\[\{\{node .*?\}\}\]\]|\[\[.*?\]\]|\[Op:[^\]]*\]( name:\s?\S*)?"
)
_WITHOUT_WORDS = re.compile(
    r"Graph execution error:$|Detected at node |Original stack trace|<stack traces unavailable>|File \"|"
    r"\d+ successful operations\.$|\d+ derived errors? ignored\.$|Errors may have originated from|Node: '"
)
_NUMBERED = re.compile(r"^\(\d+\) +[A-Z_]+: ")
_LONGEST = 600


def words(error: BaseException) -> str:
    """What an exception says, on one line, without TensorFlow's account of nodes and files.

    Args:
        error: Any exception. TensorFlow's begin with "Graph execution error:" and have the cause in the
            middle of their text.

    Returns:
        The lines that say something, each once; the exception's type where there is none.
    """
    text = str(getattr(error, "message", None) or error)
    lines = []
    for line in text.splitlines():
        plain = _NUMBERED.sub("", _AROUND.sub("", line).strip())
        if plain and not _WITHOUT_WORDS.match(plain):
            lines.append(plain)
    found = " ".join(dict.fromkeys(lines))
    found = found if len(found) <= _LONGEST else f"{found[:_LONGEST]}..."
    return found or type(error).__name__
