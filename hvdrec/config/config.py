"""A config, with the origin of each of its values."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

Origins = Mapping[str, "int | str"]


@dataclasses.dataclass
class Config:
    """A pipeline.config.

    A field's path is the dot-separated names from the root, with list elements by index, such as
    ``train_config.optimizer_config[0].adam_optimizer.beta1``.

    Attributes:
        proto: The `EasyRecConfig` message.
        path: The file it was read from.
        origins: Field path -> line of `path` (from 1), or the flag that set the field.
        warnings: Problems found by `check` that don't prevent the config from being used.
    """

    proto: Any
    path: str
    origins: dict[str, int | str] = dataclasses.field(default_factory=dict)
    warnings: list[str] = dataclasses.field(default_factory=list)

    def origin(self, field_path: str) -> int | str | None:
        """The line or flag that set a field, or that of the enclosing message if the field isn't set."""
        while field_path:
            if field_path in self.origins:
                return self.origins[field_path]
            field_path = parent_path(field_path)
        return None

    def line(self, field_path: str) -> int | None:
        """The line of the file that set a field (or the enclosing message); None if a flag set it."""
        origin = self.origin(field_path)
        return origin if isinstance(origin, int) else None

    def where(self, field_path: str) -> str:
        """``file:line: field_path``, or the flag instead of ``file:line``."""
        origin = self.origin(field_path)
        if origin is None:
            return f"{self.path}: {field_path}"
        if isinstance(origin, int):
            return f"{self.path}:{origin}: {field_path}"
        return origin if origin == f"--{field_path}" else f"{origin}: {field_path}"

    def changed(self, field_path: str, origin: str) -> None:
        """Records that `origin` (a flag) has set the field and everything in it."""
        for known in [p for p in self.origins if is_within(p, field_path)]:
            del self.origins[known]
        self.origins[field_path] = origin


def parent_path(field_path: str) -> str:
    """The path of the parent: the list for an element, the message for a field."""
    if field_path.endswith("]"):
        return field_path[: field_path.rindex("[")]
    return field_path.rpartition(".")[0]


def is_within(field_path: str, outer: str) -> bool:
    """Whether a path is `outer` or is inside it."""
    return field_path.startswith(outer) and field_path[len(outer) : len(outer) + 1] in ("", ".", "[")


def message_at(proto: Any, field_path: str) -> Any:
    """The message at a path, without creating it; None if there is none."""
    for part in field_path.split(".") if field_path else ():
        name, _, index = part.partition("[")
        field = proto.DESCRIPTOR.fields_by_name.get(name)
        if field is None or field.message_type is None or field.message_type.GetOptions().map_entry:
            return None
        proto = getattr(proto, name)
        if index:
            number = int(index.removesuffix("]"))
            proto = proto[number] if number < len(proto) else None
        if not hasattr(proto, "DESCRIPTOR"):
            return None
    return proto


def join(prefix: str, name: str) -> str:
    """The path of field `name` of the message at `prefix`."""
    return f"{prefix}.{name}" if prefix else name


def has_eval_input(proto: Any) -> bool:
    """Whether an `EasyRecConfig` has evaluation data."""
    kind = proto.WhichOneof("eval_path")
    return kind is not None and bool(getattr(proto, kind))
