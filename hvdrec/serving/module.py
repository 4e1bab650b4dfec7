"""A trained model together with the serving graph: maps raw inputs to predictions."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from hvdrec.features.build import tower_plan
from hvdrec.features.serving import ServingGraph
from hvdrec.layers.banks.dynamic import DynamicBank
from hvdrec.layers.banks.key_table import KeyTable
from hvdrec.layers.context import ForwardContext
from hvdrec.models.recommender import Recommender
from hvdrec.serving.inputs import JOINED, request_fields, request_inputs, split_joined
from hvdrec.serving.updates import Updates


class ServingModule(tf.Module):
    """The exported module: the recommender's variables, without optimizer slots.

    It stays valid while training continues; each export has the current weights.
    """

    def __init__(self, proto: Any, recommender: Recommender, side: str = "") -> None:
        """Builds the graph; nothing is traced before the first use.

        Args:
            proto: The `EasyRecConfig` message.
            recommender: The model.
            side: ``user`` or ``item`` for only that tower of a matching model.

        Raises:
            ConfigError: A feature of the model can't be exported.
        """
        super().__init__()
        self._recommender = recommender
        self._side = side
        self._plan = tower_plan(proto, side) if side else recommender.plan
        places = [
            (i, table)
            for i, bank in enumerate(recommender.banks)
            if isinstance(bank, DynamicBank)
            for table in range(len(bank.layout.tables))
        ]
        self._keys = [KeyTable(recommender.banks[i], table) for i, table in places]
        by_place = dict(zip(places, self._keys, strict=True))
        self._graph = ServingGraph(self._plan, {place: keys.rows for place, keys in by_place.items()})
        self._separator = proto.data_config.separator
        only = self._graph.fields() if side else None
        self._fields = tuple(request_fields(proto, only))
        self._joined = not proto.export_config.multi_placeholder
        self.inputs = request_inputs(proto, self._plan, only)
        #: How a service changes the model, if the config sends changes between checkpoints.
        self.updates: Updates | None = None
        if proto.train_config.HasField("incr_save_config"):
            self.updates = Updates(recommender, by_place)
        self.serve = tf.function(
            self._serve, input_signature=[i.spec for i in self.inputs], autograph=False, jit_compile=False
        )

    def refresh(self) -> None:
        """Takes what isn't read from the model's variables: the ids of tables without a fixed size."""
        for keys in self._keys:
            keys.refresh()
        if self.updates:
            self.updates.refresh()

    def _serve(self, *tensors: tf.Tensor) -> dict[str, tf.Tensor]:
        """EasyRec's prediction tensors of a request, by name."""
        named = {i.name: t for i, t in zip(self.inputs, tensors, strict=True)}
        if self._joined:
            named = dict(split_joined(named[JOINED], self._fields, self._separator))
        batch = self._graph(named)
        with self._recommender.strategy.plainly():
            return self._predictions(batch)

    def _predictions(self, batch: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        model = self._recommender
        if self._side:
            return {n: tf.identity(t) for n, t in model.tower(self._side, self._plan, batch).items()}
        output = model.forward(batch, model.touch(batch), ForwardContext(training=False, standard=True))
        # Without its own operation, an output that is another's input would share its name.
        return {name: tf.identity(t) for name, t in model.predictions(output).items()}
