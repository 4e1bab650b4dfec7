"""Models over histories, built from a config, and their inputs padded in float64."""

from __future__ import annotations

import dataclasses
import functools
import pathlib
import tempfile
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from models.oracle import EMBEDDING_REGULARIZATION, Built, Oracle, randomise

from hvdrec.config import load
from hvdrec.config.checks.check import check
from hvdrec.config.expand import expand
from hvdrec.features import build_plan
from hvdrec.models.recommender import Recommender
from hvdrec.parallel.single import SingleReplica
from hvdrec.serving.module import ServingModule
from hvdrec.trainer.input import open_batches

#: label, u, i, c, then the histories h, k, r, of one length in each row; two levels in t, which may be empty.
ROWS = (
    ("0", "u1", "i1", "c1", "a|b|c", "x|y|x", "1|2|3", "p;q|r|"),
    ("1", "u2", "i2", "c2", "a", "z", "4", ""),
    ("0", "u1", "i3", "c1", "d|a|b|c|e", "x|x|z|y|x", "0.5|7|1|2|9", "|s"),
    ("1", "", "i1", "c3", "", "", "0", "r|r;s"),
    ("1", "u3", "i2", "", "b|b", "w|y", "3|8", "p"),
)
_NAMES = ("label", "u", "i", "c", "h", "k", "r", "t")
ROWS_OF_TABLE = {"u": 20, "i": 30, "c": 10, "h": 30, "k": 40, "t": 25}
_BOUNDARIES = (1.0, 2.5, 5.0)
WIDTH = {**dict.fromkeys("uichk", 4), "r": 3, "t": 5}


def text(model: str, combiner: str = "") -> str:
    """The config of a model, the text of a `model_config`; `combiner` is that of the history t."""
    ids = "\n".join(
        f"features {{ input_names: '{n}' hash_bucket_size: {ROWS_OF_TABLE[n]} embedding_dim: 4 }}"
        for n in "uic"
    )
    histories = "\n".join(
        f"""features {{ input_names: '{n}' feature_type: SequenceFeature separator: '|'
        hash_bucket_size: {ROWS_OF_TABLE[n]} embedding_dim: {WIDTH[n]} {more} }}"""
        for n, more in {
            "h": "max_seq_len: 5",
            "k": "",
            "t": f"seq_multi_sep: ';' combiner: 'mean' {combiner}",
        }.items()
    )
    return f"""train_input_path: 'rows.csv' eval_input_path: 'rows.csv' model_dir: 'run'
    train_config {{ num_steps: 1 optimizer_config {{
      sgd_optimizer {{ learning_rate {{ constant_learning_rate {{ learning_rate: 0.1 }} }} }} }} }}
    eval_config {{ metrics_set {{ auc {{}} }} }}
    data_config {{ input_type: CSVInput batch_size: {len(ROWS)} label_fields: 'label' shuffle: false
      input_fields {{ input_name: 'label' input_type: INT32 }}
      {" ".join(f"input_fields {{ input_name: '{n}' input_type: STRING }}" for n in _NAMES[1:])} }}
    feature_config {{ {ids} {histories}
      features {{ input_names: 'r' feature_type: SequenceFeature separator: '|' sub_feature_type: RawFeature
        boundaries: [{", ".join(map(str, _BOUNDARIES))}] embedding_dim: {WIDTH["r"]} }} }}
    model_config {{ {model} embedding_regularization: {EMBEDDING_REGULARIZATION} }}
    """


@dataclasses.dataclass(frozen=True)
class Histories(Built):
    """See `Built`.

    Attributes:
        proto: The config.
    """

    proto: Any

    def served(self) -> dict[str, np.ndarray]:
        """The predictions of the exported graph, run as it is."""
        module = ServingModule(self.proto, self.recommender)
        column = {name: i for i, name in enumerate(_NAMES)}
        given = [tf.constant([row[column[i.name]] for row in ROWS]) for i in module.inputs]
        return {name: tensor.numpy() for name, tensor in module._serve(*given).items()}

    def predicted(self) -> dict[str, np.ndarray]:
        """The trainer's predictions."""
        return {name: t.numpy() for name, t in self.recommender.predictions(self.run()).items()}


