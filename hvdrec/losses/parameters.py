"""Checks of loss parameters."""

from __future__ import annotations

import math

from hvdrec.errors import ConfigError


def positive(name: str, value: float) -> float:
    """`value`, which must be a number above 0."""
    if not (value > 0.0 and math.isfinite(value)):
        raise ConfigError(f"{name}: {value:g} is not a number above 0")
    return value


def not_negative(name: str, value: float) -> float:
    """`value`, which must be a number of at least 0."""
    if not (value >= 0.0 and math.isfinite(value)):
        raise ConfigError(f"{name}: {value:g} is not a number of at least 0")
    return value


def finite(name: str, value: float) -> float:
    """`value`, which must be a number."""
    if not math.isfinite(value):
        raise ConfigError(f"{name}: {value:g} is not a finite number")
    return value


def fraction(name: str, value: float) -> float:
    """`value`, which must be in [0, 1]."""
    if not 0.0 <= value <= 1.0:
        raise ConfigError(f"{name}: {value:g} is not between 0 and 1")
    return value


def ratio(name: str, value: float) -> float:
    """`value`, which must be above 0 and at most 1."""
    if not 0.0 < value <= 1.0:
        raise ConfigError(f"{name}: {value:g} must be above 0 and at most 1")
    return value
