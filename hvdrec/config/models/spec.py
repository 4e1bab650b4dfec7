"""The spec of a model class, from its config alone, without TensorFlow."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, ClassVar

from hvdrec.config.losses import loss_type_name
from hvdrec.config.models.check import ModelCheck
from hvdrec.config.models.heads import KIND_OF_LOSS, HeadConfig, loss_configs
from hvdrec.config.protos import easy_rec_model_pb2
from hvdrec.config.ranges import AT_LEAST_0, Range

_BLOCKS = easy_rec_model_pb2.EasyRecModel.DESCRIPTOR.oneofs_by_name["model"]


class ModelSpec:
    """A model class; checks, feature plan, losses, metrics and optimizers are derived from it.

    Attributes:
        name: The `model_class`.
        block: Its message in `model_config`.
        needs: The required feature groups: name -> whether `wide_deep` must be WIDE.
        order: The groups it builds, in this order, which determines the names of tables; groups missing in
            the config are skipped. If empty, all groups in the config's order.
        kinds: The kinds of heads that it can have.
        only_losses: The losses that it accepts, if they are special; if empty, those of rank models.
        extra_losses: Additional losses that it accepts.
        distils: Whether it supports knowledge distillation (`kd`).
        attention: Whether it uses attention over the histories of `seq_att_groups`.
        sequences: Whether it accepts sequences in any group; those with a `sequence_combiner` are still
            combined into one vector.
        sequence_groups: The groups with features that it uses as sequences, with or without a
            `sequence_combiner`.
        aligned_groups: Groups with sequences that are concatenated, so they must have equal lengths in every
            row.
        paired_groups: Groups that can have `negative_sampler`: their attention also has keys of sampled
            items.
        backbone: Whether it has a `backbone`.
        most_optimizers: The maximum number of `optimizer_config`.
        refused: Fields that must not be set: ``Message.field`` -> the problem and what to do.
        ignored: Fields without effect: ``Message.field`` -> the warning.
        silent: Fields that may be set although nothing reads them, because they only name something.
        ranges: Allowed numbers: ``Message.field`` -> range.
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
        """The model's message in a `model_config`."""
        return getattr(model, self.block)

    def group_order(self, model: Any) -> Iterable[str]:
        """The names of the groups that a `model_config` builds, in order, possibly with repeats."""
        return self.order or [group.group_name for group in model.feature_groups]

    def needed_groups(self, model: Any) -> Mapping[str, bool]:
        """`needs`, or what else a `model_config` can't be without."""
        del model
        return self.needs

    def wide_width(self, model: Any) -> int:
        """The width of the embeddings of groups that are `wide_deep: WIDE`."""
        return int(getattr(self.config(model), "wide_output_dim", 1))

    def text_groups(self, model: Any) -> Collection[str]:
        """The feature groups whose features the class can read as texts."""
        return ()

    def embedding_layers(self, model: Any) -> Mapping[str, Any]:
        """The `EmbeddingLayer` messages of feature groups that get width and combiner from one."""
        del model
        return {}

    def item_groups(self, proto: Any) -> Sequence[str]:
        """The item groups, to which a negative sampler adds rows; empty if the class doesn't use a sampler.

        Args:
            proto: The whole config.
        """
        del proto
        return ()

    def sides(self, proto: Any) -> Mapping[str, Sequence[str]]:
        """The groups of ``user`` and of ``item`` if they can be computed separately; else empty.

        Args:
            proto: The whole config.
        """
        del proto
        return {}

    def heads(self, proto: Any) -> tuple[HeadConfig, ...]:
        """The model's outputs.

        Args:
            proto: The whole config; it may be invalid.
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
        """The kind of head that a message with `num_class`, `loss_type` and `losses` declares."""
        types = [loss.loss_type for loss in message.losses] or [message.loss_type]
        own = [KIND_OF_LOSS.get(loss_type_name(each), "") for each in types]
        usual = self.kinds[1] if message.num_class > 1 and len(self.kinds) > 1 else self.kinds[0]
        return next((kind for kind in own if kind in self.kinds), usual)

    def optimizer_index(self, name: str, count: int) -> int:
        """The index of the optimizer, of `count`, that trains a variable, as EasyRec's `get_grouped_vars`
        decides.

        Of two, the first trains embeddings and the second the rest.

        Args:
            name: EasyRec's name, such as ``input_layer/age_embedding/embedding_weights``.
            count: 1 to `most_optimizers`.
        """
        return 0 if count <= 1 or is_embedding(name) else 1

    def check(self, check: ModelCheck) -> None:
        """Checks specific to the class; its groups and layers have been checked before."""

    @property
    def message(self) -> Any:
        """The descriptor of the block's message."""
        return next(f.message_type for f in _BLOCKS.fields if f.name == self.block)

    def all_ranges(self) -> dict[str, Range]:
        """`ranges`, plus the range of `l2_regularization`, which every block has."""
        known = "l2_regularization" in self.message.fields_by_name
        common = {f"{self.message.name}.l2_regularization": AT_LEAST_0} if known else {}
        return {**common, **self.ranges}


def is_embedding(name: str) -> bool:
    """Whether a variable is an embedding table, judged by EasyRec's name."""
    return name.startswith("input_layer") or "/embedding_weights" in name