@functools.cache
def build(model: str, combiner: str = "") -> Histories:
    """Builds the model of a `model_config`, with random weights, and a batch of `ROWS`."""
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        data, path = folder / "rows.csv", folder / "job.config"
        data.write_text("".join(",".join(row) + "\n" for row in ROWS))
        path.write_text(text(model, combiner).replace("rows.csv", str(data)))
        config = load(path)
        expand(config)
        check(config)
        plan = build_plan(config.proto)
        recommender = Recommender(config.proto, plan, 1)
        with open_batches(config.proto, plan, SingleReplica(), training=True) as loader:
            batch = {k: tf.constant(v) for k, v in next(loader).arrays.items()}
    batch.setdefault("dense", tf.zeros([len(ROWS), 0]))
    for variable in [*(b.variable for b in recommender.banks), *recommender.store.variables_by_name.values()]:
        randomise(variable)
    return Histories(recommender, batch, config.proto)


def _cells(name: str) -> list[str]:
    return [row[_NAMES.index(name)] for row in ROWS]


def hashed(name: str, value: str) -> int:
    """The row of a value in the table of the feature `name`."""
    return int(tf.strings.to_hash_bucket_fast(value, ROWS_OF_TABLE[name]))


def rows_of(oracle: Oracle, name: str, table: str) -> np.ndarray:
    """The embedding [B, D] of an id in each row."""
    weights = oracle.get(f"{table}/embedding_weights")
    found = [weights[hashed(name, cell)] if cell else np.zeros(weights.shape[1]) for cell in _cells(name)]
    return _counted(oracle, np.stack(found))


def padded(oracle: Oracle, names: Sequence[str], tables: Sequence[str], counted: bool = True) -> np.ndarray:
    """Histories side by side, filled up with zeros to the longest, [B, T, D]."""
    parts = []
    for name, table in zip(names, tables, strict=True):
        weights = oracle.get(f"{table}/embedding_weights")
        rows = [[_element(name, part, weights) for part in cell.split("|")] for cell in _cells(name)]
        most = max(map(len, rows))
        part = np.stack([np.pad(np.stack(row), [(0, most - len(row)), (0, 0)]) for row in rows])
        parts.append(_counted(oracle, part) if counted else part)
    return np.concatenate(parts, axis=2)


def _element(name: str, part: str, weights: np.ndarray) -> np.ndarray:
    if name == "r":
        return weights[int(np.searchsorted(_BOUNDARIES, float(part), side="right"))]
    return weights[hashed(name, part)]


def _counted(oracle: Oracle, values: np.ndarray) -> np.ndarray:
    oracle.squared += float(np.sum(values**2))
    return values


def lengths() -> np.ndarray:
    """Elements of h, k and r in each row."""
    return np.array([len(cell.split("|")) for cell in _cells("h")])


def there() -> np.ndarray:
    """Which places of `padded` are elements, bool [B, T]."""
    return np.arange(lengths().max()) < lengths()[:, None]


def softmax(scores: np.ndarray) -> np.ndarray:
    """Over the last axis."""
    powers = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def over_places(oracle: Oracle, name: str, x: np.ndarray, layers: int, norm: bool = True) -> np.ndarray:
    """A DNN over [B, T, D], its batch norms over all places."""
    flat = oracle.dnn(name, x.reshape(-1, x.shape[2]), layers, norm)
    return flat.reshape(*x.shape[:2], -1)


def attention(oracle: Oracle, name: str, layers: int, query: np.ndarray, h: np.ndarray) -> np.ndarray:
    """The weight of each position, [B, T]; the DNN has batch norms except in its last layer."""
    q = np.broadcast_to(query[:, None], h.shape)
    hidden = over_places(oracle, name, np.concatenate([q, h, q - h, q * h], axis=2), layers - 1)
    scores = oracle.dense(f"{name}/dnn_{layers - 1}", hidden)[:, :, 0]
    return softmax(np.where(there(), scores, -(2.0**32)))
