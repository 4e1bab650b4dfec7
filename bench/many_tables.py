"""The config of a job with many tables, whose data isn't read."""

from __future__ import annotations


def config_text(
    tables: int, rows: int, dim: int, train: str, model: str = "", model_dir: str = "unused"
) -> str:
    """A MultiTower over `tables` tables of `rows` rows; `train` and `model` are more fields of their messages."""
    names = [f"c{i}" for i in range(tables)]
    fields = "\n".join(f'  input_fields {{ input_name: "{n}" input_type: INT64 }}' for n in names)
    features = "\n".join(
        f'  features {{ input_names: "{n}" feature_type: IdFeature num_buckets: {rows} embedding_dim: {dim} }}'
        for n in names
    )
    return f"""train_input_path: "unused"
model_dir: "{model_dir}"
train_config {{
  {train}
}}
data_config {{
  input_fields {{ input_name: "label" input_type: INT32 }}
{fields}
  label_fields: "label"
  input_type: CSVInput
}}
feature_config {{
{features}
}}
model_config {{
  model_class: "MultiTower"
  feature_groups {{ group_name: "all" wide_deep: DEEP feature_names: {names} }}
  multi_tower {{
    towers {{ input: "all" dnn {{ hidden_units: [4] use_bn: false }} }}
    final_dnn {{ hidden_units: [4] use_bn: false }}
  }}
  {model}
}}
""".replace("'", '"')
