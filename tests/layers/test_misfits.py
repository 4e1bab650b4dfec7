"""What blocks refuse in their parameters and inputs, without building anything."""

from __future__ import annotations

from typing import Any

import pytest

from hvdrec.config.layers.registry import REFUSED, SPECS, unknown
from hvdrec.config.layers.shapes import ShapeError, Widths
from hvdrec.config.protos import keras_layer_pb2

MLP = {"hidden_units": [2]}
BERT = {
    "hidden_size": 4,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 4,
}
SEQUENCE: Widths = [(None, 4), (), 4]


def _read(class_name: str, values: dict[str, Any]) -> tuple[Any, list[str]]:
    message = keras_layer_pb2.KerasLayer(class_name=class_name)
    message.st_params.update(values)
    config, problems = SPECS[class_name].read(message)
    return config, [f"{problem.path}: {problem.text}" for problem in problems]


@pytest.mark.parametrize(
    ("class_name", "values", "inputs", "needs"),
    [
        ("MLP", MLP, [4], "one input [batch, ..., columns], found a list of 1 ([batch, 4])"),
        ("DotInteraction", {}, [4, 5], "a list of features of the same width"),
        ("DotInteraction", {}, [4], "at least two features"),
        ("BiLinear", {"num_output_units": 2}, [4], "at least two features"),
        (
            "BiLinear",
            {"num_output_units": 2, "type": "each"},
            [4, 5],
            "features of the same width for type each",
        ),
        ("SENet", {"num_squeeze_group": 3}, [6, 4], "with widths divisible by num_squeeze_group (3)"),
        ("FiBiNet", {}, 4, "a list of features"),
        ("CIN", {"hidden_feature_sizes": [2]}, 4, "a list of features of the same width"),
        ("Gate", {}, [1, 4, 4], "the weights [batch, n] at weight_index (0) and up to n tensors"),
        ("Gate", {"weight_index": 3}, [2, 4, 4], "at weight_index (3)"),
        ("Gate", {}, [2, 4, 5], "of the same width"),
        ("MaskBlock", {"aggregation_size": 4}, [4, 4, 4], "a tensor [batch, columns] and the mask's input"),
        ("MaskBlock", {"reduction_factor": 0.1}, 4, "more columns in the mask's input"),
        ("MaskNet", {"mask_blocks": [{"aggregation_size": 2}]}, [4, 4], "one input [batch, columns]"),
        ("PPNet", {"mlp": MLP}, 4, "a list of the MLP's input [batch, columns] and the gates' input"),
        (
            "PPNet",
            {"mlp": MLP, "mode": "eager", "gate_params": {"output_dim": 5}},
            [4, 4],
            "x with 5 columns, as gate_params.output_dim declares",
        ),
        ("AutoDisEmbedding", {"embedding_dim": 2, "num_bins": 2, "temperature": 1}, [4], "one input"),
        ("PeriodicEmbedding", {"embedding_dim": 2, "sigma": 1}, (3, 4), "one input"),
        ("NaryDisEmbedding", {"embedding_dim": 2, "carries": [2]}, [4], "one input"),
        ("DIN", {"attention_dnn": {"hidden_units": [1]}}, [(None, 4), ()], "a sequence and a target"),
        ("DIN", {"attention_dnn": {"hidden_units": [1]}}, [(None, 4), (), 5], "not wider than an element"),
        ("BST", BERT, [(None, 4), (), 5], "a target with as many columns as an element"),
        ("BST", BERT, 4, "the sequence of an input_layer with output_seq_and_normal_feature"),
        ("Attention", {}, [(2, 4)], "a list of queries"),
        ("Attention", {}, [(2, 3), (5, 4)], "queries and keys with the same number of columns"),
        ("MultiHeadAttention", {"num_heads": 2, "key_dim": 2}, [(2, 3), (5, 4), (6, 4)], "a list of queries"),
        (
            "TransformerBlock",
            {"hidden_size": 4, "num_attention_heads": 2},
            [(None, 5), ()],
            "hidden_size = 4",
        ),
        ("TransformerEncoder", {**BERT, "vocab_size": 9}, [(None, 5), ()], "a list of token ids [batch, T]"),
        (
            "TextCNN",
            {"filter_sizes": [2], "num_filters": [2], "pad_sequence_length": 4},
            (3, 4),
            "the sequence",
        ),
        ("SeqAugment", {}, [4, 4], "the sequence"),
        ("AuxiliaryLoss", {"loss_type": "l2_loss"}, [4, 5], "two tensors [batch, columns] with the same"),
        ("MMoE", {"num_task": 2, "num_expert": 2}, [4, 4], "the num_expert (2) experts"),
        ("MMoE", {"num_task": 2, "num_expert": 2}, [4, 5, 3], "the num_expert (2) experts"),
        ("MMoE", {"num_task": 2, "num_expert": 2, "expert_mlp": MLP}, [4, 4], "one input"),
        ("AITMTower", {}, [], "the tower [batch, columns]"),
        (
            "AITMTower",
            {"transfer_mlp": MLP},
            [4, 4, 5],
            "towers of the same width, because all of them use transfer_mlp",
        ),
        ("Add", {}, [4, 5], "at least two tensors of the same shape"),
        ("Subtract", {}, [4, 4, 4], "a list of two tensors of the same shape"),
        ("Concatenate", {"axis": 1}, [(3, 4), (3, 5)], "equal shapes except along axis 1"),
        ("Concatenate", {"axis": 0}, [4, 4], "equal shapes except along axis 0"),
        ("Dot", {"axes": 2}, [(3, 4), (3, 5)], "equally long on axis 2"),
        ("Softmax", {"axis": 0}, 4, "axis 0 exists and is not the batch axis"),
        ("Flatten", {}, (None, 4), "with known dimensions"),
        ("Reshape", {"target_shape": [3, -1]}, 4, "as many numbers per row as target_shape (3, -1) has"),
        ("Permute", {"dims": [2, 1]}, 4, "2 dimensions besides the batch"),
        ("RepeatVector", {"n": 2}, (3, 4), "one input"),
        ("GlobalMaxPooling1D", {}, 4, "one tensor [batch, length, columns]"),
        ("Dropout", {"rate": 0.5}, [4], "one tensor"),
    ],
)
def test_inputs(class_name: str, values: dict[str, Any], inputs: Widths, needs: str) -> None:
    config, problems = _read(class_name, values)
    assert not problems
    with pytest.raises(ShapeError) as caught:
        SPECS[class_name].outputs(config, inputs)
    assert needs in str(caught.value)


