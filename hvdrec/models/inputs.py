"""Feature groups as tensors: what models see of a packed batch."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from hvdrec.errors import ConfigError
from hvdrec.features.plan import FeaturePlan, Group, GroupFeature


class ModelInputs:
    """The looked-up embeddings and numbers of one batch, by feature group."""

    def __init__(
        self,
        plan: FeaturePlan,
        single: Sequence[tf.Tensor],
        multi: Sequence[tf.Tensor],
        dense: tf.Tensor,
    ) -> None:
        """Takes each bank's lookups.

        Args:
            plan: Says where each group's features lie.
            single: For each bank float32 [B, S, D], its single-valued slots.
            multi: For each bank float32 [M, B, D], its multi-valued slots.
            dense: float32 [B, D], the numeric features.
        """
        self._plan = plan
        self._single = single
        self._multi = multi
        self._dense = dense

    def concat(self, name: str) -> tf.Tensor:
        """The group's features side by side, float32 [B, width]."""
        parts: list[tf.Tensor] = []
        for run in _runs(self._group(name).features):
            parts.append(self._run(run))
        return parts[0] if len(parts) == 1 else tf.concat(parts, axis=1)

    def features(self, name: str) -> list[tf.Tensor]:
        """The group's features one by one, each float32 [B, its width]."""
        return [self._run([feature]) for feature in self._group(name).features]

    def stacked(self, name: str) -> tf.Tensor:
        """The group's features as float32 [B, F, D].

        Raises:
            ConfigError: They aren't all of one width.
        """
        group = self._group(name)
        widths = {f.width for f in group.features}
        if len(widths) != 1:
            listed = ", ".join(f"{f.feature} ({f.width})" for f in group.features)
            raise ConfigError(
                f"model_config.feature_groups {name!r}: all features must have one width here, found {listed}"
            )
        return tf.reshape(self.concat(name), [-1, len(group.features), widths.pop()])

    def width(self, name: str) -> int:
        """Columns of `concat`."""
        return self._group(name).width

    def _group(self, name: str) -> Group:
        return group_of(self._plan, name)

    def _run(self, run: Sequence[GroupFeature]) -> tf.Tensor:
        first, width = run[0], sum(f.width for f in run)
        if first.kind == "dense":
            return self._dense[:, first.position : first.position + width]
        if first.kind == "multi":
            return self._multi[first.bank][first.position]
        slots = self._single[first.bank]
        if len(run) != slots.shape[1]:
            slots = slots[:, first.position : first.position + len(run)]
        return tf.reshape(slots, [-1, width])


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
