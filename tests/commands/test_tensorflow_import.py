"""Commands import TensorFlow and Horovod without Keras, or garbage collection; all of them still work."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import gc, inspect, sys
from hvdrec.commands import main
collections = []
gc.callbacks.append(lambda phase, info: collections.append(phase))
import tensorflow as tf
print(len(collections), gc.isenabled(), gc.get_freeze_count() > 100_000, "Top-level" in inspect.getsource(tf))
import horovod.tensorflow as hvd
hvd.init()
print(float(hvd.allreduce(tf.constant(2.0))), inspect.getsource(hvd).count("def allreduce("))
print("keras" in sys.modules, hasattr(hvd, "something"))
print(float(tf.keras.losses.MeanSquaredError()([1.0], [3.0])))
import keras
print(keras is sys.modules["keras"] and keras.layers.Dense is tf.keras.layers.Dense)
print(issubclass(hvd.SyncBatchNormalization, keras.layers.BatchNormalization))
"""


def test_the_import_and_what_is_left_of_it() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=120, check=True
    )
    assert done.stdout.splitlines() == [
        "0 True True True",
        "2.0 1",
        "False False",
        "4.0",
        "True",
        "True",
    ]
