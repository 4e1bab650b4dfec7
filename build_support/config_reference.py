"""Writes docs/config_reference.md, every field of a config, from the protos; ``--check`` compares."""

from __future__ import annotations

import argparse
import pathlib
import sys
import tempfile
from collections.abc import Iterator

import grpc_tools
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
)
from grpc_tools import protoc

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from hvdrec.config import support  # noqa: E402

PAGE = ROOT / "docs" / "config_reference.md"
PACKAGE = ".hvdrec.protos."
_HEAD = """# Every field of a config

Written by `make docs` from the comments in `hvdrec/config/protos` and the tables of the config's check;
change it there. A config is one `EasyRecConfig`; a field that is a block has its own section.
**Not supported** marks fields that are refused if they are in force: [config_support.md](config_support.md)
gives the reason and what to use instead. [config.md](config.md) describes how configs are read and edited.
"""
_SCALARS = {
    FieldDescriptorProto.TYPE_DOUBLE: "number",
    FieldDescriptorProto.TYPE_FLOAT: "number",
    FieldDescriptorProto.TYPE_INT64: "integer",
    FieldDescriptorProto.TYPE_INT32: "integer",
    FieldDescriptorProto.TYPE_UINT64: "integer, at least 0",
    FieldDescriptorProto.TYPE_UINT32: "integer, at least 0",
    FieldDescriptorProto.TYPE_BOOL: "true or false",
    FieldDescriptorProto.TYPE_STRING: "text",
}


class Protos:
    """The descriptors of all messages and enums, and the comments before them and their fields.

    Attributes:
        messages: By name, as ``DatasetConfig.Field``.
        enums: By name.
        comments: By message's name, or message's name and field's.
    """

    def __init__(self) -> None:
        self.messages: dict[str, DescriptorProto] = {}
        self.enums: dict[str, EnumDescriptorProto] = {}
        self.comments: dict[tuple[str, str], str] = {}
        for file in _compiled():
            places = {tuple(at.path): _one_line(at.leading_comments) for at in file.source_code_info.location}
            self.enums.update((e.name, e) for e in file.enum_type)
            for i, message in enumerate(file.message_type):
                self._take(message, message.name, (4, i), places)

    def _take(
        self, message: DescriptorProto, name: str, path: tuple[int, ...], places: dict[tuple[int, ...], str]
    ) -> None:
        self.messages[name] = message
        self.comments[name, ""] = places.get(path, "")
        for i, field in enumerate(message.field):
            self.comments[name, field.name] = places.get((*path, 2, i), "")
        self.enums.update((f"{name}.{e.name}", e) for e in message.enum_type)
        for i, inner in enumerate(message.nested_type):
            self._take(inner, f"{name}.{inner.name}", (*path, 3, i), places)

    def reached(self, name: str = "EasyRecConfig", seen: set[str] | None = None) -> Iterator[str]:
        """The names of all messages that a config can contain, each after the first that contains it."""
        seen = set() if seen is None else seen
        if name in seen or name not in self.messages:
            return
        seen.add(name)
        yield name
        for field in self.messages[name].field:
            if field.type == FieldDescriptorProto.TYPE_MESSAGE:
                yield from self.reached(field.type_name.removeprefix(PACKAGE), seen)


def _compiled() -> list[FileDescriptorProto]:
    well_known = pathlib.Path(grpc_tools.__file__).parent / "_proto"
    sources = sorted(map(str, (ROOT / "hvdrec" / "config" / "protos").glob("*.proto")))
    with tempfile.TemporaryDirectory() as folder:
        out = pathlib.Path(folder) / "protos"
        status = protoc.main(
            ["protoc", f"-I{ROOT}", f"-I{well_known}", "--include_source_info", f"-o{out}", *sources]
        )
        if status:
            raise SystemExit("protoc failed: see its message above")
        return list(FileDescriptorSet.FromString(out.read_bytes()).file)


def _one_line(comment: str) -> str:
    return " ".join(comment.split())


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


class Page:
    """The text of the page."""

    def __init__(self, protos: Protos) -> None:
        self._protos = protos

    def text(self) -> str:
        """The page as Markdown.

        Raises:
            SystemExit: A message or field in the protos has no comment.
        """
        names = list(self._protos.reached())
        bare = [
            f"{name}.{field}".rstrip(".")
            for (name, field), comment in self._protos.comments.items()
            if not comment and name in names
        ]
        if bare:
            raise SystemExit(f"hvdrec/config/protos: without a comment: {', '.join(bare)}")
        return "\n\n".join([_HEAD.strip(), *map(self._section, names)]) + "\n"

    def _section(self, name: str) -> str:
        message = self._protos.messages[name]
        head = f"## {name}\n\n{self._protos.comments[name, '']}"
        if not message.field:
            return head
        rows = [self._row(name, message, field) for field in message.field]
        lines = ["| field | type | default | meaning |", "| --- | --- | --- | --- |", *rows]
        return head + "\n\n" + "\n".join(lines)

    def _row(self, name: str, message: DescriptorProto, field: FieldDescriptorProto) -> str:
        meaning = self._protos.comments[name, field.name]
        if field.HasField("oneof_index"):
            meaning += f" One of `{message.oneof_decl[field.oneof_index].name}`."
        key = f"{name}.{field.name}"
        if key in support.RANGES:
            meaning += f" Must be {support.RANGES[key]}."
        if key in support.REFUSED:
            meaning += " **Not supported.**"
        if key in support.IGNORED:
            meaning += " Ignored with a warning."
        return f"| `{field.name}` | {self._type(field)} | {_default(field)} | {_cell(meaning)} |"

    def _type(self, field: FieldDescriptorProto) -> str:
        target = field.type_name.removeprefix(PACKAGE)
        if field.type == FieldDescriptorProto.TYPE_MESSAGE:
            anchor = target.lower().replace(".", "")
            text = f"[{target}](#{anchor})" if target in self._protos.messages else "names and values"
        elif field.type == FieldDescriptorProto.TYPE_ENUM:
            text = ", ".join(f"`{value.name}`" for value in self._protos.enums[target].value)
        else:
            text = _SCALARS[field.type]
        return f"any number of: {text}" if field.label == FieldDescriptorProto.LABEL_REPEATED else text


def _default(field: FieldDescriptorProto) -> str:
    if field.HasField("default_value"):
        shown = field.default_value.encode("unicode_escape").decode()
        return f"`{_cell(shown)}`" if shown else '`""`'
    return ""


def main() -> int:
    """Writes the page, or reports that it is out of date."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="fail if the page is out of date")
    written = Page(Protos()).text()
    if not parser.parse_args().check:
        PAGE.write_text(written, encoding="utf-8")
        return 0
    if not PAGE.is_file() or PAGE.read_text(encoding="utf-8") != written:
        print(f"{PAGE.relative_to(ROOT)} is older than hvdrec/config/protos: run make docs", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
