"""EasyRec's sample configs, if available: what is refused in them, and generated rows for them.

None of their data is here. `prepared` makes rows from a config's own `input_fields`, by what its features and
labels take, so that any of them trains, is evaluated and is exported.
"""

from __future__ import annotations

import functools
import json
import pathlib
import re
import tempfile
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from hvdrec.config import Config, load, user_code
from hvdrec.config.checks.check import check
from hvdrec.config.expand import expand, feature_list
from hvdrec.config.names import enum_name
from hvdrec.config.samplers import sampler_config
from hvdrec.errors import ConfigError
from hvdrec.features import build_plan
from hvdrec.features.fields import heads_of, label_classes

FOLDER = pathlib.Path(__file__).resolve().parents[2] / "shared" / "reference" / "easyrec_configs"
#: The samples that can't be used yet: a name and a field that is refused, one sample a line.
REFUSED = pathlib.Path(__file__).with_name("refused_samples.txt")

#: What the documentation gives as an example of `user_define_fn`.
_LABELS = """import numpy as np
def remap_lbl(labels):
    return np.where(labels < 5, 0, 1)
"""
#: The users' own rules for an early stop.
_EARLY_STOP = "easy_rec.python.test.custom_early_stop_func.custom_early_stop_func"
_INDEX = re.compile(r"\[\d+\]")
_INTEGERS = ("INT32", "INT64")
_MOST_BUCKETS = 1000
_NUMBERS = (*_INTEGERS, "FLOAT", "DOUBLE")


def names() -> list[str]:
    """All samples, by their files' names."""
    return sorted(path.name for path in FOLDER.glob("*.config"))


def listed_as_refused() -> dict[str, str]:
    """The content of `REFUSED`: sample -> field."""
    return dict(line.split() for line in REFUSED.read_text().splitlines() if line.strip())


def load_sample(name: str, folder: pathlib.Path) -> Config:
    """An unchanged sample, with ranges expanded.

    Args:
        name: Of its file.
        folder: Takes what it may name: an fg.json, made up for its feature groups, a file of functions.
    """
    path = FOLDER / name
    text = path.read_text()
    function = re.search(r"user_define_fn_path: *'(.*)'", text)
    if function:
        (folder / "labels.py").write_text(_LABELS)
        path = folder / name
        path.write_text(text.replace(function[1], str(folder / "labels.py")))
    found = re.search(r'^fg_json_path: *"(.*)"', text, re.M)
    if found:
        wanted = dict.fromkeys(re.findall(r'feature_names: *"(.*)"', text))
        (folder / "fg.json").write_text(
            json.dumps({"features": [_fg_feature(feature) for feature in wanted]})
        )
        path = folder / name
        path.write_text(text.replace(found[1], str(folder / "fg.json")))
    config = load(path)
    expand(config)
    return config


def never_stops(results: dict[int, dict[str, float]], params: str) -> bool:
    """In place of a user's `early_stop_func`."""
    return False


def _fg_feature(name: str) -> dict[str, object]:
    if name == "price":
        return {"feature_name": name, "feature_type": "raw_feature"}
    return {"feature_name": name, "feature_type": "id_feature", "hash_bucket_size": 1000}


def refusals(name: str) -> dict[str, str]:
    """Why a sample can't be used: field (without indices) -> what is wrong; empty if it can.

    With `--allow_user_code`: a config that names code of the user's own can be used by who wrote it.
    """
    user_code.allow(True)
    try:
        with tempfile.TemporaryDirectory() as folder:
            config = load_sample(name, pathlib.Path(folder))
            check(config)
            build_plan(config.proto)
    except ConfigError as error:
        return dict(_taken_apart(line) for line in str(error).splitlines())
    finally:
        user_code.allow(False)
    return {}


def _taken_apart(line: str) -> tuple[str, str]:
    line = re.sub(r"^\S*\.config(:\d+)?: ", "", line)
    field, _, problem = line.partition(": ")
    return _INDEX.sub("", field).replace(" ", "_"), problem


