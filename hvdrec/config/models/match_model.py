"""MatchModel in configs: a backbone with an output for users and one for items."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from hvdrec.config.backbone.check import Described
from hvdrec.config.expand import feature_list, feature_name
from hvdrec.config.layers.shapes import described as shown
from hvdrec.config.models.backbone import BackboneSpec, graph_of
from hvdrec.config.models.check import PATH, ModelCheck
from hvdrec.config.models.matching import MatchSpec, ranges_of
from hvdrec.config.samplers import sampler_config


class MatchModelSpec(BackboneSpec, MatchSpec):
    """A `backbone` whose outputs `user_tower_idx_in_output` and `item_tower_idx_in_output` are compared."""

    name = "MatchModel"
    needs: ClassVar[Mapping[str, bool]] = {}
    order = ()
    widths = ()
    reads = (
        *("l2_regularization", "user_tower_idx_in_output", "item_tower_idx_in_output"),
        *("simi_func", "temperature", "scale_simi"),
    )
    ranges = ranges_of("ModelParams")

    def item_groups(self, proto: Any) -> Sequence[str]:
        """The groups whose features read attributes of sampled items alone."""
        sampler = sampler_config(proto)
        attributes = set(sampler.attr_fields) if sampler is not None else set()
        inputs = {feature_name(f): set(f.input_names) for f in feature_list(proto)}
        return [
            group.group_name
            for group in proto.model_config.feature_groups
            if all(inputs.get(name, {""}) <= attributes for name in group.feature_names)
        ]

    def sides(self, proto: Any) -> Mapping[str, Sequence[str]]:
        """The groups that each of both outputs needs; none where the outputs aren't blocks of their own."""
        model = proto.model_config
        graph, block = graph_of(model), model.model_params
        outputs = graph.main.output_blocks
        places = {"user": block.user_tower_idx_in_output, "item": block.item_tower_idx_in_output}
        if graph.top_mlp is not None or graph.resets_inputs:
            return {}
        if not all(0 <= place < len(outputs) for place in places.values()):
            return {}
        return {side: graph.groups_for(outputs[place]) for side, place in places.items()}

    def check(self, check: ModelCheck) -> None:
        """That of a backbone, and that of a matching model."""
        BackboneSpec.check(self, check)
        MatchSpec.check(self, check)

    def check_outputs(self, check: ModelCheck, described: Described) -> None:
        """The backbone gives users and items, of one width."""
        outputs, found = described.outputs, {}
        for side in ("user", "item"):
            name = f"{side}_tower_idx_in_output"
            place = getattr(check.block, name)
            if not isinstance(outputs, list) or not 0 <= place < len(outputs):
                check.error(
                    f"{check.path}.{name}",
                    f"is {place}, and the backbone gives {shown(outputs)}; list both towers in output_blocks",
                )
            elif not isinstance(outputs[place], int):
                check.error(
                    f"{check.path}.{name}", f"needs an output [batch, columns], is {shown(outputs[place])}"
                )
            else:
                found[side] = outputs[place]
        if len(set(found.values())) > 1:
            check.error(
                f"{PATH}.backbone",
                f"users have {found['user']} columns and items {found['item']}; they must have as many",
            )
