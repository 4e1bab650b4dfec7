"""The inputs of an exported model: one tensor per input field, or one with all of them joined."""

from __future__ import annotations

import dataclasses
import keyword
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import tensorflow as tf

from hvdrec.config.protos import dataset_pb2, feature_config_pb2
from hvdrec.config.support import TEXT_INPUTS
from hvdrec.errors import ConfigError
from hvdrec.features.fields import id_names
from hvdrec.features.plan import FeaturePlan

_TYPES = {
    "STRING": tf.string,
    "INT32": tf.int32,
    "INT64": tf.int64,
    "FLOAT": tf.float32,
    "DOUBLE": tf.float64,
    "BOOL": tf.bool,
}
_NODE_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")

#: The name of the single input of `multi_placeholder: false`.
JOINED = "features"


@dataclasses.dataclass(frozen=True)
class Input:
    """An input of the serving signature.

    Attributes:
        name: Its key in the signature, the field's name.
        node: Its placeholder in the graph.
        argument: Its name where TensorFlow allows only identifiers.
        dtype: Its type.
        several: Whether each row has several values ([B, K]; empty text or -1 for none).
    """

    name: str
    node: str
    argument: str
    dtype: tf.DType
    several: bool = False

    @property
    def spec(self) -> tf.TensorSpec:
        """Its shape and type."""
        return tf.TensorSpec([None, None] if self.several else [None], self.dtype, self.argument)


def request_inputs(proto: Any, plan: FeaturePlan, only: Collection[str] | None = None) -> list[Input]:
    """The inputs of a model as set by `export_config`, in the order of the input fields.

    Args:
        proto: The `EasyRecConfig` message.
        plan: The model's feature plan.
        only: The fields of one part of the model; None for all.

    Raises:
        ConfigError: `multi_value_fields` names a field that can't have several values.
    """
    if not proto.export_config.multi_placeholder:
        return [Input(JOINED, JOINED, JOINED, tf.string)]
    several = _several(proto)
    _check_several(plan, several)
    names = [f.input_name for f in proto.data_config.input_fields]
    lower = [name.casefold() for name in names]
    inputs, taken = [], set[str]()
    for name in request_fields(proto, only):
        number = names.index(name)
        kind = dataset_pb2.DatasetConfig.FieldType.Name(proto.data_config.input_fields[number].input_type)
        plain = _NODE_NAME.fullmatch(name) is not None
        node = name if plain and proto.export_config.placeholder_named_by_input else f"input_{number}"
        argument = name if plain and _is_argument(name, taken) else _free(f"input_{number}", lower)
        taken.add(argument.casefold())
        dtype = several.get(name) or _TYPES[kind]
        inputs.append(Input(name, node, argument, dtype, name in several))
    return inputs


def request_fields(proto: Any, only: Collection[str] | None = None) -> list[str]:
    """The fields of a request: those of features and metrics, or all with `filter_inputs: false`.

    Labels and the sample weight are never included.

    Args:
        proto: The `EasyRecConfig` message.
        only: The fields of one part of the model, for a request to it.
    """
    data = proto.data_config
    names = [f.input_name for f in data.input_fields]
    if only is not None:
        return [name for name in names if name in only]
    if proto.export_config.filter_inputs:
        wanted = {name for config in _features(proto) for name in config.input_names}
        wanted |= set(id_names(proto).values())
    else:
        wanted = set(names) - set(data.label_fields)
    return [name for name in names if name in wanted and name != data.sample_weight]


def split_joined(features: tf.Tensor, fields: Sequence[str], separator: str) -> Mapping[str, tf.Tensor]:
    """Splits rows into columns: string [B] -> string [B] for each field."""
    cells = tf.strings.split(features, separator)
    wrong = f"{JOINED} must have {len(fields)} columns separated by {separator!r}: {', '.join(fields)}"
    check = tf.debugging.assert_equal(cells.row_lengths(), tf.constant(len(fields), tf.int64), wrong)
    with tf.control_dependencies([] if check is None else [check]):
        columns = tf.reshape(cells.flat_values, [-1, len(fields)])
    return dict(zip(fields, tf.unstack(columns, axis=1), strict=True))


