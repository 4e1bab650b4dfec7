"""Reads input fields and features from an fg.json, the config file of EasyRec's offline feature generation.

Feature generation has already been done; `RTPInput` reads its output. Features are converted as EasyRec's
converter does it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from hvdrec.config.config import Config
from hvdrec.config.json_source import parse
from hvdrec.config.protos import dataset_pb2, feature_config_pb2
from hvdrec.errors import ConfigError, UserError
from hvdrec.storage import read_text

_FIELD = dataset_pb2.DatasetConfig.Field
_TYPES = dataset_pb2.DatasetConfig
_FEATURE = feature_config_pb2.FeatureConfig
_PATH = "fg_json_path"
#: Marks a path if its features are already in the config.
_LOADED = "!"
#: Between the values of a feature, and between a value and its weight.
_VALUES, _WEIGHTS = "\x03", "\x05"
_EMBEDDING_DIM = 16
_WORDS_DIVIDED = ("common_word_divided", "diff_word_divided")

_Json = Mapping[str, Any]


def load_fg_json(config: Config) -> None:
    """Adds the input fields and features of `fg_json_path`, if set, to a config.

    They replace `data_config.input_fields` and `feature_configs`, and are appended to
    `feature_config.features`. The path is then marked with a ``!``, and a marked path is skipped: the config
    that a run writes is therefore self-contained.

    Raises:
        ConfigError: The file can't be read, or contains something unsupported.
    """
    proto = config.proto
    path = proto.fg_json_path
    if not path or path.startswith(_LOADED):
        return
    where = config.where(_PATH)
    made = _Converter(_read(path, where), where, path)
    fields = [_label(name) for name in proto.data_config.label_fields]
    config.changed("data_config.input_fields", path)
    config.changed("feature_configs", path)
    del proto.data_config.input_fields[:], proto.feature_configs[:]
    proto.data_config.input_fields.extend([*fields, *made.fields])
    before = len(proto.feature_config.features)
    proto.feature_config.features.extend(made.features)
    for i in range(before, before + len(made.features)):
        config.changed(f"feature_config.features[{i}]", path)
    proto.fg_json_path = _LOADED + path


def _read(path: str, where: str) -> _Json:
    try:
        content = parse(read_text(path))
    except json.JSONDecodeError as error:
        raise ConfigError(f"{where}: {path}:{error.lineno}:{error.colno}: {error.msg}") from None
    except (OSError, ValueError, RecursionError, UserError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(f"{where}: {path}: can't be read: {reason}") from None
    if not isinstance(content, dict) or not isinstance(content.get("features"), list):
        raise ConfigError(f'{where}: {path}: expected {{"features": [...]}}')
    return content


def _label(name: str) -> Any:
    return _FIELD(input_name=name, input_type=_TYPES.INT32, default_val="0")


class _Converter:
    """Builds the messages.

    Attributes:
        fields: `input_fields`, without labels.
        features: `FeatureConfig`s.
    """

    def __init__(self, content: _Json, where: str, path: str) -> None:
        self.fields: list[Any] = []
        self.features: list[Any] = []
        self._where = f"{where}: {path}"
        self._dim = self._number(content, "embedding_dim", _EMBEDDING_DIM)
        for feature in content["features"]:
            if not isinstance(feature, dict):
                raise self._error(f"features: expected objects, found {json.dumps(feature)}")
            sequence = feature.get("sequence_name")
            if "feature_name" in feature:
                self._add(feature, self._text(feature, "feature_name"), in_sequence=False)
            elif isinstance(sequence, str) and isinstance(feature.get("features"), list):
                for part in feature["features"]:
                    self._add(part, f"{sequence}_{self._text(part, 'feature_name')}", in_sequence=True)
            else:
                raise self._error(f"a feature has no feature_name: {json.dumps(feature)[:100]}")

    def _error(self, text: str, name: str = "") -> ConfigError:
        return ConfigError(f"{self._where}: {f'feature {name!r}: ' if name else ''}{text}")

    def _text(self, feature: _Json, key: str) -> str:
        value = feature.get(key) if isinstance(feature, dict) else None
        if not isinstance(value, str) or not value:
            raise self._error(f"{key} must be a string in {json.dumps(feature)[:100]}")
        return value

    def _number(self, feature: _Json, key: str, default: int) -> int:
        value = feature.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 1 << 63:
            raise self._error(f"{key} must be a whole number, is {json.dumps(value)}")
        return value

    def _add(self, feature: _Json, name: str, in_sequence: bool) -> None:
        kind = self._text(feature, "feature_type")
        field = _FIELD(input_name=name)
        config = _FEATURE(input_names=[name], separator=_VALUES)
        if in_sequence:
            self._sequence(kind, feature, field, config)
        elif kind in _KINDS:
            _KINDS[kind](self, feature, field, config)
        else:
            raise self._error(f"feature_type {kind!r} is not supported; use one of {', '.join(_KINDS)}", name)
        if "shared_name" in feature:
            config.embedding_name = self._text(feature, "shared_name")
        self.fields.append(field)
        self.features.append(config)
        if "extra_combo_info" in feature:
            self._extra_combo(name, feature["extra_combo_info"])

    def _width(self, feature: _Json) -> int:
        return self._number(feature, "embedding_dimension", self._number(feature, "embedding_dim", self._dim))

    def _embedded(self, feature: _Json, field: Any, config: Any, kind: Any) -> None:
        """A feature with an embedding."""
        config.feature_type = kind
        config.embedding_dim = self._width(feature)
        config.combiner = str(feature.get("combiner", "mean"))
        self._buckets(feature, field, config)

    def _buckets(self, feature: _Json, field: Any, config: Any) -> None:
        """Sets how values are mapped to ids."""
        name = field.input_name
        for key in ("filter_freq", "steps_to_live"):
            given = feature.get(key)
            # EasyRec's converter takes a negative number for none.
            if given is not None and not (isinstance(given, int) and given < 0):
                setattr(config.ev_params, key, self._number(feature, key, 0))
        if "max_partitions" in feature:
            config.max_partitions = self._number(feature, "max_partitions", 1)
        if "hash_bucket_size" in feature:
            config.hash_bucket_size = self._number(feature, "hash_bucket_size", 0)
        elif "vocab_file" in feature:
            config.vocab_file = self._text(feature, "vocab_file")
        elif "vocab_list" in feature:
            config.vocab_list.extend(str(word) for word in feature["vocab_list"])
        elif "num_buckets" in feature:
            config.num_buckets = self._number(feature, "num_buckets", 0)
            field.default_val = str(feature.get("default_value", "0"))
        else:
            raise self._error("set one of hash_bucket_size, vocab_file, vocab_list or num_buckets", name)

    def _id(self, feature: _Json, field: Any, config: Any) -> None:
        several = bool(feature.get("is_multi", False))
        self._embedded(feature, field, config, _FEATURE.TagFeature if several else _FEATURE.IdFeature)
        if several and feature.get("kv_separator"):
            config.kv_separator = self._text(feature, "kv_separator")

    def _raw(self, feature: _Json, field: Any, config: Any) -> None:
        if "bucketize_boundaries" in feature:
            # Feature generation has replaced the values by bucket numbers.
            several = bool(feature.get("is_multi", False))
            config.feature_type = _FEATURE.TagFeature if several else _FEATURE.IdFeature
            field.input_type = _TYPES.STRING if several else _TYPES.INT32
            config.num_buckets = len(str(feature["bucketize_boundaries"]).split(",")) + 1
            config.embedding_dim = self._width(feature)
            return
        config.feature_type = _FEATURE.RawFeature
        field.default_val = str(feature.get("default_value", "0.0"))
        width = self._number(feature, "value_dimension", 1)
        field.input_type = _TYPES.STRING if width > 1 else _TYPES.DOUBLE
        if width > 1:
            config.raw_input_dim = width
        if "boundaries" in feature:
            self._boundaries(feature, field, config)
            config.embedding_dim = self._width(feature)

    def _boundaries(self, feature: _Json, field: Any, config: Any) -> None:
        found = feature["boundaries"]
        if not isinstance(found, list) or not all(isinstance(x, int | float) for x in found):
            raise self._error(f"boundaries must be numbers, is {json.dumps(found)}", field.input_name)
        config.boundaries.extend(found)

    def _match(self, feature: _Json, field: Any, config: Any) -> None:
        """Lookup features; feature generation has already done the lookup in the map."""
        if not feature.get("needDiscrete", True):
            several = feature.get("matchType") == "multihit" or feature.get("is_multi", False)
            self._raw({**feature, "is_multi": several}, field, config)
            return
        self._embedded(feature, field, config, _FEATURE.TagFeature)
        if feature.get("needWeighting", False):
            config.kv_separator = _WEIGHTS

    def _combo(self, feature: _Json, field: Any, config: Any) -> None:
        self._embedded(feature, field, config, _FEATURE.TagFeature)

    def _overlap(self, feature: _Json, field: Any, config: Any) -> None:
        divided = feature.get("method") in _WORDS_DIVIDED
        self._embedded(feature, field, config, _FEATURE.TagFeature if divided else _FEATURE.IdFeature)

    def _sequence(self, kind: str, feature: _Json, field: Any, config: Any) -> None:
        config.feature_type = _FEATURE.SequenceFeature
        config.embedding_dim = self._width(feature)
        if kind != "raw_feature":
            config.sub_feature_type = _FEATURE.IdFeature
            config.combiner = str(feature.get("combiner", "mean"))
            self._buckets(feature, field, config)
            return
        config.sub_feature_type = _FEATURE.RawFeature
        field.default_val = str(feature.get("default_value", "0.0"))
        if "boundaries" in feature:
            self._boundaries(feature, field, config)
        width = self._number(feature, "value_dimension", 1)
        if width > 1:
            config.raw_input_dim = width

    def _extra_combo(self, name: str, info: Any) -> None:
        """A cross with other features, computed during training."""
        others = info.get("feature_names") if isinstance(info, dict) else None
        if not isinstance(others, list) or not others or "hash_bucket_size" not in info:
            raise self._error("extra_combo_info needs feature_names and hash_bucket_size", name)
        inputs = [name, *map(str, others)]
        config = _FEATURE(feature_name=str(info.get("final_feature_name", f"combo__{'_'.join(inputs)}")))
        config.input_names.extend(inputs)
        self._embedded(info, _FIELD(input_name=name), config, _FEATURE.ComboFeature)
        self.features.append(config)


_KINDS: Mapping[str, Callable[[_Converter, _Json, Any, Any], None]] = {
    "id_feature": _Converter._id,
    "raw_feature": _Converter._raw,
    "lookup_feature": _Converter._match,
    "match_feature": _Converter._match,
    "combo_feature": _Converter._combo,
    "overlap_feature": _Converter._overlap,
}
