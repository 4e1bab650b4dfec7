"""The text of docs/blocks.md, from the specs of the layers that configs name."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from hvdrec.config.layers.registry import REFUSED, SPECS
from hvdrec.config.layers.spec import LayerConfig, LayerSpec, Parameter
from hvdrec.config.protos import keras_layer_pb2
from hvdrec.config.ranges import ANY_NUMBER

_HEAD = """# Blocks

Written by `make docs` from the specs in `hvdrec/config/layers`; change it there.

The layers that can be used in `keras_layer { class_name: ... }` of a backbone. Parameters are given in the
block's own message (`mlp { hidden_units: 8 }`) or in `st_params`. `[B, D]` is a tensor of B rows and D
columns, `[B, T, D]` one of T elements per row, `[B]` a number for each row. A *sequence* is the output of an
`input_layer` with `output_seq_and_normal_feature: true`: a list of the elements [B, T, D], padded with zeros
to the longest row of the batch, their lengths [B], and the target's features [B, D'], or nothing. *Texts* are
the outputs of a `raw_input` over PassThroughFeatures, one per row.

Inputs that don't fit together are reported with block and field before anything runs.
"""
_FORMS = keras_layer_pb2.KerasLayer.DESCRIPTOR.fields_by_name
_KINDS = {int: "whole number", float: "number", bool: "true or false", str: "text"}


def _kind(parameter: Parameter) -> str:
    if isinstance(parameter.kind, tuple):
        found = next((f"as {s.class_name}" for s in SPECS.values() if s.parameters == parameter.kind), "")
        kind = found or f"of {', '.join(f'`{p.name}`' for p in parameter.kind)}"
    else:
        kind = _KINDS[parameter.kind]
    return f"list: {kind}" if parameter.repeated else kind


def _default(parameter: Parameter, message: Any) -> str:
    if parameter.required:
        return "required"
    value = parameter.default
    if isinstance(value, LayerConfig):
        return "its defaults"
    shown = f"`{_written(value)}`"
    if value is None or value in ((), ""):
        shown = "none"
    # For a text that isn't given, EasyRec uses the message's default; for all else, the layer's.
    written = (
        message.fields_by_name[parameter.name].default_value if message and parameter.kind is str else ""
    )
    return f"{shown}; in a message `{written}`" if written not in ("", value) else shown


def _written(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    # Separators are only visible in quotes.
    hidden = isinstance(value, str) and (value.isspace() or not value.isprintable())
    return ascii(value) if hidden else str(value)


def _table(parameters: Sequence[Parameter], message: Any) -> Iterator[str]:
    yield "| parameter | what | default | must be |"
    yield "| --- | --- | --- | --- |"
    for each in parameters:
        free = each.allowed is ANY_NUMBER or isinstance(each.kind, tuple)
        must = "" if free else str(each.allowed).replace("|", "\\|")
        yield f"| `{each.name}` | {_kind(each)} | {_default(each, message)} | {must} |"


def _block(spec: LayerSpec) -> Iterator[str]:
    yield f"### {spec.class_name}"
    yield ""
    # A name such as x stays in lower case.
    named = spec.formula[:2] in ("x ", "q ")
    yield spec.formula if named else f"{spec.formula[0].upper()}{spec.formula[1:]}"
    yield ""
    form = "Parameters in `st_params`." if spec.parameters else ""
    if spec.field:
        form = f"Message: `{spec.field}`."
    source = f"Source: {spec.source}." if spec.source else ""
    if form or source:
        yield " ".join(part for part in (form, source) if part)
        yield ""
    if spec.parameters:
        message = _FORMS[spec.field].message_type if spec.field else None
        yield from _table(spec.parameters, message)
        yield ""
    if spec.unread:
        yield f"Has no effect, as in EasyRec: {', '.join(f'`{name}`' for name in spec.unread)}."
        yield ""


def page() -> str:
    """The whole page."""
    lines = [_HEAD]
    for spec in SPECS.values():
        lines.extend(_block(spec))
    lines.append("## Not supported\n\n| layer | why |\n| --- | --- |")
    lines.extend(f"| `{name}` | {why} |" for name, why in REFUSED.items())
    return "\n".join(lines) + "\n"
