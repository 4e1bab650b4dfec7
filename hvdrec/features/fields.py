"""The input fields a plan needs."""

from __future__ import annotations

from typing import Any

from hvdrec.config.protos import dataset_pb2
from hvdrec.errors import ConfigError
from hvdrec.features.column import feature_name
from hvdrec.features.plan import Field

_FIELD_TYPES = dataset_pb2.DatasetConfig.FieldType


class FieldSet:
    """Numbers the input fields in the order they're first asked for."""

    def __init__(self, data_config: Any) -> None:
        """Takes the declared `input_fields`."""
        self._declared = {f.input_name: f for f in data_config.input_fields}
        self._used: dict[str, Field] = {}

    def index(self, name: str, asked_by: str) -> int:
        """The number of the field `name`.

        Raises:
            ConfigError: It isn't declared.
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
        """The fields asked for so far, by number."""
        return tuple(self._used.values())


def class_fields(proto: Any) -> tuple[str, ...]:
    """What tells the classes of a metric learning model apart: a label field, and a session's if any.

    They are packed as ids, as only their equality means anything; empty for other models.
    """
    if proto.model_config.WhichOneof("model") != "metric_learning":
        return ()
    session = proto.model_config.metric_learning.session_id
    labels = [name for name in proto.data_config.label_fields if name != session]
    return (*labels[:1], session) if session else tuple(labels[:1])


def id_names(proto: Any) -> dict[str, str]:
    """Session and user ids the losses and metrics need: name as they ask for it -> input field.

    Losses name a feature (its first input is meant) or a field; metrics name a field.
    """
    configs = list(proto.feature_configs) or list(proto.feature_config.features)
    inputs = {feature_name(c): c.input_names[0] for c in configs if c.input_names}
    found: dict[str, str] = {}
    for loss in proto.model_config.losses:
        kind = loss.WhichOneof("loss_param")
        session = getattr(getattr(loss, kind), "session_name", "") if kind else ""
        if session:
            found[session] = inputs.get(session, session)
    for metrics in proto.eval_config.metrics_set:
        kind = metrics.WhichOneof("metric")
        for attribute in ("uid_field", "session_id_field"):
            name = getattr(getattr(metrics, kind), attribute, "") if kind else ""
            if name:
                found[name] = inputs.get(name, name)
    return found
