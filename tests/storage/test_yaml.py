"""YAML is read as 1.2 core, with places, and refuses what would surprise."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from promptkit.errors import InputError, Problem
from promptkit.storage.yaml import MAX_DEPTH, MAX_PROBLEMS, MAX_VALUES, Document, load


def problems_of(text: str | bytes, **options: Any) -> tuple[Problem, ...]:
    with pytest.raises(InputError) as caught:
        load(text, file="x.yaml", **options)
    return caught.value.problems


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("true", True),
        ("False", False),
        ("yes", "yes"),
        ("no", "no"),
        ("on", "on"),
        ("y", "y"),
        ("null", None),
        ("~", None),
        ("", None),
        ("12", 12),
        ("-7", -7),
        ("+7", 7),
        ("012", 12),
        ("0o17", 15),
        ("0x1F", 31),
        ("1_000", "1_000"),
        ("0b11", "0b11"),
        ("1.5", 1.5),
        (".5", 0.5),
        ("1.", 1.0),
        ("1e5", 100000.0),
        ("-1.5E-3", -0.0015),
        ("12:30", "12:30"),
        ("1:30", "1:30"),
        ("2024-01-01", "2024-01-01"),
        ("2024-13-01", "2024-13-01"),
        ("1.2.3", "1.2.3"),
        (".", "."),
        ("e5", "e5"),
        ("٣", "٣"),
        ('"12"', "12"),
        ("'true'", "true"),
        ("!!str 12", "12"),
        ("|-\n  12", "12"),
        ('"\\e[31m"', "\x1b[31m"),
        ('"{{ x }}"', "{{ x }}"),
    ],
)
def test_a_scalar_means_what_yaml_1_2_says(written: str, value: Any) -> None:
    read = load(f"a: {written}\n", file="x.yaml").value["a"]
    assert read == value
    assert type(read) is type(value)


@pytest.mark.parametrize(
    ("text", "line", "column", "message"),
    [
        ("a: 1\nb: 2\na: 3", 3, 1, "given twice (first in line 1)"),
        ("a: {b: 1, b: 2}", 1, 11, "given twice"),
        ("a: &x 1\nb: *x", 2, 4, "alias `*x`"),
        ("&a [*a]", 1, 5, "alias"),
        ("a: 1\n<<: {b: 1}", 2, 1, "merge key"),
        ("? [a]\n: 1", 1, 3, "a key must be text"),
        ("? {a: 1}\n: 1", 1, 3, "a key must be text"),
        ("a: !!python/object:os.system x", 1, 4, "tag"),
        ("a: !!set {b}", 1, 4, "tag"),
        ("a: .nan", 1, 4, "finite"),
        ("a: -.inf", 1, 4, "finite"),
        ("a: 1e999", 1, 4, "finite"),
        ("a: " + "9" * 5000, 1, 4, "too many digits"),
        ('a: "\\0"', 1, 4, "not text"),
        ('a: "\\uD800"', 1, 7, "escape"),
        ("a: 1\n---\nb: 2", 2, 1, "second document"),
        ("a:\n\tb: 1", 2, 1, "cannot start any token"),
        ("a: 'x", 1, 6, "unexpected end"),
        ("[" * 200, 1, MAX_DEPTH + 2, "nested deeper"),
        ("[" * 5000, 1, 1001, "nesting"),
        (b"a: 1\nb: \xff", 2, 4, "not UTF-8"),
        ("a: 1\nb: \x07", 2, 4, "U+0007"),
        ("a: \ud800", 1, 4, "U+D800"),
        ("a: x\u2028y", 1, 5, "U+2028"),
        ("a: x\x85y", 1, 5, "U+0085"),
        ("- {}\n" * (MAX_VALUES + 1), MAX_VALUES, 3, "too many values"),
        ("a: {{ x }}", 1, 4, "needs quotes"),
        ("- {{ x }}", 1, 3, "needs quotes"),
        ("{{ x }}", 1, 1, "needs quotes"),
        ("a: {{ x }} and more", 1, 4, "needs quotes"),
        ("a: {b: {{ x }}}", 1, 8, "needs quotes"),
        ("a: 1\n{{ x }} y", 2, 1, "needs quotes"),
        ("a: {{ x[0] }}", 1, 4, "needs quotes"),
        ("a:\n  - {{ f('x: y') }} z", 2, 5, "needs quotes"),
    ],
)
def test_what_would_surprise_is_refused_at_its_place(text: str | bytes, line: int, column: int, message: str) -> None:
    problem = problems_of(text)[0]
    assert (problem.file, problem.line, problem.column) == ("x.yaml", line, column)
    assert message in problem.message


def test_all_problems_of_a_file_come_at_once() -> None:
    text = "a: {{ x }} y\nb: *z\nc: {{ u }}\na: 1\nd: {{ v }} w\n"
    assert [problem.line for problem in problems_of(text)] == [1, 2, 3, 4, 5]


def test_a_problem_before_broken_syntax_is_named_too() -> None:
    assert [problem.line for problem in problems_of("a: *x\nb: [1\nc: 2\n")] == [1, 3]


def test_the_number_of_problems_is_bounded() -> None:
    assert len(problems_of("a: *x\n" * 10_000)) == MAX_PROBLEMS
    assert len(problems_of("a: {{ x }} y\n" * 1_000)) <= 2 * MAX_PROBLEMS


def test_the_hint_shows_how_to_quote_braces() -> None:
    assert problems_of("a: {{ x }}")[0].hint == 'put the whole value in quotes: "{{ x }}"'
    assert problems_of('a: {{ "x" }}')[0].hint == "put the whole value in quotes: '{{ \"x\" }}'"


def test_braces_inside_a_block_of_text_are_text() -> None:
    assert load("a: |\n  - {{ x }} y\n", file="x.yaml").value == {"a": "- {{ x }} y\n"}


@pytest.mark.parametrize("text", ["", "# only a comment\n", "---\n", b"\xef\xbb\xbf"])
def test_an_empty_document_is_null(text: str | bytes) -> None:
    assert load(text, file="x.yaml").value is None


@pytest.fixture
def document() -> Document:
    text = "\ufeffname: x\nsteps:\n  first: {answer: {label: [1, yes, 012]}}\n  second:\n    - a\n    - b: c\n"
    return load(text, file="x.yaml", first_line=10)


def test_each_value_and_key_has_its_place(document: Document) -> None:
    assert document.at(["name"]) == (10, 7)
    assert document.at(["name"], key=True) == (10, 1)
    assert document.at(["steps", "first", "answer"]) == (12, 19)
    assert document.at(["steps", "first", "answer"], key=True) == (12, 11)
    assert document.at(["steps", "second", 1, "b"]) == (15, 10)
    assert document.at([]) == (10, 1)


def test_a_path_that_is_not_there_has_the_place_of_its_nearest_parent(document: Document) -> None:
    assert document.at(["steps", "second", 7, "x"]) == document.at(["steps", "second"])
    assert document.at(["steps", "third"], key=True) == document.at(["steps"])


def test_a_label_is_the_text_that_is_written(document: Document) -> None:
    labels = ["steps", "first", "answer", "label"]
    assert [document.text([*labels, index]) for index in range(3)] == ["1", "yes", "012"]
    assert document.get([*labels, 2]) == 12
    with pytest.raises(KeyError):
        document.text(labels)


def test_a_key_is_the_text_that_is_written() -> None:
    assert load("1: a\ntrue: b\n012: c\n", file="x.yaml").value == {"1": "a", "true": "b", "012": "c"}


def plain(value: Any) -> bool:
    return isinstance(value, dict | list | str | int | float | bool | None)


def read_or_refuse(text: str | bytes) -> None:
    """The law: a document of plain values, or problems with file and line; nothing else."""
    try:
        document = load(text, file="x.yaml")
    except InputError as error:
        assert error.problems
        assert all(problem.file == "x.yaml" and problem.line for problem in error.problems)
    else:
        assert plain(document.value)
        assert not isinstance(document.value, float) or math.isfinite(document.value)


PIECES = [
    "a: ",
    "- ",
    "{",
    "}",
    "{{ x }}",
    "[",
    "]",
    ",",
    ":",
    "\n",
    "  ",
    "\t",
    '"',
    "'",
    "|",
    ">",
    "&a ",
    "*a",
    "<<: ",
]
PIECES += ["!", "#", "? ", "---\n", "...\n", "%YAML 1.2\n", "é", "\x85", "\u2028", "\ufeff", "\\", "12", "~", "@", "`"]


@given(st.binary())
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    read_or_refuse(data)


@given(st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    read_or_refuse(text)


@settings(max_examples=500)
@given(st.lists(st.sampled_from(PIECES), max_size=30).map("".join))
def test_any_mixture_of_yaml_is_read_or_refused(text: str) -> None:
    read_or_refuse(text)


# JSON writes all others raw, or escaped as the parser reads them; half characters are refused.
text_values = st.text(
    st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\u2028\u2029\ufffe\uffff")
    | st.sampled_from("\t\n\r\x1b")
)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | text_values,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text_values, inner, max_size=4),
    max_leaves=15,
)


@given(values, st.sampled_from([None, 2]))
def test_json_is_read_as_the_same_values(value: Any, indent: int | None) -> None:
    assert load(json.dumps(value, indent=indent, ensure_ascii=False), file="x.yaml").value == value
