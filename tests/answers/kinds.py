"""Specs of every answer type, with values to draw for each."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

LABELS = [
    "pricing concerns",
    "price",
    "a, b",
    'the "best"',
    "naïve 漢字",
    "😀",
    "*",
    "none at all",
    "Price",
    "x.",
    "- y",
]
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "age": {"type": "integer", "minimum": 0, "maximum": 120},
        "share": {"type": "number", "minimum": -0.5, "maximum": 1},
        "tags": {"type": "array", "items": {"enum": ["a", "b", None, 1]}, "maxItems": 3},
        "inner": {"anyOf": [{"type": "null"}, {"$ref": "#/$defs/node"}]},
    },
    "required": ["name", "tags"],
    "$defs": {
        "node": {
            "type": "object",
            "properties": {"kids": {"type": "array", "items": {"$ref": "#/$defs/node"}}, "on": {"type": "boolean"}},
            "required": ["kids"],
        }
    },
}
NODES: st.SearchStrategy[Any] = st.recursive(
    st.fixed_dictionaries({"kids": st.just([])}, optional={"on": st.booleans()}),
    lambda inner: st.fixed_dictionaries({"kids": st.lists(inner, max_size=2)}),
    max_leaves=4,
)
RECORDS = st.fixed_dictionaries(
    {"name": st.text(), "tags": st.lists(st.sampled_from(["a", "b", None, 1]), max_size=3)},
    optional={"age": st.integers(0, 120), "share": st.floats(-0.5, 1), "inner": st.none() | NODES},
)
NUMBERS = st.integers() | st.floats()
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
NOTE = "Patient <b>has</b> fever & took\n aspirin 漢😀."
SPANS = st.lists(
    st.tuples(st.integers(0, len(NOTE)), st.integers(0, len(NOTE)), st.sampled_from(["problem", "drug"])), max_size=3
).map(lambda drawn: [{"start": start, "end": end, "class": kind} for start, end, kind in sorted(drawn)])

KINDS: list[tuple[Any, st.SearchStrategy[Any]]] = [
    ("text", st.text()),
    ({"label": LABELS}, st.sampled_from(LABELS)),
    ({"label": {"a": "the first", "b": "the second"}}, st.sampled_from(["a", "b", "c"])),
    ({"labels": LABELS}, st.lists(st.sampled_from(LABELS))),
    ({"labels": ["none", "some"]}, st.lists(st.sampled_from(["none", "some"]))),
    ({"labels": ["x, y", "p; q"]}, st.lists(st.sampled_from(["x, y", "p; q"]))),
    ({"choice": ["one", "two, three", "B", "A) it", " x\ny "]}, st.sampled_from(["one", "two, three", "B", " x\ny "])),
    ("number", NUMBERS),
    ({"number": {"min": 1, "max": 5, "decimals": 0}}, st.integers(-1, 7)),
    ({"number": {"min": -3, "max": 12.5, "decimals": 2}}, st.floats(-5, 15).map(lambda value: round(value, 2))),
    ({"number": {"min": -1207.25, "max": -0.5}}, st.floats(-2000, 1)),
    ({"number": {"min": 95}}, NUMBERS),
    ({"number": {"max": 0.07}}, NUMBERS),
    ("boolean", st.booleans()),
    ("list", st.lists(st.text())),
    ({"list": {"separator": ";"}}, st.lists(st.text(alphabet="ab; \n.-1'\"none", max_size=6))),
    ({"list": {"separator": "]", "unique": True}}, st.lists(st.text(alphabet="ab]^-\\", max_size=3))),
    ({"list": {"separator": ";", "max": 3}}, st.lists(st.text(alphabet="ab", max_size=3), max_size=5)),
    ({"list": {"of": "boolean", "max": 1}}, st.lists(st.booleans(), max_size=3)),
    ({"list": {"of": {"json": {"type": "integer"}}, "max": 2}}, st.lists(st.integers(0, 9), max_size=3)),
    ({"list": {"of": {"label": ["none", "some"]}}}, st.lists(st.sampled_from(["none", "some"]))),
    ({"list": {"of": {"number": {"min": 0}}, "separator": ","}}, st.lists(NUMBERS)),
    ({"list": {"of": "boolean", "lines": True}}, st.lists(st.booleans())),
    ({"list": {"of": {"json": SCHEMA}}}, st.lists(RECORDS, max_size=3)),
    ("json", JSON),
    ({"json": SCHEMA}, RECORDS),
    ({"json": {"type": "object", "additionalProperties": {"type": "string", "minLength": 2, "maxLength": 4}}},
     st.dictionaries(st.text(max_size=3), st.text(min_size=1, max_size=5))),
    ({"json": {"type": ["array", "string"], "items": {"type": "number"}, "minItems": 2, "maxItems": 2}},
     st.lists(NUMBERS) | st.text()),
    ("code", st.text()),
    ({"code": "c++"}, st.text(alphabet="a `\n\t{}")),
    ({"spans": {"classes": ["problem", "drug"], "text": NOTE}}, SPANS),
]  # fmt: skip
IDS = [
    str(number) + "-" + (spec if isinstance(spec, str) else next(iter(spec))) for number, (spec, _) in enumerate(KINDS)
]
