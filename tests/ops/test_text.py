"""Operations on texts, in both versions, against plain Python."""

from __future__ import annotations

import itertools
import unicodedata
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from hvdrec.config.layers.overlap_feature import METHODS
from hvdrec.ops.text.cells import text_cells
from hvdrec.ops.text.characters import replacements
from hvdrec.ops.text.edit_distance import edit_distance
from hvdrec.ops.text.mapped_dot_product import mapped_dot_product
from hvdrec.ops.text.normalize import HAN, Replacements, normalize
from hvdrec.ops.text.overlap import overlap

IMPLEMENTATIONS = ("native", "tensorflow")
WORDS = st.text("abcAé中文体 ", max_size=12)
#: Few different terms, so that they meet; some empty.
TERMS = st.lists(st.sampled_from(["", "a", "b", "c", "dé", "中"]), max_size=7)
PAIRS = st.lists(st.tuples(WORDS, WORDS), min_size=1, max_size=5)
FEW = settings(max_examples=40, deadline=None, derandomize=True)


def _columns(pairs: list[tuple[str, str]]) -> list[tf.Tensor]:
    return [tf.constant([text.encode() for text in column]) for column in zip(*pairs, strict=True)]


def _agree(compute: Callable[..., tf.Tensor], expected: Any, *arguments: Any, **settings: Any) -> None:
    for impl in IMPLEMENTATIONS:
        found = compute(*arguments, impl=impl, **settings)
        np.testing.assert_allclose(found.numpy(), expected, rtol=1e-6, err_msg=impl)


def _levenshtein(one: Any, other: Any) -> int:
    before = list(range(len(other) + 1))
    for i, a in enumerate(one, 1):
        row = [i]
        for j, b in enumerate(other, 1):
            row.append(min(before[j] + 1, row[-1] + 1, before[j - 1] + (a != b)))
        before = row
    return before[-1]


@FEW
@given(PAIRS, st.booleans())
def test_edit_distance(pairs: list[tuple[str, str]], utf8: bool) -> None:
    cut: Callable[[str], Any] = (lambda text: text) if utf8 else str.encode
    expected = [_levenshtein(cut(one), cut(other)) for one, other in pairs]
    _agree(edit_distance, expected, *_columns(pairs), utf8)


@FEW
@given(st.lists(st.lists(WORDS, min_size=2, max_size=2), max_size=5))
def test_text_cells(rows: list[list[str]]) -> None:
    columns = [[row[t].encode() for row in rows] for t in range(2)]
    packed = b"".join(itertools.chain(*columns))
    words = np.frombuffer(packed + b"\0" * (-len(packed) % 4), np.int32)
    lengths = np.array([[len(text) for text in column] for column in columns], np.int32).T.reshape(-1, 2)
    for impl in IMPLEMENTATIONS:
        assert text_cells(words, lengths, impl=impl).numpy().tolist() == columns


def _vector(text: str, separator: str) -> dict[str, float]:
    entries = (entry for entry in text.split(separator) if entry)
    parts = (entry.rpartition(":") for entry in entries)
    return {key if colon else value: float(value) if colon else 1.0 for key, colon, value in parts}


ENTRIES = st.lists(st.sampled_from(["", "a", "b:2", "a:0.5", "c:d:-1e2", "b", "中: +3 "]), max_size=5)


@FEW
@given(st.lists(st.tuples(ENTRIES, ENTRIES), min_size=1, max_size=4), st.sampled_from(["|", "\x1d", ", "]))
def test_mapped_dot_product(rows: list[tuple[list[str], list[str]]], separator: str) -> None:
    pairs = [(separator.join(one), separator.join(other)) for one, other in rows]
    expected = []
    for one, other in pairs:
        query, document = _vector(one, separator), _vector(other, separator)
        product = sum(query[key] * document[key] for key in query.keys() & document.keys())
        expected.append(product if query and document else -0.25)
    _agree(mapped_dot_product, expected, *_columns(pairs), separator, -0.25)


def _places(query: list[str], title: list[str]) -> dict[str, list[int]]:
    return {term: [i for i, other in enumerate(title) if other == term] for term in query}


def _compared(query: list[str], title: list[str]) -> dict[str, float]:
    """The formulas of csrc/kernels/text/overlap.h, by trying everything."""
    common, places = sum(term in title for term in query), _places(query, title)
    starts = [i for i in range(len(title)) if title[i : i + len(query)] == query]
    parts = [title[i:j] for i in range(len(title)) for j in range(i + 1, len(title) + 1)]
    covers = [len(part) for part in parts if set(query) <= set(part)]
    matched = [found for found in places.values() if found]
    distances = [
        min(abs(i - j) for i in one for j in other) for one, other in itertools.combinations(matched, 2)
    ]
    distances = distances or [0 if matched else len(title) + 1]
    return {
        "query_common_ratio": common / len(query),
        "title_common_ratio": min(1.0, common / len(title)),
        "is_contain": float(bool(starts)),
        "is_equal": float(query == title),
        "index_of": starts[0] if starts else -1,
        "proximity_min_cover": min(covers, default=0),
        "proximity_min_dist": min(distances),
        "proximity_max_dist": max(distances),
        "proximity_avg_dist": sum(distances) / len(distances),
    }


