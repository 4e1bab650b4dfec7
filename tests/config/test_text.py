"""The line of each field, in configs written in every style."""

from __future__ import annotations

from typing import Any

import pytest
from config.generate import messages
from google.protobuf import text_format
from hypothesis import given, settings
from hypothesis import strategies as st

from hvdrec.config import text
from hvdrec.config.config import join
from hvdrec.config.names import is_message, is_repeated
from hvdrec.config.protos import pipeline_pb2

_GAPS = [" ", "\n", "\n\n", "  # it's { a \"comment\n", "\t", " #\n"]


class Writer:
    """Writes a message in a style that `draw` chooses, and notes where each field went."""

    def __init__(self, draw: Any) -> None:
        self.draw, self.parts, self.line = draw, [], 1
        self.lines: dict[str, int] = {}

    def put(self, *written: str) -> None:
        for part in written:
            self.parts.append(part)
            self.line += part.count("\n")

    def gap(self) -> None:
        self.put(self.draw(st.sampled_from(_GAPS)))

    def message(self, message: Any, prefix: str) -> None:
        for field, value in message.ListFields():
            path = join(prefix, field.name)
            if not is_repeated(field):
                self.name(field, path)
                self.value(field, value, path)
            elif self.draw(st.booleans()):
                self.in_brackets(field, value, path)
            else:
                for i, element in enumerate(value):
                    self.name(field, path)
                    self.lines[f"{path}[{i}]"] = self.line
                    self.value(field, element, f"{path}[{i}]")
            self.put(self.draw(st.sampled_from(["", "", ";", ","])))
            self.gap()

    def in_brackets(self, field: Any, value: Any, path: str) -> None:
        self.name(field, path)
        self.put("[")
        for i, element in enumerate(value):
            self.put(", " if i else "")
            self.gap()
            self.lines[f"{path}[{i}]"] = self.line
            self.value(field, element, f"{path}[{i}]")
        self.put("]")

    def name(self, field: Any, path: str) -> None:
        self.gap()
        self.lines.setdefault(path, self.line)
        self.put(field.name, "" if is_message(field) and self.draw(st.booleans()) else ":", " ")

    def value(self, field: Any, value: Any, path: str) -> None:
        if is_message(field):
            opening, closing = self.draw(st.sampled_from(["{}", "<>"]))
            self.put(opening)
            self.gap()
            self.message(value, path)
            self.put(closing)
        elif isinstance(value, bool):
            self.put("true" if value else "false")
        elif isinstance(value, str):
            parts = [value[:1], value[1:]] if self.draw(st.booleans()) else [value]
            self.put(" ".join(f'"{text_format.text_encoding.CEscape(part, True)}"' for part in parts))
        else:
            self.put(repr(value))


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_lines_of_fields(data):
    message = data.draw(messages(pipeline_pb2.EasyRecConfig))
    writer = Writer(data.draw)
    writer.message(message, "")
    written = "".join(writer.parts)
    read = pipeline_pb2.EasyRecConfig()
    text.merge(written, read)
    assert read == message
    assert text.locate(written, message.DESCRIPTOR) == writer.lines


def test_an_error_has_a_place_and_one_line():
    with pytest.raises(text.TextError) as error:
        text.merge(f'model_dir: "x"\ntrain_config {{ a{chr(27)}[31m: 1 }}', pipeline_pb2.EasyRecConfig())
    assert (error.value.line, error.value.column) == (2, 16)
    assert error.value.problem.isprintable()


def test_a_text_that_cant_be_decoded_is_told_at_its_own_place():
    written = (
        'train_input_path: "a"\ndata_config {\n  separator:  "\\xff"\n  batch_size: 32\n  batch_sise: 3\n}'
    )
    with pytest.raises(text.TextError) as error:
        text.merge(written, pipeline_pb2.EasyRecConfig())
    assert (error.value.line, error.value.column) == (3, 15)
    assert error.value.problem.startswith("separator: Couldn't parse string")
    (more,) = error.value.more
    assert (more.line, more.problem[:33]) == (5, "DatasetConfig has no field 'batch")


def test_a_nul_byte_is_told_with_its_place():
    with pytest.raises(text.TextError, match="a NUL byte") as error:
        text.merge('model_dir: "x"\ntrain_\0config { num_steps: 3 }', pipeline_pb2.EasyRecConfig())
    assert (error.value.line, error.value.column) == (2, 7)
