"""Strict JSON: every fault is told, none is guessed away."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nocohost.web.json_body import MAX_DEPTH, JsonError, strict_loads

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda children: st.lists(children) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), children),
    max_leaves=30,
)


@given(JSON)
def test_json_comes_back_as_it_was(value):
    assert strict_loads(json.dumps(value).encode()) == value
    assert strict_loads(json.dumps(value, ensure_ascii=False).encode()) == value


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        (b"", "Expecting value at line 1 column 1"),
        (b"{", "Expecting property name"),
        (b'{"a": 1,}', "line 1 column 9"),
        (b"{'a': 1}", "Expecting property name"),
        (b"[1] [2]", "Extra data at line 1 column 5"),
        (b"NaN", "NaN is no JSON number"),
        (b'{"a": [Infinity]}', "Infinity is no JSON number"),
        (b"-Infinity", "-Infinity is no JSON number"),
        (b"1e999", "too large"),
        (b"-1e999", "too large"),
        (b"0." + b"1" * 5000, "too large"),
        (b"9" * 5000, "more than 400 digits"),
        (b'{"a": 1, "b": 2, "a": 3}', "'a' is given twice"),
        (b'[{"x": {"a": 1, "a": 1}}]', "'a' is given twice"),
        (b"[" * 100_000, "nested deeper than 64"),
        (b"[" * 100_000 + b"]" * 100_000, "nested deeper than 64"),
        (b'{"a":' * 500 + b"1" + b"}" * 500, "nested deeper than 64"),
        (b"\xff", "not UTF-8 at byte 0"),
        ('{"a": "é"}'.encode("latin-1"), "not UTF-8 at byte 7"),
        (json.dumps("a").encode("utf-16"), "not UTF-8 at byte 0"),
        (b"\xef\xbb\xbf{}", "BOM"),
        (b'"\\ud800"', "surrogate"),
        (b'{"\\udc00": 1}', "surrogate"),
        (b'"a\nb"', "Invalid control character"),
        (b'"\\x"', "Invalid"),
    ],
)
def test_what_is_no_strict_json_is_told(body, fault):
    with pytest.raises(JsonError, match="The body is not JSON") as caught:
        strict_loads(body)
    assert fault in caught.value.message
    assert caught.value.status == 400
    assert caught.value.code == "http.bad_json"
    assert len(caught.value.message) < 200


def test_the_deepest_nesting_that_is_taken():
    assert strict_loads(b"[" * MAX_DEPTH + b"]" * MAX_DEPTH)
    with pytest.raises(JsonError):
        strict_loads(b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1))


def test_a_pair_of_surrogates_is_a_character():
    assert strict_loads(b'"\\ud83d\\ude00"') == "\N{GRINNING FACE}"


def test_a_plugin_may_catch_it_as_the_value_error_that_json_raises():
    assert issubclass(JsonError, ValueError)
