"""The parameters of a layer, and how they are read from EasyRec's two forms.

A `KerasLayer` message gives them as a dedicated message (``mlp { hidden_units: 8 }``) or as a generic
structure (``st_params { fields { key: "hidden_units" ... } }``).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol

from hvdrec.config import activations
from hvdrec.config.layers.shapes import Widths
from hvdrec.config.names import hint, is_repeated
from hvdrec.config.ranges import ANY_NUMBER

_KINDS = {int: "a whole number", float: "a number", bool: "true or false", str: "a string"}


class Allowed(Protocol):
    """A set of values with a description ("at least 1")."""

    def __contains__(self, value: object) -> bool: ...


class OneOf(tuple[str, ...]):
    """The strings that a parameter can be."""

    def __str__(self) -> str:
        return f"one of {', '.join(self)}"


class AnyCase(OneOf):
    """The strings that a parameter can be, in lower or upper case."""

    def __contains__(self, value: object) -> bool:
        return str(value).lower() in tuple(self)


class _AnyText:
    """All strings."""

    def __contains__(self, value: object) -> bool:
        return True

    def __str__(self) -> str:
        return "a string"


class _Activations:
    """The names of activations, with or without a prefix such as ``tf.nn.``; empty is none."""

    def __contains__(self, value: object) -> bool:
        return activations.canonical(str(value)) in activations.NAMES

    def __str__(self) -> str:
        return f"one of {', '.join(activations.NAMES)}"


ACTIVATIONS = _Activations()
ANY_TEXT = _AnyText()
#: The function that EasyRec uses for these names without a path.
_EASYREC_TAKES = {
    **dict.fromkeys(("relu6", "silu", "softplus", "softsign", "softmax"), "linear"),
    "prelu": "leaky_relu",
}
#: Activations that Keras knows by name.
KERAS_ACTIVATIONS = OneOf(
    ("relu", "gelu", "elu", "selu", "tanh", "sigmoid", "softplus", "softsign", "softmax", "swish", "linear")
)
#: Initializers by their names in Keras.
INITIALIZERS = OneOf(
    (
        *("zeros", "ones", "glorot_uniform", "glorot_normal", "he_uniform", "he_normal"),
        *("lecun_uniform", "lecun_normal", "truncated_normal", "random_normal", "random_uniform"),
    )
)


@dataclasses.dataclass(frozen=True)
class Parameter:
    """One parameter of a layer.

    Attributes:
        name: Its name in the message and in ``st_params``.
        kind: `int`, `float`, `bool`, `str`, or the parameters of a layer within this one.
        default: Its value if it isn't given; None for "absent".
        required: Whether it must be given.
        repeated: Whether it is a list; then `default` is a tuple.
        allowed: The values that it, or each element of the list, can have.
    """

    name: str
    kind: type | tuple[Parameter, ...]
    default: Any = None
    required: bool = False
    repeated: bool = False
    allowed: Allowed = ANY_NUMBER


class Problem(NamedTuple):
    """An error or warning about a field: its path relative to the layer's, and a text."""

    path: str
    text: str
    warning: bool = False


class LayerConfig:
    """The parameters of one layer, as attributes, including defaults for those that weren't given."""

    def __init__(self, values: dict[str, Any]) -> None:
        """Takes the values by name."""
        self.__dict__.update(values)

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"the layer has no parameter {name}")

    def changed(self, **values: Any) -> LayerConfig:
        """A copy with other values for some parameters."""
        return LayerConfig({**self.__dict__, **values})


def defaults(parameters: Sequence[Parameter]) -> LayerConfig:
    """The default parameters of a layer within another one."""
    return LayerConfig({p.name: p.default for p in parameters})


@dataclasses.dataclass(frozen=True)
class LayerSpec:
    """A layer that a config can name.

    Attributes:
        class_name: Its class name in EasyRec.
        field: The member of `KerasLayer.params` with its message; None if only ``st_params`` is possible.
        parameters: All parameters that are read.
        unread: Fields of the message and its submessages that have no effect, as in EasyRec.
        check: Yields (parameter, text) for inconsistent parameters.
        outputs: Computes the output widths from the input widths; raises `ShapeError` if they don't fit.
        formula: The computation, for the docs: one or two sentences, inputs and outputs with shapes.
        source: Paper and equation, or another source.
        texts: Whether its inputs are texts; those of all other layers are numbers.
    """

    class_name: str
    field: str | None
    parameters: tuple[Parameter, ...] = ()
    unread: tuple[str, ...] = ()
    check: Callable[[LayerConfig], Iterator[tuple[str, str]]] | None = None
    _: dataclasses.KW_ONLY
    outputs: Callable[[LayerConfig, Widths], Widths]
    formula: str
    source: str = ""
    texts: bool = False

    def read(self, layer: Any) -> tuple[LayerConfig, list[Problem]]:
        """Reads a `KerasLayer` message.

        Returns:
            The parameters, and the problems found; the parameters are usable only if there are no errors.
        """
        form = layer.WhichOneof("params")
        if form not in (None, "st_params", self.field):
            own = f"{self.field} {{}} or st_params {{}}" if self.field else "st_params {}"
            return LayerConfig({}), [Problem(form, f"{self.class_name} takes {own}")]
        problems: list[Problem] = []
        source: _Source = _Struct(layer.st_params, "st_params")
        if form is not None and form == self.field:
            source = _Message(getattr(layer, form), form, self.unread)
        return self._checked(source, problems)

    def read_message(self, message: Any) -> tuple[LayerConfig, list[Problem]]:
        """Reads the layer's message outside a `KerasLayer`; paths are relative to it."""
        return self._checked(_Message(message, "", self.unread), [])

    def _checked(self, source: _Source, problems: list[Problem]) -> tuple[LayerConfig, list[Problem]]:
        config = _read(self.parameters, source, problems)
        if self.check is not None and not any(not p.warning for p in problems):
            problems.extend(Problem(_below(source.path, name), text) for name, text in self.check(config))
        return config, problems


