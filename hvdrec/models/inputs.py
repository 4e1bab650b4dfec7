"""Feature groups as tensors: what models see of a packed batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import tensorflow as tf

from hvdrec.errors import ConfigError
from hvdrec.features.plan import FeaturePlan, Group, GroupFeature
from hvdrec.layers.bank import lookup, lookup_combined


class ModelInputs:
    """One batch as models see it: feature groups, looked up when they're asked for.

    Attributes:
        squared: float32 scalar, half the squared embeddings of the groups asked for so far,
            added over rows and features; `embedding_regularization` multiplies it.
    """

    def __init__(
        self, plan: FeaturePlan, batch: Mapping[str, tf.Tensor], touched: Sequence[tf.Tensor]
    ) -> None:
        """Takes a packed batch and, for each bank, the rows it touches.

        Args:
            plan: Says where each group's features lie.
            batch: The arrays of `hvdrec.data.batch.PackedBatch`.
            touched: For each bank float32 [U, D].
        """
        self._plan = plan
        self._batch = batch
        self._touched = touched
        self._groups: dict[str, tf.Tensor] = {}
        self._multi: dict[int, tf.Tensor] = {}
        self.squared = tf.constant(0.0)

    def concat(self, name: str) -> tf.Tensor:
        """The group's features side by side, float32 [B, width]."""
        if name not in self._groups:
            group = group_of(self._plan, name)
            parts = [self._run(run) for run in _runs(group.features)]
            self._groups[name] = parts[0] if len(parts) == 1 else tf.concat(parts, axis=1)
        return self._groups[name]

    def stacked(self, name: str) -> tf.Tensor:
        """The group's features as float32 [B, F, D].

        Raises:
            ConfigError: They aren't all of one width.
        """
        group = group_of(self._plan, name)
        widths = {f.width for f in group.features}
        if len(widths) != 1:
            listed = ", ".join(f"{f.feature} ({f.width})" for f in group.features)
            raise ConfigError(
                f"model_config.feature_groups {name!r}: all features must have one width here, found {listed}"
            )
        return tf.reshape(self.concat(name), [-1, len(group.features), widths.pop()])

    def _run(self, run: Sequence[GroupFeature]) -> tf.Tensor:
        first, width = run[0], sum(f.width for f in run)
        if first.kind == "dense":
            return self._batch["dense"][:, first.position : first.position + width]
        if first.kind == "multi":
            values = self._multi_valued(first.bank)[first.position]
        else:
            index = self._batch[f"bank{first.bank}/index"]
            # Slicing the index costs nothing to differentiate, unlike slicing the embeddings.
            index = index[:, first.position : first.position + len(run)]
            values = tf.reshape(lookup(self._touched[first.bank], index), [-1, width])
        self.squared += tf.nn.l2_loss(values)
        return values

    def _multi_valued(self, bank: int) -> tf.Tensor:
        """All multi-valued slots of a bank, float32 [M, B, D]."""
        if bank not in self._multi:
            slots = self._plan.banks[bank].multis
            rows = tf.shape(self._batch["dense"])[0]
            values = lookup_combined(
                self._touched[bank],
                self._batch[f"bank{bank}/multi_index"],
                self._batch[f"bank{bank}/multi_weight"],
                self._batch[f"bank{bank}/multi_segment"],
                slots * rows,
            )
            self._multi[bank] = tf.reshape(values, [slots, rows, self._plan.banks[bank].dim])
        return self._multi[bank]


def group_of(plan: FeaturePlan, name: str) -> Group:
    """The feature group `name`.

    Raises:
        ConfigError: There is none of that name.
    """
    if name not in plan.groups:
        have = ", ".join(sorted(plan.groups)) or "none"
        raise ConfigError(f"model_config.feature_groups: no group is named {name!r} (there are: {have})")
    return plan.groups[name]


def _runs(features: Sequence[GroupFeature]) -> list[list[GroupFeature]]:
    """Splits features into runs that lie side by side in one array, so that each is one slice."""
    runs: list[list[GroupFeature]] = []
    for feature in features:
        last = runs[-1][-1] if runs else None
        step = last.width if last is not None and last.kind == "dense" else 1
        if (
            last is not None
            and feature.kind != "multi"
            and (feature.kind, feature.bank) == (last.kind, last.bank)
            and feature.position == last.position + step
        ):
            runs[-1].append(feature)
        else:
            runs.append([feature])
    return runs
