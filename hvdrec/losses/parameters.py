"""Checks of the numbers that a loss or metric is built with."""

from __future__ import annotations

from google.protobuf.message import Message

from hvdrec.config.ranges import ANY_NUMBER, wrong
from hvdrec.config.support import RANGES
from hvdrec.errors import ConfigError


def check_numbers(parameters: Message) -> None:
    """Makes sure that the numbers of a message lie where `config.support.RANGES` says.

    Raises:
        ConfigError: One doesn't; the text begins with its field.
    """
    for field in parameters.DESCRIPTOR.fields:
        value = getattr(parameters, field.name)
        if isinstance(value, int | float) and parameters.HasField(field.name):
            allowed = RANGES.get(f"{parameters.DESCRIPTOR.name}.{field.name}", ANY_NUMBER)
            if problem := wrong(value, allowed):
                raise ConfigError(f"{field.name}: {problem}")