def prepared(name: str, folder: pathlib.Path, rows: int = 48) -> Config:
    """A sample on its own rows, with two steps to train.

    Args:
        name: Of its file.
        folder: Takes the rows and the run.
        rows: How many are made.
    """
    config = load_sample(name, folder)
    proto = config.proto
    proto.model_dir = str(folder / "run")
    train, data = proto.train_config, proto.data_config
    train.num_steps, train.log_step_count_steps, train.save_checkpoints_steps = 2, 1, 1
    train.ClearField("fine_tune_checkpoint")
    train.ClearField("save_checkpoints_secs")
    train.ClearField("train_distribute")
    if train.HasField("dead_line"):
        # The samples' has passed.
        train.dead_line = "29991231 00:00:00"
    if train.incr_save_config.WhichOneof("incr_update") == "kafka":
        kafka = train.incr_save_config.kafka
        kafka.server, kafka.topic = _broker().server, f"deltas-{folder.name}"
        _broker().create(kafka.topic)
    if proto.export_config.early_stop_func == _EARLY_STOP:
        proto.export_config.early_stop_func = f"{__name__}.{never_stops.__name__}"
    data.batch_size = 16
    data.ClearField("num_epochs")
    for feature in feature_list(proto):
        # Tables that any machine holds.
        for field in ("hash_bucket_size", "num_buckets"):
            if not feature.boundaries:
                setattr(feature, field, min(getattr(feature, field), _MOST_BUCKETS))
    proto.eval_config.ClearField("num_examples")
    proto.export_config.exporter_type = "final"
    for i, asset in enumerate(proto.export_config.asset_files):
        file = folder / pathlib.PurePath(asset).name
        file.touch()
        proto.export_config.asset_files[i] = str(file)
    columns = made_rows(proto, rows)
    _WRITERS[enum_name(data, "input_type")](proto, columns, folder)
    _write_sampler_tables(proto, columns, folder)
    return config


def _write_sampler_tables(proto: Any, columns: dict[str, list[str]], folder: pathlib.Path) -> None:
    """The rows' items as the item table of a negative sampler, and an edge from each row's user to its item."""
    sampler = sampler_config(proto)
    if sampler is None:
        return
    items = columns[sampler.item_id_field]
    attributes = zip(*(columns[name] for name in sampler.attr_fields), strict=True)
    lines = [f"{i}\t1.5\t{sampler.attr_delimiter.join(a)}" for i, a in zip(items, attributes, strict=True)]
    tables = {"input_path": ["id:int64\tweight:float\tfeature:string", *lines]}
    tables["item_input_path"] = tables["input_path"]
    if "user_id_field" in sampler.DESCRIPTOR.fields_by_name:
        users = columns[sampler.user_id_field]
        tables["user_input_path"] = ["id:int64\tweight:float", *(f"{user}\t1" for user in users)]
        edges = [f"{user}\t{item}\t1" for user, item in zip(users, items, strict=True)]
        for name in ("pos_edge_input_path", "hard_neg_edge_input_path"):
            tables[name] = ["src:int64\tdst:int64\tweight:float", *edges]
    for name, text in tables.items():
        if name in sampler.DESCRIPTOR.fields_by_name:
            path = folder / f"{name}.txt"
            path.write_text("\n".join(text) + "\n")
            setattr(sampler, name, str(path))


def made_rows(proto: Any, rows: int, seed: int = 0) -> dict[str, list[str]]:
    """Cells of each input field as text, such as the features and labels that read it take."""
    makers = dict(_feature_makers(proto))
    makers |= {name: functools.partial(_label, *found) for name, found in _labels(proto).items()}
    if proto.data_config.sample_weight:
        makers[proto.data_config.sample_weight] = lambda rng, _: f"{rng.integers(1, 9) / 4}"
    rng = np.random.default_rng(seed)
    kinds = {f.input_name: enum_name(f, "input_type") for f in proto.data_config.input_fields}
    columns: dict[str, list[str]] = {name: [] for name in kinds}
    # A sample separates values within a cell like cells; there is then one of them.
    end = (
        proto.data_config.separator
        if _WRITERS[enum_name(proto.data_config, "input_type")] is _write_csv
        else ""
    )
    for _ in range(rows):
        length = int(rng.integers(1, 5))
        for name, kind in kinds.items():
            cell = _typed(makers[name](rng, length), kind) if name in makers else _any(rng, kind)
            columns[name].append(cell.partition(end)[0] if end else cell)
    return columns


#: Makes a cell: of the random numbers, and the elements that this row's sequences have.
_Maker = Callable[[np.random.Generator, int], str]


def _typed(cell: str, kind: str) -> str:
    """A made cell as its field's type has it: whole numbers have no fraction."""
    if kind in _INTEGERS and re.fullmatch(r"-?\d+\.\d*", cell):
        return cell.partition(".")[0]
    if kind in _NUMBERS and not re.fullmatch(r"-?[\d.e-]+", cell):
        return str(len(cell))
    return cell


def _any(rng: np.random.Generator, kind: str) -> str:
    return str(rng.integers(0, 2)) if kind == "BOOL" else str(rng.integers(0, 9))


def _labels(proto: Any) -> dict[str, tuple[int, int, str]]:
    """For each label: its classes, its width, and the separator of its numbers."""
    data = proto.data_config
    found = {}
    for i, name in enumerate(data.label_fields):
        width = data.label_dim[i] if i < len(data.label_dim) else 1
        separator = data.label_sep[i] if i < len(data.label_sep) else ","
        found[name] = (label_classes(proto, name) or 2, int(width), separator)
    for head in heads_of(proto):
        for name in head.id_labels:
            found[name] = (4, 1, ",")
    return found