class _Source(Protocol):
    """One of the two forms.

    Attributes:
        path: The form's path, relative to the layer's.
    """

    path: str

    def names(self) -> list[str]:
        """The names of the given parameters."""

    def unread(self, name: str) -> bool:
        """Whether a parameter is accepted but has no effect."""

    def value(self, parameter: Parameter) -> Any:
        """A parameter's value or list of values, None if it isn't given.

        Raises:
            ValueError: The value has the wrong type; the message gives the expected one.
        """

    def within(self, value: Any, path: str) -> _Source:
        """The parameters of a layer within this one."""


class _Message:
    def __init__(self, message: Any, path: str, unread: Sequence[str] = ()) -> None:
        self.path = path
        self._message, self._unread = message, unread

    def names(self) -> list[str]:
        return [field.name for field, _ in self._message.ListFields()]

    def unread(self, name: str) -> bool:
        return name in self._unread

    def value(self, parameter: Parameter) -> Any:
        field = self._message.DESCRIPTOR.fields_by_name[parameter.name]
        value = getattr(self._message, parameter.name)
        if is_repeated(field):
            return list(value) or None
        # EasyRec uses the message's default for strings, and the layer's default for everything else.
        if field.cpp_type == field.CPPTYPE_STRING:
            return value or None
        return value if self._message.HasField(parameter.name) else None

    def within(self, value: Any, path: str) -> _Source:
        return _Message(value, path, self._unread)


class _Struct:
    def __init__(self, struct: Any, path: str) -> None:
        self.path = path
        self._fields = struct.fields

    def names(self) -> list[str]:
        return [name for name, value in self._fields.items() if value.WhichOneof("kind") != "null_value"]

    def unread(self, name: str) -> bool:
        return False

    def value(self, parameter: Parameter) -> Any:
        if parameter.name not in self.names():
            return None
        value = self._fields[parameter.name]
        if not parameter.repeated:
            return _plain(value, parameter.kind)
        if value.WhichOneof("kind") != "list_value":
            raise ValueError("must be a list")
        return [_plain(each, parameter.kind) for each in value.list_value.values]

    def within(self, value: Any, path: str) -> _Source:
        return _Struct(value, path)


def _below(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _plain(value: Any, kind: type | tuple[Parameter, ...]) -> Any:
    """A protobuf `Value` as a value of that kind."""
    form = value.WhichOneof("kind")
    if isinstance(kind, tuple):
        if form == "struct_value":
            return value.struct_value
        raise ValueError("must be a struct_value")
    found: Any = None if form is None else getattr(value, form)
    if form == "number_value":
        if kind is float:
            return float(found)
        if kind is int and float(found).is_integer():
            return int(found)
        # As in EasyRec, where all numbers of a structure are floating-point.
        if kind is bool and found in (0.0, 1.0):
            return bool(found)
    if (form, kind) in (("bool_value", bool), ("string_value", str)):
        return found
    raise ValueError(f"must be {_KINDS[kind]}")


def _read(parameters: Sequence[Parameter], source: _Source, problems: list[Problem]) -> LayerConfig:
    """Reads parameters from one form and appends to `problems`."""
    known = {p.name for p in parameters}
    for name in source.names():
        if name in known:
            continue
        if source.unread(name):
            problems.append(Problem(_below(source.path, name), "has no effect, as in EasyRec", warning=True))
        else:
            text = f"is not a supported parameter; {hint(name, sorted(known))}"
            problems.append(Problem(_below(source.path, name), text))
    return LayerConfig({p.name: _parameter(p, source, problems) for p in parameters})


def _parameter(parameter: Parameter, source: _Source, problems: list[Problem]) -> Any:
    path = _below(source.path, parameter.name)
    try:
        value = source.value(parameter)
    except ValueError as error:
        problems.append(Problem(path, str(error)))
        return None
    if value is None:
        if parameter.required:
            problems.append(Problem(source.path, f"{parameter.name} is missing"))
        return parameter.default
    if not parameter.repeated:
        return _one(parameter, source, value, path, problems)
    found = (_one(parameter, source, v, f"{path}[{i}]", problems) for i, v in enumerate(value))
    return tuple(found)


def _one(parameter: Parameter, source: _Source, value: Any, path: str, problems: list[Problem]) -> Any:
    if isinstance(parameter.kind, tuple):
        return _read(parameter.kind, source.within(value, path), problems)
    if isinstance(value, bool):
        return value
    if isinstance(value, float) and not math.isfinite(value):
        problems.append(Problem(path, f"must be a finite number, is {value:g}"))
    elif parameter.allowed is ACTIVATIONS and str(value).lower() in _EASYREC_TAKES:
        taken = _EASYREC_TAKES[str(value).lower()]
        text = f"EasyRec uses {taken} for {value!r}; write {taken} to get EasyRec's numbers"
        problems.append(Problem(path, text, warning=True))
    elif value not in parameter.allowed and not (value == "" and parameter.default in (None, "")):
        shown = repr(value) if isinstance(value, str) else f"{value:g}"
        problems.append(Problem(path, f"must be {parameter.allowed}, is {shown}"))
    return value
