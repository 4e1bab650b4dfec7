"""Knowledge distillation (`kd`) in configs: a head learns from a teacher's predictions for the same rows."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from hvdrec.config.losses import DISTILLATION_FORMS, DISTILLED_CLASSES, ERROR_LOSSES
from hvdrec.config.losses import SPECS as LOSSES
from hvdrec.config.models.check import PATH, ModelCheck, check_id_column
from hvdrec.config.models.heads import KINDS, DistillationConfig, HeadConfig, TaskSpace
from hvdrec.config.models.spec import ModelSpec
from hvdrec.config.names import hint
from hvdrec.config.protos import loss_pb2
from hvdrec.config.ranges import STRENGTH_ABOVE_0, wrong

_WHOLE = ("logits", "probs")


def heads_of_model(spec: ModelSpec, proto: Any) -> tuple[HeadConfig, ...]:
    """A model's outputs, each with the elements of `kd` that apply to its predictions.

    Args:
        spec: The model class.
        proto: The whole config; it may be invalid.
    """
    heads = spec.heads(proto)
    if not spec.distils:
        return heads
    kds = proto.model_config.kd
    return tuple(dataclasses.replace(head, distillations=_distillations(kds, head)) for head in heads)


def _distillations(kds: Sequence[Any], head: HeadConfig) -> tuple[DistillationConfig, ...]:
    names = _predictions(head)
    return tuple(
        _distillation(kd, head, names[kd.pred_name], _path(i))
        for i, kd in enumerate(kds)
        if kd.pred_name in names
    )


def _path(number: int) -> str:
    return f"{PATH}.kd[{number}]"


def _predictions(head: HeadConfig) -> dict[str, str]:
    """The predictions of a head that can be distilled: name with suffix -> name in the head."""
    names = KINDS[head.kind].distilled
    if head.kind == "logit":
        errors = {config.kind in ERROR_LOSSES for config in head.losses}
        names = tuple(name for name in names if (name == "y") in errors)
    return {head.named(name): name for name in names}


def _distillation(kd: Any, head: HeadConfig, prediction: str, path: str) -> DistillationConfig:
    loss = loss_pb2.Loss(loss_type=kd.loss_type)
    block = kd.WhichOneof("loss_param")
    if block is not None:
        getattr(loss, block).CopyFrom(getattr(kd, block))
    written = f"kd_loss_{kd.pred_name}_{kd.soft_label_name}".replace("/", "_")
    whole = prediction in _WHOLE and not (prediction == "probs" and KINDS[head.kind].one_probability)
    return DistillationConfig(
        name=kd.loss_name or written,
        loss=loss,
        prediction=prediction,
        label=kd.soft_label_name,
        width=head.num_class if whole else 1,
        prediction_is_logits=bool(kd.pred_is_logits),
        label_is_logits=bool(kd.label_is_logits),
        temperature=float(kd.temperature) or 1.0,
        weight=float(kd.loss_weight),
        task_space=TaskSpace(
            label="",
            name=kd.task_space_indicator_name,
            value=kd.task_space_indicator_value,
            inside=float(kd.in_task_space_weight),
            outside=float(kd.out_task_space_weight),
        )
        if kd.task_space_indicator_name
        else None,
        path=path,
    )


def check_distillations(check: ModelCheck, spec: ModelSpec, heads: Sequence[HeadConfig]) -> None:
    """Checks that each element of `kd` has a prediction, a label as wide, and a fitting loss."""
    if check.model.kd and not spec.distils:
        check.error(
            f"{PATH}.kd", f"{spec.name} does not support knowledge distillation, as in EasyRec; remove kd"
        )
        return
    names = [name for head in heads for name in _predictions(head)]
    if check.model.kd and not names:
        check.error(
            f"{PATH}.kd",
            "the model has no prediction that can be distilled: list-wise matching models compare a row's "
            "user with all items, and use no such label; remove kd, or use a loss of single rows",
        )
        return
    known = {config.path: config for head in heads for config in head.distillations}
    for i, kd in enumerate(check.model.kd):
        path = _path(i)
        if kd.pred_name not in names:
            near = hint(kd.pred_name, names)
            check.error(f"{path}.pred_name", f"no prediction is named {kd.pred_name!r}; {near}")
        labels = list(check.proto.data_config.label_fields)
        if kd.soft_label_name not in labels:
            near = check.report.hint(kd.soft_label_name, labels)
            check.error(
                f"{path}.soft_label_name",
                f"{kd.soft_label_name!r} is not among data_config.label_fields; {near}",
            )
        # 0 means 1, as in EasyRec.
        if kd.temperature > 0 and (problem := wrong(kd.temperature, STRENGTH_ABOVE_0)):
            check.error(f"{path}.temperature", problem)
        _check_task_space(check, kd, path)
        if path in known:
            _check_loss(check, known[path])
            _check_width(check, known[path])
            _warn_of_logits(check, kd, known[path])


def _check_task_space(check: ModelCheck, kd: Any, path: str) -> None:
    if kd.task_space_indicator_name:
        check.need_text_column(kd.task_space_indicator_name, f"{path}.task_space_indicator_name")
        return
    for field in ("in_task_space_weight", "out_task_space_weight", "task_space_indicator_value"):
        if kd.HasField(field):
            check.report.warn(f"{path}.{field}", "has no effect without task_space_indicator_name")


def _check_loss(check: ModelCheck, config: DistillationConfig) -> None:
    path, kind = config.path, config.kind
    if kind not in DISTILLED_CLASSES:
        known = ", ".join(DISTILLED_CLASSES)
        check.error(f"{path}.loss_type", f"{kind} can't be used for distillation; use one of {known}")
        return
    wanted = DISTILLED_CLASSES[kind]
    if wanted and config.width != wanted:
        check.error(
            f"{path}.loss_type",
            f"{kind} needs {wanted} number{'s'[: wanted > 1]} per row, has {config.width}",
        )
    block: str | None = config.loss.WhichOneof("loss_param")
    parameters = LOSSES[kind].param_field if kind in LOSSES else None
    if block is not None and block != parameters:
        what = f"its parameters go into {parameters}" if parameters else "it has no parameters"
        check.error(f"{path}.{block}", f"does not belong to {kind}; {what}")
    elif block is not None:
        name = str(getattr(getattr(config.loss, block), "session_name", ""))
        if name:
            check_id_column(check.report, name, f"{path}.{block}.session_name")


def _warn_of_logits(check: ModelCheck, kd: Any, config: DistillationConfig) -> None:
    if config.kind not in DISTILLATION_FORMS:
        for field in ("temperature", "pred_is_logits", "label_is_logits"):
            if kd.HasField(field):
                check.report.warn(f"{config.path}.{field}", f"has no effect on {config.kind}, as in EasyRec")


def _check_width(check: ModelCheck, config: DistillationConfig) -> None:
    data = check.proto.data_config
    labels = list(data.label_fields)
    if config.label not in labels:
        return
    number = labels.index(config.label)
    found = int(data.label_dim[number]) if number < len(data.label_dim) else 1
    own = LOSSES[config.kind].num_class if config.kind in LOSSES else 1
    wanted = 1 if own > 1 else config.width
    if found != wanted:
        check.error(
            f"{config.path}.soft_label_name",
            f"{config.label!r} has label_dim {found}, but the prediction has "
            f"{wanted} number{'s'[: wanted > 1]} per row",
        )
