"""KafkaInput with librdkafka's mock cluster: each row once, wherever a run stops and on any number of ranks."""

from __future__ import annotations

import json
import pathlib
import re
import signal
import threading
import time
from collections.abc import Sequence

import numpy as np
import pytest
from data.broker import PARTITIONS, Broker
from google.protobuf import text_format
from small_job import SmallJob, write_data

from hvdrec.config import Config, load
from hvdrec.config.checks.check import check
from hvdrec.config.expand import expand
from hvdrec.config.protos import pipeline_pb2
from hvdrec.data import open_source
from hvdrec.data.batch import BEGINNING, InputPosition, RowBlock
from hvdrec.data.input import with_an_end
from hvdrec.errors import ConfigError, DataError, StoppedError, StorageError
from hvdrec.features.plan import Field
from hvdrec.parallel.single import SingleReplica
from hvdrec.trainer.job import Job
from hvdrec.trainer.run.options import RunOptions
from hvdrec.trainer.run.signals import StopSignals
from hvdrec.trainer.run.start import describe_positions

FIELDS = (Field("name", "STRING", ""), Field("label", "INT32", ""))
COUNTS = (13, 7, 0, 5)


@pytest.fixture(scope="module")
def broker() -> Broker:
    found = Broker()
    for partition, count in enumerate(COUNTS):
        found.send("rows", partition, [f"{i % 2},p{partition}r{i}" for i in range(count)])
    return found


def proto(broker: Broker, topic: str = "rows", more: str = "", epochs: int = 1, data: str = "") -> object:
    text = f"""kafka_train_input {broker.message(topic, more)} kafka_eval_input {broker.message(topic, more)}
      data_config {{ input_type: KafkaInput batch_size: 4 num_epochs: {epochs} label_fields: "label" {data}
      input_fields {{ input_name: "label" input_type: INT32 }} input_fields {{ input_name: "name" input_type: STRING }} }}"""
    found = pipeline_pb2.EasyRecConfig()
    text_format.Parse(text, found, allow_unknown_field=True)
    found.data_config.eval_batch_size = 4
    return found


def source(
    config: object,
    training: bool = True,
    rank: int = 0,
    size: int = 1,
    start: InputPosition = BEGINNING,
    **more,
):
    return open_source(config, fields=FIELDS, rank=rank, size=size, training=training, start=start, **more)


def names(blocks: Sequence[RowBlock]) -> list[str]:
    return [name.decode() for block in blocks for name in block.columns.column("name").to_pylist()]


ALL = sorted(f"p{partition}r{i}" for partition, count in enumerate(COUNTS) for i in range(count))


@pytest.mark.parametrize("size", [1, 2, 4])
def test_partitions_are_dealt_to_the_ranks(broker: Broker, size: int) -> None:
    found = [names(list(source(proto(broker), rank=rank, size=size))) for rank in range(size)]
    assert sorted(name for each in found for name in each) == ALL
    for rank, each in enumerate(found):
        assert {int(name[1]) % size for name in each} <= {rank}


def kept(positions: Sequence[InputPosition]) -> InputPosition:
    """The position of a run that continues from a checkpoint of ranks at these positions."""
    described = json.loads(json.dumps(describe_positions(positions, True)))
    return InputPosition(0, 0, tuple((int(p), o) for p, o in described["offsets"].items()))


@pytest.mark.parametrize("sizes", [(1, 1), (2, 1), (1, 3), (4, 2)])
@pytest.mark.parametrize("taken", [1, 2])
def test_every_row_once_wherever_a_run_ends(broker: Broker, sizes: tuple[int, int], taken: int) -> None:
    first, second = sizes
    before, last = [], []
    for rank in range(first):
        blocks = list(source(proto(broker), rank=rank, size=first))
        before += names(blocks[:taken])
        # A rank whose partitions are empty has taken nothing.
        last.append(blocks[min(taken, len(blocks)) - 1].position if blocks else BEGINNING)
    start = kept(last)
    after = [
        name
        for rank in range(second)
        for name in names(list(source(proto(broker), rank=rank, size=second, start=start)))
    ]
    assert sorted(before + after) == ALL


def test_a_position_is_that_of_its_last_row(broker: Broker) -> None:
    blocks = list(source(proto(broker)))
    assert [len(block.columns) for block in blocks] == [4] * 6 + [1]
    assert blocks[3].position == InputPosition(0, 16, ((0, 13), (1, 3), (2, 0), (3, 0)))
    assert blocks[-1].position.offsets == ((0, 13), (1, 7), (2, 0), (3, 5))
    assert blocks[3].locate(0) == "rows, partition 0, offset 12"
    resumed = source(proto(broker), start=blocks[3].position)
    assert next(iter(resumed)).position.row == 20
    resumed.close()


