"""Backbones of configs: their order, their errors, and the shapes of their outputs."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf import text_format

from hvdrec.config.backbone.check import describe
from hvdrec.config.backbone.graph import Graph, build_graph
from hvdrec.config.backbone.groups import GroupWidths
from hvdrec.config.backbone.run import BlockError
from hvdrec.config.protos import backbone_pb2

GROUPS = {
    "user": GroupWidths((4, 4, 8)),
    "item": GroupWidths((4, 4)),
    "wide": GroupWidths((1, 1, 1)),
    "history": GroupWidths((4,), (4, 6)),
    "price": GroupWidths((1, 2), numbers=True),
}
MLP = "keras_layer { class_name: 'MLP' mlp { hidden_units: %s } }"


def graph(text: str) -> tuple[Graph, list[str]]:
    faults: list[str] = []
    message = text_format.Parse(text, backbone_pb2.BackboneTower())
    return build_graph(message, set(GROUPS), lambda p, t: faults.append(f"{p}: {t}")), faults


def outputs(text: str) -> Any:
    built, faults = graph(text)
    assert not faults
    return describe(built, GROUPS).outputs


def block(name: str, inputs: str, rest: str = "") -> str:
    return f"blocks {{ name: '{name}' {inputs} {rest} }}\n"


def of(kind: str, name: str, rest: str = "") -> str:
    return f"inputs {{ {kind}_name: '{name}' {rest} }}"


def test_groups_are_read_in_easyrecs_order() -> None:
    """The names of tables of the run `cdn_taobao` show it: of blocks that are ready, the last is first."""
    built, _ = graph(
        block("mem", of("feature_group", "user"), MLP % 4)
        + block("gen", of("feature_group", "item"), MLP % 4)
        + block("weight", of("feature_group", "wide"), MLP % 4)
        + block("all", of("block", "weight") + of("block", "mem") + of("block", "gen"))
    )
    assert built.groups() == ["wide", "item", "user"]
    assert built.main.order == ["wide", "weight", "item", "gen", "user", "mem", "all"]
    assert built.main.concat_blocks == ("all",)


def test_a_package_is_read_where_it_is_called() -> None:
    built, faults = graph(
        "packages { name: 'tower' "
        + block("item", of("feature_group", "item"), "input_layer {}")
        + block("deep", of("block", "item"), MLP % 4)
        + "}"
        + block("user_tower", of("feature_group", "user"), MLP % 4)
        + block(
            "twin",
            of("package", "tower") + of("package", "tower"),
            "merge_inputs_into_list: true keras_layer { class_name: 'Cross' }",
        )
        + block("top", of("block", "user_tower") + of("package", "tower"), MLP % 2)
        + "concat_blocks: 'top'"
    )
    assert not faults
    assert built.groups() == ["item", "user"]
    found = describe(built, GROUPS)
    assert [(c.place.scope, c.place.key) for c in found.layers] == [
        ("backbone/twin_input/tower/deep", ("tower", "deep")),
        ("backbone/twin_input/tower/deep", ("tower", "deep")),
        ("backbone/twin", ("backbone", "twin")),
        ("backbone/user_tower", ("backbone", "user_tower")),
        ("backbone/top_input/tower/deep", ("tower", "deep")),
        ("backbone/top", ("backbone", "top")),
    ]
    assert found.outputs == 2


@pytest.mark.parametrize(
    ("text", "widths"),
    [
        (block("b", of("feature_group", "user")), 16),
        (block("a", of("feature_group", "user")) + block("b", of("feature_group", "item")), 24),
        (
            block("b", of("feature_group", "user"), "input_layer { only_output_feature_list: true }"),
            [4, 4, 8],
        ),
        (block("b", of("feature_group", "item"), "input_layer { only_output_3d_tensor: true }"), (2, 4)),
        (
            block(
                "b", of("feature_group", "user"), "input_layer { output_2d_tensor_and_feature_list: true }"
            ),
            [16, [4, 4, 8]],
        ),
        (
            block("b", of("feature_group", "history"), "input_layer { output_seq_and_normal_feature: true }"),
            [(None, 10), (), 4],
        ),
        (
            block(
                "b",
                of("feature_group", "history"),
                "input_layer { output_seq_and_normal_feature: true concat_seq_feature: false }",
            ),
            [[(None, 4), (None, 6)], (), [4]],
        ),
        (block("b", of("feature_group", "price"), "raw_input {}"), [1, 2]),
        *(
            (
                block("a", of("feature_group", "item"), "input_layer { only_output_3d_tensor: true }")
                + block("b", of("block", "a") * 2, f"input_concat_axis: {axis}"),
                widths,
            )
            for axis, widths in ((1, (4, 4)), (2, (2, 8)), (-1, (2, 8)))
        ),
        (
            "packages { name: 'p' "
            + block("x", of("feature_group", "user"), "input_layer {}")
            + "}"
            + block(
                "b",
                of("package", "p")
                + of("package", "p", "reset_input { only_output_feature_list: true }")
                + of("package", "p"),
                "merge_inputs_into_list: true",
            ),
            [16, [4, 4, 8], [4, 4, 8]],
        ),
        (
            block("f", of("feature_group", "user"), "input_layer { only_output_feature_list: true }")
            + block("b", of("block", "f", "input_slice: '[1:]'")),
            [4, 8],
        ),
        (block("b", of("feature_group", "user") + of("feature_group", "item"), MLP % 3), 3),
        (
            block("b", of("feature_group", "item"), "repeat { num_repeat: 2 " + MLP % 3 + "}"),
            [3, 3],
        ),
        (
            block(
                "b",
                of("feature_group", "item"),
                "repeat { num_repeat: 2 output_concat_axis: 1 " + MLP % 3 + "}",
            ),
            6,
        ),
        (
            block(
                "b",
                of("feature_group", "item", "input_fn: 'lambda x: [x, 2 * x]'"),
                "repeat { num_repeat: 2 input_slice: '[i]' output_concat_axis: -1 " + MLP % 3 + "}",
            ),
            6,
        ),
        (
            block(
                "b",
                of("feature_group", "item", "input_fn: 'lambda x: [x, x]'"),
                "recurrent { num_steps: 3 fixed_input_index: 0 keras_layer { class_name: 'Cross' } }",
            ),
            8,
        ),
        (block("b", of("feature_group", "item"), "recurrent { num_steps: 2 " + MLP % 3 + "}"), 3),
        (
            block(
                "b",
                of("feature_group", "item"),
                "layers { " + MLP % 3 + "} layers { lambda { expression: 'lambda x: [x, x]' } }",
            ),
            [3, 3],
        ),
        (
            block("b", of("feature_group", "item"), "extra_input_fn: 'lambda x: [x, x]'")
            + "top_mlp { hidden_units: 5 }",
            5,
        ),
        (
            block("a", of("feature_group", "item"))
            + block("b", of("feature_group", "user"))
            + "output_blocks: ['b', 'a']",
            [16, 8],
        ),
        (
            block("a", of("feature_group", "item"), MLP % 3)
            + block("b", of("block", "a", "ignore_input: true") + of("feature_group", "user")),
            16,
        ),
    ],
)
def test_shapes(text: str, widths: Any) -> None:
    assert outputs(text) == widths


def test_a_package_gets_inputs() -> None:
    text = (
        "packages { name: 'double' "
        + block(
            "d",
            "inputs { use_package_input: true input_fn: 'lambda x: [x, x]' }",
            "extra_input_fn: 'lambda x: tf.concat(x, 1)'",
        )
        + "} packages { name: 'plain' "
        + block("p", of("feature_group", "user"))
        + "} packages { name: 'both' "
        + block("e", of("block", "first") + "inputs { use_package_input: true }")
        + "}"
        + block("first", of("feature_group", "item"))
        + block("b", of("package", "double", "package_input: 'first'"))
        + block("c", of("package", "both", "package_input: 'plain' package_input_fn: 'lambda x: x[:, :1]'"))
        + "output_blocks: ['b', 'c']"
    )
    assert outputs(text) == [16, 9]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "model_config.backbone: has no blocks"),
        (block("b", ""), "blocks[0]: block 'b' has no inputs"),
        (block("b", of("block", "c")), "blocks[0].inputs[0].block_name: no block is named 'c'"),
        (block("b", of("block", "b")), "blocks[0].inputs[0].block_name: block 'b' is its own input"),
        (
            block("b", of("feature_group", "usr")),
            "feature_group_name: no group of feature_groups is named 'usr'; did you mean user?",
        ),
        (block("b", of("package", "p")), "blocks[0].inputs[0].package_name: no package is named 'p'"),
        (
            block("b", "inputs { use_package_input: true }"),
            "use_package_input: can be set only in blocks of a package",
        ),
        (block("b", "inputs { }"), "blocks[0].inputs[0]: needs feature_group_name, block_name"),
        (block("b", of("feature_group", "user")) * 2, "blocks[1].name: there are two blocks named 'b'"),
        (
            block("a", of("block", "c")) + block("b", of("block", "a")) + block("c", of("block", "b")),
            "blocks[0].inputs: blocks depend on each other in a cycle: a -> b -> c -> a",
        ),
        (
            block("b", of("feature_group", "user")) + "concat_blocks: 'x'",
            "concat_blocks[0]: no block is named 'x'",
        ),
        (
            block("b", of("feature_group", "user") * 2, "input_layer {}"),
            "blocks[0].inputs: block 'b' with input_layer needs exactly one input",
        ),
        (
            "packages { name: 'p' "
            + block("x", of("package", "q"))
            + "} packages { name: 'q' "
            + block("y", of("package", "p"))
            + "}"
            + block("b", of("package", "p")),
            "packages[0].name: packages depend on each other in a cycle: p -> q -> p",
        ),
        (
            block("b", of("feature_group", "user", "package_input: 'x'")),
            "inputs[0].package_input: can be set only in inputs with a package_name",
        ),
    ],
)
def test_a_graph_that_does_not_hold_together(text: str, said: str) -> None:
    _, faults = graph(text)
    assert any(said in fault for fault in faults), faults


@pytest.mark.parametrize(
    ("text", "path", "said"),
    [
        (
            block("b", of("feature_group", "history")),
            "blocks[0].inputs[0]",
            "the feature group has sequences",
        ),
        (
            block("b", of("feature_group", "user"), "input_layer { only_output_3d_tensor: true }"),
            "blocks[0]",
            "features of the same width, found 4, 4, 8",
        ),
        (block("b", of("feature_group", "user"), "raw_input {}"), "blocks[0]", "needs a group of numbers"),
        (
            block("b", of("feature_group", "user"), "keras_layer { class_name: 'MPL' }"),
            "blocks[0].keras_layer.class_name",
            "did you mean MLP?",
        ),
        (
            block("b", of("feature_group", "user"), MLP % 0),
            "blocks[0].keras_layer.mlp.hidden_units[0]",
            "must be at least 1, is 0",
        ),
        (
            block("b", of("feature_group", "user", "input_fn: 'lambda x: [x]'"), MLP % 2),
            "blocks[0].keras_layer",
            "found a list of 1 ([batch, 16])",
        ),
        (
            block("b", of("feature_group", "user", "input_slice: '[1]'")),
            "blocks[0].inputs[0].input_slice",
            "the batch dimension can't be sliced",
        ),
        (
            block("a", of("feature_group", "item"), "input_layer { only_output_3d_tensor: true }")
            + block("b", of("block", "a") + of("feature_group", "user")),
            "blocks[1].inputs",
            "tensors of different ranks can't be concatenated: [batch, 2, 4], [batch, 16]",
        ),
        (
            "packages { name: 'p' "
            + block("x", "inputs { use_package_input: true }")
            + "}"
            + block("b", of("package", "p")),
            "packages[0].blocks[0].inputs[0].use_package_input",
            "is used somewhere without a package_input",
        ),
        (
            block(
                "b",
                of("feature_group", "user"),
                "recurrent { num_steps: 2 fixed_input_index: 1 " + MLP % 2 + "}",
            ),
            "blocks[0].recurrent.fixed_input_index",
            "needs a list of more than 1 inputs",
        ),
        (
            block("b", of("feature_group", "user"), "lambda { expression: 'lambda x: open(x)' }"),
            "blocks[0].lambda.expression",
            "'open' is not among",
        ),
        (
            block("a", of("feature_group", "user"), "lambda { expression: 'lambda x: tf.transpose(x)' }"),
            "",
            "its first dimension is not the batch dimension",
        ),
    ],
)
def test_a_block_that_does_not_fit(text: str, path: str, said: str) -> None:
    built, faults = graph(text)
    assert not faults
    with pytest.raises(BlockError) as caught:
        describe(built, GROUPS)
    assert said in str(caught.value)
    assert caught.value.path == f"model_config.backbone{'.' if path else ''}{path}"
