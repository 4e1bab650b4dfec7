"""An exported model of hvdrec or EasyRec, loaded for prediction."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import tensorflow as tf

from hvdrec.checkpoint.reader import READ_ERRORS, message
from hvdrec.errors import ConfigError, DataError
from hvdrec.serving.inputs import JOINED, request_fields
from hvdrec.serving.request import Locate, Wanted, defaults, joined, request
from hvdrec.serving.saved_model import SIGNATURE


class LoadedModel:
    """Predicts with the ``serving_default`` signature of a SavedModel.

    Attributes:
        inputs: The columns that it reads.
    """

    def __init__(self, folder: str, proto: Any) -> None:
        """Loads the model.

        Args:
            folder: The folder of ``saved_model.pb``.
            proto: The `EasyRecConfig` that it was exported with.

        Raises:
            ConfigError: The model can't be loaded, or needs inputs that the config doesn't declare.
        """
        tf.compat.v1.logging.set_verbosity(tf.compat.v1.logging.ERROR)
        self._graph = tf.Graph()
        train = proto.train_config
        self._session = tf.compat.v1.Session(
            graph=self._graph,
            config=tf.compat.v1.ConfigProto(
                intra_op_parallelism_threads=train.intra_op_parallelism_threads,
                inter_op_parallelism_threads=train.inter_op_parallelism_threads,
            ),
        )
        try:
            with self._graph.as_default():
                loaded = tf.compat.v1.saved_model.load(self._session, ["serve"], folder)
        except READ_ERRORS as error:
            raise ConfigError(f"--saved_model_dir: {folder} can't be loaded: {message(error)}") from error
        if SIGNATURE not in loaded.signature_def:
            raise ConfigError(f"--saved_model_dir: {folder} has no signature {SIGNATURE}")
        signature = loaded.signature_def[SIGNATURE]
        self._feeds = {name: info.name for name, info in signature.inputs.items()}
        self._fetches = {name: signature.outputs[name].name for name in sorted(signature.outputs)}
        self._separator = proto.data_config.separator
        fields = defaults(proto)
        joins = not proto.export_config.multi_placeholder
        self._joined = set(self._feeds) == {JOINED} and (joins or JOINED not in fields)
        if self._joined:
            found = dict.fromkeys(request_fields(proto), (tf.string, False))
        else:
            found = {
                name: (tf.as_dtype(info.dtype), len(info.tensor_shape.dim) > 1)
                for name, info in signature.inputs.items()
            }
        unknown = sorted(set(found) - set(fields))
        if unknown:
            raise ConfigError(
                f"--saved_model_dir: the model has inputs that data_config.input_fields doesn't declare: "
                f"{', '.join(unknown)}"
            )
        self.inputs = [Wanted(name, *kind, *fields[name]) for name, kind in found.items()]

    def predict(self, columns: pa.RecordBatch, locate: Locate) -> dict[str, np.ndarray]:
        """The outputs for some rows, by name.

        Raises:
            DataError: A cell is invalid for the model.
        """
        if self._joined:
            tensors = {JOINED: joined(columns, self.inputs, self._separator)}
        else:
            tensors = request(columns, self.inputs, locate)
        feed = {self._feeds[name]: values for name, values in tensors.items()}
        try:
            return self._session.run(self._fetches, feed)
        except tf.errors.InvalidArgumentError as error:
            raise DataError(f"from {locate(0)} on: {_reason(error)}") from error


def _reason(error: tf.errors.OpError) -> str:
    """An operation's error text, without its location in the graph."""
    text = error.message.partition("[[{{node")[0]
    return text.strip().splitlines()[-1].strip()
