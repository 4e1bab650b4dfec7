"""Checks KafkaInput."""

from __future__ import annotations

from typing import Any

from hvdrec.config.kafka import parse_offsets, parse_settings
from hvdrec.config.report import Report
from hvdrec.config.times import parse_time

_PATH = "data_config"


def check_topics(report: Report, input_type: str, needs_train: bool, needs_eval: bool) -> None:
    """Checks `kafka_train_input` and `kafka_eval_input`, and what of `data_config` a stream has no use for.

    Args:
        report: Takes what is found.
        input_type: The config's.
        needs_train: Whether training data is needed; then missing evaluation data is a warning.
        needs_eval: Whether evaluation data is needed.
    """
    proto = report.config.proto
    for mode, needed in (("train", needs_train), ("eval", needs_eval)):
        name, used = f"kafka_{mode}_input", proto.WhichOneof(f"{mode}_path")
        if used == name:
            if input_type != "KafkaInput":
                report.error(name, f"is for KafkaInput; {input_type} reads {mode}_input_path")
            else:
                _check_topic(report, getattr(proto, name), name)
        elif input_type == "KafkaInput" and (needs_train or needs_eval):
            if used or needed:
                report.error(used or name, f"KafkaInput reads {name}; set it")
            elif mode == "eval":
                report.warn(name, "is missing: the model won't be evaluated")
    if input_type == "KafkaInput":
        _check_stream(report, proto.data_config)


def _check_topic(report: Report, topic: Any, path: str) -> None:
    for field in ("server", "topic", "group"):
        if not getattr(topic, field).strip():
            report.error(f"{path}.{field}", "is empty")
    kind = topic.WhichOneof("offset")
    if kind == "offset_time" and parse_time(topic.offset_time) is None:
        report.error(
            f"{path}.offset_time",
            f"expected 'YYYYmmdd HH:MM:SS' or 10 digits (seconds since 1970), found {topic.offset_time!r}",
        )
    if kind == "offset_info":
        try:
            parse_offsets(topic.offset_info)
        except ValueError as error:
            report.error(f"{path}.offset_info", str(error))
    for field in ("config_global", "config_topic"):
        for i, written in enumerate(getattr(topic, field)):
            try:
                parse_settings([written])
            except ValueError as error:
                report.error(f"{path}.{field}[{i}]", str(error))


def _check_stream(report: Report, data: Any) -> None:
    if data.num_epochs > 1:
        report.error(
            f"{_PATH}.num_epochs",
            f"is {data.num_epochs}; a topic is read once: 0 waits for new "
            "messages, 1 stops at the current end",
        )
    if data.with_header:
        report.error(f"{_PATH}.with_header", "is for files; messages have no header")
    if data.csv_quoting:
        report.error(f"{_PATH}.csv_quoting", "is for files; messages have no quotes")
    if data.shuffle:
        report.warn(
            f"{_PATH}.shuffle",
            "has no effect on KafkaInput: messages are trained on in the order in which they arrive",
        )
