"""The form of times: `train_config.dead_line`, `offset_time` of a Kafka topic."""

from __future__ import annotations

import time

_FORM = "%Y%m%d %H:%M:%S"


def parse_time(written: str) -> float | None:
    """A time as seconds since 1970.

    Args:
        written: ``YYYYmmdd HH:MM:SS`` in local time, or seconds since 1970 in 10 digits.

    Returns:
        The seconds; None where it has neither form.
    """
    if len(written) == 10 and written.isascii() and written.isdigit():
        return float(written)
    try:
        return time.mktime(time.strptime(written, _FORM)) if len(written) == 17 else None
    except (ValueError, OverflowError):
        return None
