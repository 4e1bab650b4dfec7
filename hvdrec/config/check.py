"""Checks a config before anything else runs."""

from __future__ import annotations

from hvdrec.config.config import Config


def check(config: Config, mode: str = "train") -> list[str]:
    """Warnings about a config; raises ConfigError when it can't be used."""
    del config, mode
    return []
