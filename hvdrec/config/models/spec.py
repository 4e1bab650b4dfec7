"""What a model class is, as far as its config says it; free of TensorFlow."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

from hvdrec.config.losses import loss_type_name
from hvdrec.config.models.check import ModelCheck
from hvdrec.config.models.heads import KIND_OF_LOSS, HeadConfig, loss_configs
from hvdrec.config.protos import easy_rec_model_pb2
from hvdrec.config.ranges import AT_LEAST_0, Range

_BLOCKS = easy_rec_model_pb2.EasyRecModel.DESCRIPTOR.oneofs_by_name["model"]


class ModelSpec:
    """A model class: checks, the feature plan, losses, metrics and the optimizers go by it.

    Attributes:
        name: The `model_class`.
        block: Its message in `model_config`.
        needs: The feature groups it can't be without: name -> whether `wide_deep` is to be WIDE.
        order: The groups it builds, in that order, on which the names of tables hang; a group that
            the config doesn't have is passed over. Empty: all, as the config has them.
        kinds: The kinds of heads it may have.
        only_losses: The losses it takes, where those are its own; empty: those of rank models.
        extra_losses: Losses it takes besides.
        distils: Whether it learns from a teacher by `kd`.
        attention: Whether it attends to the histories of `seq_att_groups`.
        sequences: Whether it takes sequences among the features of any group; those with a
            `sequence_combiner` become one vector all the same.
        sequence_groups: The groups whose features it takes as sequences, whether they have one or not.
        aligned_groups: Groups whose sequences lie side by side, so that they have equal lengths in every row.
        paired_groups: Groups that may have `negative_sampler`: their attention has keys of sampled items too.
        backbone: Whether it is made of a `backbone`.
        most_optimizers: How many `optimizer_config` it may have.
        refused: Fields that must not be set: ``Message.field`` -> what is wrong and what to do.
        ignored: Fields without effect: ``Message.field`` -> the warning.
        silent: Fields that may be set and that nothing reads, as they only name something.
        ranges: What numbers may be: ``Message.field`` -> range.
    """

    name: ClassVar[str]
    block: ClassVar[str]
    needs: ClassVar[Mapping[str, bool]] = {}
    order: ClassVar[tuple[str, ...]] = ()
    kinds: ClassVar[tuple[str, ...]] = ("logit", "softmax", "jrc", "ziln")
    only_losses: ClassVar[tuple[str, ...]] = ()
    extra_losses: ClassVar[tuple[str, ...]] = ()
    distils: ClassVar[bool] = True
    attention: ClassVar[bool] = False
    sequences: ClassVar[bool] = False
    sequence_groups: ClassVar[tuple[str, ...]] = ()
    aligned_groups: ClassVar[tuple[str, ...]] = ()
    paired_groups: ClassVar[tuple[str, ...]] = ()
    backbone: ClassVar[bool] = False
    most_optimizers: ClassVar[int] = 2
    refused: ClassVar[Mapping[str, str]] = {}
    ignored: ClassVar[Mapping[str, str]] = {}
    silent: ClassVar[tuple[str, ...]] = ()
    ranges: ClassVar[Mapping[str, Range]] = {}

    def config(self, model: Any) -> Any:
        """The model's own message of a `model_config`."""
        return getattr(model, self.block)

    def group_order(self, model: Any) -> Iterable[str]:
        """The names of the groups a `model_config` builds, in that order, maybe with repeats."""
        return self.order or [group.group_name for group in model.feature_groups]

    def needed_groups(self, model: Any) -> Mapping[str, bool]:
        """`needs`, or what else a `model_config` can't be without."""
        del model
        return self.needs

    def wide_width(self, model: Any) -> int:
        """The width of the embeddings of groups that are `wide_deep: WIDE`."""
        return int(getattr(self.config(model), "wide_output_dim", 1))

    def embedding_layers(self, model: Any) -> Mapping[str, Any]:
        """The `EmbeddingLayer` message of feature groups that have width and combiner from one."""
        del model
        return {}

    def item_groups(self, proto: Any) -> Sequence[str]:
        """The feature groups of items, to whose rows a negative sampler may add; none: it has no use for one.

        Args:
            proto: The whole config.
        """
        del proto
        return ()

    def sides(self, proto: Any) -> Mapping[str, Sequence[str]]:
        """The feature groups of ``user`` and of ``item``, that can be computed alone; none: no sides.

        Args:
            proto: The whole config.
        """
        del proto
        return {}

    def heads(self, proto: Any) -> tuple[HeadConfig, ...]:
        """The model's outputs.

        Args:
            proto: The whole config; it need not be right.
        """
        model = proto.model_config
        return (
            HeadConfig(
                kind=self.kind_of(model),
                label=model.label_name or next(iter(proto.data_config.label_fields), ""),
                losses=loss_configs(model, "model_config"),
                num_class=int(model.num_class),
                metrics=tuple(proto.eval_config.metrics_set),
            ),
        )

    def kind_of(self, message: Any) -> str:
        """The kind of the head that a message with `num_class`, `loss_type` and `losses` describes."""
        types = [loss.loss_type for loss in message.losses] or [message.loss_type]
        own = [KIND_OF_LOSS.get(loss_type_name(each), "") for each in types]
        usual = self.kinds[1] if message.num_class > 1 and len(self.kinds) > 1 else self.kinds[0]
        return next((kind for kind in own if kind in self.kinds), usual)

    def optimizer_index(self, name: str, count: int) -> int:
        """Which of `count` optimizers trains a variable, as EasyRec's `get_grouped_vars` decides it.

        Of two, the first takes embeddings and the second the rest.

        Args:
            name: EasyRec's name, as ``input_layer/age_embedding/embedding_weights``.
            count: 1 to `most_optimizers`.
        """
        return 0 if count <= 1 or is_embedding(name) else 1

    def check(self, check: ModelCheck) -> None:
        """Checks what is particular to the class; its groups and layers are known to be there."""

    @property
    def message(self) -> Any:
        """The descriptor of its block's message."""
        return next(f.message_type for f in _BLOCKS.fields if f.name == self.block)

    def all_ranges(self) -> dict[str, Range]:
        """`ranges`, and that of the `l2_regularization` every block has."""
        known = "l2_regularization" in self.message.fields_by_name
        common = {f"{self.message.name}.l2_regularization": AT_LEAST_0} if known else {}
        return {**common, **self.ranges}


def is_embedding(name: str) -> bool:
    """Whether a variable is an embedding table, by EasyRec's name."""
    return name.startswith("input_layer") or "/embedding_weights" in name
