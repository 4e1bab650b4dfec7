"""PDN in configs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hvdrec.config.expand import feature_list, feature_name
from hvdrec.config.models.check import GROUPS, ModelCheck
from hvdrec.config.models.spec import ModelSpec
from hvdrec.config.names import enum_name

_SEQUENCES = ("u2i_seq", "i_seq", "i2i_seq")


class PDNSpec(ModelSpec):
    """A user and an item group, three groups of histories of equal lengths, and optionally a bias group."""

    name = "PDN"
    block = "pdn"
    needs = dict.fromkeys(("user", "item", *_SEQUENCES), False)
    order = ("user", "item", "bias", *_SEQUENCES)
    kinds = ("logit",)
    only_losses = ("CLASSIFICATION",)
    sequence_groups = _SEQUENCES
    aligned_groups = _SEQUENCES
    silent = ("PDN.item_id",)

    def check(self, check: ModelCheck) -> None:
        """Checks where sequences are allowed, and that networks with combined outputs have the same width."""
        check.need_one_class(self.name)
        block, path = check.block, check.path
        _check_sequences(check)
        _need_one_width(check, ("user_dnn", "u2i_dnn"))
        _need_one_width(check, ("item_dnn", "i2i_dnn"))
        for name in ("trigger_dnn", "sim_dnn", "bias_dnn"):
            if (name != "bias_dnn" or block.HasField(name)) and _last(block, name) != 1:
                check.error(f"{path}.{name}.hidden_units", "must end with 1")
        direct = [name for name in ("direct_user_dnn", "direct_item_dnn") if block.HasField(name)]
        if len(direct) == 1:
            check.error(f"{path}.{direct[0]}", "direct_user_dnn and direct_item_dnn must be set together")
        elif direct:
            _need_one_width(check, direct)
            for name in direct:
                if not _last(block, name):
                    check.error(f"{path}.{name}.hidden_units", "must end with the width of an embedding")
        if block.HasField("bias_dnn") and "bias" not in check.groups:
            check.error(GROUPS, "bias_dnn needs a group { group_name: 'bias' ... }")
        if "bias" in check.groups and not block.HasField("bias_dnn"):
            check.report.warn(GROUPS, "group 'bias' has no effect without pdn.bias_dnn")
        if not block.HasField("easyrec_similarity"):
            check.report.warn(
                path,
                "the input of the similarity network includes the history, where EasyRec repeats its "
                "product with the item; set easyrec_similarity: true for a checkpoint "
                "of EasyRec, or false to silence this warning",
            )


def _last(block: Any, name: str) -> int:
    units = list(getattr(block, name).hidden_units)
    return int(units[-1]) if units else 0


def _need_one_width(check: ModelCheck, names: Sequence[str]) -> None:
    first, second = (_last(check.block, name) for name in names)
    if first != second:
        check.error(
            f"{check.path}.{names[1]}.hidden_units",
            f"must end with the width of {names[0]}, {first}, is {second}",
        )


def _check_sequences(check: ModelCheck) -> None:
    kinds = {feature_name(f): enum_name(f, "feature_type") for f in feature_list(check.proto)}
    for g, group in enumerate(check.model.feature_groups):
        if group.group_name not in _SEQUENCES:
            continue
        for i, name in enumerate(group.feature_names):
            if kinds.get(name, "SequenceFeature") != "SequenceFeature":
                check.error(
                    f"{GROUPS}[{g}].feature_names[{i}]", f"{name!r} must have feature_type: SequenceFeature"
                )
