"""Checks the functions of the user's own that make labels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hvdrec.config import user_code
from hvdrec.config.report import Report

_PATH = "data_config"


def check_label_functions(report: Report, data: Any, fields: Mapping[str, Any]) -> None:
    """Checks `user_define_fn` and `extra_label_func`; functions are imported where that is allowed.

    Args:
        report: Takes what is wrong.
        data: The `data_config`.
        fields: Its `input_fields` by name.
    """
    dims = dict(zip(data.label_fields, data.label_dim, strict=False))
    for i, field in enumerate(data.input_fields):
        path = f"{_PATH}.input_fields[{i}]"
        if not field.user_define_fn:
            for name in ("user_define_fn_path", "user_define_fn_res_type"):
                if field.HasField(name):
                    report.error(f"{path}.{name}", "goes with user_define_fn, which is missing")
            continue
        if field.input_name not in data.label_fields:
            report.error(f"{path}.user_define_fn", f"is for labels, and {field.input_name!r} is none")
            continue
        if dims.get(field.input_name, 1) > 1:
            report.error(f"{path}.user_define_fn", "is for labels of one number")
        _check(report, f"{path}.user_define_fn", field.user_define_fn, field.user_define_fn_path)
    for i, function in enumerate(data.extra_label_func):
        path = f"{_PATH}.extra_label_func[{i}]"
        if function.label_name in fields:
            report.error(f"{path}.label_name", f"{function.label_name!r} is a field of the data already")
        _check(report, f"{path}.label_func", function.label_func)


def _check(report: Report, path: str, name: str, file: str = "") -> None:
    try:
        user_code.find_function(name, file)
    except ValueError as error:
        report.error(path, str(error))
