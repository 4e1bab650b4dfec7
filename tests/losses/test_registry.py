"""Configs that losses refuse."""

from __future__ import annotations

import pytest
import tensorflow as tf
from losses import running

from hvdrec.config.losses import SPECS, default_name
from hvdrec.config.models.registry import classes_of_losses
from hvdrec.config.protos import loss_pb2
from hvdrec.errors import ConfigError
from hvdrec.losses import registry
from hvdrec.losses.pair_wise_loss import pair_wise_loss


def test_all_losses_are_tried_by_the_tests() -> None:
    tried = (*running.CONFIGS, *running.OF_SEVERAL)
    assert {running.parse(t).loss_type for t in tried} == {
        running.parse(f"loss_type: {n}").loss_type for n in registry.names() if n not in classes_of_losses()
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("loss_type: KL_DIVERGENCE_LOSS", "loss_type: KL_DIVERGENCE_LOSS is not supported"),
        ("loss_type: ZILN_LOSS", "loss_type: ZILN_LOSS needs num_class: 3, but num_class is 1"),
        (
            "loss_type: LISTWISE_RANK_LOSS listwise_rank_loss { transform_fn: 'os.system' }",
            r"listwise_rank_loss\.transform_fn: 'os\.system' is not known; use one of tf\.math\.abs, ",
        ),
        (
            "loss_type: PAIR_WISE_LOSS pairwise_logistic_loss { }",
            "pairwise_logistic_loss: does not belong to PAIR_WISE_LOSS; its parameters go into pairwise_loss",
        ),
        (
            "loss_type: PAIR_WISE_LOSS pairwise_loss { temperature: 0 }",
            r"pairwise_loss\.temperature: must be at least 1e-06 and at most 1e\+06, is 0",
        ),
        (
            "loss_type: PAIR_WISE_LOSS pairwise_loss { margin: nan }",
            r"pairwise_loss\.margin: must be a finite number, is nan",
        ),
        (
            "loss_type: PAIRWISE_FOCAL_LOSS pairwise_focal_loss { ohem_ratio: 1.5 }",
            r"pairwise_focal_loss\.ohem_ratio: must be above 0 and at most 1, is 1\.5",
        ),
        (
            "loss_type: BINARY_FOCAL_LOSS binary_focal_loss { gamma: -1 }",
            r"binary_focal_loss\.gamma: must be at least 0 and at most 100, is -1",
        ),
        (
            "loss_type: BINARY_FOCAL_LOSS binary_focal_loss { alpha: 2 }",
            r"binary_focal_loss\.alpha: must be at least 0 and at most 1, is 2",
        ),
        (
            "loss_type: F1_REWEIGHTED_LOSS f1_reweighted_loss { f1_beta_square: 0 }",
            r"f1_reweighted_loss\.f1_beta_square: must be at least 1e-06 and at most 1e\+06, is 0",
        ),
        (
            "loss_type: PAIRWISE_HINGE_LOSS pairwise_hinge_loss { use_exponent: true }",
            r"pairwise_hinge_loss\.use_exponent: is not supported",
        ),
    ],
)
def test_refused(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match="^" + message):
        running.build(text)


def test_every_loss_has_its_spec_and_the_other_way_round() -> None:
    assert set(registry.BUILDERS) == set(SPECS) <= set(loss_pb2.LossType.keys())
    assert all(spec.kind == name for name, spec in SPECS.items())


@pytest.mark.parametrize("name", SPECS)
def test_the_parameters_of_a_spec_are_a_field_of_the_config(name: str) -> None:
    fields = {field.name for field in loss_pb2.Loss.DESCRIPTOR.oneofs_by_name["loss_param"].fields}
    assert SPECS[name].param_field in {None, *fields}


def test_names_in_logs() -> None:
    """EasyRec's; of a loss that isn't supported too, as its config may name others."""
    kinds = ("CLASSIFICATION", "SIGMOID_L2_LOSS", "CIRCLE_LOSS", "KL_DIVERGENCE_LOSS")
    assert [default_name(kind) for kind in kinds] == [
        *("cross_entropy_loss", "l2_loss", "circle_loss", "kl_divergence_loss")
    ]


@pytest.mark.parametrize(
    "name", [n for n in registry.names() if n != "CLASSIFICATION" and SPECS[n].num_class == 1]
)
def test_one_class_only(name: str) -> None:
    with pytest.raises(ConfigError, match=f"{name} needs num_class: 1, but num_class is 2"):
        running.build(f"loss_type: {name}", 2)


def test_an_unknown_implementation() -> None:
    with pytest.raises(ValueError, match="'fast' is not one of native, tensorflow"):
        pair_wise_loss(tf.zeros([2]), tf.constant([0.0, 1.0]), impl="fast")
