"""Missing memory is reported with the number of bytes, before it is allocated."""

from __future__ import annotations

import pathlib
import re
from types import SimpleNamespace

import pytest
from google.protobuf import text_format

from hvdrec.config.protos import pipeline_pb2
from hvdrec.errors import ConfigError
from hvdrec.features import build_plan
from hvdrec.layers import memory
from hvdrec.layers.memory import Limit
from hvdrec.layers.placement import HERE, SplitTables
from hvdrec.layers.variables import VariableStore
from hvdrec.trainer.run.memory import need_memory


def test_the_least_limit_counts(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> None:
    """Of the cgroup and all above it, in either version."""
    for folder, limit in (("", "max"), ("pod", "5000"), ("pod/job", "9000")):
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / "memory.max").write_text(limit + "\n")
    own = tmp_path / "cgroup"
    own.write_text("0::/pod/job\n")
    monkeypatch.setattr(memory, "_OWN_GROUPS", own)
    monkeypatch.setattr(memory, "_GROUPS", ((tmp_path, "memory.max"), (tmp_path, "memory.limit_in_bytes")))
    assert Limit(5000, "the container (cgroup) may use") in memory.limits()
    assert Limit(2500, "for each of 2 ranks the container (cgroup) may use") in memory.limits(2)
    assert Limit(5000, "the container (cgroup) may use") in memory.limits(2, 1)
    memory.need(2500, "a table", 2)
    with pytest.raises(
        ConfigError, match=r"a table would take 3 kB, and for each of 2 ranks the container .* 2 kB"
    ):
        memory.need(2501, "a table", 2)


@pytest.mark.parametrize(
    ("size", "text"), [(999, "999 bytes"), (1500, "2 kB"), (25_300_000, "25 MB"), (4.51e12, "4,510.0 GB")]
)
def test_bytes_as_people_read_them(size: float, text: str) -> None:
    assert memory.shown(int(size)) == text


def _config(dim: int, optimizer: str) -> pipeline_pb2.EasyRecConfig:
    text = f"""train_config {{ optimizer_config {{ {optimizer} }} }}
    data_config {{ input_type: CSVInput label_fields: "y" input_fields {{ input_name: "y" input_type: INT32 }}
      input_fields {{ input_name: "a" }} input_fields {{ input_name: "b" }} }}
    feature_config {{ features {{ input_names: "a" hash_bucket_size: 1000 embedding_dim: {dim} }}
      features {{ input_names: "b" hash_bucket_size: 500 embedding_dim: {dim} }} }}
    model_config {{ model_class: "DCN" feature_groups {{ group_name: "all" feature_names: ["a", "b"] }} dcn {{}} }}"""
    return text_format.Parse(text, pipeline_pb2.EasyRecConfig())


@pytest.mark.parametrize(
    ("optimizer", "copies"),
    [
        ("sgd_optimizer {}", 1),
        ("adagrad_optimizer {}", 2),
        ("adam_optimizer {}", 3),
        ("adam_optimizer {} use_moving_average: true", 4),
    ],
)
def test_tables_and_slots_are_counted_to_the_byte(
    monkeypatch: pytest.MonkeyPatch, optimizer: str, copies: int
) -> None:
    proto = _config(8, optimizer.replace("{}", "{ learning_rate { constant_learning_rate {} } }"))
    plan = build_plan(proto)
    size = 1500 * 8 * 4 * copies
    monkeypatch.setattr(memory, "limits", lambda *_: [Limit(size, "this machine has")])
    need_memory(plan, proto.train_config, 0, 1)
    monkeypatch.setattr(memory, "limits", lambda *_: [Limit(size - 1, "this machine has")])
    wanted = rf"the 2 embedding tables, of which \S+a_embedding\S+ is the largest \(32 kB\), with {copies - 1} slot"
    with pytest.raises(ConfigError, match=wanted):
        need_memory(plan, proto.train_config, 0, 1)


def test_of_split_tables_a_share_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    proto = _config(8, "adagrad_optimizer { learning_rate { constant_learning_rate {} } }")
    plan = build_plan(proto)
    # Of 1500 rows in one bank 500 for each of 3 ranks, and a slot.
    monkeypatch.setattr(memory, "limits", lambda *_: [Limit(500 * 8 * 4 * 2, "this machine has")])
    group = SimpleNamespace(rank=0, size=3)
    need_memory(plan, proto.train_config, 0, 1, SplitTables(group, [0]))  # type: ignore[arg-type]
    for placement in (SplitTables(group, [1]), HERE):  # type: ignore[arg-type]
        with pytest.raises(ConfigError, match=r"^the 2 embedding tables"):
            need_memory(plan, proto.train_config, 0, 1, placement)
    monkeypatch.setattr(memory, "limits", lambda *_: [Limit(500 * 8 * 4 * 2 - 1, "this machine has")])
    with pytest.raises(ConfigError, match=r"^a rank's share of the 2 embedding tables"):
        need_memory(plan, proto.train_config, 0, 1, SplitTables(group, [0]))  # type: ignore[arg-type]


def test_the_copy_for_deltas_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once for whole tables, whichever rank it is on; for split tables on each rank."""
    proto = _config(8, "sgd_optimizer { learning_rate { constant_learning_rate {} } }")
    proto.train_config.incr_save_config.sparse_save_steps = 1
    plan, table = build_plan(proto), 1500 * 8 * 4
    split = SplitTables(SimpleNamespace(rank=0, size=3), [0])  # type: ignore[arg-type]
    for size, processes, placement in (
        (2 * table, 1, HERE),
        (table + table // 2, 2, HERE),
        (2 * table // 3, 3, split),
    ):
        monkeypatch.setattr(memory, "limits", lambda *_, size=size: [Limit(size, "this machine has")])
        need_memory(plan, proto.train_config, 0, processes, placement)
        monkeypatch.setattr(memory, "limits", lambda *_, size=size: [Limit(size - 1, "this machine has")])
        with pytest.raises(ConfigError, match="and the copy that incr_save_config compares with would take"):
            need_memory(plan, proto.train_config, 0, processes, placement)


def test_a_layer_that_is_too_wide_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "limits", lambda *_: [Limit(1000, "this machine has")])
    store = VariableStore(1)
    store.create("first/kernel", [10, 10])
    wanted = "the dense variables up to second/kernel, of shape [20, 10], would take 1 kB, and this machine has 1 kB"
    with pytest.raises(ConfigError, match=re.escape(wanted)):
        store.create("second/kernel", [20, 10])
