"""A generated file like MovieLens-1M, and the config that trains on it."""

from __future__ import annotations

import pathlib

import numpy as np
import pyarrow as pa
import pyarrow.csv

ROWS = 665_000
#: Column -> number of distinct values, as in MovieLens-1M.
COLUMNS = {
    "user_id": 6040,
    "movie_id": 3706,
    "gender": 2,
    "age": 7,
    "occupation": 21,
    "zip": 3439,
    "genres": 301,
}


def write_data(path: pathlib.Path, rows: int = ROWS, seed: int = 1) -> None:
    """Writes label + 7 columns; the label follows a hidden linear model, ids follow Zipf's distribution."""
    rng = np.random.default_rng(seed)
    columns: dict[str, np.ndarray] = {}
    score = rng.normal(0, 1, rows)
    for name, count in COLUMNS.items():
        popularity = 1.0 / np.arange(1, count + 1) ** 0.8
        values = rng.choice(count, rows, p=popularity / popularity.sum())
        score += rng.normal(0, 0.5, count)[values]
        columns[name] = values
    table = pa.table({"label": (score > 0).astype(np.int8), **columns})
    options = pyarrow.csv.WriteOptions(include_header=False)
    pyarrow.csv.write_csv(table, path, options)


def config_text(data: pathlib.Path, model_dir: pathlib.Path, batch_size: int, steps: int) -> str:
    """DeepFM 256-128-64 on 16-wide tables, EasyRec's usual Adam."""
    fields = "\n".join(
        f'  input_fields {{ input_name: "{name}" input_type: {"INT32" if name == "label" else "STRING"} }}'
        for name in ("label", *COLUMNS)
    )
    features = "\n".join(
        f'  features {{ input_names: "{name}" feature_type: IdFeature hash_bucket_size: {count * 2} '
        "embedding_dim: 16 }"
        for name, count in COLUMNS.items()
    )
    names = ", ".join(f'"{name}"' for name in COLUMNS)
    return f"""train_input_path: "{data}"
model_dir: "{model_dir}"
train_config {{
  optimizer_config {{ adam_optimizer {{ learning_rate {{ constant_learning_rate {{ learning_rate: 0.001 }} }} }} }}
  num_steps: {steps}
  log_step_count_steps: 1000
  save_checkpoints_steps: 1000000
  train_distribute: HorovodStrategy
}}
data_config {{
{fields}
  label_fields: "label"
  input_type: CSVInput
  batch_size: {batch_size}
  shuffle: false
  prefetch_size: 64
}}
feature_config {{
{features}
}}
model_config {{
  model_class: "DeepFM"
  feature_groups {{ group_name: "deep" wide_deep: DEEP feature_names: [{names}] }}
  feature_groups {{ group_name: "wide" wide_deep: WIDE feature_names: [{names}] }}
  deepfm {{
    dnn {{ hidden_units: [256, 128, 64] }}
    final_dnn {{ hidden_units: [64, 32] }}
    wide_output_dim: 16
    l2_regularization: 1e-5
  }}
  embedding_regularization: 1e-6
}}
"""
