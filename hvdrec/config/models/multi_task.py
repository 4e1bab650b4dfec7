"""The common base of multi-task models: one head per tower."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from hvdrec.config.losses import ERROR_LOSSES, default_name
from hvdrec.config.models.check import PATH, ModelCheck
from hvdrec.config.models.heads import HeadConfig, LossConfig, TaskSpace, loss_configs
from hvdrec.config.models.spec import ModelSpec
from hvdrec.config.names import enum_name, listed
from hvdrec.config.ranges import AT_LEAST_0, AT_LEAST_1, Range

ORDER_CALIBRATE = "ORDER_CALIBRATE_LOSS"
_TOWERS_OWN = "has no effect; set it in each tower"
#: For these losses EasyRec uses `loss_name` unchanged, without the tower's name.
_NAMED_AS_GIVEN = ("CLASSIFICATION", *ERROR_LOSSES)


def tower_ranges(message: str) -> dict[str, Range]:
    """The ranges of a tower's numbers; `message` is `TaskTower` or `BayesTaskTower`."""
    return {
        f"{message}.num_class": AT_LEAST_1,
        f"{message}.weight": AT_LEAST_0,
        f"{message}.in_task_space_weight": AT_LEAST_0,
        f"{message}.out_task_space_weight": AT_LEAST_0,
    }


def check_relations(check: ModelCheck, towers: Sequence[Any]) -> None:
    """Checks that a tower (`BayesTaskTower`) depends only on earlier towers."""
    before: list[str] = []
    for i, tower in enumerate(towers):
        for j, name in enumerate(tower.relation_tower_names):
            if name not in before:
                there = f"there are {', '.join(before)}" if before else "there are none"
                check.error(
                    f"{check.path}.task_towers[{i}].relation_tower_names[{j}]",
                    f"{name!r} is not a tower listed before {tower.tower_name!r}; {there}",
                )
        before.append(tower.tower_name)


class MultiTaskSpec(ModelSpec):
    """A model with one head per tower; predictions, losses and metrics end with ``_<tower_name>``."""

    needs = {"all": False}
    order: ClassVar[tuple[str, ...]] = ("all",)
    ranges = tower_ranges("TaskTower")

    def towers(self, model: Any) -> list[tuple[str, Any]]:
        """The tower messages of a `model_config`, each with its path."""
        return [
            (f"{PATH}.{self.block}.task_towers[{i}]", tower)
            for i, tower in enumerate(self.config(model).task_towers)
        ]

    def heads(self, proto: Any) -> tuple[HeadConfig, ...]:
        """A head for each tower."""
        towers = self.towers(proto.model_config)
        given = Counter(
            loss.loss_name
            for _, tower in towers
            for loss in tower.losses
            if enum_name(loss, "loss_type") in _NAMED_AS_GIVEN
        )
        ordered = sum(_is_ordered(tower) for _, tower in towers)
        return tuple(
            self._head(proto, i, path, tower, given, ordered > 1) for i, (path, tower) in enumerate(towers)
        )

    def _head(
        self, proto: Any, number: int, path: str, tower: Any, given: Counter[str], several: bool
    ) -> HeadConfig:
        def name(kind: str, written: str) -> str:
            if written and kind in _NAMED_AS_GIVEN and given[written] == 1:
                return written
            # EasyRec's key, which only one tower's loss can use.
            if kind == ORDER_CALIBRATE and not several:
                return written or default_name(kind)
            return f"{written or default_name(kind)}_{tower.tower_name}"

        return HeadConfig(
            kind=self.kind_of(tower),
            label=tower.label_name or next(iter(proto.data_config.label_fields[number:]), ""),
            losses=_that_act(loss_configs(tower, path, name), tower),
            num_class=int(tower.num_class),
            name=tower.tower_name,
            path=path,
            weight=float(tower.weight),
            use_sample_weight=bool(tower.use_sample_weight),
            task_space=_task_space(tower),
            metrics=tuple(tower.metrics_set),
            metrics_path=f"{path}.metrics_set",
            relations=tuple(getattr(tower, "relation_tower_names", ())) if _is_ordered(tower) else (),
        )

    def check(self, check: ModelCheck) -> None:
        """Checks each tower's name, label and task space, and warns about fields set outside towers."""
        towers = self.towers(check.model)
        if not towers:
            check.error(f"{check.path}.task_towers", "is empty")
        seen: set[str] = set()
        labels = list(check.proto.data_config.label_fields)
        for number, (path, tower) in enumerate(towers):
            if not tower.tower_name:
                check.error(f"{path}.tower_name", "is missing")
            elif tower.tower_name in seen:
                check.error(f"{path}.tower_name", f"two towers are named {tower.tower_name!r}")
            seen.add(tower.tower_name)
            if tower.label_name:
                _check_label(check, tower.label_name, f"{path}.label_name")
            elif number >= len(labels):
                check.error(
                    f"{path}.label_name",
                    "is missing, and data_config.label_fields has no label "
                    f"number {number + 1} to use instead",
                )
            _check_task_space(check, path, tower)
            _check_order(check, path, tower, {name: each for _, each in towers for name in [each.tower_name]})
        _warn_of_what_is_shared(check)


