"""Hypothesis strategies: messages of any form, and corrupted configs, edits and flags."""

from __future__ import annotations

import re
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from hypothesis import strategies as st

from hvdrec.config.names import is_free_form, is_message, is_repeated
from hvdrec.config.protos import pipeline_pb2

ROOT = pipeline_pb2.EasyRecConfig.DESCRIPTOR
_DEEPEST = 5
_TEXT = st.text(max_size=6)
_INTEGERS = {
    FieldDescriptor.CPPTYPE_INT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_INT64: (-(2**63), 2**63 - 1),
    FieldDescriptor.CPPTYPE_UINT32: (0, 2**32 - 1),
    FieldDescriptor.CPPTYPE_UINT64: (0, 2**64 - 1),
}


def scalars(field: Any) -> st.SearchStrategy:
    """Values of a field that isn't a message."""
    if field.enum_type is not None:
        return st.sampled_from([v.number for v in field.enum_type.values])
    if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        return st.booleans()
    if field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
        return _TEXT
    if field.cpp_type in _INTEGERS:
        return st.integers(*_INTEGERS[field.cpp_type])
    return st.floats(width=32, allow_nan=False)


@st.composite
def messages(draw: Any, kind: Any, depth: int = 0) -> Any:
    """Messages with a few fields set, at every level."""
    message = kind()
    names = [f.name for f in message.DESCRIPTOR.fields]
    for name in draw(st.lists(st.sampled_from(names), max_size=3, unique=True)) if names else ():
        field = message.DESCRIPTOR.fields_by_name[name]
        if is_message(field) and (depth == _DEEPEST or is_free_form(field.message_type)):
            continue
        for _ in range(draw(st.integers(1, 2)) if is_repeated(field) else 1):
            if not is_message(field):
                value = draw(scalars(field))
                if is_repeated(field):
                    getattr(message, name).append(value)
                else:
                    setattr(message, name, value)
                continue
            holder = getattr(message, name)
            inner = holder.add() if is_repeated(field) else holder
            inner.SetInParent()
            inner.MergeFrom(draw(messages(type(inner), depth + 1)))
    return message


def _all_names() -> list[str]:
    names: set[str] = set()
    waiting, seen = [ROOT], {ROOT.full_name}
    while waiting:
        for field in waiting.pop().fields:
            names.add(field.name)
            names.update(field.enum_type.values_by_name if field.enum_type is not None else ())
            inner = field.message_type
            if inner is not None and inner.full_name not in seen:
                seen.add(inner.full_name)
                waiting.append(inner)
    return sorted(names)


NAMES = _all_names()
_NUL, _SURROGATE = chr(0), chr(0xD800)
_ODD = [*"{}[]<>:,;#'\"\\\n", "", "0", "-1", "1e400", "nan", "inf", "true", "99999999999", '""', '"a"']
_ODD += ['"x[1-3]"', '"[3-1]"', "18446744073709551616", _NUL, "{}", "[]", '"a" "b"', '"rows.csv,"']
_TOKENS = re.compile(r'"[^"\n]*"|[\w.+-]+|\S|\s+')


@st.composite
def mutilated(draw: Any, text: str) -> str:
    """A text with some of its tokens lost, replaced, doubled or moved."""
    tokens = _TOKENS.findall(text)
    for _ in range(draw(st.integers(1, 3))):
        if not tokens:
            break
        at = draw(st.integers(0, len(tokens) - 1))
        other = draw(st.integers(0, len(tokens) - 1))
        odd = draw(st.sampled_from(_ODD) | st.sampled_from(NAMES))
        how = draw(st.integers(0, 4))
        if how == 0:
            del tokens[at : at + draw(st.integers(1, 5))]
        elif how == 1:
            tokens[at] = odd
        elif how == 2:
            tokens.insert(at, odd)
        elif how == 3:
            tokens[at], tokens[other] = tokens[other], tokens[at]
        else:
            tokens[at:at] = tokens[other : other + draw(st.integers(1, 30))]
    return "".join(tokens)


_SELECTORS = [
    "[0]",
    "[:]",
    "[-1]",
    "[1:]",
    "[99]",
    "[0:0]",
    "[input_names[0]=a]",
    "[embedding_dim>2]",
    "[x",
    "[]",
]
_SELECTORS += [
    "[feature_type=RawFeature]",
    "[adam_optimizer.beta1=0.9]",
    "[a]",
    "[=]",
    "[=a]",
    "['a']",
    "[[0]]",
]
_SELECTORS += ["[embedding_dim>nan]", "[embedding_dim=1e400]", "[0][0]", "[99999999999999999999]", "[:2:3]"]


@st.composite
def paths(draw: Any) -> str:
    """Paths into a config, often wrong ones."""
    descriptor: Any = ROOT
    parts: list[str] = []
    for _ in range(draw(st.integers(1, 5))):
        if descriptor is None or not descriptor.fields or draw(st.integers(0, 11)) == 0:
            parts.append(draw(st.sampled_from([*NAMES, "", "[0]", "a b"])))
            break
        field = draw(st.sampled_from(list(descriptor.fields)))
        chosen = is_repeated(field) or draw(st.integers(0, 19)) == 0
        parts.append(field.name + (draw(st.sampled_from(_SELECTORS)) if chosen else ""))
        descriptor = field.message_type
    path = ".".join(parts)
    return path if draw(st.integers(0, 9)) else draw(mutilated(path))


_ODD_NUMBERS = [0, -1, 2**31, 2**63, 2**64, 10**30, 10**500, 1.5, float("nan"), float("inf"), 1e300]
_ODD_STRINGS = ["", "a", "1", "true", "nan", "{}", "[]", "[1]", "{a:1}", "{", "}", '"', _NUL, _SURROGATE]
_ODD_STRINGS += ["a;b", "9" * 500, "{ hash_bucket_size: 5 }", "<a>", "DEEP", "CSVInput", "HorovodStrategy"]
_KEYS = st.sampled_from(NAMES) | st.text(max_size=2)
odd_values = st.recursive(
    st.none() | st.booleans() | st.sampled_from(_ODD_NUMBERS) | st.sampled_from(_ODD_STRINGS),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(_KEYS, inner, max_size=2),
    max_leaves=4,
)


@st.composite
def mutilated_values(draw: Any, value: Any) -> Any:
    """A JSON value with one of the values in it replaced, removed or added."""
    if isinstance(value, dict) and value and draw(st.integers(0, 9)):
        key = draw(st.sampled_from(sorted(value)))
        others = {k: v for k, v in value.items() if k != key}
        how = draw(st.integers(0, 9))
        if how == 0:
            return others
        if how == 1:
            return {**value, draw(st.sampled_from(NAMES)): draw(odd_values)}
        return {**others, key: draw(mutilated_values(value[key]))}
    if isinstance(value, list) and value and draw(st.integers(0, 9)):
        at = draw(st.integers(0, len(value) - 1))
        return [*value[:at], draw(mutilated_values(value[at])), *value[at + 1 :]]
    return draw(odd_values)
