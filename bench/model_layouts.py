"""Input files and configs of single models: MultiTowerDIN on histories, MMoE on two labels, DeepFM with large tables."""

from __future__ import annotations

import pathlib

import layouts
import numpy as np
import pyarrow as pa
import pyarrow.csv

ITEMS, CATEGORIES, USERS = 12_000, 660, 20_000
#: Rows of each table of the layout `large`.
LARGE = 1_000_000
#: Of a history's elements.
LONGEST, MEAN = 50, 10
_LABELS = ("click", "buy")
_CRITEO = [f"f{i + 1}" for i in range(13)], [f"c{i + 1}" for i in range(26)]


def _write(path: pathlib.Path, columns: dict[str, object]) -> None:
    options = pyarrow.csv.WriteOptions(include_header=False, quoting_style="none")
    pyarrow.csv.write_csv(pa.table(columns), path, options)


def _write_histories(path: pathlib.Path, rows: int) -> None:
    """Lengths follow an exponential distribution, items Zipf's; a category is a function of the item."""
    rng = np.random.default_rng(1)
    lengths = np.clip(rng.exponential(MEAN, rows).astype(np.int64), 1, LONGEST)
    popularity = 1.0 / np.arange(1, ITEMS + 1) ** 0.8
    items = rng.choice(ITEMS, rows + int(lengths.sum()), p=popularity / popularity.sum())
    ends = np.cumsum(lengths)
    histories = np.split(items[rows:], ends[:-1])
    columns: dict[str, object] = {
        "label": rng.integers(0, 2, rows),
        "user": rng.integers(0, USERS, rows),
        "item": items[:rows],
        "category": items[:rows] % CATEGORIES,
        "items": ["|".join(map(str, h.tolist())) for h in histories],
        "categories": ["|".join(map(str, (h % CATEGORIES).tolist())) for h in histories],
    }
    _write(path, columns)


def _histories_config() -> str:
    names = ("user", "item", "category", "items", "categories")
    fields = "\n".join(f'  input_fields {{ input_name: "{n}" input_type: STRING }}' for n in names)
    history = 'feature_type: SequenceFeature sub_feature_type: IdFeature separator: "|"'
    return f"""train_input_path: "din.csv"
model_dir: "unused"
train_config {{ optimizer_config {{ adam_optimizer {{ learning_rate {{ constant_learning_rate {{}} }} }} }} }}
data_config {{
  input_fields {{ input_name: "label" input_type: INT32 }}
{fields}
  label_fields: "label"
  input_type: CSVInput
}}
feature_config {{
  features {{ input_names: "user" hash_bucket_size: 40000 embedding_dim: 32 }}
  features {{ input_names: "item" hash_bucket_size: 24000 embedding_dim: 32 embedding_name: "item" }}
  features {{ input_names: "category" hash_bucket_size: 1300 embedding_dim: 32 embedding_name: "category" }}
  features {{ input_names: "items" {history} hash_bucket_size: 24000 embedding_dim: 32 embedding_name: "item" }}
  features {{ input_names: "categories" {history} hash_bucket_size: 1300 embedding_dim: 32 embedding_name: "category" }}
}}
model_config {{
  model_class: "MultiTowerDIN"
  feature_groups {{ group_name: "user" wide_deep: DEEP feature_names: "user" }}
  feature_groups {{ group_name: "item" wide_deep: DEEP feature_names: ["item", "category"] }}
  seq_att_groups {{ group_name: "din" seq_att_map {{ key: ["item", "category"] hist_seq: ["items", "categories"] }} }}
  multi_tower {{
    towers {{ input: "user" dnn {{ hidden_units: [128, 64] }} }}
    towers {{ input: "item" dnn {{ hidden_units: [128, 64] }} }}
    din_towers {{ input: "din" dnn {{ hidden_units: [64, 32, 1] }} }}
    final_dnn {{ hidden_units: [128, 64] }}
  }}
  embedding_regularization: 1e-6
}}
"""


