"""Reads scalars back from TensorBoard's event files, EasyRec's included."""

from __future__ import annotations

import glob
import os

import tensorflow as tf
from tensorflow.core.util import event_pb2


def read_scalars(folder: str, name: str) -> dict[int, float]:
    """The values of one scalar by step; the last written value is used."""
    return {step: values[name] for step, values in read_all_scalars(folder).items() if name in values}


def read_all_scalars(folder: str) -> dict[int, dict[str, float]]:
    """The values of all scalars by step and name; the last written value is used.

    A truncated file, as after a crash, is read as far as possible.
    """
    found: dict[int, dict[str, float]] = {}
    for path in sorted(glob.glob(os.path.join(glob.escape(folder), "*tfevents*"))):
        try:
            for record in tf.data.TFRecordDataset(path):
                event = event_pb2.Event.FromString(record.numpy())
                for value in event.summary.value:
                    if value.HasField("simple_value"):
                        found.setdefault(event.step, {})[value.tag] = float(value.simple_value)
                    elif value.HasField("tensor") and value.tensor.dtype == tf.float32.as_datatype_enum:
                        array = tf.make_ndarray(value.tensor)
                        if array.ndim == 0:
                            found.setdefault(event.step, {})[value.tag] = float(array)
        except tf.errors.DataLossError:
            continue
    return found
