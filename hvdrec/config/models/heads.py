"""The outputs of a model as its config describes them."""

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
    #: int64 [B], of which only the equality means anything.
    ID = "id"


@dataclasses.dataclass(frozen=True)
class HeadKind:
    """What heads of one kind have in common.

    Attributes:
        label: How their label is packed.
        metrics: What `metrics_set` may ask for; None: all that no other kind has for itself.
        own_metrics: Those that only this kind has.
        distilled: The predictions that knowledge distillation (`kd`) can draw to a teacher's.
        one_probability: Whether rows have one probability whatever `num_class` is.
        class_last: Whether the suffix stands before what follows the first word: ``probs_ctr_1``.
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


#: The losses whose heads are of a kind of their own.
KIND_OF_LOSS = {"JRC_LOSS": "jrc", "ZILN_LOSS": "ziln"}


@dataclasses.dataclass(frozen=True)
class LossConfig:
    """One loss of a head.

    Attributes:
        name: In the loss dict, in logs and in evaluations.
        loss: The `Loss` message, with all parameters in it, wherever the config has them.
        path: Of the element of `losses`, or of `loss_type` where there are no `losses`.
        listed: Whether it is an element of `losses`; only for those does `loss_weight_strategy` count.
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
    """Rows that count more or less in a head's losses (Ma et al., 2018, entire-space models).

    Attributes:
        label: The rows with this label above 0 are in; "" where `name` says it.
        name: The rows where this feature or field is `value` are in.
        value: Text.
        inside: The factor of their sample weights.
        outside: That of all others.
    """

    label: str
    name: str
    value: str
    inside: float
    outside: float


@dataclasses.dataclass(frozen=True)
class DistillationConfig:
    """An element of `kd`: one of a head's predictions is drawn to a teacher's, a soft label.

    Attributes:
        name: Of the loss, in logs and in evaluations.
        loss: The `Loss` message of its type and parameters.
        prediction: Which of the head's predictions, without the suffix.
        label: The label field with the teacher's.
        width: Numbers a row of both has.
        prediction_is_logits: Whether the prediction is one of logits, not of probabilities.
        label_is_logits: Whether the teacher's are.
        temperature: Divides both logits.
        weight: The factor of the loss.
        task_space: Which rows count more or less, if any.
        path: Of the element.
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
        kind: Of `KINDS`.
        label: The label field; "" where the config names none.
        losses: In the config's order.
        num_class: Number of classes, 1 for one output.
        name: "" for the head of a model of one; else the tower's.
        path: Of the message that describes it.
        weight: The factor of its losses.
        use_sample_weight: Whether rows count by `sample_weight`.
        task_space: Which rows count more or less, if any.
        metrics: The elements of its `metrics_set`.
        metrics_path: Where they are.
        session: For labels that are ids: the field whose sessions keep classes apart, if any.
        item: The feature or field whose equal values are one item, where rows compare items.
        hard_negatives: Whether rows have sampled items of their own.
        trained_by_losses: Whether the losses train it. Where not, they only say what its output means,
            and the model's own terms (`hvdrec.losses.terms.LossTerm`) train it.
        relations: The heads it builds on, by name: it is to predict no more than they do.
        of: The heads it is made of, by name, where its kind is.
        gate: The label field of the click, where its kind looks at what follows one.
        distillations: Which of its predictions are drawn to a teacher's.
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
    hard_negatives: bool = False
    trained_by_losses: bool = True
    relations: tuple[str, ...] = ()
    of: tuple[str, ...] = ()
    gate: str = ""
    distillations: tuple[DistillationConfig, ...] = ()

    @property
    def suffix(self) -> str:
        """What follows the names of its predictions and metrics."""
        return f"_{self.name}" if self.name else ""

    @property
    def all_losses(self) -> tuple[LossConfig | DistillationConfig, ...]:
        """Its losses, then those by which it learns from a teacher."""
        return (*self.losses, *self.distillations)

    @property
    def classes(self) -> int:
        """How many classes its probabilities tell apart for metrics: 1 for one probability."""
        return 1 if KINDS[self.kind].one_probability else self.num_class

    def named(self, name: str) -> str:
        """The name a prediction has outside, as ``probs_ctr``."""
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
        """The fields that tell classes apart where the label is an id: the label's, then the session's."""
        if self.label_form is not LabelForm.ID:
            return ()
        return tuple(name for name in (self.label, self.session) if name)


def loss_configs(
    message: Any, path: str, name: Callable[[str, str], str] | None = None
) -> tuple[LossConfig, ...]:
    """The losses of a message with `loss_type` and `losses`.

    Args:
        message: The `model_config` or a tower.
        path: Where it is.
        name: Gives a loss's name from its type and its `loss_name` ("" where it has none).
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
