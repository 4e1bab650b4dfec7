"""Short forms of a config written out: `shared_names` and ``name[1-3]``."""

from __future__ import annotations

import re
from typing import Any

from hvdrec.config.config import Config, is_within
from hvdrec.config.labels import add_made_labels
from hvdrec.config.protos import dataset_pb2, feature_config_pb2, train_pb2
from hvdrec.errors import ConfigError

_RANGE = re.compile(r"(.*[^\[\]])\[(\d{1,9})-(\d{1,9})\]")
_MOST_NAMES = 100_000
_DATA = dataset_pb2.DatasetConfig


def feature_list(proto: Any) -> Any:
    """The features in force: `feature_configs` where there are any, else `feature_config.features`."""
    return proto.feature_configs if proto.feature_configs else proto.feature_config.features


def feature_list_path(proto: Any) -> str:
    """The field path of `feature_list`."""
    return "feature_configs" if proto.feature_configs else "feature_config.features"


def feature_name(feature: Any) -> str:
    """The name of a feature: `feature_name`, else its first input; empty where it has neither."""
    return feature.feature_name or (feature.input_names[0] if feature.input_names else "")


def expand_names(name: str, where: str) -> list[str]:
    """``f[1-3]`` -> f1, f2, f3; any other name as it is.

    Args:
        name: The name.
        where: Its place, for messages.

    Raises:
        ConfigError: The range is empty or very long.
    """
    found = _RANGE.fullmatch(name)
    if found is None:
        return [name]
    first, last = int(found[2]), int(found[3])
    if not 0 <= last - first < _MOST_NAMES:
        size = "is empty" if last < first else f"has more than {_MOST_NAMES} names"
        raise ConfigError(f"{where}: the range in {name!r} {size}")
    return [f"{found[1]}{i}" for i in range(first, last + 1)]


def expand(config: Config) -> None:
    """Writes out ranges and `shared_names`, in place; doing it twice changes nothing more.

    Ranges count in `feature_groups.feature_names`, and with `data_config.auto_expand_input_fields`
    in `input_fields.input_name` and `shared_names`. A feature with `shared_names` is followed, after
    all others, by one copy for each name. Fields of `CriteoInput` get its types. The labels of
    `extra_label_func` come behind the others. `sync_replicas` is cleared where a `train_distribute` is
    chosen, as EasyRec does.

    Raises:
        ConfigError: A range is empty or very long.
    """
    proto = config.proto
    if proto.data_config.auto_expand_input_fields:
        _expand_input_fields(config)
    if proto.data_config.input_type == _DATA.CriteoInput:
        _type_criteo_fields(proto.data_config)
    add_made_labels(proto.data_config)
    _expand_shared_names(config)
    _expand_groups(config)
    if proto.train_config.train_distribute != train_pb2.NoStrategy and proto.train_config.sync_replicas:
        proto.train_config.sync_replicas = False


def _type_criteo_fields(data_config: Any) -> None:
    """Gives fields the types that Criteo's binary files have, whatever is declared, as EasyRec does."""
    for field in data_config.input_fields:
        if re.fullmatch(r"f\d+", field.input_name):
            field.input_type = _DATA.FLOAT
        elif field.input_name == "label" or re.fullmatch(r"c\d+", field.input_name):
            field.input_type = _DATA.INT32


def _expand_input_fields(config: Config) -> None:
    path = "data_config.input_fields"
    fields = config.proto.data_config.input_fields
    names = [
        expand_names(f.input_name, config.where(f"{path}[{i}].input_name")) for i, f in enumerate(fields)
    ]
    if all(len(n) == 1 for n in names):
        return
    expanded, sources = [], []
    for i, field in enumerate(fields):
        for name in names[i]:
            copy = type(field)()
            copy.CopyFrom(field)
            copy.input_name = name
            expanded.append(copy)
            sources.append(i)
    del fields[:]
    fields.extend(expanded)
    _move_origins(config, path, sources)


def _expand_shared_names(config: Config) -> None:
    proto = config.proto
    features, path = feature_list(proto), feature_list_path(proto)
    sources = list(range(len(features)))
    for i in range(len(features)):
        feature = features[i]
        shared = list(feature.shared_names)
        if not shared:
            continue
        if proto.data_config.auto_expand_input_fields:
            where = config.where(f"{path}[{i}].shared_names")
            shared = [name for written in shared for name in expand_names(written, where)]
        feature.ClearField("shared_names")
        for name in shared:
            copy = feature_config_pb2.FeatureConfig()
            copy.CopyFrom(feature)
            copy.ClearField("feature_name")
            del copy.input_names[:]
            copy.input_names.append(name)
            features.append(copy)
            sources.append(i)
    if len(sources) > len(set(sources)):
        _move_origins(config, path, sources)


def _expand_groups(config: Config) -> None:
    for g, group in enumerate(config.proto.model_config.feature_groups):
        path = f"model_config.feature_groups[{g}].feature_names"
        names = [expand_names(n, config.where(f"{path}[{i}]")) for i, n in enumerate(group.feature_names)]
        if all(len(n) == 1 for n in names):
            continue
        group.feature_names[:] = [name for expanded in names for name in expanded]
        _move_origins(config, path, [i for i, expanded in enumerate(names) for _ in expanded])


def _move_origins(config: Config, path: str, sources: list[int]) -> None:
    """Gives each element of a changed list the origins of the element it was made from.

    Args:
        config: Whose origins.
        path: Of the list.
        sources: For each element its index before.
    """
    before: dict[int, dict[str, int | str]] = {}
    for known in [p for p in config.origins if is_within(p, path) and p != path]:
        index, _, rest = known[len(path) + 1 :].partition("]")
        before.setdefault(int(index), {})[rest] = config.origins.pop(known)
    for i, source in enumerate(sources):
        for rest, origin in before.get(source, {}).items():
            config.origins[f"{path}[{i}]{rest}"] = origin
