"""Collects what is wrong with a config, so that the user hears of all of it at once."""

from __future__ import annotations

from collections.abc import Collection

from hvdrec.config.config import Config
from hvdrec.config.names import hint, listed
from hvdrec.errors import ConfigError

_MOST_PROBLEMS = 30
_MOST_HINTS = 100


class Report:
    """Problems and warnings, each with the place of its field."""

    def __init__(self, config: Config) -> None:
        """Starts without any."""
        self.config = config
        self.warnings: list[str] = []
        self._problems: dict[str, int] = {}
        self._hints = 0

    def error(self, path: str, problem: str) -> None:
        """Notes that the config can't be used because of the field at `path`."""
        self._problems.setdefault(f"{self.config.where(path)}: {problem}", self.config.line(path) or 0)

    def flag_error(self, flag: str, problem: str) -> None:
        """Notes that a flag can't be used."""
        self._problems.setdefault(f"{flag}: {problem}", 0)

    def warn(self, path: str, problem: str) -> None:
        """Notes something the user should know."""
        self.warnings.append(f"{self.config.where(path)}: {problem}")

    def hint(self, name: str, candidates: Collection[str], what: str = "there are") -> str:
        """As `names.hint`; without its search, slow among thousands of names, once many were given."""
        self._hints += 1
        return hint(name, candidates, what) if self._hints <= _MOST_HINTS else f"{what}: {listed(candidates)}"

    def close(self) -> list[str]:
        """The warnings.

        Raises:
            ConfigError: There were errors; its text has a line for each, in the file's order.
        """
        lines = sorted(self._problems, key=lambda text: self._problems[text])
        if len(lines) > _MOST_PROBLEMS:
            lines = [*lines[:_MOST_PROBLEMS], f"and {len(lines) - _MOST_PROBLEMS} more problems"]
        if lines:
            raise ConfigError("\n".join(lines))
        return self.warnings
