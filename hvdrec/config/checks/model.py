"""Checks `model_config`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from hvdrec.config import activations, support
from hvdrec.config.checks.metrics import check_metrics
from hvdrec.config.expand import feature_list, feature_name
from hvdrec.config.losses import ERROR_LOSSES, JRC_STRATEGIES, LIST_WISE, TRANSFORMS, transform_name
from hvdrec.config.losses import SPECS as LOSSES
from hvdrec.config.models.check import GROUPS, ModelCheck, check_id_column
from hvdrec.config.models.distillation import check_distillations, heads_of_model
from hvdrec.config.models.heads import HeadConfig, LossConfig
from hvdrec.config.models.registry import SPECS, TO_COME, classes_with_backbones
from hvdrec.config.models.spec import ModelSpec
from hvdrec.config.names import enum_name, hint, is_message, is_repeated, listed
from hvdrec.config.report import Report

_PATH = "model_config"


def check_model(report: Report) -> None:
    """Checks the model class, its groups and layers, and each head's losses and metrics."""
    proto = report.config.proto
    model = proto.model_config
    groups = _check_groups(report, model)
    spec = SPECS.get(model.model_class)
    if not model.model_class:
        report.error(f"{_PATH}.model_class", f"is missing; use one of {', '.join(SPECS)}")
    elif spec is None:
        _refuse_class(report, model.model_class)
    elif model.WhichOneof("model") != spec.block:
        found = model.WhichOneof("model") or "none"
        report.error(_PATH, f"model_class {model.model_class} needs a block {spec.block} {{}}, found {found}")
    else:
        _check_needed_groups(report, spec, groups)
        if model.HasField("backbone") and not spec.backbone:
            report.error(
                f"{_PATH}.backbone",
                f"{spec.name} has no backbone of blocks; use model_class "
                f"{' or '.join(classes_with_backbones())}",
            )
        block, path = spec.config(model), f"{_PATH}.{spec.block}"
        _check_layers(report, block, path)
        spec.check(ModelCheck(report, model, block, path, groups))
        _warn_of_unused(report, spec, model)
    # Check losses and metrics even if the class is wrong.
    known = spec or ModelSpec()
    heads = heads_of_model(known, proto)
    uncertain = enum_name(model, "loss_weight_strategy") == "Uncertainty"
    kinds = {config.kind for head in heads for config in head.losses}
    if model.HasField("softmax_cross_entropy") and LIST_WISE not in kinds:
        report.error(
            f"{_PATH}.softmax_cross_entropy",
            f"has the options of loss_type: {LIST_WISE}, which this model doesn't have",
        )
    for head in heads:
        _check_losses(report, known, head, uncertain)
        check_metrics(report, known, head)
    if model.losses and model.HasField("loss_type"):
        report.warn(f"{_PATH}.loss_type", "has no effect, as losses is set too")
    if not uncertain:
        _check_weights(report, heads)
    check_distillations(ModelCheck(report, model, model, _PATH, groups), known, heads)
    _check_loss_names(report, heads)


def _warn_of_unused(report: Report, spec: ModelSpec, model: Any) -> None:
    """Warns about groups that the class doesn't read, and about features that nothing names."""
    used = set(spec.group_order(model))
    unused = [(i, g) for i, g in enumerate(model.feature_groups) if g.group_name and g.group_name not in used]
    for i, group in unused:
        report.warn(
            f"{_PATH}.feature_groups[{i}]",
            f"has no effect: this {spec.name} doesn't use a group named {group.group_name!r}"
            + (f"; its groups are {listed(sorted(used))}" if used else ""),
        )
    named = {*_texts(model), *_texts(report.config.proto.eval_config)}
    idle = [name for f in feature_list(report.config.proto) if (name := feature_name(f)) not in named]
    if idle:
        field = "feature_configs" if report.config.proto.feature_configs else "feature_config"
        report.warn(field, f"in no feature group, so without effect: {listed(idle)}")


def _texts(message: Any) -> Iterator[str]:
    """All texts in a message: the names that it may refer to."""
    for field, value in message.ListFields():
        for each in value if is_repeated(field) else [value]:
            if isinstance(each, str):
                yield each
            elif is_message(field):
                yield from _texts(each)