def _label(classes: int, width: int, separator: str, rng: np.random.Generator, _: int) -> str:
    return separator.join(str(rng.integers(0, classes)) for _ in range(width))


def _feature_makers(proto: Any) -> Iterator[tuple[str, _Maker]]:
    """The generators of the cells of each feature's inputs; for a field with several features the last counts."""
    order = ("PassThroughFeature", "IdFeature", "ExprFeature", "ComboFeature", "RawFeature", "LookupFeature")
    order += ("TagFeature", "SequenceFeature")
    features = sorted(feature_list(proto), key=lambda f: order.index(enum_name(f, "feature_type")))
    for feature in features:
        for i, name in enumerate(feature.input_names):
            yield name, functools.partial(_MAKERS[enum_name(feature, "feature_type")], feature, i)


def _token(feature: Any, rng: np.random.Generator) -> str:
    """An id: one of a vocabulary, or a small number."""
    if feature.vocab_list:
        return str(rng.choice(list(feature.vocab_list)))
    most = feature.hash_bucket_size or feature.num_buckets or 20
    return str(rng.integers(0, min(most, 20)))


def _number(feature: Any, rng: np.random.Generator) -> str:
    low, high = 0.0, 4.0
    if feature.boundaries:
        low, high = min(feature.boundaries) - 1, max(feature.boundaries) + 1
    elif feature.max_val > feature.min_val:
        low, high = feature.min_val, feature.max_val
    return f"{rng.uniform(low, high):.3f}"


def _make_id(feature: Any, _: int, rng: np.random.Generator, __: int) -> str:
    return _token(feature, rng)


def _make_raw(feature: Any, _: int, rng: np.random.Generator, length: int) -> str:
    def vector() -> str:
        return feature.separator.join(_number(feature, rng) for _ in range(feature.raw_input_dim))

    if feature.seq_multi_sep:
        return feature.seq_multi_sep.join(vector() for _ in range(length))
    return vector()


def _make_tag(feature: Any, position: int, rng: np.random.Generator, length: int) -> str:
    weight = "0.5" if position else ""
    tag = f"{{}}{feature.kv_separator}1.5" if feature.kv_separator else "{}"
    return feature.separator[:1].join(weight or tag.format(_token(feature, rng)) for _ in range(length))


def _make_combo(feature: Any, position: int, rng: np.random.Generator, length: int) -> str:
    separators = feature.combo_input_seps
    separator = separators[position] if position < len(separators) else ""
    return separator.join(_token(feature, rng) for _ in range(length if separator else 1))


def _make_lookup(feature: Any, position: int, rng: np.random.Generator, length: int) -> str:
    if position == 0:
        return str(rng.integers(0, 4))
    kv = feature.kv_separator or ":"
    return feature.separator.join(f"{k}{kv}{rng.integers(0, 9)}" for k in range(length))


def _make_sequence(feature: Any, _: int, rng: np.random.Generator, length: int) -> str:
    numbers = enum_name(feature, "sub_feature_type") == "RawFeature"
    if feature.HasField("sequence_length"):
        length = min(length, feature.sequence_length)
    inner = int(feature.raw_input_dim) if numbers else 2

    def element() -> str:
        one = _number if numbers else _token
        values = (one(feature, rng) for _ in range(inner if feature.seq_multi_sep else 1))
        return feature.seq_multi_sep.join(values)

    return feature.separator.join(element() for _ in range(length))


_MAKERS: dict[str, Callable[[Any, int, np.random.Generator, int], str]] = {
    "IdFeature": _make_id,
    "RawFeature": _make_raw,
    "TagFeature": _make_tag,
    "ComboFeature": _make_combo,
    "LookupFeature": _make_lookup,
    "SequenceFeature": _make_sequence,
    "ExprFeature": _make_id,
    "PassThroughFeature": _make_id,
}


def _set_inputs(proto: Any, path: pathlib.Path, prefix: str = "{}_input_path") -> None:
    for mode in ("train", "eval"):
        proto.ClearField(f"{mode}_path")
        setattr(proto, prefix.format(mode), str(path))


def _write_csv(proto: Any, columns: dict[str, list[str]], folder: pathlib.Path) -> None:
    separator = proto.data_config.separator
    lines = [separator.join(cells) for cells in zip(*columns.values(), strict=True)]
    if proto.data_config.with_header:
        lines.insert(0, separator.join(columns))
    path = folder / "rows.csv"
    path.write_text("".join(line + "\n" for line in lines))
    _set_inputs(proto, path)


