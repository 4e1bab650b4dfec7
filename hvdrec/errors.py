"""Errors that a user can cause and fix: one clear line, exit code 2, no stack trace."""

from __future__ import annotations

import re


class UserError(Exception):
    """An error in the user's input; the message says where it is and what to do."""

    exit_code = 2


class ConfigError(UserError):
    """A pipeline.config, edit or flag is invalid; the message names file, line and field."""


class DataError(UserError):
    """A data file is invalid; the message names file, row and column."""


class CheckpointError(UserError):
    """A checkpoint can't be read or written; the message names the file."""


class DamagedError(CheckpointError):
    """The bytes of a checkpoint differ from the saved ones, or some are missing."""


class TrainingError(UserError):
    """Training can't continue (a loss is not finite, replicas differ, a rank failed)."""

    exit_code = 1


class WriteError(CheckpointError):
    """A checkpoint or a related file can't be written, for example because the disk is full."""

    exit_code = 1


class StoppedError(UserError):
    """The run was asked to stop and has saved; the message says how to continue.

    Attributes:
        told: Whether the message has been shown to the user.
    """

    def __init__(self, text: str, signal_number: int) -> None:
        """Stores the exit code that shells use for a process ended by the signal."""
        super().__init__(text)
        self.exit_code = 128 + signal_number
        self.told = False


class StorageError(UserError):
    """A file store can't be used as requested; the message has the path and the store's error."""


class StoreGoneError(StorageError):
    """A store failed for longer than the retry limit."""

    exit_code = 1


#: TensorFlow's additions to an operation's error: its location in the graph and in the program.
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
    """The text of an exception, on one line, without TensorFlow's lists of nodes and files.

    Args:
        error: Any exception. TensorFlow's errors begin with "Graph execution error:" and have the cause in
            the middle of the text.

    Returns:
        The informative lines, each once; the exception's type if there are none.
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