def _check_weights(report: Report, heads: Sequence[HeadConfig]) -> None:
    """Checks that at least one loss counts."""
    trained = [head for head in heads if head.trained_by_losses]
    counts = [head.weight * each.loss.weight for head in trained for each in head.losses]
    counts += [head.weight * each.weight for head in trained for each in head.distillations]
    if counts and not any(counts):
        report.error(trained[0].losses[0].path, "every loss has weight 0, so nothing would be trained")


def _refuse_class(report: Report, name: str) -> None:
    if name in TO_COME:
        problem = f"{name} is not supported yet; use one of {', '.join(SPECS)}"
    else:
        problem = f"{name!r} is not a model class; {hint(name, (*SPECS, *TO_COME))}"
    report.error(f"{_PATH}.model_class", problem)


def _check_groups(report: Report, model: Any) -> dict[str, Any]:
    """Checks `feature_groups` and returns them by name."""
    names = dict.fromkeys(feature_name(f) for f in feature_list(report.config.proto))
    groups: dict[str, Any] = {}
    if not model.feature_groups:
        report.error(
            f"{_PATH}.feature_groups", "is empty, so the model has no input; declare at least one group"
        )
    for i, group in enumerate(model.feature_groups):
        path = f"{_PATH}.feature_groups[{i}]"
        if not group.group_name:
            report.error(path, "group_name is missing")
        elif group.group_name in groups:
            report.error(f"{path}.group_name", f"there are two groups named {group.group_name!r}")
        groups[group.group_name] = group
        _check_layers(report, group, path)
        if enum_name(group, "wide_deep") == "WIDE_AND_DEEP":
            report.error(f"{path}.wide_deep", "a group is either WIDE or DEEP; split it into two groups")
        if not group.feature_names:
            report.error(f"{path}.feature_names", "is empty")
        counts = Counter(group.feature_names)
        for j, name in enumerate(group.feature_names):
            if name not in names:
                report.error(
                    f"{path}.feature_names[{j}]", f"no feature is named {name!r}; {report.hint(name, names)}"
                )
            elif counts.pop(name, 1) > 1:
                report.warn(f"{path}.feature_names[{j}]", f"{name!r} is listed twice in the group")
    return groups


def _check_needed_groups(report: Report, spec: ModelSpec, groups: dict[str, Any]) -> None:
    for name, wide in spec.needed_groups(report.config.proto.model_config).items():
        if name not in groups:
            what = "wide_deep: WIDE " if wide else ""
            report.error(GROUPS, f"this model needs a group {{ group_name: {name!r} {what}... }}")
        elif wide and enum_name(groups[name], "wide_deep") != "WIDE":
            position = list(report.config.proto.model_config.feature_groups).index(groups[name])
            report.warn(
                f"{_PATH}.feature_groups[{position}]",
                "is not wide_deep: WIDE, so the features' own embeddings are summed instead of the wide ones",
            )


def _check_layers(report: Report, message: Any, path: str) -> None:
    """Checks every `DNN` in a message."""
    if message.DESCRIPTOR.name == "DNN":
        _check_dnn(report, message, path)
        return
    for field, value in message.ListFields():
        if not is_message(field):
            continue
        if is_repeated(field):
            for i, element in enumerate(value):
                _check_layers(report, element, f"{path}.{field.name}[{i}]")
        else:
            _check_layers(report, value, f"{path}.{field.name}")


def _check_dnn(report: Report, dnn: Any, path: str) -> None:
    units = list(dnn.hidden_units)
    if 0 in units and units != [0]:
        report.error(f"{path}.hidden_units", "widths must be above 0; only [0] on its own means no layers")
    if dnn.dropout_ratio and len(dnn.dropout_ratio) != len(units):
        report.error(
            f"{path}.dropout_ratio",
            f"has {len(dnn.dropout_ratio)} values for {len(units)} layers; give one value per layer",
        )
    short = activations.canonical(dnn.activation)
    if short not in activations.NAMES:
        report.error(
            f"{path}.activation",
            f"{dnn.activation!r} is not known; {hint(short, activations.NAMES, 'use one of')}",
        )


