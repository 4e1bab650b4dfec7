"""The input fields a plan needs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from hvdrec.config.models.distillation import heads_of_model
from hvdrec.config.models.heads import HeadConfig, LabelForm
from hvdrec.config.models.registry import spec_of
from hvdrec.config.protos import dataset_pb2
from hvdrec.errors import ConfigError
from hvdrec.features.column import feature_name
from hvdrec.features.plan import Field

_FIELD_TYPES = dataset_pb2.DatasetConfig.FieldType


class FieldSet:
    """Numbers the input fields in the order of first use."""

    def __init__(self, data_config: Any) -> None:
        """Takes the declared `input_fields`."""
        self._declared = {f.input_name: f for f in data_config.input_fields}
        for function in data_config.extra_label_func:
            made = dataset_pb2.DatasetConfig.Field(
                input_name=function.label_name, input_type=_FIELD_TYPES.DOUBLE
            )
            self._declared.setdefault(function.label_name, made)
        self._used: dict[str, Field] = {}

    def index(self, name: str, asked_by: str) -> int:
        """The number of the field `name`.

        Raises:
            ConfigError: The field isn't declared.
        """
        if name not in self._used:
            if name not in self._declared:
                raise ConfigError(f"{asked_by}: no input field is named {name!r}")
            declared = self._declared[name]
            kind = _FIELD_TYPES.Name(declared.input_type)
            self._used[name] = Field(name, kind, declared.default_val)
        return list(self._used).index(name)

    @property
    def used(self) -> tuple[Field, ...]:
        """The fields used so far, by number."""
        return tuple(self._used.values())


def heads_of(proto: Any) -> tuple[HeadConfig, ...]:
    """The model's outputs, which determine the required labels and ids.

    Raises:
        ConfigError: The model class is unknown.
    """
    return heads_of_model(spec_of(proto.model_config), proto)


def class_fields(proto: Any) -> tuple[str, ...]:
    """The label fields that are packed as ids, because only their equality is meaningful."""
    return tuple(dict.fromkeys(name for head in heads_of(proto) for name in head.id_labels))


def label_classes(proto: Any, label: str) -> int:
    """The number of classes of a label; 0 if it can be any number.

    Raises:
        ConfigError: Two heads have different numbers.
    """
    counts = {
        head.num_class
        for head in heads_of(proto)
        if head.label == label and head.label_form is LabelForm.CLASS
    }
    if len(counts) > 1:
        raise ConfigError(
            f"model_config: label {label!r} has {' and '.join(map(str, sorted(counts)))} classes (num_class)"
        )
    return counts.pop() if counts else 0


def id_names(proto: Any) -> dict[str, str]:
    """The session and user ids that the heads need: requested name -> input field.

    Losses and task spaces name a feature (for its first input) or a field; metrics name a field.
    """
    configs = list(proto.feature_configs) or list(proto.feature_config.features)
    inputs = {feature_name(c): c.input_names[0] for c in configs if c.input_names}
    return {name: inputs.get(name, name) for head in heads_of(proto) for name in _ids(head)}


def _ids(head: HeadConfig) -> Iterator[str]:
    for config in head.all_losses:
        kind = config.loss.WhichOneof("loss_param")
        yield from _named(getattr(config.loss, kind) if kind else None, "session_name")
    for metrics in head.metrics:
        kind = metrics.WhichOneof("metric")
        yield from _named(getattr(metrics, kind) if kind else None, "uid_field", "session_id_field")
    for space in (head.task_space, *(config.task_space for config in head.distillations)):
        if space is not None and space.name:
            yield space.name
    yield from dict.fromkeys(name for name in (head.item, head.counted) if name)


def _named(message: Any, *attributes: str) -> Iterator[str]:
    yield from (name for each in attributes if (name := getattr(message, each, "")))
