"""A config with the place each of its values comes from."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

Origins = Mapping[str, "int | str"]


@dataclasses.dataclass
class Config:
    """A pipeline.config.

    A field's path is its names from the root with dots between, list elements by index, as
    ``train_config.optimizer_config[0].adam_optimizer.beta1``.

    Attributes:
        proto: The `EasyRecConfig` message.
        path: The file it was read from.
        origins: Field path -> line of `path` (from 1), or the flag that set the field.
        warnings: What `check` found that doesn't keep the config from being used.
    """

    proto: Any
    path: str
    origins: dict[str, int | str] = dataclasses.field(default_factory=dict)
    warnings: list[str] = dataclasses.field(default_factory=list)

    def origin(self, field_path: str) -> int | str | None:
        """The line or flag a field comes from; that of the message around it where it isn't set."""
        while field_path:
            if field_path in self.origins:
                return self.origins[field_path]
            field_path = parent_path(field_path)
        return None

    def line(self, field_path: str) -> int | None:
        """The line of the file that set a field (or the message around it); None for a flag's."""
        origin = self.origin(field_path)
        return origin if isinstance(origin, int) else None

    def where(self, field_path: str) -> str:
        """``file:line: field_path``, or the flag in place of ``file:line``."""
        origin = self.origin(field_path)
        if origin is None:
            return f"{self.path}: {field_path}"
        if isinstance(origin, int):
            return f"{self.path}:{origin}: {field_path}"
        return origin if origin == f"--{field_path}" else f"{origin}: {field_path}"

    def changed(self, field_path: str, origin: str) -> None:
        """Notes that `origin` (a flag) has set the field, all that is in it included."""
        for known in [p for p in self.origins if is_within(p, field_path)]:
            del self.origins[known]
        self.origins[field_path] = origin


def parent_path(field_path: str) -> str:
    """The path of what holds a field: of the list for an element, of the message for a field."""
    if field_path.endswith("]"):
        return field_path[: field_path.rindex("[")]
    return field_path.rpartition(".")[0]


def is_within(field_path: str, outer: str) -> bool:
    """Whether a path is `outer` or leads into it."""
    return field_path.startswith(outer) and field_path[len(outer) : len(outer) + 1] in ("", ".", "[")


def join(prefix: str, name: str) -> str:
    """The path of field `name` of the message at `prefix`."""
    return f"{prefix}.{name}" if prefix else name


def has_eval_input(proto: Any) -> bool:
    """Whether an `EasyRecConfig` names evaluation data."""
    kind = proto.WhichOneof("eval_path")
    return kind is not None and bool(getattr(proto, kind))
