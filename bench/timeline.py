"""Reads from Horovod's timeline how long the ranks exchange after the last message of a step is ready."""

from __future__ import annotations

import json
import pathlib
import re
import statistics
from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

#: What a step sends after its forward pass, and what a call of several steps begins with.
_MESSAGE = re.compile(r"(?:^|/)(gradients(?:/\d+)?|bank_\d+/values)$")
_CALL = "rows"


class Sent(NamedTuple):
    """A message: its name, when it was ready on all ranks, and when it had arrived, in microseconds."""

    name: str
    ready: int
    arrived: int


def messages(path: pathlib.Path) -> list[Sent]:
    """The messages of a timeline, in the order in which they were ready."""
    text = path.read_text().rstrip().rstrip(",")
    events = json.loads(text if text.endswith("]") else f"{text}]")
    names, open_events, ready = dict[int, str](), defaultdict[int, list[str]](list), dict[int, int]()
    found = []
    for event in events:
        at = event.get("pid")
        if event.get("ph") == "M":
            names[at] = event["args"].get("name", names.get(at, ""))
        elif event.get("ph") == "B":
            open_events[at].append(event["name"])
        elif event.get("ph") == "E" and open_events[at]:
            name = open_events[at].pop()
            if name.startswith("NEGOTIATE_"):
                ready[at] = event["ts"]
            elif not open_events[at] and at in ready:
                found.append(Sent(names[at], ready.pop(at), event["ts"]))
    return sorted(found, key=lambda sent: sent.ready)


def exposed(path: pathlib.Path, ways: Sequence[str], rounds: int) -> list[dict[str, float]]:
    """For each model, the median time after the last message of a step was ready until all have arrived.

    Args:
        path: The timeline.
        ways: The ways that exchange, in the order of a round; a model begins with one more round.
        rounds: The measured rounds of each model.

    Returns:
        Milliseconds by way.
    """
    calls = list[dict[str, list[Sent]]]()
    for sent in messages(path):
        if sent.name == _CALL:
            calls.append({})
        match = _MESSAGE.search(sent.name)
        if match and calls:
            calls[-1].setdefault(match[1], []).append(sent)
    found, a_model = [], (1 + rounds) * len(ways)
    for first in range(0, len(calls), a_model):
        times = defaultdict[str, list[float]](list)
        for k, call in enumerate(calls[first + len(ways) : first + a_model]):
            for step in zip(*call.values(), strict=True):
                last = max(sent.ready for sent in step)
                times[ways[k % len(ways)]].append((max(sent.arrived for sent in step) - last) / 1e3)
        found.append({way: round(statistics.median(each), 2) for way, each in times.items()})
    return found
