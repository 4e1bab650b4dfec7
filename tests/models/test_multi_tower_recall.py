"""MultiTowerRecall: each row's user combined with every sampled item, and what is refused."""

from __future__ import annotations

import pathlib

import numpy as np
import pytest
import tensorflow as tf
from sample_configs import FOLDER, prepared

from hvdrec.config.checks.check import check
from hvdrec.errors import ConfigError
from hvdrec.models.inputs import ModelInputs
from hvdrec.parallel.single import SingleReplica
from hvdrec.trainer.input import open_batches
from hvdrec.trainer.job import Job

NAME = "multi_tower_recall_neg_sampler_sequence_feature.config"
pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason="EasyRec's sample configs are in ../shared")
ROWS = 48
ITEM = ("adgroup_id", "cate_id", "campaign_id", "customer", "brand", "price")


def with_one_user(proto: object, path: pathlib.Path) -> None:
    """Gives all rows the user of the first, with different items."""
    names = [field.input_name for field in proto.data_config.input_fields]
    rows = [line.split(proto.data_config.separator) for line in path.read_text().splitlines()]
    for row in rows:
        for place, name in enumerate(names):
            row[place] = row[place] if name in ITEM else rows[0][place]
    path.write_text("".join(proto.data_config.separator.join(row) + "\n" for row in rows))


def test_pairs_are_what_rows_with_those_items_would_be(tmp_path: pathlib.Path) -> None:
    config = prepared(NAME, tmp_path, ROWS)
    proto = config.proto
    proto.data_config.batch_size = ROWS
    proto.data_config.negative_sampler.num_eval_sample = 5
    with_one_user(proto, tmp_path / "rows.csv")
    check(config)
    job = Job(config, SingleReplica())
    with open_batches(proto, job.plan, SingleReplica(), False) as batches:
        arrays = {name: tf.constant(array) for name, array in next(batches).arrays.items()}
    inputs = ModelInputs(job.plan, arrays, job.recommender.touch(arrays), job.recommender.group_layers)
    pairs = inputs.pairs("user").numpy().reshape(ROWS, 6, -1)
    alone = inputs.concat("user").numpy()
    np.testing.assert_allclose(pairs[:, 0], alone, rtol=1e-5, atol=1e-6)
    items, sampled = (part.concat("item").numpy() for part in (inputs, inputs.sampled))
    for place, item in enumerate(sampled):
        (same,) = np.flatnonzero((items == item).all(axis=1))[:1]
        expected = np.broadcast_to(alone[same], pairs[:, 1 + place].shape)
        np.testing.assert_allclose(pairs[:, 1 + place], expected, rtol=1e-5, atol=1e-6)
    assert len(np.unique(pairs[0], axis=0)) > 1


def test_mistakes_are_told(tmp_path: pathlib.Path) -> None:
    def problem(change) -> str:
        config = prepared(NAME, tmp_path)
        change(config.proto)
        with pytest.raises(ConfigError) as error:
            check(config)
        return str(error.value)

    def other_model(proto) -> None:
        proto.model_config.model_class = "DSSM"

    def keys(proto) -> None:
        proto.model_config.feature_groups[0].sequence_features[0].seq_att_map[0].key[0] = "user_id"

    def no_pairs(proto) -> None:
        proto.model_config.feature_groups[0].negative_sampler = False

    def widths(proto) -> None:
        proto.model_config.multi_tower_recall.item_tower.dnn.hidden_units[-1] = 3

    assert (
        "negative_sampler: applies only to MultiTowerRecall's 'user', not to this group of DSSM"
        in problem(other_model)
    )
    assert "'user_id' reads 'user_id', which sampled items don't have" in problem(keys)
    assert "negative_sampler: must be true with a sampler" in problem(no_pairs)
    assert "item_tower.dnn.hidden_units: must end with the width of user_tower" in problem(widths)
