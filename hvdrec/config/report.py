"""Collects the problems of a config, so that all are reported at once."""

from __future__ import annotations

from collections.abc import Collection

from hvdrec.config.config import Config
from hvdrec.config.names import hint, listed, one_line
from hvdrec.errors import ConfigError

_MOST_PROBLEMS = 30
_LONGEST = 2000
_MOST_HINTS = 100


class Report:
    """Problems and warnings, each with the location of its field."""

    def __init__(self, config: Config) -> None:
        """Creates an empty report."""
        self.config = config
        self.warnings: list[str] = []
        self._problems: dict[str, int] = {}
        self._hints = 0

    def error(self, path: str, problem: str) -> None:
        """Records an error in the field at `path`."""
        text = f"{self.config.where(path)}: {_printable(problem)}"
        self._problems.setdefault(text, self.config.line(path) or 0)

    def flag_error(self, flag: str, problem: str) -> None:
        """Records an error in a flag."""
        self._problems.setdefault(f"{flag}: {problem}", 0)

    def warn(self, path: str, problem: str) -> None:
        """Records a warning."""
        self.warnings.append(f"{self.config.where(path)}: {_printable(problem)}")

    def hint(self, name: str, candidates: Collection[str], what: str = "there are") -> str:
        """Like `names.hint`, but after many hints skips its search, which is slow for thousands of names."""
        self._hints += 1
        return hint(name, candidates, what) if self._hints <= _MOST_HINTS else f"{what}: {listed(candidates)}"

    def close(self) -> list[str]:
        """The warnings.

        Raises:
            ConfigError: There were errors. The text has one line per error, in the order of the file.
        """
        lines = sorted(self._problems, key=lambda text: self._problems[text])
        if len(lines) > _MOST_PROBLEMS:
            lines = [*lines[:_MOST_PROBLEMS], f"and {len(lines) - _MOST_PROBLEMS} more problems"]
        if lines:
            raise ConfigError("\n".join(lines))
        return self.warnings


def _printable(problem: str) -> str:
    """A problem on one line, whatever the names in it contain."""
    return problem if problem.isprintable() else one_line(problem, _LONGEST)
