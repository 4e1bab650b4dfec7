"""Runs an entry point: error output and exit codes."""

from __future__ import annotations

import os
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from typing import Any

from hvdrec.commands.closed_pipe import until_closed
from hvdrec.commands.tensorflow_import import quicken_tensorflow_import
from hvdrec.errors import ConfigError, StoppedError, UserError, words
from hvdrec.parallel.environment import launched_rank

# TensorFlow's start-up messages contain nothing that a user can act on.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
quicken_tensorflow_import()

_LONGEST_LINE = 2000
#: How long other ranks wait for rank 0 to report an error that every rank finds.
_RANK_0_SECONDS = 5.0


def main(
    parse: Callable[[Sequence[str]], Any], run: Callable[[Any], int | None], arguments: Sequence[str]
) -> int:
    """Runs an entry point.

    Args:
        parse: Parses arguments into flags with a `verbose` attribute.
        run: Does the work; may return an exit code.
        arguments: The command line.

    Returns:
        0 on success, 2 after a user error, 143 (SIGTERM) or 130 (SIGINT) if a signal stopped the run and it
        has saved, 141 if nobody reads the output, 1 after any other failure.
    """
    return until_closed(lambda: _run(parse, run, arguments))


def _run(
    parse: Callable[[Sequence[str]], Any], run: Callable[[Any], int | None], arguments: Sequence[str]
) -> int:
    verbose = "--verbose" in arguments
    try:
        return run(parse(arguments)) or 0
    except StoppedError as stopped:
        # All ranks stop together.
        if not stopped.told and launched_rank() == 0:
            print(f"hvdrec: {stopped}", file=sys.stderr, flush=True)
        return stopped.exit_code
    except UserError as error:
        if isinstance(error, ConfigError) and launched_rank() > 0:
            # Launchers end all ranks when one fails, so this rank usually can't report anything.
            time.sleep(_RANK_0_SECONDS)
        return _fail(error, error.exit_code, verbose)
    except KeyboardInterrupt:
        if launched_rank() == 0:
            print("stopped by the user", file=sys.stderr)
        return 130
    except BrokenPipeError:
        raise
    except Exception as error:
        return _fail(error, 1, verbose, f"{_named(error)} (give --verbose for the stack trace)")


def _named(error: Exception) -> str:
    name, said = type(error).__name__, words(error)
    return name if said == name else f"{name}: {said}"


def _fail(error: Exception, code: int, verbose: bool, message: str | None = None) -> int:
    if verbose:
        traceback.print_exception(error)
    for line in (message or str(error)).split("\n"):
        print(f"hvdrec: error: {_printable(line)}", file=sys.stderr, flush=True)
    return code


def _printable(line: str) -> str:
    """A line without terminal control characters, cut to a readable length."""
    shown = line if len(line) <= _LONGEST_LINE else f"{line[:_LONGEST_LINE]}..."
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in shown)
