"""Takes widths, boundaries and steps from a table: ``python -m hvdrec.tools.add_feature_info_to_config``."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from hvdrec import storage
from hvdrec.commands.main import main
from hvdrec.config.config import Config
from hvdrec.config.expand import expand, feature_list, feature_name
from hvdrec.config.flags.parser import FlagParser
from hvdrec.config.reader import load
from hvdrec.errors import ConfigError, DataError
from hvdrec.tools.config_files import write_config

_FEATURE, _INFO, _MESSAGE = "feature", "feature_info", "message"
_DROP = "DROP IT"
#: Rows of the table that don't belong to a feature, and what each sets.
_NUM_STEPS, _DECAY_STEPS = ("__NUM_STEPS__", "num_steps"), ("__DECAY_STEPS__", "decay_steps")


@dataclasses.dataclass(frozen=True)
class FeatureInfoFlags:
    """Flags: the config to read, the config to write, and the table."""

    template_config_path: str
    output_config_path: str
    config_table: str
    verbose: bool = False
    ignored: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Info:
    """A row of the table.

    Attributes:
        where: Its location, for messages.
        values: `feature_info`, by name.
        dropped: Whether its feature is removed from all groups.
    """

    where: str
    values: Mapping[str, Any]
    dropped: bool

    def put(self, name: str, message: Any, field: str, kind: Callable[[Any], Any]) -> None:
        """Sets a field to a value.

        Args:
            name: The value's name.
            message: The message of the field.
            field: The field, of numbers.
            kind: Converts the value; raises ValueError or TypeError.

        Raises:
            DataError: It is missing, or has the wrong type or size.
        """
        if name not in self.values:
            raise DataError(f"{self.where}: feature_info has no {name}")
        try:
            found = kind(self.values[name])
            if isinstance(found, list):
                getattr(message, field)[:] = found
            else:
                setattr(message, field, found)
        except (TypeError, ValueError, OverflowError):
            raise DataError(f"{self.where}: {name} can't be {self.values[name]!r}") from None


def parse(arguments: Sequence[str]) -> FeatureInfoFlags:
    """The flags.

    Raises:
        ConfigError: A flag is unknown, missing or invalid.
    """
    parser = FlagParser(
        "hvdrec.tools.add_feature_info_to_config",
        "Sets the widths, boundaries and hash bucket sizes of features from a table.",
    )
    parser.add_argument("--template_config_path", metavar="FILE", help="the config to read")
    parser.add_argument("--output_config_path", metavar="FILE", help="the config to write")
    parser.add_argument(
        "--config_table", metavar="FILE", help="CSV with the columns feature, feature_info (JSON) and message"
    )
    needed = ["template_config_path", "output_config_path", "config_table"]
    return FeatureInfoFlags(**parser.parse(arguments, needed=needed))


def run(flags: FeatureInfoFlags) -> None:
    """Writes the config, changed as the table says."""
    config = load(flags.template_config_path)
    expand(config)
    infos = read_table(flags.config_table)
    unknown = infos.keys() - {_NUM_STEPS[0], _DECAY_STEPS[0]}
    for feature in feature_list(config.proto):
        name = feature.input_names[0] if feature.input_names else ""
        unknown -= {name}
        if name in infos and not infos[name].dropped:
            _change(feature, infos[name])
    for name in sorted(unknown):
        print(f"{name}: no feature has this input, ignored")
    _set_steps(config.proto.train_config, infos)
    _drop(config, _named(config, {name for name, info in infos.items() if info.dropped}))
    write_config(config.proto, flags.output_config_path, "--output_config_path")


def read_table(path: str) -> dict[str, Info]:
    """The rows by feature.

    Raises:
        DataError: The file can't be read, or a row is invalid.
    """
    try:
        rows = csv.DictReader(io.StringIO(storage.read_text(path)))
        named = {_FEATURE, _INFO} <= set(rows.fieldnames or ())
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"--config_table: {path} can't be read: {error}") from error
    if not named:
        raise DataError(f"{path}, row 1: needs the columns {_FEATURE}, {_INFO} and {_MESSAGE}")
    found: dict[str, Info] = {}
    for row in rows:
        where = f"{path}, row {rows.line_num}"
        try:
            values = json.loads(row[_INFO] or "{}")
        except (ValueError, RecursionError) as error:
            raise DataError(f"{where}: {_INFO} is not valid JSON: {error}") from None
        if not isinstance(values, dict):
            raise DataError(f"{where}: {_INFO} must be a JSON object, is {row[_INFO]}")
        found[row[_FEATURE]] = Info(where, values, _DROP in (row.get(_MESSAGE) or ""))
    return found


def _whole(value: Any) -> int:
    if float(value) != int(value):
        raise ValueError
    return int(value)


def _finite(values: Any) -> list[float]:
    numbers = [float(value) for value in values]
    if not all(map(math.isfinite, numbers)):
        raise ValueError
    return numbers


def _change(feature: Any, info: Info) -> None:
    info.put("embedding_dim", feature, "embedding_dim", _whole)
    if "boundary" in info.values:
        info.put("boundary", feature, "boundaries", _finite)
    elif "hash_bucket_size" in info.values:
        info.put("hash_bucket_size", feature, "hash_bucket_size", _whole)
    print(f"{feature.input_names[0]}: changed")


def _set_steps(train: Any, infos: Mapping[str, Info]) -> None:
    row, name = _NUM_STEPS
    if row in infos:
        infos[row].put(name, train, name, _whole)
    row, name = _DECAY_STEPS
    for each in train.optimizer_config if row in infos else ():
        rate = getattr(each, each.WhichOneof("optimizer") or "adam_optimizer").learning_rate
        schedule = getattr(rate, rate.WhichOneof("learning_rate") or "constant_learning_rate")
        if name in schedule.DESCRIPTOR.fields_by_name:
            infos[row].put(name, schedule, name, _whole)


def _named(config: Config, rows: set[str]) -> set[str]:
    """The features that rows name: by their names, or if none has that name, by their first inputs."""
    features = feature_list(config.proto)
    by_input = rows - {feature_name(feature) for feature in features}
    return rows | {feature_name(f) for f in features if {*f.input_names[:1]} & by_input}


def _drop(config: Config, names: set[str]) -> None:
    """Removes features from all groups.

    Raises:
        ConfigError: A group has no features left.
    """
    for g, group in enumerate(config.proto.model_config.feature_groups):
        left = [name for name in group.feature_names if name not in names]
        for name in sorted(set(group.feature_names) & names):
            print(f"{name}: dropped from group {group.group_name}")
        if group.feature_names and not left:
            where = config.where(f"model_config.feature_groups[{g}]")
            raise ConfigError(f"{where}: the table drops all features of group {group.group_name!r}")
        group.feature_names[:] = left


if __name__ == "__main__":
    sys.exit(main(parse, run, sys.argv[1:]))
