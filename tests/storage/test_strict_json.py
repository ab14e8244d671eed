"""JSON by orjson is what `json` would write and read, to the byte: keys in old stores are made of it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptkit.storage.hashes import content_key
from promptkit.storage.strict_json import compact, fast_json, json_bytes, parse_json, trace_bytes

TEXTS = st.text() | st.sampled_from(["null", "1e-7", "0.00001", "\x7f", "e-5", '"', "\\", "\u2028", "\ud83d"])
NUMBERS = st.integers() | st.floats() | st.sampled_from([1e-5, 1e-7, 1e16, 1e22, 0.1, 2.0**63, 2**64, -0.0])
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner) | st.tuples(inner, inner),
    max_leaves=20,
)


def written(value: Any, **how: Any) -> str | None:
    try:
        return json.dumps(value, allow_nan=False, separators=(",", ":"), **how)
    except ValueError:
        return None


@given(VALUES)
def test_what_is_written_is_what_json_writes(value: Any) -> None:
    expected = written(value)
    if expected is None:
        with pytest.raises(ValueError, match="not JSON compliant"):
            compact(value)
    else:
        assert compact(value) == expected


@given(VALUES, st.booleans())
def test_the_bytes_of_keys_are_what_json_writes(value: Any, sort_keys: bool) -> None:
    how: dict[str, Any] = {"sort_keys": sort_keys, "allow_nan": True, "default": str}
    expected = json.dumps(value, ensure_ascii=False, separators=(",", ":"), **how)

    assert json_bytes(value, **how) == expected.encode("utf-8", "surrogatepass")
    if written(value) is None:
        with pytest.raises(ValueError, match="not JSON compliant"):
            json_bytes(value)


@given(VALUES, st.booleans())
def test_what_is_read_is_what_json_reads_with_the_keys_in_their_order(value: Any, ascii_only: bool) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only)
    read = fast_json(text)
    if read is not None:
        assert json.dumps(read) == json.dumps(json.loads(text))


@given(VALUES)
def test_a_trace_reads_back_with_null_for_a_number_that_json_has_not(value: Any) -> None:
    text = json.dumps(value)
    plain = json.loads(text, parse_constant=lambda _: None)
    assert json.loads(trace_bytes(value).decode("utf-8", "surrogatepass")) == plain


@pytest.mark.parametrize(
    "text",
    [
        '{"a": 1, "a": 2}',
        '{"a": "b", "a": 1}',
        '{"a": {"b": 1, "b": 1}}',
        '[{"a": [], "a": []}]',
        '{"a": 1, "\\u0061": 2}',
    ],
)
def test_a_key_that_stands_twice_is_refused(text: str) -> None:
    assert fast_json(text) is None
    with pytest.raises(ValueError, match="given twice"):
        parse_json(text)


@pytest.mark.parametrize("text", ["NaN", "1e400", "123456789012345678901234567890", "[1,]", '"\\ud83d"', "\ufeff1"])
def test_what_orjson_reads_otherwise_is_left_to_json(text: str) -> None:
    assert fast_json(text) is None


def test_keys_are_those_of_the_stores_that_are_there() -> None:
    assert content_key("text").hex() == "d732c6be860e019351f99173fa6ae612"
    assert content_key(b"text", 8).hex() == "d7f35fa228381a1c"
    assert content_key("\ud800", 4, salt=b"12345678").hex() == "1a5fea31"
