"""The texts of a `KafkaServer` message: offsets and settings."""

from __future__ import annotations

import json
from collections.abc import Sequence

#: Settings that affect whether each row is read once; the field to use instead, if there is one.
_OWN = {
    "bootstrap.servers": "server",
    "group.id": "group",
    "enable.auto.commit": "",
    "enable.auto.offset.store": "",
    "enable.partition.eof": "",
    "auto.offset.reset": "",
}


def parse_offsets(written: str) -> dict[int, int]:
    """`offset_info`: ``{"0": 5, "1": 10}``, partition to offset.

    Raises:
        ValueError: It doesn't have this form.
    """
    try:
        pairs = json.loads(written, object_pairs_hook=list)
        offsets = {int(partition): _whole(offset) for partition, offset in pairs}
        good = written.lstrip().startswith("{") and all(p >= 0 and o >= 0 for p, o in offsets.items())
    except (ValueError, TypeError):
        good = False
    if not good:
        raise ValueError(f'{written!r} must be JSON like {{"0": 5, "1": 10}}: partition to offset')
    if len(offsets) < len(pairs):
        raise ValueError(f"{written!r} names a partition twice")
    return offsets


def _whole(offset: object) -> int:
    """An offset, also as text.

    Raises:
        ValueError: It isn't a whole number.
    """
    if isinstance(offset, bool) or not isinstance(offset, int | str):
        raise ValueError(f"{offset} is not a whole number")
    return int(offset)


def parse_settings(written: Sequence[str]) -> dict[str, str]:
    """`config_global` or `config_topic`: settings of librdkafka, each as ``name=value``.

    Raises:
        ValueError: One doesn't have this form, or is a setting that hvdrec sets itself.
    """
    settings = {}
    for each in written:
        name, found, value = (part.strip() for part in each.partition("="))
        if not found or not name:
            raise ValueError(f"{each!r} must have the form name=value")
        if name in _OWN:
            other = f"; set {_OWN[name]}" if _OWN[name] else ""
            raise ValueError(f"{name} can't be set, because reading each row once depends on it{other}")
        settings[name] = value
    return settings
