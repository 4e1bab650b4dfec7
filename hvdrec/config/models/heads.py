"""The outputs of a model, as declared in its config."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Callable, Iterable
from typing import Any

from hvdrec.config.losses import default_name, loss_type_name
from hvdrec.config.protos import loss_pb2


class LabelForm(enum.Enum):
    """How a label is packed."""

    #: float32 [B].
    NUMBER = "number"
    #: float32 [B], each a whole number in 0..num_class-1.
    CLASS = "class"
    #: int64 [B]; only equality is meaningful.
    ID = "id"


@dataclasses.dataclass(frozen=True)
class HeadKind:
    """The common properties of heads of one kind.

    Attributes:
        label: How their label is packed.
        metrics: The metrics allowed in `metrics_set`; None means all that are not specific to another kind.
        own_metrics: The metrics that only this kind has.
        distilled: The predictions that knowledge distillation (`kd`) can train.
        one_probability: Whether rows have one probability regardless of `num_class`.
        class_last: Whether the suffix comes directly after the first word: ``probs_ctr_1``.
    """

    label: LabelForm
    metrics: tuple[str, ...] | None = None
    own_metrics: tuple[str, ...] = ()
    distilled: tuple[str, ...] = ()
    one_probability: bool = False
    class_last: bool = False


#: The kinds of heads; `hvdrec.models.heads.registry` has their code.
KINDS = {
    "logit": HeadKind(LabelForm.NUMBER, distilled=("logits", "probs", "y")),
    "softmax": HeadKind(
        LabelForm.CLASS,
        distilled=("logits", "probs", "logits_y", "probs_y", "logits_1", "probs_1"),
        class_last=True,
    ),
    "jrc": HeadKind(LabelForm.CLASS, distilled=("logits", "pos_logits", "probs"), one_probability=True),
    "ziln": HeadKind(LabelForm.NUMBER, distilled=("logits",), one_probability=True),
    "product": HeadKind(LabelForm.NUMBER),
    "after_click": HeadKind(LabelForm.NUMBER),
    "two_towers": HeadKind(LabelForm.NUMBER),
    "match": HeadKind(LabelForm.NUMBER, metrics=("recall_at_topk",)),
    "interests": HeadKind(LabelForm.NUMBER, metrics=("recall_at_topk",)),
    "embedding": HeadKind(
        LabelForm.ID,
        metrics=("recall_at_topk", "precision_at_topk"),
        own_metrics=("precision_at_topk",),
    ),
}


#: The losses that need a special kind of head.
KIND_OF_LOSS = {"JRC_LOSS": "jrc", "ZILN_LOSS": "ziln"}


@dataclasses.dataclass(frozen=True)
class LossConfig:
    """One loss of a head.

    Attributes:
        name: Its name in the loss dict, in logs and in evaluations.
        loss: The `Loss` message with all its parameters, wherever the config sets them.
        path: The path of the element of `losses`, or of `loss_type` if there are no `losses`.
        listed: Whether it is an element of `losses`; `loss_weight_strategy` applies only to these.
    """

    name: str
    loss: Any
    path: str
    listed: bool

    @property
    def kind(self) -> str:
        """The name of its `LossType`."""
        return loss_type_name(self.loss.loss_type)


@dataclasses.dataclass(frozen=True)
class TaskSpace:
    """Row weights in a head's losses (Ma et al., 2018, entire-space models).

    Attributes:
        label: Rows with this label above 0 are inside; "" if `name` decides.
        name: Rows where this feature or field equals `value` are inside.
        value: The value, as text.
        inside: The factor on the sample weights of rows inside.
        outside: The factor for all other rows.
    """

    label: str
    name: str
    value: str
    inside: float
    outside: float


@dataclasses.dataclass(frozen=True)
class DistillationConfig:
    """An element of `kd`: trains one of a head's predictions on a teacher's, the soft label.

    Attributes:
        name: The name of the loss, in logs and in evaluations.
        loss: The `Loss` message with its type and parameters.
        prediction: The head's prediction, without the suffix.
        label: The label field with the teacher's prediction.
        width: The numbers per row of both.
        prediction_is_logits: Whether the prediction is logits rather than probabilities.
        label_is_logits: Whether the teacher's prediction is logits.
        temperature: Divides both logits.
        weight: The factor of the loss.
        task_space: The row weights, if any.
        path: The path of the element.
    """

    name: str
    loss: Any
    prediction: str
    label: str
    width: int
    prediction_is_logits: bool
    label_is_logits: bool
    temperature: float
    weight: float
    task_space: TaskSpace | None
    path: str

    @property
    def kind(self) -> str:
        """The name of its `LossType`."""
        return loss_type_name(self.loss.loss_type)


@dataclasses.dataclass(frozen=True)
class HeadConfig:
    """One output of a model.

    Attributes:
        kind: A key of `KINDS`.
        label: The label field; "" if the config has none.
        losses: The losses in the config's order.
        num_class: Number of classes, 1 for one output.
        name: "" if the model has a single head; else the tower's name.
        path: The path of the message that declares it.
        weight: The factor of its losses.
        use_sample_weight: Whether rows are weighted by `sample_weight`.
        task_space: The row weights, if any.
        metrics: The elements of its `metrics_set`.
        metrics_path: The path of `metrics_set`.
        session: For id labels: the session field; equal labels in different sessions are different classes.
        item: For heads that compare items: the feature or field that identifies an item.
        counted: The same if items are counted by it, to correct a loss for sampling.
        hard_negatives: Whether rows have sampled hard negatives of their own.
        trained_by_losses: Whether the losses train it. If not, they only define what its output means, and
            the model's terms (`hvdrec.losses.terms.LossTerm`) train it.
        relations: The names of the heads it depends on; it should not predict more than they do.
        of: The names of the heads it is computed from, for kinds that combine heads.
        gate: The label field of the click, for kinds restricted to rows with a click.
        distillations: The elements of `kd` that apply to its predictions.
    """

    kind: str
    label: str
    losses: tuple[LossConfig, ...]
    num_class: int = 1
    name: str = ""
    path: str = "model_config"
    weight: float = 1.0
    use_sample_weight: bool = True
    task_space: TaskSpace | None = None
    metrics: tuple[Any, ...] = ()
    metrics_path: str = "eval_config.metrics_set"
    session: str = ""
    item: str = ""
    counted: str = ""
    hard_negatives: bool = False
    trained_by_losses: bool = True
    relations: tuple[str, ...] = ()
    of: tuple[str, ...] = ()
    gate: str = ""
    distillations: tuple[DistillationConfig, ...] = ()

    @property
    def suffix(self) -> str:
        """The suffix of the names of its predictions and metrics."""
        return f"_{self.name}" if self.name else ""

    @property
    def all_losses(self) -> tuple[LossConfig | DistillationConfig, ...]:
        """Its losses, followed by its distillation losses."""
        return (*self.losses, *self.distillations)

    @property
    def classes(self) -> int:
        """The number of classes of its probabilities, for metrics: 1 for one probability."""
        return 1 if KINDS[self.kind].one_probability else self.num_class

    def named(self, name: str) -> str:
        """The full name of a prediction, such as ``probs_ctr``."""
        if not KINDS[self.kind].class_last:
            return f"{name}{self.suffix}"
        first, _, of_class = name.partition("_")
        return f"{first}{self.suffix}{'_' if of_class else ''}{of_class}"

    @property
    def label_form(self) -> LabelForm:
        """How its label is packed."""
        return KINDS[self.kind].label

    @property
    def loss_types(self) -> tuple[int, ...]:
        """`LossType` values of its losses."""
        return tuple(each.loss.loss_type for each in self.losses)

    @property
    def id_labels(self) -> tuple[str, ...]:
        """The fields that identify a class if the label is an id: the label's, then the session's."""
        if self.label_form is not LabelForm.ID:
            return ()
        return tuple(name for name in (self.label, self.session) if name)


def loss_configs(
    message: Any, path: str, name: Callable[[str, str], str] | None = None
) -> tuple[LossConfig, ...]:
    """The losses of a message with `loss_type` and `losses`.

    Args:
        message: The `model_config` or a tower.
        path: Its field path.
        name: Returns a loss's name for its type and its `loss_name` ("" if it has none).
    """
    name = name or (lambda kind, given: given or default_name(kind))
    given: Iterable[Any] = message.losses
    found = []
    if not message.losses:
        given = (loss_pb2.Loss(loss_type=message.loss_type),)
    for i, loss in enumerate(given):
        where = f"{path}.losses[{i}]" if message.losses else f"{path}.loss_type"
        kind = loss_type_name(loss.loss_type)
        found.append(LossConfig(name(kind, loss.loss_name), loss, where, bool(message.losses)))
    return tuple(found)
