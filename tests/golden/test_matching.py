"""EasyRec's runs of matching models, with the negatives that its samplers drew."""

from __future__ import annotations

import json
import pathlib
from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pytest
import tensorflow as tf
from golden.easyrec import GoldenRun, golden_run, our_ends, our_trace, parted, starts

from hvdrec.commands.restored import restore
from hvdrec.data.batch import InputPosition
from hvdrec.data.negatives import sampler as samplers
from hvdrec.data.negatives.sampler import Drawn, Sampler
from hvdrec.layers.attention.target import AttentionInputs, TargetAttention
from hvdrec.layers.context import ForwardContext
from hvdrec.losses import softmax_cross_entropy
from hvdrec.models import match_model
from hvdrec.models.backbone.engine import Backbone
from hvdrec.models.base import ModelBuild
from hvdrec.ops.in_batch_softmax import masked_pairs
from hvdrec.parallel.single import SingleReplica
from hvdrec.trainer import input as trainer_input

#: Least probability of a row's own item that EasyRec distinguishes from 0.
LEAST = 1e-12


class Replayed(Sampler):
    """Returns the items that EasyRec drew, batch by batch."""

    def __init__(self, real: Sampler, run: GoldenRun) -> None:
        self.table = real.table
        self._place = {int(id_): place for place, id_ in enumerate(real.table.ids)}
        self._drawn = json.loads((run.folder / "sampled_negatives.json").read_text())

    def draw(self, rows: pa.RecordBatch, position: InputPosition, locate: Callable[[int], str]) -> Drawn:
        drawn = Drawn.shared(self._places(self._drawn.pop(0)["ids"]))
        if not self._drawn or self._drawn[0]["kind"] != "hard":
            return drawn
        hard = self._drawn.pop(0)
        owners = np.array([row for row, _ in hard["indices"]], np.int32)
        return Drawn(
            np.concatenate([drawn.places, self._places(hard["ids"])]), np.concatenate([drawn.owners, owners])
        )

    def _places(self, ids: list[str | int]) -> np.ndarray:
        return np.array([self._place[int(id_)] for id_ in ids], np.int32)


def as_easyrec(candidates: softmax_cross_entropy.Candidates, weights=None, **_: object) -> tf.Tensor:
    """The loss with the log of p + 1e-12, on matrices."""
    queries, items = candidates.queries, candidates.items
    logits = tf.matmul(queries, items, transpose_b=True)
    masked = masked_pairs(tf.shape(queries)[0], tf.shape(items)[0], candidates.item_ids, candidates.owners)
    if masked is not None:
        logits = tf.where(masked, -1e30, logits)
    assert weights is None
    return -tf.reduce_mean(tf.math.log(tf.linalg.diag_part(tf.nn.softmax(logits)) + LEAST))


def replay(run: GoldenRun, monkeypatch: pytest.MonkeyPatch) -> None:
    """Has EasyRec's draws drawn, and its files found."""
    monkeypatch.chdir(run.folder)

    def opened(proto: object, training: bool, rank: int) -> Sampler | None:
        real = samplers.open_sampler(proto, training, rank)
        return None if real is None else Replayed(real, run)

    monkeypatch.setattr(trainer_input, "open_sampler", opened)