def _features(proto: Any) -> Sequence[Any]:
    return list(proto.feature_configs) or list(proto.feature_config.features)


def _is_argument(name: str, taken: Collection[str]) -> bool:
    """Whether a field's name can be an argument name.

    Python keywords can't, TensorFlow uses `self`, and TensorFlow ignores case in names.

    Args:
        name: The field.
        taken: The earlier arguments, in lower case.
    """
    return not keyword.iskeyword(name) and name != "self" and name.casefold() not in taken


def _free(name: str, taken: Sequence[str]) -> str:
    return _free(f"{name}_", taken) if name in taken else name


def _several(proto: Any) -> dict[str, tf.DType | None]:
    """Fields with several values per row, with their types; None for the field's type."""
    natural: dict[str, tf.DType | None] = {}
    for config in _features(proto):
        if config.feature_type == feature_config_pb2.FeatureConfig.TagFeature or _is_history(config):
            text = config.hash_bucket_size or config.vocab_list or config.vocab_file or config.seq_multi_sep
            natural[config.input_names[0]] = tf.string if text else tf.int64
            natural.update(dict.fromkeys(config.input_names[1:], tf.float32))
        elif config.feature_type == feature_config_pb2.FeatureConfig.RawFeature and config.raw_input_dim > 1:
            natural[config.input_names[0]] = tf.float32
    export = proto.export_config
    if export.auto_multi_value:
        return natural
    named = {name: natural.get(name) for name in export.multi_value_fields.input_name}
    return {**_lists(proto, natural), **named}


def _is_history(config: Any) -> bool:
    """Whether a feature is a sequence of ids. Of a list of numbers, none could mean that a row has fewer."""
    kinds = feature_config_pb2.FeatureConfig
    return config.feature_type == kinds.SequenceFeature and config.sub_feature_type == kinds.IdFeature


def _lists(proto: Any, natural: Mapping[str, tf.DType | None]) -> dict[str, tf.DType | None]:
    """Fields with several values that can only be lists: those declared as numbers, and their partners.

    A text can contain several values, but a number can't, so only files with lists have such fields.
    """
    kinds = {f.input_name: f.input_type for f in proto.data_config.input_fields}
    text, written = dataset_pb2.DatasetConfig.STRING, _is_text(proto)
    found: dict[str, tf.DType | None] = {}
    for config in () if written else _features(proto):
        names = [name for name in config.input_names[:2] if name in natural]
        if config.feature_type == feature_config_pb2.FeatureConfig.RawFeature:
            found.update({name: natural[name] for name in names[:1] if kinds[name] != text})
        elif any(kinds[name] != text for name in names):
            found.update({name: None if kinds[name] != text else natural[name] for name in names[:1]})
            found.update({name: natural[name] for name in names[1:]})
    return found


def _is_text(proto: Any) -> bool:
    field = proto.data_config.DESCRIPTOR.fields_by_name["input_type"]
    return field.enum_type.values_by_number[proto.data_config.input_type].name in TEXT_INPUTS


def _check_several(plan: FeaturePlan, several: Mapping[str, Any]) -> None:
    """Refuses several values for features that accept one."""
    for spec in plan.packer.features:
        vector = spec.dim > 1 and not spec.pool and not spec.type.endswith("sequence")
        if spec.type in ("tag", "sequence") or vector:
            continue
        for index in spec.inputs:
            if plan.fields[index].name in several:
                raise ConfigError(
                    f"export_config.multi_value_fields: {plan.fields[index].name!r} is read by a feature "
                    "with one value per row, or a sequence of numbers; only inputs of a TagFeature, of a "
                    "SequenceFeature of ids, or of a RawFeature with raw_input_dim above 1 can have several"
                )