def _write_parquet(proto: Any, columns: dict[str, list[str]], folder: pathlib.Path) -> None:
    types = {"INT32": pa.int32(), "INT64": pa.int64(), "FLOAT": pa.float32(), "DOUBLE": pa.float64()}
    arrays = {}
    for field in proto.data_config.input_fields:
        cells = pa.array(columns[field.input_name])
        arrays[field.input_name] = cells.cast(types.get(enum_name(field, "input_type"), pa.string()))
    path = folder / "rows.parquet"
    pq.write_table(pa.table(arrays), path)
    _set_inputs(proto, path, "parquet_{}_input")


def _write_rtp(proto: Any, columns: dict[str, list[str]], folder: pathlib.Path) -> None:
    """Labels and features at the places that `selected_cols` names, something else between."""
    data = proto.data_config
    places = [int(number) for number in data.selected_cols.split(",")]
    features = [column for name, column in columns.items() if name not in data.label_fields]
    lines = []
    for row in range(len(features[0])):
        cells = ["other"] * (max(places) + 1)
        for place, label in zip(places, data.label_fields, strict=False):
            cells[place] = columns[label][row]
        cells[places[-1]] = data.separator.join(column[row] for column in features)
        lines.append(data.rtp_separator.join(cells))
    path = folder / "rows.txt"
    path.write_text("".join(line + "\n" for line in lines))
    _set_inputs(proto, path)


def _write_records(proto: Any, columns: dict[str, list[str]], folder: pathlib.Path) -> None:
    import tensorflow as tf

    kinds = {f.input_name: enum_name(f, "input_type") for f in proto.data_config.input_fields}

    def feature(name: str, cell: str) -> tf.train.Feature:
        if kinds[name] in _INTEGERS:
            return tf.train.Feature(int64_list=tf.train.Int64List(value=[int(cell)]))
        if kinds[name] in _NUMBERS:
            return tf.train.Feature(float_list=tf.train.FloatList(value=[float(cell)]))
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=[cell.encode()]))

    path = folder / "rows.tfrecord"
    rows = len(next(iter(columns.values())))
    several = int(proto.data_config.n_data_batch_tfrecord)
    with tf.io.TFRecordWriter(str(path), proto.data_config.data_compression_type) as file:
        for row in range(0, rows, several or 1):
            if not several:
                cells = {name: feature(name, column[row]) for name, column in columns.items()}
                file.write(tf.train.Example(features=tf.train.Features(feature=cells)).SerializeToString())
                continue
            lists = {
                name: tf.train.FeatureList(feature=[feature(name, c) for c in column[row : row + several]])
                for name, column in columns.items()
            }
            example = tf.train.SequenceExample(feature_lists=tf.train.FeatureLists(feature_list=lists))
            file.write(example.SerializeToString())
    _set_inputs(proto, path)


@functools.cache
def _broker() -> Any:
    from data.broker import Broker

    return Broker()


def _write_topic(proto: Any, columns: dict[str, list[str]], folder: pathlib.Path) -> None:
    """The rows as messages of a separate topic, from the offset of the config on."""
    separator, topic = proto.data_config.separator, folder.name
    lines = [separator.join(cells) for cells in zip(*columns.values(), strict=True)]
    for partition in range(2):
        _broker().send(topic, partition, lines)
    for mode in ("train", "eval"):
        message = getattr(proto, f"kafka_{mode}_input")
        message.server, message.topic = _broker().server, topic
        # The mock cluster doesn't know when a message was sent.
        message.ClearField("offset_time")


def _write_binaries(proto: Any, columns: dict[str, list[str]], folder: pathlib.Path) -> None:
    parts = {
        "label": np.array([columns["label"]], np.int32).T,
        "dense": np.array([[float(c) for c in columns[f"f{i}"]] for i in range(1, 14)], np.float32).T,
        "category": np.array([[int(c) for c in columns[f"c{i}"]] for i in range(1, 27)], np.uint32).T,
    }
    for part, values in parts.items():
        (folder / f"{part}.bin").write_bytes(values.tobytes())
    for mode in ("train", "eval"):
        paths = getattr(proto, f"binary_{mode}_input")
        for part in parts:
            getattr(paths, f"{part}_path")[:] = [str(folder / f"{part}.bin")]


_WRITERS: dict[str, Callable[[Any, dict[str, list[str]], pathlib.Path], None]] = {
    **dict.fromkeys(("CSVInput", "CSVInputV2", "CSVInputEx"), _write_csv),
    "RTPInput": _write_rtp,
    "KafkaInput": _write_topic,
    "CriteoInput": _write_binaries,
    **dict.fromkeys(("TFRecordInput", "BatchTFRecordInput"), _write_records),
    **dict.fromkeys(("ParquetInput", "ParquetInputV2", "ParquetInputV3"), _write_parquet),
}


if __name__ == "__main__":
    # Writes the list again.
    found = {name: refusals(name) for name in names()}
    REFUSED.write_text("".join(f"{name} {next(iter(why))}\n" for name, why in found.items() if why))
