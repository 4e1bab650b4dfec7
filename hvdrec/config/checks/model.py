"""Checks `model_config`."""

from __future__ import annotations

from collections import Counter
from typing import Any

from hvdrec.config import support
from hvdrec.config.checks.dropoutnet import check_dropoutnet
from hvdrec.config.checks.embedding import (
    EMBEDDING_MODELS,
    check_embedding_loss,
    check_metric_learning,
)
from hvdrec.config.checks.metrics import ERROR_LOSSES, check_id_column, check_metrics
from hvdrec.config.expand import feature_list, feature_name
from hvdrec.config.names import enum_name, hint, is_message, is_repeated, listed
from hvdrec.config.report import Report

_PATH = "model_config"
_MULTI_CLASS = ("CLASSIFICATION",)
_PREFIXES = ("tf.nn.", "tf.math.", "tf.keras.activations.", "tf.")
_PARAMETERS = {
    "F1_REWEIGHTED_LOSS": "f1_reweighted_loss",
    "BINARY_FOCAL_LOSS": "binary_focal_loss",
    "PAIR_WISE_LOSS": "pairwise_loss",
    "PAIRWISE_FOCAL_LOSS": "pairwise_focal_loss",
    "PAIRWISE_LOGISTIC_LOSS": "pairwise_logistic_loss",
    "PAIRWISE_HINGE_LOSS": "pairwise_hinge_loss",
    "JRC_LOSS": "jrc_loss",
    "LISTWISE_RANK_LOSS": "listwise_rank_loss",
    "LISTWISE_DISTILL_LOSS": "listwise_distill_loss",
    "ZILN_LOSS": "ziln_loss",
    "SOFTMAX_CROSS_ENTROPY_WITH_NEGATIVE_MINING": "softmax_loss",
}
_DEFAULT_NAMES = {
    "CLASSIFICATION": "cross_entropy_loss",
    "L2_LOSS": "l2_loss",
    "SIGMOID_L2_LOSS": "l2_loss",
}


def check_model(report: Report) -> None:
    """Checks the model class, its groups and layers, the losses and the metrics."""
    model = report.config.proto.model_config
    groups = _check_groups(report, model)
    known = support.MODELS.get(model.model_class)
    if not model.model_class:
        report.error(f"{_PATH}.model_class", f"is missing; use one of {', '.join(support.MODELS)}")
    elif known is None:
        _refuse_class(report, model.model_class)
    elif model.WhichOneof("model") != known.block:
        found = model.WhichOneof("model") or "none"
        report.error(
            _PATH, f"model_class {model.model_class} needs a block {known.block} {{}}, found {found}"
        )
    else:
        _check_needed_groups(report, known, groups)
        block, path = getattr(model, known.block), f"{_PATH}.{known.block}"
        _check_layers(report, block, path)
        check_one = _MODEL_CHECKS.get(model.model_class)
        if check_one is not None:
            check_one(report, model, block, path, groups)
    losses = _check_losses(report, model)
    check_metrics(report, model, losses)


def _refuse_class(report: Report, name: str) -> None:
    if name in support.MODELS_TO_COME:
        problem = f"{name} is not supported yet; use one of {', '.join(support.MODELS)}"
    else:
        problem = f"{name!r} is no model class; {hint(name, (*support.MODELS, *support.MODELS_TO_COME))}"
    report.error(f"{_PATH}.model_class", problem)


def _check_groups(report: Report, model: Any) -> dict[str, Any]:
    """Checks `feature_groups`; gives them by name."""
    names = dict.fromkeys(feature_name(f) for f in feature_list(report.config.proto))
    groups: dict[str, Any] = {}
    if not model.feature_groups:
        report.error(f"{_PATH}.feature_groups", "is empty; the model has no input")
    for i, group in enumerate(model.feature_groups):
        path = f"{_PATH}.feature_groups[{i}]"
        if not group.group_name:
            report.error(path, "group_name is missing")
        elif group.group_name in groups:
            report.error(f"{path}.group_name", f"there are two groups named {group.group_name!r}")
        groups[group.group_name] = group
        if enum_name(group, "wide_deep") == "WIDE_AND_DEEP":
            report.error(f"{path}.wide_deep", "a group is WIDE or DEEP; make two groups of it")
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