def test_where_a_pass_begins(broker: Broker) -> None:
    found = names(list(source(proto(broker, more='offset_info: \'{"0": 11, "3": 5}\''))))
    assert sorted(found) == sorted(["p0r11", "p0r12", *(n for n in ALL if n[:2] == "p1")])
    with pytest.raises(
        DataError, match=r"kafka_train_input: offset 14 of partition 0 of topic rows.*beyond its end, 13"
    ):
        source(proto(broker, more="offset_info: '{\"0\": 14}'"))
    with pytest.raises(DataError, match="there is no topic 'none'"):
        source(proto(broker, "none"))
    with pytest.raises(ConfigError, match="has 4 partitions, and each of 5 ranks needs one"):
        source(proto(broker), rank=4, size=5)


def test_an_evaluation_ends_for_all_ranks_where_rank_0_saw_the_end(broker: Broker) -> None:
    config = proto(broker)
    paths = with_an_end(config, False, None)
    assert sorted(names(list(source(config, False, paths=paths)))) == ALL
    found = [names(list(source(config, False, rank=rank, size=2, paths=paths))) for rank in range(2)]
    whole = names(list(source(config, False, paths=paths)))
    assert found[0] == [n for i, n in enumerate(whole) if i // 4 % 2 == 0]
    assert found[1] == [n for i, n in enumerate(whole) if i // 4 % 2 == 1]


def test_a_pass_without_end_gives_rows_as_they_come(broker: Broker) -> None:
    broker.send("stream", 0, ["0,a", "1,b", "0,c", "1,d", "0,e"])
    stream = source(proto(broker, "stream", epochs=0))
    blocks = iter(stream)
    assert names([next(blocks)]) == ["a", "b", "c", "d"]
    late = threading.Timer(0.5, lambda: broker.send("stream", 1, ["0,f", "1,g", "0,h"]))
    late.start()
    block = next(blocks)
    assert sorted(names([block])) == ["e", "f", "g", "h"]
    assert block.position.offsets[:2] == ((0, 5), (1, 3))
    threading.Timer(0.5, stream.stop).start()
    assert list(blocks) == []


def test_rows_that_cannot_be_split_are_told_by_their_offsets(broker: Broker) -> None:
    broker.send("bad", 1, ["0,a\n", "1,b\r\n", "0,c\n1,d", None, b"", "1,e"])
    with pytest.raises(DataError, match="bad, partition 1, offset 2: found 3 columns, expected 2"):
        list(source(proto(broker, "bad")))
    found = source(proto(broker, "bad", data="ignore_error: true"))
    blocks = list(found)
    assert names(blocks) == ["a", "b", "e"]
    assert sum(block.bad_rows for block in blocks) == 3
    assert blocks[-1].position.offsets[1] == (1, 6)


def test_an_offset_of_a_partition_that_is_not_there_is_refused(broker: Broker) -> None:
    found = f"""kafka_train_input.offset_info: topic rows of {broker.server} has no partition 4, but 4 of them, from 0"""
    with pytest.raises(DataError, match=re.escape(found)):
        source(proto(broker, more="offset_info: '{\"4\": 0}'"))


def test_brokers_that_do_not_answer_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("confluent_kafka")
    monkeypatch.setattr("hvdrec.data.kafka.topic._SECONDS", 0.5)

    class Nobody(Broker):
        server = "127.0.0.1:1"

        def __init__(self) -> None:
            pass

    with pytest.raises(
        StorageError, match=r"kafka_train_input: topic rows of 127.0.0.1:1: .*(transport|connect)"
    ):
        source(proto(Nobody()))


def job(broker: Broker, folder: pathlib.Path, topic: str, steps: int, epochs: int = 1) -> Config:
    path = SmallJob(folder / "t.csv", folder / "model", model="FM", steps=steps, batch_size=16).write(
        folder / "c.config"
    )
    text = path.read_text().replace(
        f'train_input_path: "{folder / "t.csv"}"', f"kafka_train_input {broker.message(topic)}"
    )
    text = text.replace("CSVInput", "KafkaInput")
    text = re.sub(r"num_epochs: \d", f"num_epochs: {epochs}", text)
    path.write_text(text)
    config = load(str(path))
    expand(config)
    check(config)
    return config


def trace(folder: pathlib.Path) -> list[float]:
    lines = (folder / "model" / "logs" / "rank-0.jsonl").read_text().splitlines()
    return [r["total_loss"] for r in map(json.loads, lines) if r["kind"] == "step"]


def test_a_run_goes_on_with_the_next_message(broker: Broker, tmp_path: pathlib.Path) -> None:
    """One partition has an order, so a run in two parts has the losses of one."""
    write_data(tmp_path / "t.csv", 96)
    broker.send("job", 3, (tmp_path / "t.csv").read_text().splitlines())
    Job(job(broker, tmp_path, "job", 6), SingleReplica()).train(False, 0)
    whole = trace(tmp_path)
    assert len(whole) == 6
    (parts := tmp_path / "parts").mkdir()
    Job(job(broker, parts, "job", 2), SingleReplica()).train(False, 0)
    Job(job(broker, parts, "job", 4), SingleReplica()).train(True, 0)
    # As if it had been killed before the checkpoint of step 4: it reads the messages since step 2 again.
    for path in (parts / "model").glob("model.ckpt-4.*"):
        path.unlink()
    again = Job(job(broker, parts, "job", 6), SingleReplica())
    extra = again.store.extra(again.store.latest())
    assert extra["offsets"] == {"0": 0, "1": 0, "2": 0, "3": 32}
    again.train(True, 0)
    np.testing.assert_array_equal(trace(parts), [*whole[:4], *whole[2:]])


def test_a_signal_ends_a_run_that_waits_for_rows(broker: Broker, tmp_path: pathlib.Path) -> None:
    write_data(tmp_path / "t.csv", 40)
    broker.send("quiet", 0, (tmp_path / "t.csv").read_text().splitlines())
    signals = StopSignals()
    waiting = Job(job(broker, tmp_path, "quiet", 1000, epochs=0), SingleReplica())

    def stop() -> None:
        path, until = tmp_path / "model" / "logs" / "rank-0.jsonl", time.monotonic() + 300
        while time.monotonic() < until and len(trace(tmp_path) if path.exists() else []) < 2:
            time.sleep(0.1)
        signals.received = signal.SIGTERM

    threading.Thread(target=stop, daemon=True).start()
    with pytest.raises(StoppedError, match="stopped by SIGTERM at step 2"):
        waiting.train(False, 0, RunOptions(signals=signals))
    extra = waiting.store.extra(waiting.store.latest())
    assert extra["offsets"]["0"] == 32


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ('topic: "t"', "kafka_train_input.topic: is empty"),
        ('group: "g" offset_info: "[5]"', r"offset_info: '\[5\]' must be JSON like"),
        ('group: "g" offset_time: "yesterday"', "offset_time: expected 'YYYYmmdd HH:MM:SS'"),
        ('group: "g" config_global: "group.id=x"', r"config_global\[0\]: group.id can't be set.*; set group"),
        ('group: "g" config_topic: "x"', r"config_topic\[0\]: 'x' must have the form name=value"),
    ],
)
def test_mistakes_in_a_config_are_told(tmp_path: pathlib.Path, change: str, problem: str) -> None:
    text = f'{{ server: "s" topic: "t" group: "g" {change} }}'.replace(
        'topic: "t" group: "g" topic: "t"', 'topic: "" group: "g"'
    )
    path = SmallJob(tmp_path / "t.csv", tmp_path / "model", model="FM").write(tmp_path / "c.config")
    written = path.read_text().replace(
        f'train_input_path: "{tmp_path / "t.csv"}"', f"kafka_train_input {text}"
    )
    path.write_text(written.replace("CSVInput", "KafkaInput"))
    with pytest.raises(ConfigError, match=problem):
        check(load(str(path)))


def test_a_second_pass_and_files_are_refused(tmp_path: pathlib.Path) -> None:
    path = SmallJob(tmp_path / "t.csv", tmp_path / "model", model="FM").write(tmp_path / "c.config")
    path.write_text(
        path.read_text().replace("CSVInput", "KafkaInput").replace("num_epochs: 1", "num_epochs: 2")
    )
    with pytest.raises(ConfigError) as error:
        check(load(str(path)))
    assert "train_input_path: KafkaInput reads kafka_train_input; set it" in str(error.value)
    assert "num_epochs: is 2; a topic is read once" in str(error.value)


assert len(COUNTS) == PARTITIONS