def _check_losses(report: Report, spec: ModelSpec, head: HeadConfig, uncertain: bool) -> None:
    """Checks the losses of a head."""
    for config in head.losses:
        _check_loss_type(report, spec, head, config)
        if not config.listed or config.kind not in LOSSES:
            continue
        block, wanted = config.loss.WhichOneof("loss_param"), LOSSES[config.kind].param_field
        if block is not None and wanted is None:
            report.warn(f"{config.path}.{block}", f"has no effect on {config.kind}")
        elif block is not None and block != wanted:
            report.error(
                f"{config.path}.{block}",
                f"does not belong to {config.kind}; its parameters go into {wanted}",
            )
        elif block is not None:
            _check_parameters(report, getattr(config.loss, block), f"{config.path}.{block}")
        if config.loss.learn_loss_weight and not uncertain:
            report.warn(
                f"{config.path}.learn_loss_weight", "has no effect without loss_weight_strategy: Uncertainty"
            )
    kinds = {config.kind for config in head.losses}
    if "JRC_LOSS" in kinds and not all(
        config.loss.jrc_loss.session_name for config in _of_kind(head, "JRC_LOSS")
    ):
        report.error(
            f"{head.path}.losses",
            'JRC_LOSS needs jrc_loss { session_name: "..." }, the feature '
            "or field that groups rows into sessions",
        )
    if "ZILN_LOSS" in kinds and len(kinds) > 1:
        report.error(
            f"{head.path}.losses",
            "ZILN_LOSS uses amounts as labels, so it can't be combined with other losses; "
            f"remove {listed(sorted(kinds - {'ZILN_LOSS'}))}",
        )
    if kinds >= set(ERROR_LOSSES):
        report.error(
            f"{head.path}.losses",
            f"{listed(ERROR_LOSSES)} interpret the output y differently; keep only one of them",
        )


def _of_kind(head: HeadConfig, kind: str) -> list[LossConfig]:
    return [config for config in head.losses if config.kind == kind]


def _check_loss_names(report: Report, heads: Sequence[HeadConfig]) -> None:
    seen: set[str] = set()
    trained = (head for head in heads if head.trained_by_losses)
    for config in (each for head in trained for each in head.all_losses):
        if config.name in seen:
            report.error(config.path, f"two losses are named {config.name!r}; set loss_name")
        seen.add(config.name)


def _check_loss_type(report: Report, spec: ModelSpec, head: HeadConfig, config: LossConfig) -> None:
    path = f"{config.path}.loss_type" if config.listed else config.path
    if spec.only_losses:
        if config.kind not in spec.only_losses:
            names = ", ".join(spec.only_losses)
            report.error(path, f"{spec.name} needs one of {names}, is {config.kind}")
        return
    refused = support.unsupported(config.kind, (*support.LOSSES, *spec.extra_losses))
    if refused:
        report.error(path, refused)
    elif not LOSSES[config.kind].many_classes and head.num_class != LOSSES[config.kind].num_class:
        wanted = LOSSES[config.kind].num_class
        report.error(path, f"{config.kind} needs num_class: {wanted}, is {head.num_class}")


def _check_parameters(report: Report, parameters: Any, path: str) -> None:
    fields = parameters.DESCRIPTOR.fields_by_name
    if "session_name" in fields and parameters.session_name:
        check_id_column(report, parameters.session_name, f"{path}.session_name")
    if "transform_fn" in fields and parameters.transform_fn:
        name = parameters.transform_fn
        if transform_name(name) is None:
            known = ", ".join(f"tf.math.{each}" for each in TRANSFORMS if each != "identity")
            report.error(f"{path}.transform_fn", f"{name!r} is not known; use one of {known}")
    if "loss_weight_strategy" in fields and parameters.loss_weight_strategy not in JRC_STRATEGIES:
        report.error(
            f"{path}.loss_weight_strategy",
            f"{parameters.loss_weight_strategy!r} is not one of {', '.join(JRC_STRATEGIES)}",
        )
