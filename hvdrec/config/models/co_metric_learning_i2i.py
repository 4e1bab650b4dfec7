"""CoMetricLearningI2I in configs."""

from __future__ import annotations

from typing import Any

from hvdrec.config.losses import SPECS, default_name
from hvdrec.config.models.check import PATH, ModelCheck
from hvdrec.config.models.heads import HeadConfig, LossConfig
from hvdrec.config.models.spec import ModelSpec
from hvdrec.config.names import enum_name
from hvdrec.config.protos import loss_pb2
from hvdrec.config.ranges import AT_LEAST_1, MARGIN, STRENGTH_ABOVE_0

#: The losses, with their members of the block's oneof `loss`.
_BLOCKS = {"CIRCLE_LOSS": "circle_loss", "MULTI_SIMILARITY_LOSS": "multi_similarity_loss"}
_UNREAD = "has no effect, as in EasyRec"


class CoMetricLearningI2ISpec(ModelSpec):
    """The groups of `input` and `highway`; one loss of embeddings, with its parameters in the block."""

    name = "CoMetricLearningI2I"
    block = "metric_learning"
    kinds = ("embedding",)
    distils = False
    only_losses = tuple(_BLOCKS)
    ignored = {
        "CoMetricLearningI2I.item_id": _UNREAD,
        "CoMetricLearningI2I.sample_id": "has no effect; keep columns with --reserved_cols of hvdrec.predict",
        "HighWayTower.activation": _UNREAD,
        "HighWayTower.dropout_rate": _UNREAD,
        "HighWayTower.init_gate_bias": _UNREAD,
        "HighWayTower.num_layers": _UNREAD,
    }
    ranges = {
        "CircleLoss.gamma": STRENGTH_ABOVE_0,
        "CircleLoss.margin": MARGIN,
        "MultiSimilarityLoss.alpha": STRENGTH_ABOVE_0,
        "MultiSimilarityLoss.beta": STRENGTH_ABOVE_0,
        "MultiSimilarityLoss.lamb": MARGIN,
        "MultiSimilarityLoss.eps": MARGIN,
        "HighWayTower.emb_size": AT_LEAST_1,
    }

    def heads(self, proto: Any) -> tuple[HeadConfig, ...]:
        """One head of embeddings; the label is the first of `label_fields` that isn't the session."""
        model = proto.model_config
        session = model.metric_learning.session_id
        labels = [name for name in proto.data_config.label_fields if name != session]
        return (
            HeadConfig(
                kind=self.kinds[0],
                label=next(iter(labels), ""),
                losses=(_loss(model),),
                num_class=int(model.num_class),
                metrics=tuple(proto.eval_config.metrics_set),
                session=session,
            ),
        )

    def check(self, check: ModelCheck) -> None:
        """Checks the input, the embedding's width, the label and the loss."""
        block, path = check.block, check.path
        if not block.input and not block.highway:
            check.error(f"{path}.input", "is missing; name a group of feature_groups")
        if block.input:
            check.need_group(block.input, f"{path}.input")
        for i, tower in enumerate(block.highway):
            check.need_group(tower.input, f"{path}.highway[{i}].input")
        if list(block.dnn.hidden_units)[-1:] in ([], [0]):
            check.error(f"{path}.dnn.hidden_units", "must end with the embedding's width")
        labels = list(check.proto.data_config.label_fields)
        if block.session_id and block.session_id not in labels:
            near = check.report.hint(block.session_id, labels)
            check.error(
                f"{path}.session_id", f"{block.session_id!r} is not among data_config.label_fields; {near}"
            )
        elif not [name for name in labels if name != block.session_id]:
            check.error("data_config.label_fields", "needs a label besides session_id")
        _check_loss(check, self.name)


def _loss(model: Any) -> LossConfig:
    kind = enum_name(model, "loss_type")
    loss = loss_pb2.Loss(loss_type=model.loss_type)
    given = model.metric_learning.WhichOneof("loss")
    field = SPECS[kind].param_field if kind in SPECS else None
    if given is not None and given == _BLOCKS.get(kind) and field is not None:
        getattr(loss, field).CopyFrom(getattr(model.metric_learning, given))
    return LossConfig(default_name(kind), loss, f"{PATH}.loss_type", False)


def _check_loss(check: ModelCheck, name: str) -> None:
    kind = enum_name(check.model, "loss_type")
    if check.model.losses:
        check.error(f"{PATH}.losses", f"{name} has a single loss; set loss_type instead")
    found = check.block.WhichOneof("loss")
    if kind in _BLOCKS and found != _BLOCKS[kind]:
        check.error(check.path, f"{kind} needs a block {_BLOCKS[kind]} {{}}, found {found or 'none'}")
