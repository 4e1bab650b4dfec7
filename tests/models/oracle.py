"""Models built from a config, and the results of EasyRec's formulas for them in float64."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import pathlib
import tempfile
import zlib
from collections.abc import Callable, Collection, Iterable

import numpy as np
import tensorflow as tf
from small_job import SmallJob

from hvdrec.checkpoint.names import SavedTensor
from hvdrec.config import load
from hvdrec.features import build_plan
from hvdrec.layers.context import ForwardContext
from hvdrec.layers.variables import variable_key
from hvdrec.models.recommender import ForwardResult, Recommender
from hvdrec.parallel.single import SingleReplica
from hvdrec.trainer.input import open_batches
from hvdrec.trainer.step.state import model_entries

EMBEDDING_REGULARIZATION = 0.01
L2 = 0.05

#: label, a, b, c, tags, x, y; a and b without an id in some rows, tags with none, one, several, one twice.
ROWS = (
    ("0", "a1", "b1", "3", "t1|t2|t3", "0.5", "10"),
    ("1", "", "b2", "0", "t4", "-1.25", "20"),
    ("0", "a2", "b3", "9", "", "0.75", "90"),
    ("1", "a3", "", "5", "t1|t1|t5", "2", "55"),
    ("0", "", "", "7", "", "-0.5", "0"),
    ("1", "a1", "b4", "3", "t6|t2", "1.5", "100"),
    ("1", "a4", "b1", "2", "t7", "-2", "35"),
    ("0", "a5", "b5", "8", "t8|t3", "0.25", "70"),
)
_BUCKETS = {"a": 50, "b": 60, "tags": 30}
_COLUMN = {"a": 1, "b": 2, "c": 3, "tags": 4, "x": 5, "y": 6}


@dataclasses.dataclass(frozen=True)
class Built:
    """A model with random weights (moving averages too) and one packed batch of `ROWS`."""

    recommender: Recommender
    batch: dict[str, tf.Tensor]

    @property
    def dense_names(self) -> set[str]:
        """Names of the variables apart from the embedding tables."""
        return set(self.recommender.store.variables_by_name)

    def run(self, training: bool = False, seed: int = 1) -> ForwardResult:
        """A forward pass."""
        touched = self.recommender.touch(self.batch)
        return self.recommender.forward(self.batch, touched, ForwardContext(training, tf.constant([seed, 7])))

    def values(self) -> dict[str, np.ndarray]:
        """Every variable in float64 by its name in a checkpoint."""
        return {e.name: _value(e) for e in model_entries(self.recommender)}


@functools.cache
def build(model_config: str, width_of_a: int = 4) -> Built:
    """Builds the model of a `model_config`, the features being those of `SmallJob`."""
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        data, path = folder / "rows.csv", folder / "job.config"
        data.write_text("".join(",".join((*row, "u", "1")) + "\n" for row in ROWS))
        before = SmallJob(data, folder / "run", batch_size=len(ROWS)).text().split("model_config {")[0]
        before = before.replace("size: 50 embedding_dim: 4", f"size: 50 embedding_dim: {width_of_a}")
        path.write_text(
            f"{before}\nmodel_config {{ {model_config} embedding_regularization: {EMBEDDING_REGULARIZATION} }}"
        )
        proto = load(path).proto
        plan = build_plan(proto)
        recommender = Recommender(proto, plan, 1)
        with open_batches(proto, plan, SingleReplica(), training=True) as loader:
            batch = {k: tf.constant(v) for k, v in next(loader).arrays.items()}
    batch.setdefault("dense", tf.zeros([len(ROWS), 0]))
    for variable in [*(b.variable for b in recommender.banks), *recommender.store.variables_by_name.values()]:
        randomise(variable)
    return Built(recommender, batch)


class Oracle:
    """EasyRec's layers in float64, on weights by their checkpoint names.

    Attributes:
        used: The names read so far.
        squared: The squared embeddings looked up so far, added up.
        masks: What dropout multiplies the outputs of a layer (by its scope) with.
    """

    def __init__(self, values: dict[str, np.ndarray], training: bool = False) -> None:
        self._values = values
        self._training = training
        self.used: set[str] = set()
        self.squared = 0.0
        self.masks: dict[str, np.ndarray] = {}

    def get(self, name: str) -> np.ndarray:
        self.used.add(name)
        return self._values[name]

    def features(self, scope: str, names: Iterable[str]) -> list[np.ndarray]:
        """Each feature [B, D] of a group whose tables are in `scope`."""
        return [self._feature(scope, name, _mean) for name in names]

    def wide(self, scope: str, names: Iterable[str]) -> list[np.ndarray]:
        """The same of a wide group, where the combiner is always the sum."""
        return [self._feature(scope, name, _sum) for name in names]

    def concat(self, scope: str, names: Iterable[str]) -> np.ndarray:
        return np.concatenate(self.features(scope, names), axis=1)

    def _feature(
        self, scope: str, name: str, pool: Callable[[np.ndarray, list[int]], np.ndarray]
    ) -> np.ndarray:
        cells = [row[_COLUMN[name]] for row in ROWS]
        if name in ("x", "y"):
            numbers = np.asarray(cells, np.float64)[:, None]
            return numbers / 100.0 if name == "y" else numbers
        table = self.get(f"{scope}/{name}_embedding/embedding_weights")
        found = np.stack([pool(table, _ids(name, cell)) for cell in cells])
        self.squared += float(np.sum(found**2))
        return found

    def dense(self, name: str, x: np.ndarray) -> np.ndarray:
        return x @ self.get(f"{name}/kernel") + self.get(f"{name}/bias")

    def batch_norm(self, name: str, x: np.ndarray) -> np.ndarray:
        mean, variance = self.get(f"{name}/moving_mean"), self.get(f"{name}/moving_variance")
        if self._training:
            mean, variance = x.mean(axis=0), x.var(axis=0)
        return (x - mean) / np.sqrt(variance + 1e-3) * self.get(f"{name}/gamma") + self.get(f"{name}/beta")

    def dnn(
        self,
        name: str,
        x: np.ndarray,
        layers: int,
        norm: bool = False,
        activation: Callable[[np.ndarray], np.ndarray] | None = None,
    ) -> np.ndarray:
        for i in range(layers):
            scope = f"{name}/dnn_{i}"
            x = self.dense(scope, x)
            if norm:
                x = self.batch_norm(f"{scope}/bn", x)
            x = np.maximum(x, 0.0) if activation is None else activation(x)
            x = x * self.masks.get(scope, 1.0)
        return x


Formula = Callable[[Oracle], np.ndarray]


def interactions(vectors: list[np.ndarray]) -> np.ndarray:
    """The factorisation machine [B, D], pair by pair; narrower vectors end in zeros."""
    most = max(v.shape[1] for v in vectors)
    vectors = [np.pad(v, [(0, 0), (0, most - v.shape[1])]) for v in vectors]
    return np.sum([v * w for v, w in itertools.combinations(vectors, 2)], axis=0)


def dense_names(*layers: str) -> set[str]:
    return {f"{layer}/{part}" for layer in layers for part in ("kernel", "bias")}


def norm_names(*norms: str) -> set[str]:
    parts = ("gamma", "beta", "moving_mean", "moving_variance")
    return {f"{norm}/{part}" for norm in norms for part in parts}


def dnn_names(name: str, layers: int, norm: bool = False) -> set[str]:
    scopes = [f"{name}/dnn_{i}" for i in range(layers)]
    return dense_names(*scopes) | (norm_names(*(f"{s}/bn" for s in scopes)) if norm else set())


def check_logits(built: Built, formula: Formula) -> None:
    """Logits with moving averages and with the batch's statistics, and that no variable is left over."""
    values = built.values()
    for training in (False, True):
        oracle = Oracle(values, training)
        expected = formula(oracle)
        found = _rows(built.run(training)).reshape(expected.shape)
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
        assert oracle.used == set(values)