@pytest.mark.parametrize(
    ("class_name", "values", "said"),
    [
        (
            "MaskBlock",
            {"output_size": 2},
            "st_params.aggregation_size: is missing; set it or reduction_factor",
        ),
        ("MaskNet", {"mask_blocks": [{}]}, "st_params.mask_blocks[0].aggregation_size: is missing"),
        ("MaskNet", {}, "st_params: mask_blocks is missing"),
        ("FiBiNet", {"mlp": {**MLP, "dropout_ratio": [0, 0]}}, "st_params.mlp.dropout_ratio: has 2 rates"),
        ("FiBiNet", {"senet": {"reduction_ratio": 0}}, "st_params.senet.reduction_ratio: must be at least 1"),
        ("BiLinear", {"type": "some", "num_output_units": 2}, "must be one of all, each, interaction"),
        ("PPNet", {"mlp": MLP, "mode": "lazzy"}, "st_params.mode: must be one of eager, lazy"),
        ("PeriodicEmbedding", {"embedding_dim": 3, "sigma": 1}, "embedding_dim: must be even, is 3"),
        ("NaryDisEmbedding", {"embedding_dim": 3, "carries": [1]}, "carries[0]: must be at least 2"),
        ("DIN", {"attention_dnn": MLP}, "attention_dnn.hidden_units: must end in 1"),
        (
            "BST",
            {**BERT, "hidden_size": 5},
            "hidden_size: must be a multiple of num_attention_heads (2), is 5",
        ),
        ("BST", {**BERT, "target_item_position": "front"}, "must be one of head, tail, ignore"),
        (
            "TransformerEncoder",
            {**BERT, "hidden_size": 3, "vocab_size": 2, "num_attention_heads": 1},
            "must be even",
        ),
        (
            "TextCNN",
            {"filter_sizes": [2, 3], "num_filters": [4], "pad_sequence_length": 5},
            "num_filters: has 1 numbers for 2 filter_sizes",
        ),
        (
            "TextCNN",
            {"filter_sizes": [3], "num_filters": [4], "pad_sequence_length": 2},
            "pad_sequence_length: must be at least the largest of filter_sizes (3), is 2",
        ),
        ("AuxiliaryLoss", {"loss_type": "nce"}, "must be one of l2_loss, info_nce, nce_loss"),
        (
            "MultiHeadAttention",
            {"num_heads": 2, "key_dim": 2, "attention_axes": [2]},
            "attention_axes[0]: must be",
        ),
        ("Dot", {"axes": 0}, "axes: must not be 0"),
        ("Reshape", {"target_shape": [0, 2]}, "target_shape: must be positive numbers"),
        ("Permute", {"dims": [1, 3]}, "dims: must be a permutation of the numbers from 1 to 2"),
        ("MLP", {**MLP, "activation": "softmax"}, "EasyRec uses linear for 'softmax'; write linear"),
        ("MLP", {**MLP, "activation": "prelu"}, "EasyRec uses leaky_relu for 'prelu'"),
    ],
)
def test_parameters(class_name: str, values: dict[str, Any], said: str) -> None:
    assert any(said in problem for problem in _read(class_name, values)[1])


def test_a_path_says_which_activation_is_meant() -> None:
    assert not _read("MLP", {**MLP, "activation": "tf.nn.softmax"})[1]


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_here_has_a_reason(name: str) -> None:
    assert name not in SPECS
    assert unknown(name).startswith(f"{name} ")
    assert "; " in unknown(name), "says what to do instead"


def test_a_misspelt_layer() -> None:
    assert unknown("MaskNett").startswith("there is no layer 'MaskNett'; did you mean MaskNet")
