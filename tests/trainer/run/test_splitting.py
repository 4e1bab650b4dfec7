"""Which tables of a run are split, by bytes and by memory."""

from __future__ import annotations

import logging
from types import SimpleNamespace

import pytest
from google.protobuf import text_format

from hvdrec.config.protos import pipeline_pb2
from hvdrec.features import build_plan
from hvdrec.layers import memory
from hvdrec.layers.placement import HERE, Placement
from hvdrec.trainer.run.splitting import Ranks, place_tables, ranks_of

#: Two banks: 1,000,000 rows of 16 with two slots take 192 MB, 2,000,000 of 4 take 96 MB.
CONFIG = """train_config { optimizer_config { adam_optimizer { learning_rate { constant_learning_rate {} } } } }
data_config { batch_size: 100 label_fields: "y" input_fields { input_name: "y" input_type: INT32 }
  input_fields { input_name: "a" } input_fields { input_name: "b" } input_fields { input_name: "c" } }
feature_config { features { input_names: "a" hash_bucket_size: 1000000 embedding_dim: 16 }
  features { input_names: "b" hash_bucket_size: 2000000 embedding_dim: 4 }
  features { input_names: "c" hash_bucket_size: 50 embedding_dim: 2 } }
model_config { model_class: "DCN" feature_groups { group_name: "all" feature_names: ["a", "b", "c"] } dcn {} }"""


def _placed(extra: str, ranks: int = 4, one_host: bool = False, most: int = 1 << 40) -> list[bool]:
    """Which banks are split."""
    proto = text_format.Parse(
        CONFIG.replace("train_config {", f"train_config {{ {extra}"), pipeline_pb2.EasyRecConfig()
    )
    plan = build_plan(proto)
    found = Ranks(ranks, one_host, memory.Limit(most, "this machine has"), ranks)
    group = SimpleNamespace(rank=0, size=ranks)
    placement: Placement = place_tables(plan, proto.train_config, 100, group, found)  # type: ignore[arg-type]
    return [placement.rows_held(i, bank.rows) < bank.rows for i, bank in enumerate(plan.banks)]


@pytest.mark.parametrize(
    ("extra", "ranks", "one_host", "split"),
    [
        ("", 4, False, [True, True, False]),
        # Twice the bytes of split tables are worth three exchanges in a row, 1.5 times aren't.
        ("", 3, False, [False, False, False]),
        ("", 8, True, [False, False, False]),
        ("embedding_split: REPLICATED", 8, False, [False, False, False]),
        ("sparse_reduce: GATHER", 8, False, [False, False, False]),
        ("embedding_split_min_bytes: 33000000", 4, False, [True, False, False]),
        ("embedding_split_min_bytes: 0", 4, False, [True, True, False]),
        ("embedding_split: SPLIT", 2, True, [True, True, False]),
        ("train_distribute: SokStrategy embedding_split_min_bytes: 0", 2, True, [True, True, True]),
        ("train_distribute: SokStrategy", 1, True, [False, False, False]),
    ],
)
def test_tables_are_split_where_it_saves_bytes(
    extra: str, ranks: int, one_host: bool, split: list[bool]
) -> None:
    """A table of 50 rows is touched whole: its summed gradient has fewer bytes."""
    assert _placed(extra, ranks, one_host) == split


@pytest.mark.parametrize(
    ("most", "split"),
    [
        (288_000_600 * 2, [False, False, False]),
        # 192 / 4 + 96 MB, or less.
        (200_000_000, [True, False, False]),
        (100_000_000, [True, True, False]),
        (10_000, [True, True, False]),
    ],
)
def test_as_many_tables_are_split_as_do_not_fit(
    most: int, split: list[bool], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "hvdrec"):
        assert _placed("", 4, True, most) == split
    said = "\n".join(caplog.messages)
    assert said.count("are split over the ranks: replicas of all tables would take 288 MB") == sum(split)
    assert said.count("are on every rank") == 2 - sum(split)


def test_ranks_share_the_limits_of_their_cgroup(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two of three ranks of this machine are in one cgroup; another machine has less memory."""
    monkeypatch.setattr(memory, "limits", lambda n, shared: [memory.Limit(1000 * n + shared, "this")])
    said: list[list[object]] = []

    def gather(value: object) -> list[object]:
        given = [value, value, ("host", "other")] if not said else [value, memory.Limit(7, "that"), value]
        said.append(given)
        return given

    group = SimpleNamespace(size=3, local_size=3, one_host=False, gather_objects=gather)
    assert ranks_of(group) == Ranks(3, False, memory.Limit(7, "that"), 2)  # type: ignore[arg-type]
    assert said[1][0] == memory.Limit(3002, "this")


def test_nothing_is_split_beside_tables_without_a_fixed_size() -> None:
    assert HERE.rows_held(0, 5) == 5
    without = CONFIG.replace("hash_bucket_size: 50 embedding_dim: 2", "embedding_dim: 2 ev_params { }")
    proto = text_format.Parse(without, pipeline_pb2.EasyRecConfig())
    ranks = Ranks(8, False, memory.Limit(1, "this"), 8)
    group = SimpleNamespace(rank=0, size=8)
    assert place_tables(build_plan(proto), proto.train_config, 100, group, ranks) is HERE  # type: ignore[arg-type]