@pytest.mark.parametrize("name", ["dssm_inbatch_taobao", "dssm_neg_in_memory_taobao", "dssm_hard_neg_taobao"])
def test_trace(name: str, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = golden_run(name)
    replay(run, monkeypatch)
    assert parted(our_trace(run, tmp_path / "run"), run.trace()) < 1e-3


@pytest.mark.parametrize(("name", "saturates"), [("dssm_senet_taobao", False), ("dat_taobao", True)])
def test_trace_with_easyrec_log(
    name: str, saturates: bool, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where probabilities fall below 1e-12 EasyRec's loss is flat; with that, its losses in every step."""
    run = golden_run(name)
    replay(run, monkeypatch)
    with monkeypatch.context() as patch:
        patch.setattr(softmax_cross_entropy, "candidate_loss", as_easyrec)
        assert parted(our_trace(run, tmp_path / "run"), run.trace()) < 1e-3
    if saturates:
        replay(run, monkeypatch)
        ours = our_trace(run, tmp_path / "ours")
        assert ours[0]["cross_entropy_loss"] > 1.01 * run.trace()[0]["cross_entropy_loss"]


@pytest.mark.parametrize(
    ("name", "steps"),
    [("dssm_neg_sampler_taobao", 10), ("dssm_inbatch_item_id_taobao", 10), ("mind_taobao", 6)],
)
def test_rounding_alone_parts_these(
    name: str, steps: int, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Starts that differ in the last bit of a few weights part as far from each other as from EasyRec's run.

    One of them, or EasyRec's own start, follows EasyRec's run for `steps`: which one depends on the machine's rounding.
    """
    run = golden_run(name)
    trace = run.trace()
    replay(run, monkeypatch)
    monkeypatch.setattr(softmax_cross_entropy, "candidate_loss", as_easyrec)
    found = (ours for ours, _ in our_ends(run, tmp_path / "run", starts(8)))
    assert any(parted(ours[:steps], trace[:steps]) < 1e-4 for ours in found)


def test_trace_of_a_backbone(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """EasyRec loses l2_regularization of a backbone's layers; without it, its losses until rounding parts them."""

    def unregularized(build: ModelBuild, l2: float) -> Backbone:
        return Backbone(build, 0.0)

    run = golden_run("dssm_backbone_taobao")
    monkeypatch.setattr(match_model, "Backbone", unregularized)
    monkeypatch.setattr(softmax_cross_entropy, "candidate_loss", as_easyrec)
    assert parted(our_trace(run, tmp_path / "run")[:12], run.trace()[:12]) < 1e-4


def test_how_alike_interests_are(tmp_path: pathlib.Path) -> None:
    """The means of MIND's evaluation; EasyRec evaluated in batches of as many rows."""
    run = golden_run("mind_taobao")
    config = run.config(tmp_path)
    config.proto.data_config.eval_batch_size = config.proto.data_config.batch_size
    job, _ = restore(config, SingleReplica(), run.checkpoint(30))
    found = job.evaluate(job.evaluator())
    expected = json.loads((run.folder / "eval_result.json").read_text())
    for name in expected.keys() - {"global_step"}:
        assert found[name] == pytest.approx(expected[name], rel=1e-4), name


def test_evaluation(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Values that depend only on the batches equal EasyRec's; those that depend on draws are close."""
    run = golden_run("dssm_neg_in_memory_taobao")
    monkeypatch.chdir(run.folder)
    job, _ = restore(run.config(tmp_path), SingleReplica(), run.checkpoint(30))
    found = job.evaluate(job.evaluator())
    expected = json.loads((run.folder / "eval_result.json").read_text())
    for name in expected.keys() - {"global_step"}:
        drawn = "neg_sam" in name or name.startswith(("recall@", "loss"))
        assert found[name] == pytest.approx(expected[name], rel=0.1 if drawn else 1e-5, abs=0.05 * drawn), (
            name
        )
    assert job.evaluate(job.evaluator()) == found


def attended_as_easyrec(layer: TargetAttention, inputs: AttentionInputs, run: ForwardContext) -> tf.Tensor:
    """Target attention on padded histories; of a row with sampled items EasyRec takes the length of another row.

    It tiles the lengths as [row, item] where all else is tiled as [item, row]
    (`negative_sampler_target_attention`).
    """
    each = 5
    history = inputs.history.padded()
    most = tf.shape(history)[1]
    query = tf.repeat(inputs.query[:, tf.newaxis], most, axis=1)
    crossed = tf.concat([query, history, query - history, query * history], axis=2)
    scores = tf.reshape(layer._dnn(tf.reshape(crossed, [-1, crossed.shape[2]]), run), [-1, most])
    lengths = tf.tile(inputs.history.lengths[::each], [each])
    shares = tf.nn.softmax(tf.where(tf.sequence_mask(lengths, most), scores, float(-(2**32) + 1)))
    return tf.concat([tf.einsum("bt,btd->bd", shares, history), inputs.query], axis=1)


def test_trace_of_pairs(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """MultiTowerRecall with EasyRec's lengths has its losses, until rounding parts them; else it has others."""
    run = golden_run("multi_tower_recall_taobao")
    replay(run, monkeypatch)
    with monkeypatch.context() as patch:
        patch.setattr(TargetAttention, "__call__", attended_as_easyrec)
        assert parted(our_trace(run, tmp_path / "run")[:12], run.trace()[:12]) < 1e-3
    replay(run, monkeypatch)
    assert parted(our_trace(run, tmp_path / "ours")[:12], run.trace()[:12]) > 1e-2