def check_gradients(built: Built, cancelled: Collection[str] = (), least: float = 1e-6) -> None:
    """The loss alone, without penalties, reaches every table and every variable.

    Not what a batch norm takes away again: biases right before one, and what `cancelled` names. A gradient
    is above `least`.
    """
    recommender, batch = built.recommender, built.batch
    touched = recommender.touch(batch)
    trained = recommender.dense_trainable
    with tf.GradientTape() as tape:
        tape.watch(touched)
        output = recommender.forward(batch, touched, ForwardContext(True, tf.constant([1, 7])))
        losses = recommender.losses(batch, output, True, tf.constant(0, tf.int64))
        loss = tf.add_n(list(losses.values()))
    gradients = tape.gradient(loss, [*touched, *trained])
    assert all(g is not None for g in gradients)
    for table in recommender.plan.tables:
        rows = batch[f"bank{table.bank}/rows"].numpy() - table.offset
        own = gradients[table.bank].numpy()[(rows >= 0) & (rows < table.rows)]
        assert np.abs(own).max() > least, table.name
    names = built.dense_names
    for variable, gradient in zip(trained, gradients[len(touched) :], strict=True):
        name = variable_key(variable)
        most = float(tf.reduce_max(tf.abs(gradient)))
        before_norm = name.endswith("/bias") and f"{name.removesuffix('bias')}bn/gamma" in names
        if before_norm or name in cancelled:
            assert most < 1e-5, name
        else:
            assert most > least, name