def _write_two_labels(path: pathlib.Path, rows: int) -> None:
    """13 numbers and 26 ids from Zipf's distribution."""
    rng = np.random.default_rng(1)
    numbers, ids = _CRITEO
    columns: dict[str, object] = {name: rng.integers(0, 2, rows) for name in _LABELS}
    columns |= {name: np.exp(rng.exponential(2.0, rows)).astype(np.int64) for name in numbers}
    columns |= {name: np.minimum(rng.zipf(1.2, rows) - 1, 1_000_000) for name in ids}
    _write(path, columns)


def _two_labels_config() -> str:
    numbers, ids = _CRITEO
    fields = [(n, "INT32") for n in _LABELS] + [(n, "FLOAT") for n in numbers] + [(n, "STRING") for n in ids]
    written = "\n".join(f'  input_fields {{ input_name: "{n}" input_type: {kind} }}' for n, kind in fields)
    features = [
        f'  features {{ input_names: "{n}" feature_type: RawFeature normalizer_fn: "tf.math.log1p" }}'
        for n in numbers
    ] + [f'  features {{ input_names: "{n}" hash_bucket_size: 20000 embedding_dim: 16 }}' for n in ids]
    towers = "\n".join(
        f'    task_towers {{ tower_name: "{n}" label_name: "{n}" dnn {{ hidden_units: [64, 32] }} }}'
        for n in _LABELS
    )
    newline = "\n"
    return f"""train_input_path: "mmoe.csv"
model_dir: "unused"
train_config {{ optimizer_config {{ adagrad_optimizer {{ learning_rate {{ constant_learning_rate {{}} }} }} }} }}
data_config {{
{written}
  label_fields: {list(_LABELS)}
  input_type: CSVInput
}}
feature_config {{
{newline.join(features)}
}}
model_config {{
  model_class: "MMoE"
  feature_groups {{ group_name: "all" wide_deep: DEEP feature_names: {[*numbers, *ids]} }}
  mmoe {{
    expert_dnn {{ hidden_units: [256, 128, 64] }}
    num_expert: 4
{towers}
  }}
  embedding_regularization: 1e-6
}}
"""


def _write_uniform_ids(path: pathlib.Path, rows: int) -> None:
    """26 ids from a uniform distribution."""
    rng = np.random.default_rng(1)
    columns: dict[str, object] = {"label": rng.integers(0, 2, rows)}
    columns |= {name: rng.integers(0, LARGE, rows) for name in _CRITEO[1]}
    _write(path, columns)


def _large_config() -> str:
    ids, newline = _CRITEO[1], "\n"
    written = [f'  input_fields {{ input_name: "{n}" input_type: INT64 }}' for n in ids]
    features = [f'  features {{ input_names: "{n}" num_buckets: {LARGE} embedding_dim: 16 }}' for n in ids]
    return f"""train_input_path: "large.csv"
model_dir: "unused"
train_config {{ optimizer_config {{ adam_optimizer {{ learning_rate {{ constant_learning_rate {{}} }} }} }} }}
data_config {{
  input_fields {{ input_name: "label" input_type: INT32 }}
{newline.join(written)}
  label_fields: "label"
  input_type: CSVInput
}}
feature_config {{
{newline.join(features)}
}}
model_config {{
  model_class: "DeepFM"
  feature_groups {{ group_name: "deep" wide_deep: DEEP feature_names: {ids} }}
  feature_groups {{ group_name: "wide" wide_deep: WIDE feature_names: {ids} }}
  deepfm {{ dnn {{ hidden_units: [256, 128, 64] }} final_dnn {{ hidden_units: [64, 32] }} wide_output_dim: 1 }}
  embedding_regularization: 1e-6
}}
"""


MODEL_LAYOUTS = {
    "din": layouts.Layout(
        "din",
        f"label, user, item, category and two histories of 1 to {LONGEST} elements (mean {MEAN}), tables 32 wide: "
        "MultiTowerDIN with target attention over both histories",
        _write_histories,
        _histories_config,
    ),
    "mmoe": layouts.Layout(
        "mmoe",
        "two labels, 13 numbers and 26 ids, tables 16 wide: MMoE with 4 experts 256-128-64 and two towers",
        _write_two_labels,
        _two_labels_config,
    ),
    "large": layouts.Layout(
        "large",
        f"label and 26 uniform ids below {LARGE:,}, tables 16 wide: DeepFM 256-128-64 with exact Adam",
        _write_uniform_ids,
        _large_config,
    ),
}