@FEW
@given(st.lists(st.tuples(TERMS, TERMS), min_size=1, max_size=4), st.sampled_from(["\x1d", "::"]))
def test_overlap(rows: list[tuple[list[str], list[str]]], separator: str) -> None:
    pairs = [(separator.join(query), separator.join(title)) for query, title in rows]
    expected = []
    for texts in rows:
        query, title = ([term for term in terms if term] for terms in texts)
        found = _compared(query, title) if query and title else dict.fromkeys(METHODS, -1.0)
        expected.append([found[method] for method in METHODS])
    _agree(overlap, expected, *_columns(pairs), separator, -1.0, METHODS)


@pytest.mark.parametrize(
    ("method", "query", "title", "expected"),
    [
        # The cases of TorchEasyRec's tests of this operator.
        ("query_common_ratio", "abc\x1defg", "abc\x1dqwe\x1drty\x1duio", 0.5),
        ("title_common_ratio", "abc\x1defg", "abc\x1dqwe\x1drty\x1duio", 0.25),
        ("is_contain", "abc\x1defg", "abc\x1defg\x1drty", 1.0),
        ("index_of", "b\x1dc", "a\x1db\x1dc\x1dd", 1.0),
        ("proximity_min_cover", "b\x1dc", "a\x1db\x1dc\x1dd", 2.0),
        ("proximity_avg_dist", "b\x1dc", "a\x1db\x1dc\x1dd", 1.0),
    ],
)
def test_known_overlaps(method: str, query: str, title: str, expected: float) -> None:
    _agree(overlap, [[expected]], *_columns([(query, title)]), "\x1d", -1.0, [method])


def _simplify(text: str) -> str:
    return text.translate(str.maketrans("漢體說", "汉体说"))


def _split(text: str) -> str:
    def han(character: str) -> bool:
        return any(low <= ord(character) <= high for low, high in HAN)

    found = text[:1]
    for before, after in itertools.pairwise(text):
        apart = (han(before) or han(after)) and " " not in (before, after)
        found += f" {after}" if apart else after
    return found


def _normalized(text: str, options: dict[str, bool], split: bool) -> str:
    if options["narrow"]:
        text = "".join(
            unicodedata.normalize("NFKC", c) if "！" <= c <= "～" or c == "\u3000" else c for c in text
        )
    if options["simplified"]:
        text = _simplify(text)
    if options["upper"]:
        text = "".join(c.upper() if len(c.upper()) == 1 else c for c in text)
    if options["lower"]:
        text = "".join(c.lower() if len(c.lower()) == 1 else c for c in text)
    if options["filtered"]:
        text = "".join(c for c in text if unicodedata.category(c)[0] in "LMN" or c.isspace())
    if options["without_spaces"]:
        text = "".join(text.split())
    return _split(text) if split else text


@FEW
@given(
    st.lists(st.text("aÄß９ｂ！\u3000 漢體說中…-😀\U000e0041", max_size=10), min_size=1, max_size=4),
    st.sampled_from([{}, {"upper": True}, {"lower": True}]),
    st.tuples(*[st.booleans()] * 5),
)
def test_normalize(texts: list[str], case: dict[str, bool], flags: tuple[bool, ...]) -> None:
    names = ("narrow", "simplified", "filtered", "without_spaces")
    options = {"upper": False, "lower": False, **case, **dict(zip(names, flags, strict=False))}
    by = Replacements(replacements(**options), options["filtered"], split=flags[4])
    expected = [_normalized(text, options, flags[4]).encode() for text in texts]
    for impl in IMPLEMENTATIONS:
        assert normalize(tf.constant([t.encode() for t in texts]), by, impl=impl).numpy().tolist() == expected


@pytest.mark.parametrize("bad", [b"a\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xe4\xb8"])
@pytest.mark.parametrize("impl", IMPLEMENTATIONS)
def test_bytes_that_are_not_utf8_are_an_error(bad: bytes, impl: str) -> None:
    texts = tf.constant([b"ab", bad])
    with pytest.raises(tf.errors.InvalidArgumentError):
        edit_distance(texts, texts, impl=impl)
    with pytest.raises(tf.errors.InvalidArgumentError):
        normalize(texts, Replacements(replacements()), impl=impl)


@pytest.mark.parametrize("value", ["x", "", "nan", "1e999", "+-1"])
@pytest.mark.parametrize("impl", IMPLEMENTATIONS)
def test_values_that_are_not_numbers_are_an_error(value: str, impl: str) -> None:
    with pytest.raises(tf.errors.InvalidArgumentError):
        mapped_dot_product(*_columns([(f"a:{value}", "a:1")]), "|", 0.0, impl=impl)