def _is_ordered(tower: Any) -> bool:
    """Whether a tower should predict no more than the towers it depends on."""
    kinds = [enum_name(loss, "loss_type") for loss in tower.losses]
    return ORDER_CALIBRATE in kinds and bool(getattr(tower, "relation_tower_names", ()))


def _that_act(losses: tuple[LossConfig, ...], tower: Any) -> tuple[LossConfig, ...]:
    """Drops the order loss of a tower that depends on none, as in EasyRec."""
    if not hasattr(tower, "relation_tower_names") or tower.relation_tower_names:
        return losses
    return tuple(config for config in losses if config.kind != ORDER_CALIBRATE)


def _check_order(check: ModelCheck, path: str, tower: Any, towers: Mapping[str, Any]) -> None:
    """Checks that a tower with ORDER_CALIBRATE_LOSS has another loss and, like its relations, one output."""
    kinds = [enum_name(loss, "loss_type") for loss in tower.losses] or [enum_name(tower, "loss_type")]
    places = [f"{path}.losses[{i}]" for i, kind in enumerate(kinds) if kind == ORDER_CALIBRATE]
    if ORDER_CALIBRATE not in kinds or not hasattr(tower, "relation_tower_names"):
        return
    where = places[0] if tower.losses else f"{path}.loss_type"
    if set(kinds) == {ORDER_CALIBRATE}:
        check.error(
            where, f"{ORDER_CALIBRATE} needs another loss in losses, which trains the tower on its label"
        )
    elif not tower.relation_tower_names:
        check.report.warn(where, "has no effect without relation_tower_names, as in EasyRec")
    for each in (tower, *(towers[name] for name in tower.relation_tower_names if name in towers)):
        own = {enum_name(loss, "loss_type") for loss in each.losses} or {enum_name(each, "loss_type")}
        if tower.relation_tower_names and each.num_class != 1:
            check.error(where, f"needs num_class 1 in tower {each.tower_name!r}, is {each.num_class}")
        if tower.relation_tower_names and own <= {*ERROR_LOSSES, ORDER_CALIBRATE}:
            check.error(
                where,
                f"tower {each.tower_name!r} has no probability to compare; "
                f"its losses are {listed(sorted(own))}",
            )


def _task_space(tower: Any) -> TaskSpace | None:
    label, name = tower.task_space_indicator_label, tower.task_space_indicator_name
    if not label and not name:
        return None
    return TaskSpace(
        label=label,
        name="" if label else name,
        value="" if label else tower.task_space_indicator_value,
        inside=float(tower.in_task_space_weight),
        outside=float(tower.out_task_space_weight),
    )


def _check_label(check: ModelCheck, name: str, path: str) -> None:
    labels = list(check.proto.data_config.label_fields)
    if name not in labels:
        check.error(
            path,
            f"{name!r} is not among data_config.label_fields; {check.report.hint(name, labels)}",
        )


def _check_task_space(check: ModelCheck, path: str, tower: Any) -> None:
    label, name = tower.task_space_indicator_label, tower.task_space_indicator_name
    if label and name:
        check.error(
            f"{path}.task_space_indicator_name", "task_space_indicator_label is set too; remove one of them"
        )
    elif label:
        _check_label(check, label, f"{path}.task_space_indicator_label")
    elif name:
        check.need_text_column(name, f"{path}.task_space_indicator_name")
    else:
        for field in ("in_task_space_weight", "out_task_space_weight", "task_space_indicator_value"):
            if tower.HasField(field):
                check.report.warn(
                    f"{path}.{field}",
                    "has no effect without task_space_indicator_label or task_space_indicator_name",
                )


def _warn_of_what_is_shared(check: ModelCheck) -> None:
    model = check.model
    for field in ("loss_type", "num_class", "label_name"):
        if model.HasField(field):
            check.report.warn(f"{PATH}.{field}", _TOWERS_OWN)
    if model.losses:
        check.report.warn(f"{PATH}.losses", _TOWERS_OWN)
    if check.proto.eval_config.metrics_set:
        check.report.warn("eval_config.metrics_set", _TOWERS_OWN)
