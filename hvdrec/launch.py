"""Starts runs with the command forms of schedulers: ``python -m hvdrec.launch local -np 2 ...``."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from hvdrec.commands.main import main
from hvdrec.config.names import hint
from hvdrec.errors import ConfigError
from hvdrec.launcher import emr, local, pai, servers
from hvdrec.launcher.ranks import Ranks
from hvdrec.launcher.restarts import run_again_and_again
from hvdrec.launcher.run import processes, render
from hvdrec.launcher.start import become, supervise

FORMS = {"local": local.parse, "ps": servers.parse, "pai": pai.parse, "emr": emr.parse}
_USAGE = f"usage: python -m hvdrec.launch {{{','.join(FORMS)}}} [--print] ...  (docs/distributed.md)"
_HELP = f"""{_USAGE}

  local  ranks on this machine, with horovodrun: local -np N [--restarts N] [flags of hvdrec.train]
  ps     a chief, workers and parameter servers, all on this machine
  pai    the command form of Alibaba's PAI: -Dcmd=train -Dconfig=X.config ...
  emr    the arguments of EMR's el_submit

--print shows the commands and starts nothing; `python -m hvdrec.launch FORM --help` lists a form's flags."""


def parse(arguments: Sequence[str]) -> list[str]:
    """The unparsed arguments; each form parses its own.

    Raises:
        ConfigError: The form is missing or unknown.
    """
    if arguments and arguments[0] in ("-h", "--help"):
        print(_HELP)
        sys.exit(0)
    if not arguments:
        raise ConfigError(_USAGE)
    if arguments[0] not in FORMS:
        raise ConfigError(f"{arguments[0]}: unknown form; {hint(arguments[0], FORMS)}")
    return list(arguments)


def run(arguments: list[str]) -> int | None:
    """Starts the run, or prints its commands with ``--print``."""
    form, rest = arguments[0], arguments[1:]
    # No form and no entry point has its own flag of this name.
    only_print = "--print" in rest
    described = FORMS[form]([argument for argument in rest if argument != "--print"])
    # For configs that are read here; the started processes inherit these variables.
    os.environ.update(described.environment)
    started = processes(described)
    if only_print:
        print(render(described, started))
        return None
    for text in described.ignored:
        print(f"hvdrec.launch: ignored: {text}", file=sys.stderr)
    if described.servers:
        return supervise(described, started)
    if described.restarts:
        return run_again_and_again(started[0], described.restarts)
    if described.ranks > 1:
        return Ranks(started[0]).run()
    become(started[0])


if __name__ == "__main__":
    sys.exit(main(parse, run, sys.argv[1:]))