def check_penalties(built: Built, formula: Formula, kernels: set[str]) -> None:
    """Half the squared looked-up embeddings, and half the squares of just these layers' kernels."""
    values = built.values()
    oracle = Oracle(values)
    formula(oracle)
    np.testing.assert_allclose(
        built.run().embedding_penalty.numpy(), EMBEDDING_REGULARIZATION / 2 * oracle.squared, rtol=1e-5
    )
    squares = sum(float(np.sum(values[f"{k}/kernel"] ** 2)) for k in kernels)
    np.testing.assert_allclose(built.recommender.kernel_penalty().numpy(), L2 / 2 * squares, rtol=1e-5)


def check_dropout(built: Built, formula: Formula, scope: str, rate: float) -> None:
    """Off in inference; in training each row's logits are those of some units dropped.

    The layer `scope`, the only one with dropout, must be small: every set of dropped units is tried.
    """
    values = built.values()
    np.testing.assert_allclose(_rows(built.run()), formula(Oracle(values)), rtol=1e-5, atol=1e-5)
    units = values[f"{scope}/bias"].shape[0]
    oracle = Oracle(values, training=True)
    possible = []
    for kept in itertools.product((0.0, 1.0), repeat=units):
        oracle.masks[scope] = np.asarray(kept) / (1.0 - rate)
        possible.append(formula(oracle))
    found = [_rows(built.run(training=True, seed=seed)) for seed in (1, 2)]
    for logits in found:
        away = np.abs(np.stack(possible) - logits).max(axis=2).min(axis=0)
        assert away.max() < 1e-5
    assert np.abs(found[0] - found[1]).max() > 1e-3, "another seed must drop others"


def _rows(output: ForwardResult) -> np.ndarray:
    """The raw outputs of all heads side by side."""
    return np.concatenate([t.numpy().reshape(t.shape[0], -1) for t in output.outputs.values()], axis=1)


def _ids(feature: str, cell: str) -> list[int]:
    if feature == "c":
        return [int(cell)]
    return [
        int(tf.strings.to_hash_bucket_fast(value, _BUCKETS[feature])) for value in cell.split("|") if value
    ]


def _mean(table: np.ndarray, ids: list[int]) -> np.ndarray:
    return table[ids].mean(axis=0) if ids else np.zeros(table.shape[1])


def _sum(table: np.ndarray, ids: list[int]) -> np.ndarray:
    return table[ids].sum(axis=0)


def _value(entry: SavedTensor) -> np.ndarray:
    whole = entry.variable.numpy().astype(np.float64)
    return whole if entry.rows is None else whole[entry.rows[0] : entry.rows[1]]


def randomise(variable: tf.Variable) -> None:
    """Gives a variable values by its name."""
    rng = np.random.default_rng(zlib.crc32(variable.name.encode()))
    shape = tuple(variable.shape)
    if "moving_variance" in variable.name:
        variable.assign(rng.uniform(0.5, 2.0, shape))
    else:
        variable.assign(rng.normal(1.0 if "gamma" in variable.name else 0.0, 0.5, shape))
