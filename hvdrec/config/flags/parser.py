"""Argument parsing for the entry points: one-line errors, and ``--train_config.x=y``."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from hvdrec.config.names import hint, is_repeated, one_line
from hvdrec.config.paths import PathError, split_outside
from hvdrec.config.protos import pipeline_pb2
from hvdrec.errors import ConfigError

#: Parts of a config that ``--<part>.<path>=<value>`` can change.
_ROOTS = tuple(pipeline_pb2.EasyRecConfig.DESCRIPTOR.fields_by_name)

_NO_KEY_VALUE_STORE = "tables in a key-value store are not supported; a SavedModel contains its tables"
_REDIS_FLAGS = (
    "url",
    "passwd",
    "threads",
    "batch_size",
    "timeout",
    "expire",
    "embedding_version",
    "write_kv",
)
_OSS_FLAGS = ("path", "endpoint", "ak", "sk", "threads", "timeout", "expire", "write_kv", "embedding_version")
_ONLY_ALIBABA = "works only on Alibaba's platforms"

#: EasyRec's flags that are refused: name -> reason.
_REFUSED = {
    "--is_on_ds": _ONLY_ALIBABA,
    "--fg_json_path": "fg.json files are not supported yet",
    "--ds_vector_recall": _ONLY_ALIBABA,
    **dict.fromkeys((f"--redis_{n}" for n in _REDIS_FLAGS), _NO_KEY_VALUE_STORE),
    **dict.fromkeys((f"--oss_{n}" for n in _OSS_FLAGS), _NO_KEY_VALUE_STORE),
}


class FlagParser(argparse.ArgumentParser):
    """Raises ConfigError where argparse would print its usage and exit."""

    def __init__(self, program: str, description: str) -> None:
        super().__init__(f"python -m {program}", description=description, allow_abbrev=False)
        self._ignored: list[str] = []
        self.add_argument("--verbose", action="store_true", help="show stack traces and more log lines")

    def error(self, message: str) -> NoReturn:
        """See the class."""
        message = message.removeprefix("argument ")
        raise ConfigError(message.replace("ignored explicit argument", "takes no value, found"))

    def add_ignored(self, name: str, takes_value: bool) -> None:
        """Adds a flag of EasyRec that has no effect here."""
        self.add_argument(name, nargs="?" if takes_value else 0, action=_Ignored, help=argparse.SUPPRESS)

    def add_variable(self, name: str, variable: str, **options: Any) -> None:
        """Adds a flag that sets an environment variable."""
        self.add_argument(name, action=_Variable, const=variable, **options)

    def add_paths(self, name: str, help_text: str) -> None:
        """Adds a flag that accepts several paths and can be repeated; its value is a tuple."""
        self.add_argument(name, nargs="+", action="extend", default=[], metavar="PATH", help=help_text)

    def parse(
        self, arguments: Sequence[str], path_edits: bool = False, needed: Sequence[str] = ()
    ) -> dict[str, Any]:
        """Values by flag name, including None and False.

        Args:
            arguments: The command line.
            path_edits: Whether the program also takes ``--<part>.<path>=<value>``.
            needed: Names of the flags that must be given.

        Raises:
            ConfigError: A flag is unknown or refused, or its value is missing or invalid.
        """
        known = sorted(s for action in self._actions for s in action.option_strings if s.startswith("--"))
        for argument in arguments:
            name = argument.partition("=")[0]
            if name in _REFUSED and name not in known:
                raise ConfigError(f"{name}: {_REFUSED[name]}")
        values, rest = self.parse_known_args(list(arguments))
        if rest:
            names = [one_line(argument.partition("=")[0]) for argument in rest]
            # The argument after an unknown flag is its value.
            wrong = (
                [name for name in names if name.startswith("-")] if names[0].startswith("-") else names[:1]
            )
            raise ConfigError(
                "\n".join(_wrong_flag(name, known, path_edits) for name in dict.fromkeys(wrong))
            )
        found = {n: tuple(v) if isinstance(v, list) else v for n, v in vars(values).items()}
        for name in needed:
            if not found[name]:
                raise ConfigError(f"--{name}: is missing")
        return {"ignored": (), **found}


def _wrong_flag(name: str, known: Sequence[str], path_edits: bool) -> str:
    """The error text for an unknown flag, with suggestions."""
    if name.startswith(("\u2013", "\u2014", "\u2212")):
        return f"{name}: begins with a typographic dash; write --{name.lstrip(name[0])}"
    if not name.startswith("-"):
        return f"{name!r} is not a flag; the flags are {', '.join(known)}"
    if path_edits and "." in name:
        return f"{name}: there is no such flag; {hint(name, [f'--{root}.<path>' for root in _ROOTS])}"
    if path_edits and name.removeprefix("--") in _ROOTS:
        return f"{name}: there is no such flag; write {name}.<path>=VALUE, or use --edit_config_json"
    places = [f"--{root}.{name.lstrip('-')}" for root in _roots_of(name.lstrip("-"))] if path_edits else []
    if places:
        return f"{name}: there is no such flag; did you mean {' or '.join(places)}?"
    return f"{name}: there is no such flag; {hint(name, known)}"


def _roots_of(field: str) -> list[str]:
    """The parts of a config that have a field of that name."""
    parts = pipeline_pb2.EasyRecConfig.DESCRIPTOR.fields_by_name
    return [
        root
        for root, part in parts.items()
        if part.message_type is not None
        and not is_repeated(part)
        and field in part.message_type.fields_by_name
    ]


class _Ignored(argparse.Action):
    """Records that the flag was given."""

    def __init__(self, option_strings: Sequence[str], dest: str, **options: Any) -> None:
        super().__init__(option_strings, dest, default=argparse.SUPPRESS, **options)

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, option: Any = None
    ) -> None:
        """Adds the flag to `ignored`."""
        namespace.ignored = (*getattr(namespace, "ignored", ()), option)


class _Variable(argparse.Action):
    """Sets an environment variable."""

    def __init__(self, option_strings: Sequence[str], dest: str, const: str, **options: Any) -> None:
        super().__init__(option_strings, dest, default=argparse.SUPPRESS, **options)
        self._variable = const

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, option: Any = None
    ) -> None:
        """Sets it."""
        os.environ[self._variable] = values


def boolean(written: str) -> bool:
    """The type of a flag that is true or false."""
    values = {"true": True, "1": True, "false": False, "0": False}
    if written.lower() not in values:
        raise argparse.ArgumentTypeError(f"expected true or false, found {written!r}")
    return values[written.lower()]


def count(least: int) -> Callable[[str], int]:
    """The type of a flag that is an integer, `least` or more."""

    def convert(written: str) -> int:
        if not written.isascii() or not written.isdigit() or int(written) < least or len(written) > 18:
            raise argparse.ArgumentTypeError(f"expected an integer of at least {least}, found {written!r}")
        return int(written)

    return convert


_DEVICE = re.compile(r"\d{1,4}|(GPU|MIG)-[\w/-]+", re.ASCII)


def devices(written: str) -> str:
    """The type of a flag in the format of CUDA_VISIBLE_DEVICES, whose wrong parts CUDA ignores silently."""
    if written in ("", "-1"):
        return written
    ids = written.split(",")
    if not all(_DEVICE.fullmatch(id_) for id_ in ids) or len(set(ids)) < len(ids):
        raise argparse.ArgumentTypeError(
            f"expected different numbers or UUIDs of devices as 0,1, or -1 for none, found {written!r}"
        )
    return written


def take_path_edits(arguments: Sequence[str]) -> tuple[dict[str, tuple[str, str]], list[str]]:
    """Separates ``--train_config.x=y`` and ``--train_config.x y`` from the other arguments.

    Returns:
        Path -> (value, the flag as written), and the others.

    Raises:
        ConfigError: A value is missing.
    """
    edits: dict[str, tuple[str, str]] = {}
    others: list[str] = []
    waiting = list(arguments)
    while waiting:
        argument = waiting.pop(0)
        root, separator, _ = argument[2:].replace("[", ".").partition(".")
        if not (argument.startswith("--") and separator and root in _ROOTS and "=" not in root):
            others.append(argument)
            continue
        try:
            path, *value = split_outside(argument[2:], "=")
        except PathError:
            raise ConfigError(f"{one_line(argument)}: a ] or a quote is missing") from None
        if not value:
            if not waiting or waiting[0].startswith("--"):
                name = one_line(argument)
                raise ConfigError(f"{name}: the value is missing; write {name}=VALUE")
            value = [waiting.pop(0)]
        edits[path.strip()] = (_bare("=".join(value)), f"--{one_line(path)}")
    return edits, others


def _bare(value: str) -> str:
    """A value without surrounding spaces and quotes; quoted spaces are kept."""
    stripped = value.strip()
    if len(stripped) > 1 and stripped[0] == stripped[-1] and stripped[0] in "\"'":
        return stripped[1:-1]
    return stripped or value
