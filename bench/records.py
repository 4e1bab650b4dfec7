"""The rows of a CSV file as TFRecord and RTP files, and TensorFlow's own way to read them (for
bench/packing.py)."""

from __future__ import annotations

import csv
from typing import Any

import tensorflow as tf

from hvdrec.config.names import enum_name

_INTEGERS = ("INT32", "INT64", "BOOL")
_FRACTIONS = ("FLOAT", "DOUBLE")


def write(data_config: Any, rows: str, path: str) -> None:
    """Writes a tf.Example for each line; empty cells are left out."""
    kinds = [(field.input_name, enum_name(field, "input_type")) for field in data_config.input_fields]
    with open(rows, newline="") as lines, tf.io.TFRecordWriter(path) as file:
        for cells in csv.reader(lines, delimiter=data_config.separator):
            features = {
                name: _feature(kind, cell)
                for (name, kind), cell in zip(kinds, cells, strict=True)
                if cell or kind == "STRING"
            }
            file.write(tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString())


def write_rtp(data_config: Any, rows: str, path: str) -> None:
    """Writes a line of RTPInput for each line: the labels, then all features in one cell."""
    labels = set(data_config.label_fields)
    names = [field.input_name for field in data_config.input_fields]
    with open(rows, newline="") as lines, open(path, "w") as file:
        for cells in csv.reader(lines, delimiter=data_config.separator):
            pairs = list(zip(names, cells, strict=True))
            own = [cell for name, cell in pairs if name in labels]
            features = "\002".join(cell for name, cell in pairs if name not in labels)
            file.write(";".join([*own, features]) + "\n")


def parsed_rtp(data_config: Any, path: str, batch: int, threads: int) -> tf.data.Dataset:
    """The cells of batches, split as EasyRec does, without further processing."""
    count = len(data_config.input_fields) - len(data_config.label_fields)

    def split(lines: tf.Tensor) -> dict[str, tf.Tensor]:
        columns = tf.reshape(tf.strings.split(lines, ";").values, [tf.size(lines), -1])
        cells = tf.strings.split(columns[:, -1], "\002").values
        return {"labels": columns[:, :-1], "features": tf.reshape(cells, [-1, count])}

    options = tf.data.Options()
    options.threading.private_threadpool_size = threads
    data = tf.data.TextLineDataset(path).batch(batch).map(split, num_parallel_calls=threads)
    return data.prefetch(2).with_options(options)


def _feature(kind: str, cell: str) -> tf.train.Feature:
    if kind in _INTEGERS:
        return tf.train.Feature(int64_list=tf.train.Int64List(value=[int(float(cell))]))
    if kind in _FRACTIONS:
        return tf.train.Feature(float_list=tf.train.FloatList(value=[float(cell)]))
    return tf.train.Feature(bytes_list=tf.train.BytesList(value=[cell.encode()]))


def parsed(data_config: Any, path: str, batch: int, threads: int) -> tf.data.Dataset:
    """The columns of batches by tf.io.parse_example, without further processing."""
    wanted = {}
    for field in data_config.input_fields:
        kind = enum_name(field, "input_type")
        dtype = tf.int64 if kind in _INTEGERS else tf.float32 if kind in _FRACTIONS else tf.string
        wanted[field.input_name] = tf.io.FixedLenFeature([1], dtype, "" if dtype == tf.string else 0)
    options = tf.data.Options()
    options.threading.private_threadpool_size = threads
    data = tf.data.TFRecordDataset(path).batch(batch)
    data = data.map(lambda records: tf.io.parse_example(records, wanted), num_parallel_calls=threads)
    return data.prefetch(2).with_options(options)
