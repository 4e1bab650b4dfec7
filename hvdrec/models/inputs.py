"""Feature groups as tensors: a packed batch in the form for models."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import tensorflow as tf

from hvdrec.errors import ConfigError
from hvdrec.features.layout import OWNER, SAMPLED_PREFIX, TEXTS
from hvdrec.features.plan import AttentionGroup, FeaturePlan, Group, GroupFeature, Kind
from hvdrec.layers.attention.target import AttentionInputs
from hvdrec.layers.context import ForwardContext
from hvdrec.layers.jagged import Jagged
from hvdrec.layers.layer import Layer
from hvdrec.layers.lookup import Norms, lookup_combined, pooled
from hvdrec.models.group_layers import GroupLayers
from hvdrec.models.sequences import SequenceArrays
from hvdrec.ops.dense_layer import Repeated, classes_of
from hvdrec.ops.lookup import Columns, lookup_rows
from hvdrec.ops.lookup_sums import lookup_sums
from hvdrec.ops.policy import NATIVE, named_implementation
from hvdrec.ops.text.cells import text_cells


class ModelInputs:
    """A batch in the form for models: feature groups, looked up on request.

    Attributes:
        plan: The feature plan, with the position of each group's features.
        squared: float32 scalar, half the squared embeddings of the groups requested so far, summed over rows
            and features; `embedding_regularization` multiplies it.
        sampled: The items added by a negative sampler, as rows; None if there are none.
    """

    def __init__(
        self,
        plan: FeaturePlan,
        batch: Mapping[str, tf.Tensor],
        touched: Sequence[tf.Tensor],
        layers: GroupLayers | None = None,
        run: ForwardContext | None = None,
    ) -> None:
        """Takes a packed batch and, for each bank, the touched rows.

        Args:
            plan: The feature plan, with the position of each group's features.
            batch: The arrays of `hvdrec.features.layout`.
            touched: For each bank float32 [U, D].
            layers: The layers of groups with `sequence_features`; None if there are no such groups.
            run: The forward pass.
        """
        self.plan = plan
        self._plan = plan
        self._batch = batch
        self._touched = touched
        self._groups: dict[str, tf.Tensor] = {}
        self._features: dict[str, list[tf.Tensor]] = {}
        self._pooled: dict[int, list[tf.Tensor]] = {}
        self._counted: set[GroupFeature] = set()
        self._layers = layers or GroupLayers()
        self._run_context = run or ForwardContext(training=False)
        self._sequences = SequenceArrays(plan, batch, touched, self._run_context.impl)
        self.squared = tf.constant(0.0)
        self.sampled: ModelInputs | None = None
        if plan.sampled is not None and OWNER in batch:
            self.sampled = ModelInputs(plan.sampled, _sampled_arrays(batch), touched, layers, run)

    @property
    def rows(self) -> tf.Tensor:
        """B, int32 scalar."""
        return tf.shape(self._batch["dense"])[0]

    @property
    def run(self) -> ForwardContext:
        """The forward pass."""
        return self._run_context

    def ids(self, name: str) -> tf.Tensor | None:
        """The ids packed for a feature or field, int64 [B]; None if the batch doesn't have them."""
        return self._batch.get(f"id/{name}")

    @property
    def all_squared(self) -> tf.Tensor:
        """`squared` including the sampled items, float32 scalar."""
        return self.squared if self.sampled is None else self.squared + self.sampled.all_squared

    @property
    def owners(self) -> tf.Tensor | None:
        """The row that each of the last sampled items is a negative of, int64 [O]; None without a sampler.

        The sampled items before them are negatives of all rows.
        """
        if self.sampled is None:
            return None
        owner = self._batch[OWNER]
        return tf.cast(owner[tf.math.count_nonzero(owner < 0, dtype=tf.int32) :], tf.int64)

    def candidates(self, name: str) -> tf.Tensor:
        """An item group, float32 [B + S, width]: the rows' items, then the sampled ones.

        Raises:
            ConfigError: See `concat`.
        """
        if self.sampled is None:
            return self.concat(name)
        return tf.concat([self.concat(name), self.sampled.concat(name)], axis=0)

    def concat(self, name: str) -> tf.Tensor:
        """The group's concatenated features, float32 [B, width].

        Raises:
            ConfigError: Some features are sequences.
        """
        if name not in self._groups:
            group = group_of(self._plan, name)
            if group.sequences:
                listed = ", ".join(f.feature for f in group.sequences)
                raise ConfigError(
                    f"model_config.feature_groups {name!r}: sequences can't be concatenated with features "
                    f"of one value per row here: {listed}; use a TagFeature"
                )
            parts = self._own_parts(group)
            attended = zip(group.attention, self._layers.attention(name), strict=False)
            parts += [layer(self.attention(own), self._run_context) for own, (_, layer) in attended]
            whole = parts[0] if len(parts) == 1 else tf.concat(parts, axis=1)
            repeated = self._repeated(group)
            if repeated is not None:
                self._run_context.repeated[whole.ref()] = repeated
            self._groups[name] = whole
        return self._groups[name]

    def _repeated(self, group: Group) -> Repeated | None:
        """The columns of a group that are embeddings of one id per row."""
        if self._run_context.impl != NATIVE or self._layers.drops(group.name):
            return None
        looked_up, starts, widths, start = [], [], [], 0
        for run in _runs(group.features):
            if run[0].kind is Kind.SINGLE:
                looked_up.append(self._index(run))
            for feature in run:
                if feature.kind is Kind.SINGLE:
                    starts.append(start)
                    widths.append(feature.width)
                start += feature.width
        if not looked_up:
            return None
        classes = [classes_of(index, columns) for index, columns in looked_up]
        whole = classes[0] if len(classes) == 1 else tf.concat(classes, axis=0)
        return Repeated(whole, tuple(starts), tuple(widths))

    def pairs(self, name: str) -> tf.Tensor:
        """A group for each pair of a row and its own item or a sampled one, float32 [B * (1 + S), width].

        Its attention has keys of items (`FeatureGroupConfig.negative_sampler`). A row's own item comes first,
        then the sampled ones in their order; all pairs of a row precede those of the next row.
        """
        if self.sampled is None:
            return self.concat(name)
        group, sampled = group_of(self._plan, name), group_of(self.sampled.plan, name)
        each = 1 + self.sampled.rows
        parts = [tf.repeat(part, each, axis=0) for part in self._own_parts(group)]
        for own, other, (_, layer) in zip(
            group.attention, sampled.attention, self._layers.attention(name), strict=True
        ):
            found, others = self.attention(own), self.sampled._side_by_side(other.keys)
            paired = AttentionInputs(
                query=paired_rows(found.query, others),
                history=found.history.repeated(each),
                auxiliary=tuple(auxiliary.repeated(each) for auxiliary in found.auxiliary),
            )
            parts.append(layer(paired, self._run_context))
        return parts[0] if len(parts) == 1 else tf.concat(parts, axis=1)

    def _own_parts(self, group: Group) -> list[tf.Tensor]:
        """The columns of a group without attention, float32 [B, width], or nothing."""
        parts = [self._side_by_side(group.features)] if group.features else []
        # The layers belong to the whole plan, the positions to this one.
        combined = zip(group.combined, self._layers.combiners(group.name), strict=False)
        parts += [self._combined(own.feature, layer) for own, (_, layer) in combined]
        if parts:
            side_by_side = parts[0] if len(parts) == 1 else tf.concat(parts, axis=1)
            parts = [self._layers.dropped(group.name, side_by_side, self._run_context)]
        return parts

    def sequences(self, several: Iterable[Sequence[GroupFeature]]) -> list[Jagged]:
        """The result of `sequence` for each; all must have the same lengths."""
        parts = [list(features) for features in several]
        whole = self.sequence([feature for part in parts for feature in part])
        sizes = [sum(feature.width for feature in part) for part in parts]
        split = tf.split(whole.values, sizes, axis=1)
        return [Jagged(values, whole.rows, whole.lengths) for values in split]

    def features(self, name: str) -> list[tf.Tensor]:
        """The separate parts of a group, float32 [B, width]; in a group with sequences only the features."""
        if name not in self._features:
            group = group_of(self._plan, name)
            widths = [width for _, width in group.widths]
            if group.sequences:
                widths = [feature.width for feature in group.features]
            whole = self._side_by_side(group.features) if group.sequences else self.concat(name)
            self._features[name] = tf.split(whole, widths, axis=1)
        return self._features[name]

    def texts(self, name: str) -> list[tf.Tensor]:
        """The texts of a group, string [B] each."""
        if TEXTS in self._batch:
            columns = self._batch[TEXTS]
        else:
            impl = named_implementation() or NATIVE
            columns = text_cells(self._batch["text_words"], self._batch["text_lengths"], impl=impl)
        return [columns[text.position] for text in group_of(self._plan, name).texts]

    def sequence(self, features: Sequence[GroupFeature]) -> Jagged:
        """Concatenated sequences: the elements of all rows, [E, sum of widths].

        Args:
            features: One sequence (of a group's `sequences`), or several with equal lengths in every row,
                such as those of an attention group.

        Raises:
            ValueError: Their lengths aren't known to be equal.
        """
        found = self._sequences.of(features)
        for feature, values in zip(features, found.parts, strict=True):
            if feature.kind is not Kind.NUMBER_SEQUENCE:
                self._count([feature], values)
        return found.jagged

    def attention(self, group: AttentionGroup) -> AttentionInputs:
        """The query and the histories of an attention group (of `FeaturePlan.attention` or a group's).

        EasyRec excludes auxiliary histories from `embedding_regularization`.
        """
        return AttentionInputs(
            query=self._side_by_side(group.keys),
            history=self.sequence(group.histories),
            auxiliary=tuple(self._sequences.of([feature]).jagged for feature in group.auxiliary),
        )

    def _combined(self, feature: GroupFeature, layer: Layer) -> tf.Tensor:
        """A sequence's combined vector; `embedding_regularization` includes it and the elements."""
        vectors = layer(self.sequence([feature]), self._run_context)
        self.squared += tf.nn.l2_loss(vectors)
        return vectors

    def _side_by_side(self, features: Sequence[GroupFeature]) -> tf.Tensor:
        parts = [self._run(run) for run in _runs(features)]
        return parts[0] if len(parts) == 1 else tf.concat(parts, axis=1)

    def _count(self, features: Sequence[GroupFeature], values: tf.Tensor) -> None:
        """Adds the squares of looked-up embeddings, once per feature.

        The key of an attention group can be one of its feature group's own features.
        """
        fresh = [feature for feature in features if feature not in self._counted]
        if not fresh:
            return
        self._counted.update(fresh)
        if len(fresh) == len(features):
            self.squared += tf.nn.l2_loss(values)
            return
        columns = tf.split(values, [feature.width for feature in features], axis=1)
        for feature, column in zip(features, columns, strict=True):
            if feature in fresh:
                self.squared += tf.nn.l2_loss(column)

    def stacked(self, name: str) -> tf.Tensor:
        """The group's features as float32 [B, F, D].

        Raises:
            ConfigError: The features have different widths.
        """
        group = group_of(self._plan, name)
        return tf.reshape(self.concat(name), [-1, len(group.widths), one_width(group)])

    def stackable(self, name: str) -> bool:
        """Whether the group's features have the same width, so that `stacked` takes them."""
        return len({width for _, width in group_of(self._plan, name).widths}) == 1

    def pass_on(self, name: str, same: tf.Tensor) -> None:
        """Gives those who read a group later the columns that an earlier reader passes on.

        Args:
            name: The group.
            same: Its columns, float32 [B, F, D]: the result of an operation whose gradient adds that of later
                readers to its own, so that no other operation has to.
        """
        before = self.concat(name)
        whole = tf.reshape(same, [-1, before.shape[1]])
        repeated = self._run_context.repeated.get(before.ref())
        if repeated is not None:
            self._run_context.repeated[whole.ref()] = repeated
        self._groups[name] = whole

    def row_sums(self, name: str) -> tf.Tensor:
        """The sum of the group's columns, float32 [B, 1].

        Raises:
            ConfigError: See `concat`.
        """
        features = group_of(self._plan, name).features
        if not self._sums_on_the_way(name) or not self._counted.isdisjoint(features):
            return tf.reduce_sum(self.concat(name), axis=1, keepdims=True)
        self._counted.update(features)
        sums = []
        for run in _runs(features):
            first = run[0]
            index = self._batch[f"bank{first.bank}/index"]
            found = lookup_sums(self._touched[first.bank], index, first.position, len(run))
            self.squared += found.half_squares
            sums.append(found.values)
        return sums[0] if len(sums) == 1 else tf.add_n(sums)

    def _sums_on_the_way(self, name: str) -> bool:
        """Whether the native lookup can sum a group's columns without writing them down."""
        group = group_of(self._plan, name)
        others = (*group.sequences, *group.combined, *group.attention)
        single = all(feature.kind is Kind.SINGLE for feature in group.features)
        native = self._run_context.impl == NATIVE and not self._layers.drops(name)
        return native and single and bool(group.features) and not others

    def padded(self, name: str) -> tf.Tensor:
        """The group's features as float32 [B, F, D]; narrower ones are padded with zeros."""
        if self.stackable(name):
            return self.stacked(name)
        group = group_of(self._plan, name)
        widths, most = [width for _, width in group.widths], widest(group)
        parts = zip(tf.split(self.concat(name), widths, axis=1), widths, strict=True)
        return tf.stack([tf.pad(part, [[0, 0], [0, most - width]]) for part, width in parts], axis=1)

    def _run(self, run: Sequence[GroupFeature]) -> tf.Tensor:
        first, width = run[0], sum(f.width for f in run)
        if first.kind is Kind.NUMBERS:
            return self._batch["dense"][:, first.position : first.position + width]
        if first.kind is Kind.POOLED:
            values = self._pooled_slots(first.bank)[first.position]
        else:
            index, columns = self._index(run)
            found = lookup_rows(self._touched[first.bank], index, columns, impl=self._run_context.impl)
            values = tf.reshape(found.values, [-1, width])
            if self._run_context.impl == NATIVE and self._counted.isdisjoint(run):
                # The lookup has added up the squares on its way.
                self._counted.update(run)
                self.squared += found.half_squares
        self._count(run, values)
        return values

    def _index(self, run: Sequence[GroupFeature]) -> tuple[tf.Tensor, Columns]:
        """The positions of a bank's ids, int32 [B, S], and the columns of a run.

        Selecting columns here costs nothing to differentiate, unlike slicing the embeddings.
        """
        return self._batch[f"bank{run[0].bank}/index"], Columns(run[0].position, len(run))

    def _pooled_slots(self, number: int) -> list[tf.Tensor]:
        """All pooled slots of a bank, float32 [B, D] each."""
        if number not in self._pooled:
            bank = self._plan.banks[number]
            rows, slots = self.rows, len(bank.pooled)
            weight, segment = (self._batch[f"bank{number}/multi_{part}"] for part in ("weight", "segment"))
            index = self._batch[f"bank{number}/multi_index"]
            sums = lookup_combined(
                self._touched[number], index, weight, segment, slots * rows, self._run_context.impl
            )
            parts = tf.unstack(tf.reshape(sums, [slots, rows, bank.dim]))
            if any(combiner != "sum" for combiner in bank.pooled):
                norms = Norms.of(weight, segment, slots * rows)
                by_slot = [tf.unstack(tf.reshape(norm, [slots, rows])) for norm in norms]
                parts = [
                    pooled(part, Norms(*norm), combiner)
                    for part, combiner, *norm in zip(parts, bank.pooled, *by_slot, strict=True)
                ]
            self._pooled[number] = parts
        return self._pooled[number]


