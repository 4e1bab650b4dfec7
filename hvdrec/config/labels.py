"""Labels: which are columns of the data, and what functions of the user's own make of them."""

from __future__ import annotations

from typing import Any


def read_labels(data_config: Any) -> list[str]:
    """The `label_fields` that are columns of the data."""
    made = {function.label_name for function in data_config.extra_label_func}
    return [name for name in data_config.label_fields if name not in made]


def add_made_labels(data_config: Any) -> None:
    """Names the labels of `extra_label_func` among `label_fields`, where models look for labels."""
    for function in data_config.extra_label_func:
        if function.label_name and function.label_name not in data_config.label_fields:
            data_config.label_fields.append(function.label_name)