def _check_needed_groups(report: Report, known: support.ModelSupport, groups: dict[str, Any]) -> None:
    for name, wide in known.groups.items():
        if name not in groups:
            what = "wide_deep: WIDE " if wide else ""
            report.error(
                f"{_PATH}.feature_groups", f"this model needs a group {{ group_name: {name!r} {what}... }}"
            )
        elif wide and enum_name(groups[name], "wide_deep") != "WIDE":
            position = list(report.config.proto.model_config.feature_groups).index(groups[name])
            report.warn(
                f"{_PATH}.feature_groups[{position}]",
                "isn't wide_deep: WIDE, so that the features' own embeddings are added up, not the wide ones",
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
        report.error(f"{path}.hidden_units", "a width must be above 0; [0] alone means no layer")
    if dnn.dropout_ratio and len(dnn.dropout_ratio) != len(units):
        report.error(
            f"{path}.dropout_ratio",
            f"has {len(dnn.dropout_ratio)} values for {len(units)} layers; give one each",
        )
    activation = dnn.activation
    prefix = next((p for p in _PREFIXES if activation.startswith(p)), "")
    short = activation[len(prefix) :].lower()
    if short and short not in support.ACTIVATIONS:
        report.error(
            f"{path}.activation",
            f"{activation!r} is not known; {hint(short, support.ACTIVATIONS, 'use one of')}",
        )


def _widths(report: Report, group: Any) -> dict[str, int]:
    """The numbers each feature of a group gives: its `embedding_dim`, or those of its cells."""
    dims = {
        feature_name(f): int(f.embedding_dim or f.raw_input_dim) for f in feature_list(report.config.proto)
    }
    return {name: dims[name] for name in group.feature_names if name in dims}


def _check_one_width(report: Report, groups: dict[str, Any], name: str) -> None:
    widths = _widths(report, groups[name]) if name in groups else {}
    if len(set(widths.values())) > 1:
        first = next(iter(widths.items()))
        other = next(item for item in widths.items() if item[1] != first[1])
        report.error(
            f"{_PATH}.feature_groups",
            f"the features of group {name!r} must have one embedding_dim: "
            f"{first[0]} has {first[1]}, {other[0]} has {other[1]}",
        )


def _check_deepfm(report: Report, model: Any, block: Any, path: str, groups: dict[str, Any]) -> None:
    _check_one_width(report, groups, "fm" if "fm" in groups else "deep")
    if not block.final_dnn.hidden_units and block.wide_output_dim != model.num_class:
        report.error(
            f"{path}.wide_output_dim",
            f"without final_dnn it must be num_class ({model.num_class}), is {block.wide_output_dim}",
        )


def _check_fm(report: Report, model: Any, block: Any, path: str, groups: dict[str, Any]) -> None:
    del model, block, path
    _check_one_width(report, groups, "deep")


def _check_multi_tower(report: Report, model: Any, block: Any, path: str, groups: dict[str, Any]) -> None:
    del model
    if not block.towers:
        report.error(path, "towers is empty")
    for i, tower in enumerate(block.towers):
        if tower.input not in groups:
            near = hint(tower.input, groups)
            report.error(
                f"{path}.towers[{i}].input", f"no group of feature_groups is named {tower.input!r}; {near}"
            )
        elif tower.input in [t.input for t in block.towers[:i]]:
            report.error(f"{path}.towers[{i}].input", f"two towers have the input {tower.input!r}")


def _check_dlrm(report: Report, model: Any, block: Any, path: str, groups: dict[str, Any]) -> None:
    if model.num_class != 1:
        report.error(f"{_PATH}.num_class", f"DLRM has one output, is {model.num_class}")
    if block.arch_interaction_op not in ("dot", "cat"):
        report.error(f"{path}.arch_interaction_op", f"use 'dot' or 'cat', is {block.arch_interaction_op!r}")
    if "sparse" in groups and enum_name(groups["sparse"], "wide_deep") == "WIDE":
        report.error(f"{_PATH}.feature_groups", "DLRM needs group 'sparse' with wide_deep: DEEP")
    elif block.arch_interaction_op == "dot" and {"sparse", "dense"} <= groups.keys():
        units = [u for u in block.bot_dnn.hidden_units if u]
        last = units[-1] if units else sum(_widths(report, groups["dense"]).values())
        wrong = {n: w for n, w in _widths(report, groups["sparse"]).items() if w != last}
        if wrong:
            name, width = next(iter(wrong.items()))
            report.error(
                f"{path}.bot_dnn.hidden_units",
                f"the last width ({last}) must be the embedding_dim of the features in group 'sparse'; "
                f"{name} has {width}",
            )


_MODEL_CHECKS = {
    "DeepFM": _check_deepfm,
    "FM": _check_fm,
    "MultiTower": _check_multi_tower,
    "DLRM": _check_dlrm,
    "CoMetricLearningI2I": check_metric_learning,
    "DropoutNet": check_dropoutnet,
}


def _check_losses(report: Report, model: Any) -> list[str]:
    """Checks the loss or losses; gives their types."""
    if model.model_class in EMBEDDING_MODELS:
        return check_embedding_loss(report, model)
    if not model.losses:
        kind = enum_name(model, "loss_type")
        _check_loss_type(report, model, kind, f"{_PATH}.loss_type")
        return [kind]
    kinds, names = [], []
    uncertain = enum_name(model, "loss_weight_strategy") == "Uncertainty"
    for i, loss in enumerate(model.losses):
        path, kind = f"{_PATH}.losses[{i}]", enum_name(loss, "loss_type")
        _check_loss_type(report, model, kind, f"{path}.loss_type")
        name = loss.loss_name or _DEFAULT_NAMES.get(kind, kind.lower())
        if name in names:
            report.error(path, f"two losses are named {name!r}; set loss_name")
        kinds.append(kind)
        names.append(name)
        block = loss.WhichOneof("loss_param")
        wanted = _PARAMETERS.get(kind)
        if block is not None and wanted is None:
            report.warn(f"{path}.{block}", f"has no effect on {kind}")
        elif block is not None and block != wanted:
            report.error(f"{path}.{block}", f"does not belong to {kind}; its parameters go into {wanted}")
        elif block is not None:
            _check_session(report, getattr(loss, block), f"{path}.{block}")
        if loss.learn_loss_weight and not uncertain:
            report.warn(
                f"{path}.learn_loss_weight", "has no effect without loss_weight_strategy: Uncertainty"
            )
    if set(kinds) >= set(ERROR_LOSSES):
        report.error(f"{_PATH}.losses", f"{listed(ERROR_LOSSES)} give y two meanings; keep one of them")
    return kinds


def _check_loss_type(report: Report, model: Any, kind: str, path: str) -> None:
    towers = support.TOWER_LOSSES if model.model_class == "DropoutNet" else ()
    refused = support.unsupported(kind, (*support.LOSSES, *towers))
    if refused:
        report.error(path, refused)
    elif kind not in _MULTI_CLASS and model.num_class != 1:
        report.error(path, f"{kind} is for num_class: 1, is {model.num_class}")


def _check_session(report: Report, parameters: Any, path: str) -> None:
    if "session_name" in parameters.DESCRIPTOR.fields_by_name and parameters.session_name:
        check_id_column(report, parameters.session_name, f"{path}.session_name")