def paired_rows(own: tf.Tensor, others: tf.Tensor) -> tf.Tensor:
    """Each row of `own` [B, D] followed by all rows of `others` [S, D]: [B * (1 + S), D]."""
    count, columns = tf.shape(own)[0], own.shape[1]
    repeated = tf.tile(others[tf.newaxis], [count, 1, 1])
    return tf.reshape(tf.concat([own[:, tf.newaxis], repeated], axis=1), [-1, columns])


def _sampled_arrays(batch: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    """The arrays of sampled items, under the names of the rows' arrays."""
    arrays = {
        name.removeprefix(SAMPLED_PREFIX): array
        for name, array in batch.items()
        if name.startswith(SAMPLED_PREFIX)
    }
    # The array that counts them, if they have no numbers.
    arrays.setdefault("dense", tf.zeros([tf.size(batch[OWNER]), 0]))
    return arrays


def group_of(plan: FeaturePlan, name: str) -> Group:
    """The feature group `name`.

    Raises:
        ConfigError: The group doesn't exist.
    """
    if name not in plan.groups:
        have = ", ".join(sorted(plan.groups)) or "none"
        raise ConfigError(f"model_config.feature_groups: no group is named {name!r} (there are: {have})")
    return plan.groups[name]


def widest(group: Group) -> int:
    """The width of the group's widest part."""
    return max(width for _, width in group.widths)


def one_width(group: Group) -> int:
    """The common width of a group's parts.

    Raises:
        ConfigError: The parts have different widths.
    """
    widths = {width for _, width in group.widths}
    if len(widths) != 1:
        listed = ", ".join(f"{part} ({width})" for part, width in group.widths)
        raise ConfigError(
            f"model_config.feature_groups {group.name!r}: all features must have the same width here, "
            f"found {listed}"
        )
    return widths.pop()


def _runs(features: Sequence[GroupFeature]) -> list[list[GroupFeature]]:
    """Splits features into runs that are adjacent in one array, so that each is one slice."""
    runs: list[list[GroupFeature]] = []
    for feature in features:
        last = runs[-1][-1] if runs else None
        step = last.width if last is not None and last.kind is Kind.NUMBERS else 1
        if (
            last is not None
            and feature.kind is not Kind.POOLED
            and (feature.kind, feature.bank) == (last.kind, last.bank)
            and feature.position == last.position + step
        ):
            runs[-1].append(feature)
        else:
            runs.append([feature])
    return runs
