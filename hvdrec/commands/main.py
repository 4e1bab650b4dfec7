"""How every entry point ends: what it prints and which exit code it gives."""

from __future__ import annotations

import os
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from typing import Any

from hvdrec.errors import ConfigError, StoppedError, UserError, words
from hvdrec.parallel.environment import launched_rank

# TensorFlow's own start-up lines say nothing a user can act on.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

_LONGEST_LINE = 2000
#: How long other ranks leave it to rank 0 to tell of a mistake that every rank finds.
_RANK_0_SECONDS = 5.0


def main(
    parse: Callable[[Sequence[str]], Any], run: Callable[[Any], int | None], arguments: Sequence[str]
) -> int:
    """Runs an entry point.

    Args:
        parse: Flags from arguments; has a `verbose` attribute.
        run: The work; may give an exit code.
        arguments: What the user typed.

    Returns:
        0 when all went well, 2 after a mistake of the user's, 143 (SIGTERM) or 130 (SIGINT) when
        a signal stopped the run and it has saved, 1 after any other failure.
    """
    verbose = "--verbose" in arguments
    try:
        return run(parse(arguments)) or 0
    except StoppedError as stopped:
        # The ranks stop together.
        if not stopped.told and launched_rank() == 0:
            print(f"hvdrec: {stopped}", file=sys.stderr, flush=True)
        return stopped.exit_code
    except UserError as error:
        if isinstance(error, ConfigError) and launched_rank() > 0:
            # Launchers end all ranks when one fails: mostly this one doesn't get to speak.
            time.sleep(_RANK_0_SECONDS)
        return _fail(error, error.exit_code, verbose)
    except KeyboardInterrupt:
        if launched_rank() == 0:
            print("stopped by the user", file=sys.stderr)
        return 130
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
    """A line without what a terminal would obey, and not longer than one can read."""
    shown = line if len(line) <= _LONGEST_LINE else f"{line[:_LONGEST_LINE]}..."
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in shown)
