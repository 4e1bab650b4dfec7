"""Input files and configs with the three layouts that benchmarks read."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Callable

import ml1m
import numpy as np
import pyarrow as pa
import pyarrow.csv

_ADULT = pathlib.Path(__file__).parents[1] / "data" / "adult" / "train.csv"
_ADULT_CONFIG = pathlib.Path(__file__).parents[1] / "configs" / "deepfm_adult.config"

#: Distinct values of the 26 categories of the Criteo display advertising data.
CRITEO_CATEGORIES = (
    *(1460, 583, 10131227, 2202608, 305, 24, 12517, 633, 3, 93145, 5683, 8351593, 3194),
    *(27, 14992, 5461306, 10, 5652, 2173, 4, 7046547, 18, 15, 286181, 105, 142572),
)


@dataclasses.dataclass(frozen=True)
class Layout:
    """A layout of rows.

    Attributes:
        name: Its name in results.
        about: Its description.
        write: Writes a file with a number of rows.
        config: The text of the pipeline.config that reads it; paths in it may not exist.
    """

    name: str
    about: str
    write: Callable[[pathlib.Path, int], None]
    config: Callable[[], str]


def _write_adult(path: pathlib.Path, rows: int) -> None:
    lines = np.array(_ADULT.read_bytes().splitlines())
    picked = np.random.default_rng(1).integers(0, len(lines), rows)
    path.write_bytes(b"\n".join(lines[picked].tolist()) + b"\n")


def _write_criteo(path: pathlib.Path, rows: int) -> None:
    """Integers over several powers of ten, a tenth of them missing; categories from Zipf's distribution."""
    rng = np.random.default_rng(1)
    columns: dict[str, pa.Array] = {"label": pa.array(rng.integers(0, 2, rows))}
    for i in range(13):
        values = np.exp(rng.exponential(2.0, rows)).astype(np.int64) % 10_000_000
        columns[f"f{i + 1}"] = pa.array(values, mask=rng.random(rows) < 0.1)
    for i, most in enumerate(CRITEO_CATEGORIES):
        values = np.minimum(rng.zipf(1.2, rows) - 1, most - 1)
        words = (values * 2654435761 + i * 40503 & 0xFFFFFFFF).astype(">u4").tobytes().hex()
        text = np.frombuffer(words.encode(), "S8")
        columns[f"c{i + 1}"] = pa.array(text.tolist(), pa.binary()).cast(pa.string())
    options = pyarrow.csv.WriteOptions(include_header=False, quoting_style="none", delimiter="\t")
    pyarrow.csv.write_csv(pa.table(columns), path, options)


def _criteo_config() -> str:
    numbers = [f"f{i + 1}" for i in range(13)]
    words = [f"c{i + 1}" for i in range(26)]
    fields = [("label", "INT32"), *((n, "FLOAT") for n in numbers), *((w, "STRING") for w in words)]
    lines = [f'  input_fields {{ input_name: "{name}" input_type: {kind} }}' for name, kind in fields]
    features = [
        f'  features {{ input_names: "{n}" feature_type: RawFeature normalizer_fn: "tf.math.log1p" }}'
        for n in numbers
    ] + [f'  features {{ input_names: "{w}" hash_bucket_size: 1000000 embedding_dim: 16 }}' for w in words]
    newline = "\n"
    return f"""train_input_path: "criteo.csv"
model_dir: "unused"
train_config {{ optimizer_config {{ adagrad_optimizer {{ learning_rate {{ constant_learning_rate {{}} }} }} }} }}
data_config {{
{newline.join(lines)}
  label_fields: "label"
  separator: "\\t"
  input_type: CSVInput
}}
feature_config {{
{newline.join(features)}
}}
model_config {{
  model_class: "DLRM"
  feature_groups {{ group_name: "dense" feature_names: {numbers} }}
  feature_groups {{ group_name: "sparse" feature_names: {words} }}
  dlrm {{ bot_dnn {{ hidden_units: [64, 16] }} top_dnn {{ hidden_units: [64] }} }}
}}
"""


LAYOUTS = {
    "adult": Layout(
        "adult",
        "15 columns of UCI Adult; the features of configs/deepfm_adult.config: 4 bucketized numbers, "
        "9 ids and 2 crosses, each in a wide and a deep table",
        _write_adult,
        _ADULT_CONFIG.read_text,
    ),
    "ml1m": Layout(
        "ml1m",
        "label and 7 numeric ids in the shape of MovieLens-1M, hashed, each in a wide and a deep table",
        ml1m.write_data,
        lambda: ml1m.config_text(pathlib.Path("unused"), pathlib.Path("unused"), 1024, 0),
    ),
    "criteo": Layout(
        "criteo",
        "label, 13 numbers (log1p) and 26 categories in the shape of Criteo, hashed into 1,000,000 each",
        _write_criteo,
        _criteo_config,
    ),
}
