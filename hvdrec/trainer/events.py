"""Reads scalars back from TensorBoard's event files, EasyRec's included."""

from __future__ import annotations

import glob
import os

import tensorflow as tf


def read_scalars(folder: str, name: str) -> dict[int, float]:
    """The values of one scalar by step; the last one written counts.

    A file that is cut off, as after a crash, is read up to there.
    """
    found: dict[int, float] = {}
    for path in sorted(glob.glob(os.path.join(glob.escape(folder), "*tfevents*"))):
        try:
            for event in tf.compat.v1.train.summary_iterator(path):
                for value in event.summary.value:
                    if value.tag == name and value.HasField("simple_value"):
                        found[event.step] = float(value.simple_value)
                    elif value.tag == name and value.HasField("tensor"):
                        found[event.step] = float(tf.make_ndarray(value.tensor))
        except tf.errors.DataLossError:
            continue
    return found
